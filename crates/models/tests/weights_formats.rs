//! Torch pickles and GGUF: read as torch and the gguf package read them; files that want to run code are refused by name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use nd_models::weights::{Weights, WeightsOptions};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/fixtures/weights")
}

fn open(name: &str) -> nd_models::Result<Weights> {
    Weights::open(&fixtures().join(name), &WeightsOptions::default())
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_tensor_equals_what_the_reference_reads() {
    let golden = open("golden.safetensors").unwrap();
    let names = golden.names();
    assert!(names.len() > 60, "{}", names.len());
    for name in names {
        let (file, key) = name.split_once('/').unwrap();
        let read = open(file).unwrap().read(key, &Device::Cpu).unwrap();
        let wanted = golden.read(&name, &Device::Cpu).unwrap();
        assert_eq!(read.dims(), wanted.dims(), "{name}");
        for (found, expected) in flat(&read).iter().zip(flat(&wanted)) {
            // Dequantisation may multiply in another order than numpy does; everything else is exact.
            let tolerance = if file.ends_with("gguf") { expected.abs() * 1e-6 + 1e-9 } else { 0.0 };
            assert!((found - expected).abs() <= tolerance, "{name}: {found} {expected}");
        }
    }
}

#[test]
fn bytes_and_descriptions_agree() {
    for file in ["zip.ckpt", "legacy.ckpt", "fp8.pt", "types.gguf"] {
        let weights = open(file).unwrap();
        for name in weights.names() {
            let (element, shape) = weights.describe(&name).unwrap();
            let bytes = weights.bytes(&name).unwrap();
            assert_eq!(bytes.len(), shape.iter().product::<usize>() * element.bytes(), "{file} {name}");
            let decoded = element.decode(&bytes, &shape, &Device::Cpu).unwrap();
            assert_eq!(flat(&decoded), flat(&weights.read(&name, &Device::Cpu).unwrap()), "{file} {name}");
        }
    }
    assert_eq!(open("types.gguf").unwrap().stored("Q4_K").unwrap(), ("q4k".into(), 3 * 2 * 144));
}

#[test]
fn numbers_beside_the_weights_are_kept() {
    for file in ["zip.ckpt", "legacy.ckpt"] {
        let weights = open(file).unwrap();
        assert_eq!(weights.metadata()["global_step"], "110000");
        assert!(!weights.names().iter().any(|name| name.contains("state_dict")));
    }
    let embedding = open("embedding.pt").unwrap();
    assert_eq!(embedding.names(), ["string_to_param.*"]);
    assert_eq!(embedding.metadata()["name"], "ring");
}

#[test]
fn a_file_that_wants_to_run_code_is_refused_by_the_name_of_the_function() {
    let cases = [
        ("hostile.ckpt", "posix.system"),
        ("hostile-legacy.ckpt", "builtin"),
        ("hostile-plain.pt", "posix.system"),
        ("hostile-inst.pt", "os.system"),
        ("hostile-obj.pt", "os.system"),
        ("hostile-newobj.pt", "subprocess.Popen"),
    ];
    for (file, name) in cases {
        let error = open(file).err().unwrap();
        assert_eq!(error.code(), "ERR_WEIGHTS");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("nothing was run") && text.contains(file), "{text}");
    }
    assert!(!Path::new("node-diffusion-was-run").exists());
}

#[test]
fn files_that_are_something_else_say_what() {
    let cases: [(&str, &[u8], &str); 7] = [
        ("empty", b"", "it is empty"),
        ("page", b"<!DOCTYPE html><html>", "web page"),
        ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:", "git lfs pull"),
        ("picture", b"\x89PNG\r\n\x1a\n", "a picture"),
        ("json", b"{\"a\": 1}", "it is JSON"),
        ("old", b"GGUF\x01\0\0\0", "version 1"),
        ("cut", b"GGUF\x03\0\0\0\x05", "truncated"),
    ];
    for (name, bytes, part) in cases {
        let path = std::env::temp_dir().join(format!("nd-format-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let error = Weights::open(&path, &WeightsOptions::default()).err().unwrap().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains(part), "{error} lacks {part}");
    }
    assert!(open("no-pickle.zip").err().unwrap().to_string().contains("without data.pkl"));
    assert!(open("packed.zip").err().unwrap().to_string().contains("is compressed"));
}

#[test]
fn truncated_torch_files_name_what_is_missing() {
    for file in ["zip.ckpt", "legacy.ckpt", "types.gguf"] {
        let bytes = std::fs::read(fixtures().join(file)).unwrap();
        for part in [1, 3, 9] {
            let path = std::env::temp_dir().join(format!("nd-cut-{part}-{}-{file}", std::process::id()));
            std::fs::write(&path, &bytes[..bytes.len() * part / 10]).unwrap();
            let error = Weights::open(&path, &WeightsOptions::default()).err().unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(error.code(), "ERR_WEIGHTS", "{file}");
            assert!(error.to_string().contains("truncated") || error.to_string().contains("damaged"), "{error}");
        }
    }
}

#[test]
fn a_folder_without_safetensors_gives_its_pickle() {
    let folder = std::env::temp_dir().join(format!("nd-bin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(fixtures().join("flat.bin"), folder.join("pytorch_model.bin")).unwrap();
    assert!(Weights::open(&folder, &WeightsOptions::default()).unwrap().names().contains(&"float16".to_string()));
    std::fs::rename(folder.join("pytorch_model.bin"), folder.join("pytorch_model-00001-of-00001.bin")).unwrap();
    std::fs::write(folder.join("pytorch_model.bin.index.json"), r#"{"weight_map":{"row":"pytorch_model-00001-of-00001.bin"}}"#).unwrap();
    assert!(Weights::open(&folder, &WeightsOptions::default()).unwrap().names().contains(&"row".to_string()));
    std::fs::remove_dir_all(&folder).unwrap();
}
