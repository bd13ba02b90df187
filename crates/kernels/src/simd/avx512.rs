use super::{pairs, Simd, Task};
use std::arch::x86_64::*;

/// AVX-512 F.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

#[inline(always)]
unsafe fn mask(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as u16
}

/// Denormal numbers as zeros of their sign.
#[inline(always)]
unsafe fn flush(x: __m512) -> __m512 {
    let denormal = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(x), _mm512_set1_ps(f32::MIN_POSITIVE));
    let bits = _mm512_castps_si512(x);
    _mm512_castsi512_ps(_mm512_mask_and_epi32(bits, denormal, bits, _mm512_set1_epi32(i32::MIN)))
}

/// Where x is the smallest normal number of either sign.
#[inline(always)]
unsafe fn smallest(x: __m512) -> __mmask16 {
    _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(_mm512_abs_ps(x), _mm512_set1_ps(f32::MIN_POSITIVE))
}

/// Places of 32 numbers, of which those of the second half come between those of the first.
const INTERLEAVED: [u16; 32] = {
    let mut places = [0; 32];
    let mut i = 0;
    while i < 32 {
        places[i] = (i / 2 + i % 2 * 16) as u16;
        i += 1;
    }
    places
};

#[cold]
#[inline(never)]
unsafe fn exact_dot2(a: __m512, b: __m512, c: __m512) -> __m512 {
    pairs::lanes::<Avx512>([a, b, c], |[a, b, c]| pairs::dot(a, b, f32::from_bits(c)).to_bits())
}

/// As [`pairs::rounded`].
#[inline(always)]
unsafe fn rounded(x: __m512) -> __m512i {
    let bits = _mm512_castps_si512(x);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let near = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    _mm512_mask_or_epi32(near, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), bits, _mm512_set1_epi32(0x0040_0000))
}

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    // 24 accumulators + 4 columns + 1 broadcast of 32 registers.
    const PANEL: usize = 4;

    #[inline]
    unsafe fn enter<T: Task>(task: T) -> T::Output {
        #[target_feature(enable = "avx512f,avx2,fma,f16c")]
        unsafe fn enabled<T: Task>(task: T) -> T::Output {
            task.run::<Avx512>()
        }
        enabled(task)
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        _mm512_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        _mm512_loadu_ps(p)
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: __m512) {
        _mm512_storeu_ps(p, x)
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m512 {
        _mm512_maskz_loadu_ps(mask(n), p)
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, x: __m512, n: usize) {
        _mm512_mask_storeu_ps(p, mask(n), x)
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> __m512 {
        _mm512_cvtph_ps(_mm256_loadu_si256(p.cast()))
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()))))
    }
    #[inline(always)]
    unsafe fn stream(p: *mut f32, x: __m512) {
        _mm512_stream_ps(p, x)
    }
    #[inline(always)]
    unsafe fn fence() {
        _mm_sfence()
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(p.cast())
    }
    #[inline(always)]
    unsafe fn prefetch_far(p: *const f32) {
        _mm_prefetch::<_MM_HINT_T1>(p.cast())
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        _mm512_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        _mm512_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        _mm512_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        _mm512_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fnmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn abs(x: __m512) -> __m512 {
        _mm512_abs_ps(x)
    }
    #[inline(always)]
    unsafe fn round(x: __m512) -> __m512 {
        _mm512_roundscale_ps::<0>(x)
    }
    #[inline(always)]
    unsafe fn scale2(x: __m512, n: __m512) -> __m512 {
        _mm512_scalef_ps(x, n)
    }
    #[inline(always)]
    unsafe fn add_exponent(x: __m512, t: __m512) -> __m512 {
        _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_slli_epi32::<23>(_mm512_castps_si512(t))))
    }
    #[inline(always)]
    unsafe fn where_positive(x: __m512, yes: __m512, no: __m512) -> __m512 {
        _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, _mm512_setzero_ps()), no, yes)
    }
    #[inline(always)]
    unsafe fn any_greater(a: __m512, b: __m512) -> bool {
        _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) != 0
    }
    #[inline(always)]
    unsafe fn sum(x: __m512) -> f32 {
        _mm512_reduce_add_ps(x)
    }
    #[inline(always)]
    unsafe fn highest(x: __m512) -> f32 {
        _mm512_reduce_max_ps(x)
    }
    #[inline(always)]
    unsafe fn recip(x: __m512) -> __m512 {
        // One Newton step from 14 bits; a division takes four times as long.
        let r = _mm512_rcp14_ps(x);
        let e = _mm512_fnmadd_ps(x, r, _mm512_set1_ps(1.0));
        // x = infinity: r = 0 and e = NaN; keep r. x = NaN: r is NaN.
        _mm512_mask_fmadd_ps(r, _mm512_cmp_ps_mask::<_CMP_ORD_Q>(e, e), e, r)
    }
    // The left operand of `vpdpbusd` is unsigned.
    const BYTE_BIAS: i32 = 128;
    #[inline]
    unsafe fn enter_bytes<T: Task>(task: T) -> T::Output {
        #[target_feature(enable = "avx512f,avx512vnni,avx2,fma,f16c")]
        unsafe fn enabled<T: Task>(task: T) -> T::Output {
            task.run::<Avx512>()
        }
        enabled(task)
    }
    #[inline(always)]
    unsafe fn dot4(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(c), _mm512_castps_si512(a), _mm512_castps_si512(b)))
    }
    #[inline(always)]
    unsafe fn dot2(a: __m512, b: __m512, c: __m512) -> __m512 {
        let ([a0, a1], [b0, b1]) = (Self::widen_pairs(a).map(|x| flush(x)), Self::widen_pairs(b).map(|x| flush(x)));
        let upper = _mm512_fmadd_ps(a1, b1, flush(c));
        let sum = _mm512_fmadd_ps(a0, b0, flush(upper));
        // What rounds up to the smallest normal number where denormal ones exist may be too small where they do not.
        if (smallest(upper) | smallest(sum)) != 0 {
            return exact_dot2(a, b, c);
        }
        flush(sum)
    }
    #[inline]
    fn has_pairs() -> bool {
        is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw")
    }
    #[inline]
    unsafe fn enter_pairs<T: Task>(task: T) -> T::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma,f16c")]
        unsafe fn enabled<T: Task>(task: T) -> T::Output {
            task.run::<Avx512>()
        }
        enabled(task)
    }
    #[inline(always)]
    unsafe fn dot2_native(a: __m512, b: __m512, c: __m512) -> __m512 {
        // Both are 512 plain bits.
        _mm512_dpbf16_ps(c, std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b))
    }
    #[inline(always)]
    unsafe fn widen_pairs(x: __m512) -> [__m512; 2] {
        let bits = _mm512_castps_si512(x);
        [_mm512_slli_epi32::<16>(bits), _mm512_and_si512(bits, _mm512_set1_epi32(pairs::UPPER as i32))].map(|x| _mm512_castsi512_ps(x))
    }
    #[inline(always)]
    unsafe fn round_pairs(lower: __m512, upper: __m512) -> __m512 {
        let upper = _mm512_and_si512(rounded(flush(upper)), _mm512_set1_epi32(pairs::UPPER as i32));
        _mm512_castsi512_ps(_mm512_or_si512(upper, _mm512_srli_epi32::<16>(rounded(flush(lower)))))
    }
    #[inline(always)]
    unsafe fn round_pairs_native(lower: __m512, upper: __m512) -> __m512 {
        // All of the lower ones, then all of the upper ones.
        let apart = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(upper, lower));
        _mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_loadu_si512(INTERLEAVED.as_ptr().cast()), apart))
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, x: __m512) {
        _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded(x))))
    }
    #[inline(always)]
    unsafe fn from_i32(x: __m512) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_castps_si512(x))
    }
    #[inline(always)]
    unsafe fn widen_byte(x: __m512, number: usize) -> __m512 {
        let first = _mm512_sllv_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(24 - 8 * number as i32));
        _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(first))
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, x: __m512) {
        _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)))
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        let mut x = [_mm512_setzero_ps(); 16];
        for (i, row) in x.iter_mut().enumerate() {
            *row = _mm512_loadu_ps(from.add(i * from_stride));
        }
        for (i, row) in turned(x).iter().enumerate() {
            _mm512_storeu_ps(to.add(i * to_stride), *row);
        }
    }
    #[inline(always)]
    unsafe fn transpose_part(
        from: *const f32,
        from_stride: usize,
        (rows, columns): (usize, usize),
        factor: __m512,
        to: *mut f32,
        to_stride: usize,
        lanes: usize,
    ) {
        let (mut x, here, there) = ([_mm512_setzero_ps(); 16], mask(columns), mask(lanes));
        for (i, row) in x.iter_mut().enumerate() {
            if i < rows {
                *row = _mm512_mul_ps(_mm512_maskz_loadu_ps(here, from.add(i * from_stride)), factor);
            }
        }
        for (i, row) in turned(x).iter().enumerate() {
            if i < columns {
                _mm512_mask_storeu_ps(to.add(i * to_stride), there, *row);
            }
        }
    }
}

