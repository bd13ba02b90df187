use super::{Simd, Task};
use half::{bf16, f16};
use std::arch::aarch64::*;

/// AArch64 Advanced SIMD, which every AArch64 CPU has.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    // 24 accumulators + 4 columns + 1 broadcast of 32 registers.
    const PANEL: usize = 4;

    #[inline(always)]
    unsafe fn enter<T: Task>(task: T) -> T::Output {
        task.run::<Self>()
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        vdupq_n_f32(x)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        vld1q_f32(p)
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: float32x4_t) {
        vst1q_f32(p, x)
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> float32x4_t {
        let mut x = [0.0; 4];
        for (i, x) in x.iter_mut().enumerate().take(n) {
            *x = *p.add(i);
        }
        vld1q_f32(x.as_ptr())
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, x: float32x4_t, n: usize) {
        let mut y = [0.0; 4];
        vst1q_f32(y.as_mut_ptr(), x);
        for (i, y) in y.iter().enumerate().take(n) {
            *p.add(i) = *y;
        }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> float32x4_t {
        let x = p.cast::<[u16; 4]>().read_unaligned().map(|x| f16::from_bits(x).to_f32());
        vld1q_f32(x.as_ptr())
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> float32x4_t {
        let x = p.cast::<[u16; 4]>().read_unaligned().map(|x| bf16::from_bits(x).to_f32());
        vld1q_f32(x.as_ptr())
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vaddq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vsubq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vmulq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vdivq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vbslq_f32(vcgtq_f32(a, b), a, b)
    }
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vbslq_f32(vcltq_f32(a, b), a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        vfmaq_f32(c, a, b)
    }
    #[inline(always)]
    unsafe fn fnma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        vfmsq_f32(c, a, b)
    }
    #[inline(always)]
    unsafe fn abs(x: float32x4_t) -> float32x4_t {
        vabsq_f32(x)
    }
    #[inline(always)]
    unsafe fn round(x: float32x4_t) -> float32x4_t {
        vrndnq_f32(x)
    }
    #[inline(always)]
    unsafe fn scale2(x: float32x4_t, n: float32x4_t) -> float32x4_t {
        let n = vminq_f32(vdupq_n_f32(128.0), vmaxq_f32(vdupq_n_f32(-127.0), n));
        let bits = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)));
        vmulq_f32(x, vreinterpretq_f32_s32(bits))
    }
    #[inline(always)]
    unsafe fn add_exponent(x: float32x4_t, t: float32x4_t) -> float32x4_t {
        let n = vshlq_n_s32::<23>(vreinterpretq_s32_f32(t));
        vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), n))
    }
    #[inline(always)]
    unsafe fn where_positive(x: float32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t {
        vbslq_f32(vcgeq_f32(x, vdupq_n_f32(0.0)), yes, no)
    }
    #[inline(always)]
    unsafe fn any_greater(a: float32x4_t, b: float32x4_t) -> bool {
        vmaxvq_u32(vcgtq_f32(a, b)) != 0
    }
    #[inline(always)]
    unsafe fn sum(x: float32x4_t) -> f32 {
        vaddvq_f32(x)
    }
    #[inline(always)]
    unsafe fn dot4(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        let (a, b) = (vreinterpretq_s8_f32(a), vreinterpretq_s8_f32(b));
        // Two products of 127 * 127 fit into 16 bits.
        let pairs = vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
        vreinterpretq_f32_s32(vpadalq_s16(vreinterpretq_s32_f32(c), pairs))
    }
    #[inline(always)]
    unsafe fn from_i32(x: float32x4_t) -> float32x4_t {
        vcvtq_f32_s32(vreinterpretq_s32_f32(x))
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, x: float32x4_t) {
        let words = vmovn_s32(vcvtq_s32_f32(x));
        let bytes = vmovn_s16(vcombine_s16(words, words));
        p.cast::<i32>().write_unaligned(vget_lane_s32::<0>(vreinterpret_s32_s8(bytes)))
    }
}
