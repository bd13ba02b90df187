//! Damaged weights files of every format: a value or a typed error, never a crash, and no more memory than twice the file to open it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fuzz;

use candle_core::Device;
use fuzz::{opened, readable, Numbers};
use nd_models::single_file::{detect, part, Part};
use nd_models::weights::{Weights, WeightsOptions};
use std::path::{Path, PathBuf};

/// Mutated files of each kind; 10,000 and more in all for each reader.
const FILES: usize = 5_000;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/fixtures")
}

/// Flips, repeats, cuts and grafts bytes, mostly where the header lies.
fn mutated(original: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=numbers.below(6) {
        let span = if numbers.below(3) == 0 { bytes.len() } else { bytes.len().min(4096) };
        let at = if numbers.below(4) == 0 { bytes.len() - 1 - numbers.below(span.min(2048)) } else { numbers.below(span) };
        match numbers.below(6) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = numbers.below(256) as u8,
            2 => bytes[at] = *numbers.pick(&[0, 0xff, 0x7f, 0x80, b'(', b'R', b']', b'.']),
            3 => {
                let end = (at + 8).min(bytes.len());
                bytes[at..end].fill(*numbers.pick(&[0, 0xff]));
            }
            4 => {
                let length = numbers.below(32).min(bytes.len() - at);
                let piece = bytes[at..at + length].to_vec();
                let to = numbers.below(bytes.len() - length + 1);
                bytes[to..to + length].copy_from_slice(&piece);
            }
            _ => bytes.truncate((at + 1).max(2)),
        }
    }
    bytes
}

/// Opens a file and looks at everything in it; returns whether it was readable.
fn look(path: &Path, size: usize) -> bool {
    let weights = match opened(size, || Weights::open(path, &WeightsOptions::default())) {
        Ok(weights) => weights,
        Err(error) => {
            assert_eq!(error.code(), "ERR_WEIGHTS", "{error}");
            return false;
        }
    };
    for name in weights.names() {
        let (element, shape) = weights.describe(&name).unwrap();
        let bytes = weights.bytes(&name).unwrap().len();
        assert_eq!(bytes, shape.iter().product::<usize>() * element.bytes(), "{name}");
        weights.read(&name, &Device::Cpu).unwrap();
    }
    let _ = detect(&weights);
    for wanted in [Part::Unet, Part::Vae, Part::TextEncoder, Part::TextEncoder2] {
        let _ = part(&weights, wanted);
    }
    true
}

#[test]
fn ten_thousand_damaged_files_of_each_reader_never_crash() {
    let kinds = [
        ("weights/zip.ckpt", FILES),
        ("weights/embedding.pt", 2 * FILES),
        ("weights/legacy.ckpt", 2 * FILES),
        ("weights/types.gguf", 2 * FILES),
        ("parity/weights/single_file/tiny-sd15-vae-only.safetensors", FILES / 10),
        ("weights/golden.safetensors", 2 * FILES),
    ];
    for (name, count) in kinds {
        let original = std::fs::read(fixtures().join(name)).unwrap();
        let mut numbers = Numbers(name.len() as u64);
        let readable = readable("weights", (0..count).map(|_| mutated(&original, &mut numbers)), look);
        // Both outcomes must occur, else the mutations test nothing.
        assert!(readable > 0 && readable < count, "{name}: {readable} of {count} were readable");
    }
    pickles_that_unpack_without_end_are_refused();
}

/// Part of the same test, as the counts of memory are those of the whole process.
fn pickles_that_unpack_without_end_are_refused() {
    let nest = [&[0x80, 2][..], &b"]".repeat(200_000), b"."].concat();
    let share = [&[0x80, 2][..], b"]q\0", &b"h\0h\0h\0h\0h\0h\0h\0h\0tq\0("[..].repeat(20_000), b"."].concat();
    for bytes in [nest, share] {
        let path = std::env::temp_dir().join(format!("nd-bomb-{}-{}", std::process::id(), bytes.len()));
        std::fs::write(&path, &bytes).unwrap();
        assert!(Weights::open(&path, &WeightsOptions::default()).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