/// The transpose of 16 rows.
#[inline(always)]
unsafe fn turned(rows: [__m512; 16]) -> [__m512; 16] {
    // Not `map`, which is not always inlined: calls pass vectors through memory.
    let mut x: [__m512i; 16] = std::mem::transmute(rows);
    let mut y = x;
    for i in 0..8 {
        y[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    for i in 0..4 {
        for k in 0..2 {
            x[4 * i + 2 * k] = _mm512_unpacklo_epi64(y[4 * i + k], y[4 * i + k + 2]);
            x[4 * i + 2 * k + 1] = _mm512_unpackhi_epi64(y[4 * i + k], y[4 * i + k + 2]);
        }
    }
    // x[4 i + k]: lane l of four holds column 4 l + k of rows 4 i .. 4 i + 4.
    for k in 0..4 {
        let a = _mm512_shuffle_i32x4::<0x88>(x[k], x[4 + k]);
        let b = _mm512_shuffle_i32x4::<0xDD>(x[k], x[4 + k]);
        let c = _mm512_shuffle_i32x4::<0x88>(x[8 + k], x[12 + k]);
        let d = _mm512_shuffle_i32x4::<0xDD>(x[8 + k], x[12 + k]);
        y[k] = _mm512_shuffle_i32x4::<0x88>(a, c);
        y[8 + k] = _mm512_shuffle_i32x4::<0xDD>(a, c);
        y[4 + k] = _mm512_shuffle_i32x4::<0x88>(b, d);
        y[12 + k] = _mm512_shuffle_i32x4::<0xDD>(b, d);
    }
    std::mem::transmute(y)
}
