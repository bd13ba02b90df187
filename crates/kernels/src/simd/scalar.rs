use super::{Simd, Task};
use half::{bf16, f16};

/// Four lanes in plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

#[inline(always)]
fn map(mut a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    for (a, b) in a.iter_mut().zip(b) {
        *a = f(*a, b);
    }
    a
}

impl Simd for Scalar {
    type V = [f32; 4];
    const LANES: usize = 4;
    // 12 accumulators + 2 columns + 1 broadcast of the 16 registers of x86's baseline.
    const PANEL: usize = 2;

    #[inline(always)]
    unsafe fn enter<T: Task>(task: T) -> T::Output {
        task.run::<Self>()
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        p.cast::<[f32; 4]>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: [f32; 4]) {
        p.cast::<[f32; 4]>().write_unaligned(x)
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> [f32; 4] {
        let mut x = [0.0; 4];
        for (i, x) in x.iter_mut().enumerate().take(n) {
            *x = *p.add(i);
        }
        x
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, x: [f32; 4], n: usize) {
        for (i, x) in x.iter().enumerate().take(n) {
            *p.add(i) = *x;
        }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> [f32; 4] {
        p.cast::<[u16; 4]>().read_unaligned().map(|x| f16::from_bits(x).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> [f32; 4] {
        p.cast::<[u16; 4]>().read_unaligned().map(|x| bf16::from_bits(x).to_f32())
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        map(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        map(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        map(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        map(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        map(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        map(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        Self::add(Self::mul(a, b), c)
    }
    #[inline(always)]
    unsafe fn fnma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        Self::sub(c, Self::mul(a, b))
    }
    #[inline(always)]
    unsafe fn abs(x: [f32; 4]) -> [f32; 4] {
        x.map(f32::abs)
    }
    #[inline(always)]
    unsafe fn round(x: [f32; 4]) -> [f32; 4] {
        // Adding and subtracting 1.5 * 2^23 rounds to even below 2^22, beyond which `scale2` saturates.
        const MAGIC: f32 = 12_582_912.0;
        x.map(|x| (x.clamp(-4_194_304.0, 4_194_304.0) + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn scale2(x: [f32; 4], n: [f32; 4]) -> [f32; 4] {
        map(x, n, |x, n| x * f32::from_bits(((n.clamp(-127.0, 128.0) as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    unsafe fn add_exponent(x: [f32; 4], t: [f32; 4]) -> [f32; 4] {
        map(x, t, |x, t| f32::from_bits(x.to_bits().wrapping_add(t.to_bits() << 23)))
    }
    #[inline(always)]
    unsafe fn where_positive(x: [f32; 4], yes: [f32; 4], no: [f32; 4]) -> [f32; 4] {
        let mut y = no;
        for i in 0..4 {
            y[i] = if x[i] >= 0.0 { yes[i] } else { no[i] };
        }
        y
    }
    #[inline(always)]
    unsafe fn any_greater(a: [f32; 4], b: [f32; 4]) -> bool {
        a.iter().zip(b).any(|(a, b)| *a > b)
    }
    #[inline(always)]
    unsafe fn sum(x: [f32; 4]) -> f32 {
        (x[0] + x[1]) + (x[2] + x[3])
    }
    #[inline(always)]
    unsafe fn dot4(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        let mut sums = c;
        for (i, sum) in sums.iter_mut().enumerate() {
            let (a, b) = (a[i].to_bits().to_le_bytes(), b[i].to_bits().to_le_bytes());
            let products = a.iter().zip(b).map(|(&a, b)| i32::from(a as i8) * i32::from(b as i8));
            *sum = f32::from_bits((sum.to_bits() as i32 + products.sum::<i32>()) as u32);
        }
        sums
    }
    #[inline(always)]
    unsafe fn from_i32(x: [f32; 4]) -> [f32; 4] {
        x.map(|x| x.to_bits() as i32 as f32)
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, x: [f32; 4]) {
        p.cast::<[u8; 4]>().write_unaligned(x.map(|x| x as i32 as u8))
    }
}
