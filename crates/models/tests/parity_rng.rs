//! Every draw of the pack's `rng/rng.json` against `nd_models::random`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod parity_report;

use nd_models::random::{Generator, GeneratorKind, Precision, Samples};
use parity_report::{pack, Outcome, Report};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What a draw gave: its values, its raw bytes, and whether they must be equal bit by bit.
struct Drawn {
    values: Vec<f64>,
    bytes: Vec<u8>,
    exact: bool,
}

impl Drawn {
    fn floats(samples: Samples, exact: bool) -> Self {
        Self { values: samples.to_f64(), bytes: samples.to_le_bytes(), exact }
    }

    fn integers(values: Vec<i64>) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { values: values.into_iter().map(|value| value as f64).collect(), bytes, exact: true }
    }
}

fn shape(row: &Value) -> Vec<usize> {
    row["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect()
}

fn precision(row: &Value) -> Option<Precision> {
    match row["dtype"].as_str()? {
        "float32" => Some(Precision::F32),
        "float64" => Some(Precision::F64),
        "float16" => Some(Precision::F16),
        "bfloat16" => Some(Precision::Bf16),
        _ => None,
    }
}

/// Draws what a row describes; its arguments lie in `kw` or in the row itself. `None` for an unknown kind.
fn draw(generator: &mut Generator, row: &Value) -> Option<Drawn> {
    let number = |key: &str| row["kw"].get(key).or_else(|| row.get(key)).and_then(Value::as_f64);
    let integer = |key: &str| row["kw"].get(key).or_else(|| row.get(key)).and_then(Value::as_i64);
    let n = shape(row).iter().product();
    Some(match row["op"].as_str()? {
        "randn" => Drawn::floats(generator.randn(n, precision(row)?).unwrap(), false),
        "normal" => {
            let (mean, std) = (number("mean").unwrap_or(0.0), number("std").unwrap_or(1.0));
            Drawn::floats(generator.normal(n, precision(row)?, mean, std).unwrap(), false)
        }
        "rand" => Drawn::floats(generator.rand(n, precision(row)?).unwrap(), true),
        "uniform" => Drawn::floats(generator.uniform(n, precision(row)?, number("from")?, number("to")?).unwrap(), true),
        "bernoulli" => Drawn::floats(Samples::F32(generator.bernoulli(n, number("p")?).unwrap()), true),
        "randint" => Drawn::integers(generator.randint(integer("low").unwrap_or(0), integer("high")?, n).unwrap()),
        "randperm" => Drawn::integers(generator.randperm(n).unwrap()),
        "philox_normal" => Drawn::floats(generator.randn(n, Precision::F32).unwrap(), false),
        _ => return None,
    })
}

fn widened(tensor: &TensorView) -> Vec<f64> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
        Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f64()).collect(),
        Dtype::BF16 => data.chunks_exact(2).map(|b| half::bf16::from_le_bytes(b.try_into().unwrap()).to_f64()).collect(),
        Dtype::I64 => data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
        other => panic!("unexpected dtype {other:?}"),
    }
}

/// The tolerance of rng/README.md for one expected value, among values of at most `largest`.
fn tolerance(row: &Value, n: usize, largest: f64, expected: f64) -> f64 {
    let ulp = |bits: i32| 2f64.powi(expected.abs().max(1e-4).log2().floor() as i32 - bits);
    let block = 3e-6 * largest.max(1.0);
    match (row["op"].as_str(), row["dtype"].as_str()) {
        (Some("philox_normal"), _) => 1e-5,
        (_, Some("float64")) => 1e-14 * largest.max(1.0),
        (_, Some("float16")) => ulp(10).max(block),
        (_, Some("bfloat16")) => ulp(7).max(block),
        _ if n < 16 => ulp(23),
        _ => block,
    }
}

fn compare(drawn: Drawn, row: &Value, tensors: &SafeTensors) -> Outcome {
    if drawn.exact {
        let digest: String = Sha256::digest(&drawn.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        return Outcome::equal("sha256", &digest.as_str(), &row["sha256"].as_str().unwrap());
    }
    let key = row["key"].as_str().unwrap();
    let n = drawn.values.len();
    let close = |actual: &[f64], name: &str| {
        let expected = widened(&tensors.tensor(name).unwrap());
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        Outcome::close(actual, &expected, |value| tolerance(row, n, largest, value))
    };
    match row["stored"].as_str() {
        Some("full") => close(&drawn.values, key),
        Some("first64,last64") => {
            close(&drawn.values[..64], &format!("{key}.first64")).and(|| close(&drawn.values[n - 64..], &format!("{key}.last64")))
        }
        other => Outcome::NotCovered(format!("stored as {other:?}")),
    }
}

fn check(report: &mut Report, name: &str, generator: &mut Generator, row: &Value, tensors: &SafeTensors) {
    let outcome = match draw(generator, row) {
        Some(drawn) => compare(drawn, row, tensors),
        None => Outcome::NotCovered(format!("op {} of {}", row["op"], row["dtype"])),
    };
    report.add(name, outcome);
}

fn cpu(seed: &Value) -> Generator {
    Generator::new(seed.as_u64().unwrap(), GeneratorKind::Cpu)
}

fn generator_list(row: &Value, tensors: &SafeTensors) -> Outcome {
    let item: usize = shape(row)[1..].iter().product();
    let (mut values, mut bytes) = (Vec::new(), Vec::new());
    for seed in row["seeds"].as_array().unwrap() {
        let samples = cpu(seed).randn(item, precision(row).unwrap()).unwrap();
        values.extend(samples.to_f64());
        bytes.extend(samples.to_le_bytes());
    }
    compare(Drawn { values, bytes, exact: false }, row, tensors)
}

#[test]
fn every_draw_of_the_pack() {
    let folder = pack().join("rng");
    let lists: Value = serde_json::from_slice(&std::fs::read(folder.join("rng.json")).unwrap()).unwrap();
    let data = std::fs::read(folder.join("rng.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&data).unwrap();
    let mut report = Report::new("rng");
    for (list, rows) in lists.as_object().unwrap() {
        let Some(rows) = rows.as_array() else { continue }; // objects are notes on the pack itself
        for (index, row) in rows.iter().enumerate() {
            let name = row["key"].as_str().map_or_else(|| format!("{list}[{index}]"), str::to_owned);
            match list.as_str() {
                "randn" | "other" => check(&mut report, &name, &mut cpu(&row["seed"]), row, &tensors),
                "sequences" => {
                    let mut generator = cpu(&row["seed"]);
                    for draw in row["draws"].as_array().unwrap() {
                        check(&mut report, draw["key"].as_str().unwrap(), &mut generator, draw, &tensors);
                    }
                }
                "generator_lists" => report.add(name, generator_list(row, &tensors)),
                "mt19937" => {
                    let words = row["first_16_u32"].as_array().unwrap();
                    let expected: Vec<u32> = words.iter().map(|word| word.as_u64().unwrap() as u32).collect();
                    report.add(name, Outcome::equal("words", &cpu(&row["seed"]).random_words(expected.len()).unwrap(), &expected));
                }
                "philox" => {
                    let number = |key: &str| row[key].as_u64();
                    let mut generator = Generator::philox(number("seed").unwrap(), number("offset").unwrap(), number("threads"));
                    check(&mut report, &name, &mut generator, row, &tensors);
                }
                _ => report.add(name, Outcome::NotCovered("unknown list".into())),
            }
        }
    }
    report.finish();
}
