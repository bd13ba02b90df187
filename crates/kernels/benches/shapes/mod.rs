//! The shapes that are measured, by the layer of SD1.5 at 512x512 with guidance (batch 2), of its VAE, and of the built-in model.
#![allow(dead_code, clippy::unwrap_used)]

use candle_core::{Device, Tensor};

/// As in the addon: with glibc's a fresh large output costs more in page faults than it takes to compute.
#[global_allocator]
static ALLOCATOR: nd_kernels::large_blocks::LargeBlocks<mimalloc::MiMalloc> = nd_kernels::large_blocks::LargeBlocks::new(mimalloc::MiMalloc);

/// Normal numbers.
pub fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
}

/// Few samples: the heavy shapes take half a second each.
pub fn short() -> criterion::Criterion {
    let second = std::time::Duration::from_secs(1);
    criterion::Criterion::default().sample_size(10).warm_up_time(second / 4).measurement_time(second)
}

/// (name, rows, in, out)
pub const LINEAR: [(&str, usize, usize, usize); 12] = [
    ("to_q at 64x64", 8192, 320, 320),
    ("ff out at 64x64", 8192, 1280, 320),
    ("to_q at 32x32", 2048, 640, 640),
    ("ff out at 32x32", 2048, 2560, 640),
    ("to_q at 16x16", 512, 1280, 1280),
    ("ff out at 16x16", 512, 5120, 1280),
    ("to_k of the prompt", 154, 768, 1280),
    ("time embedding", 2, 1280, 1280),
    ("clip fc1", 154, 768, 3072),
    ("shapes to_q at 16x16", 512, 32, 32),
    ("shapes to_q at 8x8", 128, 96, 96),
    ("shapes ff out at 4x4", 32, 640, 160),
];

/// (name, rows, in, inner)
pub const GEGLU: [(&str, usize, usize, usize); 3] =
    [("ff in at 64x64", 8192, 320, 1280), ("ff in at 32x32", 2048, 640, 2560), ("ff in at 16x16", 512, 1280, 5120)];

/// (name, batch, size, in, out, stride, up-sampled)
pub const CONV: [(&str, usize, usize, usize, usize, usize, bool); 21] = [
    ("conv_in", 2, 64, 4, 320, 1, false),
    ("conv_out", 2, 64, 320, 4, 1, false),
    ("320 at 64x64", 2, 64, 320, 320, 1, false),
    ("960 to 320 at 64x64", 2, 64, 960, 320, 1, false),
    ("640 at 32x32", 2, 32, 640, 640, 1, false),
    ("1280 at 16x16", 2, 16, 1280, 1280, 1, false),
    ("1280 at 8x8", 2, 8, 1280, 1280, 1, false),
    ("320 down from 64x64", 2, 64, 320, 320, 2, false),
    ("640 up to 64x64", 2, 32, 640, 640, 1, true),
    ("vae 512 at 64x64", 1, 64, 512, 512, 1, false),
    ("vae 512 at 128x128", 1, 128, 512, 512, 1, false),
    ("vae 256 at 256x256", 1, 256, 256, 256, 1, false),
    ("vae 128 at 512x512", 1, 512, 128, 128, 1, false),
    ("vae conv_out at 256x256", 1, 256, 128, 3, 1, false),
    ("shapes 32 at 16x16", 2, 16, 32, 32, 1, false),
    ("shapes 160 at 4x4", 2, 4, 160, 160, 1, false),
    ("shapes vae 64 at 64x64", 1, 64, 64, 64, 1, false),
    ("shapes vae 32 at 64x64", 1, 64, 32, 32, 1, false),
    ("shapes vae 32 up to 128x128", 1, 64, 32, 32, 1, true),
    ("shapes vae 16 at 128x128", 1, 128, 16, 16, 1, false),
    ("shapes vae conv_out", 1, 128, 16, 3, 1, false),
];

/// (name, batch, heads, queries, keys, head dimension)
pub const ATTENTION: [(&str, usize, usize, usize, usize, usize); 13] = [
    ("self at 64x64", 2, 8, 4096, 4096, 40),
    ("self at 32x32", 2, 8, 1024, 1024, 80),
    ("self at 16x16", 2, 8, 256, 256, 160),
    ("self at 8x8", 2, 8, 64, 64, 160),
    ("sdxl self at 64x64", 2, 10, 4096, 4096, 64),
    ("sdxl self at 32x32", 2, 20, 1024, 1024, 64),
    ("cross at 64x64", 2, 8, 4096, 77, 40),
    ("cross at 32x32", 2, 8, 1024, 77, 80),
    ("cross at 16x16", 2, 8, 256, 77, 160),
    ("sdxl cross at 32x32", 2, 20, 1024, 77, 64),
    ("clip", 2, 12, 77, 77, 64),
    ("vae at 64x64", 1, 1, 4096, 4096, 512),
    ("shapes self at 16x16", 2, 8, 256, 256, 4),
];

/// (name, batch, positions, channels)
pub const NORM: [(&str, usize, usize, usize); 5] = [
    ("320 at 64x64", 2, 4096, 320),
    ("640 at 32x32", 2, 1024, 640),
    ("vae 128 at 256x256", 1, 65536, 128),
    ("vae 128 at 512x512", 1, 1 << 18, 128),
    ("shapes 32 at 16x16", 2, 256, 32),
];
