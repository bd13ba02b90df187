//! Reading of weights files: what is refused and with which sentence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use nd_models::weights::{parse_header, Weights, WeightsOptions};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nd-weights-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn save(path: &Path, names: &[&str]) {
    let tensor = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
    let tensors: HashMap<String, Tensor> = names.iter().map(|name| (name.to_string(), tensor.clone())).collect();
    candle_core::safetensors::save(&tensors, path).unwrap();
}

#[test]
fn a_valid_file_is_read() {
    let bytes = file(r#"{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, &[0; 8]);
    let header = parse_header(&bytes, "x").unwrap();
    assert_eq!(header.metadata["k"], "v");
    assert_eq!(header.tensors["a"].shape, [2]);
    assert_eq!(header.tensors["a"].end, bytes.len());
}

#[test]
fn each_damage_has_its_sentence() {
    let one = |body: &str| format!(r#"{{"a":{body}}}"#);
    let cases: [(Vec<u8>, &str); 12] = [
        (vec![1, 2, 3], "truncated to 3 bytes"),
        (u64::MAX.to_le_bytes().to_vec(), "more than 100000000"),
        ([&500u64.to_le_bytes()[..], b"{}"].concat(), "it is truncated"),
        ([&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat(), "not UTF-8"),
        (file("[]", &[]), "not valid"),
        (file(&one(r#"{"dtype":"F99","shape":[2],"data_offsets":[0,8]}"#), &[0; 8]), "unknown dtype F99"),
        (file(&one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), &[0; 4]), "truncated or damaged"),
        (file(&one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#), &[0; 8]), "truncated or damaged"),
        (file(&one(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#), &[0; 8]), "does not fit F32 [3]"),
        (file(&one(r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}"#), &[0; 8]), "does not fit"),
        (file(&one(r#"{"dtype":"U8","shape":[4],"data_offsets":[4,8]}"#), &[0; 8]), "belong to no tensor"),
        (file(&one(r#"{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#), &[0; 8]), "bytes at its end"),
    ];
    for (bytes, part) in cases {
        let error = parse_header(&bytes, "model.safetensors").unwrap_err();
        assert_eq!(error.code(), "ERR_WEIGHTS");
        assert!(error.to_string().contains(part), "{error} lacks {part}");
    }
}

#[test]
fn repeated_names_and_overlaps_are_refused() {
    let a = r#"{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#;
    let twice = parse_header(&file(&format!(r#"{{"a":{a},"a":{a}}}"#), &[0; 4]), "x").unwrap_err();
    assert!(twice.to_string().contains("the name a appears twice"), "{twice}");
    let overlap = parse_header(&file(&format!(r#"{{"a":{a},"b":{{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}}}"#), &[0; 6]), "x").unwrap_err();
    assert!(overlap.to_string().contains("tensor b overlaps"), "{overlap}");
}

#[test]
fn folders_find_the_file_its_variant_and_its_shards() {
    let folder = Folder::new("layout");
    let none = Weights::open(&folder.0, &WeightsOptions::default()).err().unwrap();
    assert!(none.to_string().ends_with("but received no weights at all"), "{none}");
    save(&folder.0.join("model.fp16.safetensors"), &["a"]);
    let plain = Weights::open(&folder.0, &WeightsOptions::default()).err().unwrap();
    assert!(plain.to_string().ends_with("but received model.fp16.safetensors"), "{plain}");
    let fp16 = WeightsOptions { variant: Some("fp16".into()), ..WeightsOptions::default() };
    assert_eq!(Weights::open(&folder.0, &fp16).unwrap().names(), ["a"]);

    save(&folder.0.join("diffusion_pytorch_model-00001-of-00002.safetensors"), &["b"]);
    save(&folder.0.join("diffusion_pytorch_model-00002-of-00002.safetensors"), &["c"]);
    let index = folder.0.join("diffusion_pytorch_model.safetensors.index.json");
    let map = r#"{"weight_map":{"b":"diffusion_pytorch_model-00001-of-00002.safetensors","c":"diffusion_pytorch_model-00002-of-00002.safetensors"}}"#;
    std::fs::write(&index, map).unwrap();
    let sharded = Weights::open(&folder.0, &WeightsOptions::default()).unwrap();
    assert_eq!(sharded.names(), ["b", "c"]);
    assert_eq!(sharded.tensor("c", &[2]).unwrap().to_vec1::<f32>().unwrap(), [1.0, 2.0]);
    assert!(sharded.tensor("c", &[3]).unwrap_err().to_string().contains("Expected shape [3] for c but received [2]"));

    std::fs::write(&index, r#"{"weight_map":{"b":"../secret.safetensors"}}"#).unwrap();
    let escape = Weights::open(&folder.0, &WeightsOptions::default()).err().unwrap();
    assert!(escape.to_string().contains("not a plain file name"), "{escape}");
}

#[test]
fn a_name_in_two_shards_is_refused() {
    let folder = Folder::new("twice");
    save(&folder.0.join("x.safetensors"), &["a"]);
    save(&folder.0.join("y.safetensors"), &["a"]);
    std::fs::write(folder.0.join("model.safetensors.index.json"), r#"{"weight_map":{"a":"x.safetensors","b":"y.safetensors"}}"#).unwrap();
    let error = Weights::open(&folder.0, &WeightsOptions::default()).err().unwrap();
    assert!(error.to_string().contains("a is in two files"), "{error}");
}

#[test]
fn missing_files_name_their_path() {
    let error = Weights::open(Path::new("/no/such/place"), &WeightsOptions::default()).err().unwrap();
    assert_eq!(error.code(), "ERR_WEIGHTS");
    assert!(error.to_string().contains("/no/such/place"));
}

#[test]
fn half_precision_is_read_as_it_is() {
    let folder = Folder::new("half");
    let tensor = Tensor::new(&[0.5f32, -2.0], &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
    let path = folder.0.join("x.safetensors");
    candle_core::safetensors::save(&HashMap::from([("a".to_string(), tensor)]), &path).unwrap();
    let read = Weights::open(&path, &WeightsOptions::default()).unwrap().read("a", &Device::Cpu).unwrap();
    assert_eq!(read.dtype(), DType::BF16);
}
