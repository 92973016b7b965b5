//! The 16-row products of f16 and bf16 with AVX2.
//!
//! A vector holds a row of D, its even columns before its odd ones: so the rows of C are two loads of four neighbouring
//! lanes, and the rows of D two stores. B's rows come in the same order of columns. An element of A is broadcast by the
//! load, which costs no shuffle.

use super::Fragments;
use crate::exec::lane::Words;
use std::arch::x86_64::*;

/// D of a 16 x 8 product.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub fn halves(fragments: &Fragments) -> [Words; 4] {
    if fragments.is_bf16 { product::<true>(fragments) } else { product::<false>(fragments) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn product<const BF16: bool>(fragments: &Fragments) -> [Words; 4] {
    let Fragments { n_k, a, b, c, .. } = fragments;
    let right = [rows_of_b::<BF16>(b[0]), rows_of_b::<BF16>(b[1])]; // [k / 8][k % 8]
    let mut d = [Words([0; 32]); 4];
    for block in 0..2 {
        let left = [widen::<BF16>(a[block]), widen::<BF16>(a[2 + block])]; // [k / 8][row % 8][k % 8]
        let mut rows = [_mm256_setzero_ps(); 8];
        for (g, row) in rows.iter_mut().enumerate() {
            *row = joined(lanes(c[2 * block], g), lanes(c[2 * block + 1], g));
        }
        for (left, right) in left.iter().zip(&right).take(*n_k) {
            for k in 0..8 {
                for g in 0..8 {
                    rows[g] = _mm256_fmadd_ps(_mm256_set1_ps(left[g][k]), right[k], rows[g]);
                }
            }
        }
        for (g, &row) in rows.iter().enumerate() {
            let row = canonical(row);
            put(&mut d[2 * block], g, _mm256_castps256_ps128(row));
            put(&mut d[2 * block + 1], g, _mm256_extractf128_ps::<1>(row));
        }
    }
    d
}

/// The rows of B that a register holds: [k][columns 0, 2, 4, 6, 1, 3, 5, 7].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn rows_of_b<const BF16: bool>(plane: &Words) -> [__m256; 8] {
    let column = |g: usize| widen_lanes::<BF16>(plane, g);
    transpose([column(0), column(2), column(4), column(6), column(1), column(3), column(5), column(7)])
}

/// The 8 x 8 elements of a register's lanes: [lane / 4][8].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen<const BF16: bool>(plane: &Words) -> [[f32; 8]; 8] {
    let mut rows = [[0.0; 8]; 8];
    for (g, row) in rows.iter_mut().enumerate() {
        // SAFETY: a row is 8 f32.
        unsafe { _mm256_storeu_ps(row.as_mut_ptr(), widen_lanes::<BF16>(plane, g)) };
    }
    rows
}

/// The eight elements of lanes 4g to 4g + 3.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen_lanes<const BF16: bool>(plane: &Words, g: usize) -> __m256 {
    let halves = _mm_castps_si128(lanes(plane, g));
    if BF16 {
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
    } else {
        _mm256_cvtph_ps(halves)
    }
}

/// The words of lanes 4g to 4g + 3.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn lanes(plane: &Words, g: usize) -> __m128 {
    let four: &[u32] = &plane.0[4 * g..4 * g + 4];
    // SAFETY: the slice is 4 words.
    unsafe { _mm_loadu_ps(four.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn put(plane: &mut Words, g: usize, words: __m128) {
    let four: &mut [u32] = &mut plane.0[4 * g..4 * g + 4];
    // SAFETY: the slice is 4 words.
    unsafe { _mm_storeu_ps(four.as_mut_ptr().cast(), words) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn joined(low: __m128, high: __m128) -> __m256 {
    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
}

/// Every NaN becomes 0x7fffffff.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn canonical(x: __m256) -> __m256 {
    let nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    _mm256_blendv_ps(x, nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))
}

/// Rows to columns, in three rounds that exchange neighbours at distance 1, 2 and 4.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn transpose(rows: [__m256; 8]) -> [__m256; 8] {
    let mut pairs = rows;
    for i in [0, 2, 4, 6] {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    let mut fours = pairs;
    for i in [0, 4] {
        for j in 0..2 {
            fours[i + 2 * j] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[i + j], pairs[i + j + 2]);
            fours[i + 2 * j + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[i + j], pairs[i + j + 2]);
        }
    }
    let mut columns = fours;
    for i in 0..4 {
        columns[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        columns[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
    }
    columns
}
