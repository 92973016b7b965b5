//! The 16-row products of f16 and bf16 with AVX2.
//!
//! A vector holds eight lanes of a register of C or D: the even or the odd columns of two rows. So C and D need no
//! shuffle; an element of A is broadcast among the four lanes of its row, which serves two sums, and four elements of B
//! lie in both rows.
//!
//! No closures: what calls them, `map` for one, has not the features of these functions, and is not inlined.

use super::Fragments;
use crate::exec::lane::Words;
use std::arch::x86_64::*;

/// Vectors of a register.
const N: usize = 4;

/// D of a 16 x 8 product.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub fn halves(fragments: &Fragments, d: &mut [Words; 4]) {
    if fragments.is_bf16 { product::<true>(fragments, d) } else { product::<false>(fragments, d) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn product<const BF16: bool>(fragments: &Fragments, d: &mut [Words; 4]) {
    let b = [rows_of_b::<BF16>(fragments.b[0]), rows_of_b::<BF16>(fragments.b[1])];
    rows::<BF16>(fragments, 0, &b, d);
    rows::<BF16>(fragments, 1, &b, d);
}

/// Eight rows of D. A function of its own: the compiler would share the vectors of B between two calls, which don't fit
/// in registers, and move them there and back.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn rows<const BF16: bool>(fragments: &Fragments, block: usize, b: &[RowsOfB; 2], d: &mut [Words; 4]) {
    let Fragments { n_k, a, c, .. } = fragments;
    let mut sums = [vectors(c[2 * block]), vectors(c[2 * block + 1])];
    add_all(&mut sums, &halves_of_a::<BF16>(a[block]), &b[0]);
    if *n_k == 2 {
        add_all(&mut sums, &halves_of_a::<BF16>(a[2 + block]), &b[1]);
    }
    for (i, (&even, &odd)) in sums[0].iter().zip(&sums[1]).enumerate() {
        put(&mut d[2 * block], i, canonical(even));
        put(&mut d[2 * block + 1], i, canonical(odd));
    }
}

/// Adds the products of the elements of a register of A and one of B.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_all(sums: &mut [[__m256; N]; 2], a: &[[__m256; N]; 2], b: &RowsOfB) {
    add::<0x00>(sums, a, &b[0]);
    add::<0x55>(sums, a, &b[1]);
    add::<0xaa>(sums, a, &b[2]);
    add::<0xff>(sums, a, &b[3]);
}

/// Those of two columns of A and two rows of B, which lane t of each four holds: `T` has t four times.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add<const T: i32>([even, odd]: &mut [[__m256; N]; 2], a: &[[__m256; N]; 2], b: &[[__m256; 2]; 2]) {
    for (a, b) in a.iter().zip(b) {
        for i in 0..N {
            let a = _mm256_permute_ps::<T>(a[i]);
            even[i] = _mm256_fmadd_ps(a, b[0], even[i]);
            odd[i] = _mm256_fmadd_ps(a, b[1], odd[i]);
        }
    }
}

/// A register of A: [k % 2][vector].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves_of_a<const BF16: bool>(plane: &Words) -> [[__m256; N]; 2] {
    let v = vectors(plane);
    [
        [low::<BF16>(v[0]), low::<BF16>(v[1]), low::<BF16>(v[2]), low::<BF16>(v[3])],
        [high::<BF16>(v[0]), high::<BF16>(v[1]), high::<BF16>(v[2]), high::<BF16>(v[3])],
    ]
}

/// A register of B: [t][k % 2][even, odd columns], the four columns in both halves of a vector.
type RowsOfB = [[[__m256; 2]; 2]; 4];

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn rows_of_b<const BF16: bool>(plane: &Words) -> RowsOfB {
    // Rows 2t and 2t + 1 of column n are in lane 4n + t: even columns are the low halves of the vectors, odd the high.
    let [c0, c2, c4, c6] = vectors(plane);
    let (low02, high02) = (_mm256_unpacklo_ps(c0, c2), _mm256_unpackhi_ps(c0, c2));
    let (low46, high46) = (_mm256_unpacklo_ps(c4, c6), _mm256_unpackhi_ps(c4, c6));
    [
        in_both_rows::<BF16>(_mm256_shuffle_ps::<0b01_00_01_00>(low02, low46)),
        in_both_rows::<BF16>(_mm256_shuffle_ps::<0b11_10_11_10>(low02, low46)),
        in_both_rows::<BF16>(_mm256_shuffle_ps::<0b01_00_01_00>(high02, high46)),
        in_both_rows::<BF16>(_mm256_shuffle_ps::<0b11_10_11_10>(high02, high46)),
    ]
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn in_both_rows<const BF16: bool>(words: __m256) -> [[__m256; 2]; 2] {
    let (low, high) = (low::<BF16>(words), high::<BF16>(words));
    [
        [_mm256_permute2f128_ps::<0x00>(low, low), _mm256_permute2f128_ps::<0x11>(low, low)],
        [_mm256_permute2f128_ps::<0x00>(high, high), _mm256_permute2f128_ps::<0x11>(high, high)],
    ]
}

/// The low element of each word.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn low<const BF16: bool>(words: __m256) -> __m256 {
    let words = _mm256_castps_si256(words);
    if BF16 {
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
    } else {
        widen(_mm256_and_si256(words, _mm256_set1_epi32(0xffff)))
    }
}

/// The high element of each word.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn high<const BF16: bool>(words: __m256) -> __m256 {
    let words = _mm256_castps_si256(words);
    if BF16 {
        _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(!0xffff)))
    } else {
        widen(_mm256_srli_epi32::<16>(words))
    }
}

/// Words that are f16 to f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(words: __m256i) -> __m256 {
    _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words)))
}

/// The lanes of a register.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn vectors(plane: &Words) -> [__m256; N] {
    [eight(plane, 0), eight(plane, 1), eight(plane, 2), eight(plane, 3)]
}

/// Lanes 8i to 8i + 7.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn eight(plane: &Words, i: usize) -> __m256 {
    let eight: &[u32] = &plane.0[8 * i..8 * i + 8];
    // SAFETY: the slice is 8 words.
    unsafe { _mm256_loadu_ps(eight.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn put(plane: &mut Words, i: usize, words: __m256) {
    let eight: &mut [u32] = &mut plane.0[8 * i..8 * i + 8];
    // SAFETY: the slice is 8 words.
    unsafe { _mm256_storeu_ps(eight.as_mut_ptr().cast(), words) }
}

/// Every NaN becomes 0x7fffffff.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn canonical(x: __m256) -> __m256 {
    let nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    _mm256_blendv_ps(x, nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))
}
