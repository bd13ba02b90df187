//! Damaged weights files of every format: a value or a typed error, never a crash, and no more memory than twice the file to open it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::Device;
use nd_models::single_file::{detect, part, Part};
use nd_models::weights::{Weights, WeightsOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts live bytes and their peak.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What opening a small file may take beside twice its size: tables, paths, messages.
const SPARE: usize = 256 << 10;
/// Mutated files of each kind; 10,000 and more in all for each reader.
const FILES: usize = 5_000;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/fixtures")
}

/// Numbers of a linear congruential generator (Knuth's MMIX), the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
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
            2 => bytes[at] = [0, 0xff, 0x7f, 0x80, b'(', b'R', b']', b'.'][numbers.below(8)],
            3 => {
                let end = (at + 8).min(bytes.len());
                bytes[at..end].fill([0, 0xff][numbers.below(2)]);
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
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let opened = Weights::open(path, &WeightsOptions::default());
    let taken = PEAK.load(Relaxed) - before;
    assert!(taken <= 2 * size + SPARE, "opening {size} bytes took {taken}");
    let weights = match opened {
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
    let path = std::env::temp_dir().join(format!("nd-fuzz-{}", std::process::id()));
    for (name, count) in kinds {
        let original = std::fs::read(fixtures().join(name)).unwrap();
        let mut numbers = Numbers(name.len() as u64);
        let mut readable = 0;
        for _ in 0..count {
            let bytes = mutated(&original, &mut numbers);
            std::fs::write(&path, &bytes).unwrap();
            readable += usize::from(look(&path, bytes.len()));
        }
        // Both outcomes must occur, else the mutations test nothing.
        assert!(readable > 0 && readable < count, "{name}: {readable} of {count} were readable");
    }
    std::fs::remove_file(&path).unwrap();
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
