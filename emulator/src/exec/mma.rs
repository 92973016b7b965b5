//! `mma`: the product of small matrices whose elements are spread over the lanes of a warp
//! (#warp-level-matrix-instructions-mma).
//!
//! The fragments of all shapes follow one rule. With g = lane / 4, t = lane % 4, and p elements in a register (two f16,
//! four bytes, one f64):
//!
//! ```text
//! A [rows, depth]   register r: row g + 8 * (r % (rows / 8)), columns p * (4 * (r / (rows / 8)) + t) and p - 1 more
//! B [depth, 8]      register r: rows p * (4 * r + t) and p - 1 more, column g
//! C, D [rows, 8]    registers 2i, 2i + 1: row g + 8i, columns 2t and 2t + 1; f16 have both in register i
//! ```
//!
//! Numerics. Tensor cores align and truncate in ways that differ between generations. Here each element of D is a chain
//! of fused multiply-adds that starts from C and goes up in k: in f64 for f64 factors, in f32 for the other floats (then
//! rounded once where D is f16), exact for integers, whose sum is added to C last, wrapping or saturating. tf32 factors
//! lose their low 13 bits. Subnormals are kept. A NaN is 0x7fffffff, 0x7fff in f16 and 0x7ff8000000000000 in f64. The
//! three builds give the same bits.

#![allow(unsafe_code)]

pub mod portable;
#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(test)]
mod tests;

use super::lane::{Registers, Words};
use crate::lower::program::{Factor, Inst, flag};
use portable::Shape;

/// The fragments of a 16-row product of f16 or bf16 that adds to f32.
pub struct Fragments<'r> {
    pub is_bf16: bool,
    /// Registers of B: 2 for a depth of 16, 1 for a depth of 8.
    pub n_k: usize,
    /// The first `2 * n_k` count.
    pub a: [&'r Words; 4],
    /// The first `n_k` count.
    pub b: [&'r Words; 2],
    pub c: [&'r Words; 4],
}

/// Gives the registers of D for such a product.
///
/// # Safety
/// The CPU must have the features that the function was built for.
pub type Halves = unsafe fn(&Fragments, &mut [Words; 4]);

/// Runs an `mma` of all lanes. Its sources are A's registers, B's and C's in `operands`, from `inst.imm` on; `inst.bytes`
/// is the number of rows, `inst.n` B's number of registers. `product` is room for D.
///
/// # Safety
/// The CPU must have the features that `halves` was built for.
#[inline(always)]
pub unsafe fn run(registers: &mut Registers, inst: &Inst, operands: &[u16], product: &mut [Words; 4], halves: Halves) {
    let (a, b) = Factor::pair(inst.kind);
    let shape = Shape { n_row_blocks: usize::from(inst.bytes / 8), n_k: usize::from(inst.n) };
    let (left, rest) = operands[inst.imm as usize..].split_at(shape.n_row_blocks * shape.n_k);
    let (right, addend) = rest.split_at(shape.n_k);
    if a == Factor::F64 {
        return portable::doubles(registers, shape, inst.d, left, right, addend);
    }
    let words = |slot: &u16| &registers.words[usize::from(*slot)];
    let all = |slots: &[u16]| std::array::from_fn::<&Words, 4, _>(|i| words(&slots[i.min(slots.len() - 1)]));
    if matches!(a, Factor::F16 | Factor::Bf16) && shape.n_row_blocks == 2 && inst.flags & flag::HALVES == 0 {
        let (a_planes, [b0, b1, ..]) = (all(left), all(right));
        let is_bf16 = a == Factor::Bf16;
        let fragments = Fragments { is_bf16, n_k: shape.n_k, a: a_planes, b: [b0, b1], c: all(&addend[..4]) };
        // SAFETY: the caller's promise.
        unsafe { halves(&fragments, product) };
        for (plane, slot) in product.iter().zip(inst.d) {
            registers.words[usize::from(slot)] = *plane;
        }
        return;
    }
    let d = match a {
        Factor::F16 | Factor::Bf16 | Factor::Tf32 | Factor::E4m3 | Factor::E5m2 => {
            let is_half = inst.flags & flag::HALVES != 0;
            let c = all(&addend[..shape.n_row_blocks * if is_half { 1 } else { 2 }]);
            portable::floats(shape, (a, b), is_half, &all(left), &all(right), &c)
        }
        _ => {
            let saturates = inst.flags & flag::SATURATE != 0;
            let c = all(&addend[..shape.n_row_blocks * 2]);
            portable::integers(shape, (a, b), saturates, &all(left), &all(right), &c)
        }
    };
    let n_results = if inst.flags & flag::HALVES != 0 { shape.n_row_blocks } else { 2 * shape.n_row_blocks };
    for (plane, &slot) in d.into_iter().zip(&inst.d[..n_results]) {
        registers.words[usize::from(slot)] = plane;
    }
}
