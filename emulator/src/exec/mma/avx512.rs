//! The 16-row products of f16 and bf16 with AVX-512.
//!
//! A vector holds sixteen lanes of a register of C or D: the even or the odd columns of four rows. So C and D need no
//! shuffle; an element of A is broadcast among the four lanes of its row, and four elements of B among the rows.

use super::Fragments;
use crate::exec::lane::Words;
use std::arch::x86_64::*;

/// D of a 16 x 8 product.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, VL and DQ.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub fn halves(fragments: &Fragments, d: &mut [Words; 4]) {
    if fragments.is_bf16 { product::<true>(fragments, d) } else { product::<false>(fragments, d) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn product<const BF16: bool>(fragments: &Fragments, d: &mut [Words; 4]) {
    let Fragments { n_k, a, b, c, .. } = fragments;
    let right = [columns_of_b::<BF16>(b[0]), columns_of_b::<BF16>(b[1])];
    for block in 0..2 {
        for quad in 0..2 {
            let mut even = _mm512_castsi512_ps(lanes(c[2 * block], quad));
            let mut odd = _mm512_castsi512_ps(lanes(c[2 * block + 1], quad));
            for (k_register, right) in right.iter().enumerate().take(*n_k) {
                let left = lanes(a[2 * k_register + block], quad);
                let left = [low::<BF16>(left), high::<BF16>(left)]; // [k % 2]
                for t in 0..4 {
                    for (left, right) in left.iter().zip(&right[t]) {
                        let left = broadcast_in_rows(*left, t);
                        even = _mm512_fmadd_ps(left, right[0], even);
                        odd = _mm512_fmadd_ps(left, right[1], odd);
                    }
                }
            }
            put(&mut d[2 * block], quad, canonical(even));
            put(&mut d[2 * block + 1], quad, canonical(odd));
        }
    }
}

/// A register of B: [t][k % 2][even, odd columns], four columns in each row of the vector.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn columns_of_b<const BF16: bool>(plane: &Words) -> [[[__m512; 2]; 2]; 4] {
    let mut columns = [[[_mm512_setzero_ps(); 2]; 2]; 4];
    for (t, [low_half, high_half]) in columns.iter_mut().enumerate() {
        for (parity, (low_half, high_half)) in low_half.iter_mut().zip(high_half).enumerate() {
            // Rows 2t and 2t + 1 of column n are in lane 4n + t.
            let even = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 8, 16, 24));
            let index = _mm512_add_epi32(even, _mm512_set1_epi32((4 * parity + t) as i32));
            let words = _mm512_permutex2var_epi32(lanes(plane, 0), index, lanes(plane, 1));
            *low_half = low::<BF16>(words);
            *high_half = high::<BF16>(words);
        }
    }
    columns
}

/// Lane `t` of each four lanes in all four.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn broadcast_in_rows(x: __m512, t: usize) -> __m512 {
    match t {
        0 => _mm512_permute_ps::<0x00>(x),
        1 => _mm512_permute_ps::<0x55>(x),
        2 => _mm512_permute_ps::<0xaa>(x),
        _ => _mm512_permute_ps::<0xff>(x),
    }
}

/// The low element of each word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn low<const BF16: bool>(words: __m512i) -> __m512 {
    if BF16 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
    } else {
        _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words))
    }
}

/// The high element of each word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn high<const BF16: bool>(words: __m512i) -> __m512 {
    if BF16 {
        _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(!0xffff)))
    } else {
        _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(words)))
    }
}

/// Lanes 0 to 15 or 16 to 31.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn lanes(plane: &Words, quad: usize) -> __m512i {
    let sixteen: &[u32] = &plane.0[16 * quad..16 * quad + 16];
    // SAFETY: the slice is 16 words.
    unsafe { _mm512_loadu_si512(sixteen.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn put(plane: &mut Words, quad: usize, words: __m512) {
    let sixteen: &mut [u32] = &mut plane.0[16 * quad..16 * quad + 16];
    // SAFETY: the slice is 16 words.
    unsafe { _mm512_storeu_ps(sixteen.as_mut_ptr().cast(), words) }
}

/// Every NaN becomes 0x7fffffff.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn canonical(x: __m512) -> __m512 {
    let nan = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fff_ffff));
    _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), nan)
}
