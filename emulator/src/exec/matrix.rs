//! `ldmatrix`, `stmatrix` and `movmatrix`: 8 x 8 matrices of 16-bit elements between shared memory and fragments
//! (#warp-level-matrix-instructions-ldmatrix).
//!
//! A matrix in a register: lane 4g + t holds row g, columns 2t (low half) and 2t + 1. In shared memory its rows are 16
//! bytes each, anywhere: lane 8i + g has the address of row g of matrix i.

use super::{
    lane::{Lane, Registers, Words},
    observe::{Kind, Places, Touch},
    run::Context,
    shared,
    trouble::{Outcome, Trouble},
};
use crate::{
    check::fault::FaultKind,
    lower::program::{Inst, flag},
};

/// Bytes of a row.
const ROW: usize = 16;

/// The addresses of all rows, checked: lane l has row l % 8 of matrix l / 8. The lanes past the last row don't count.
#[inline(always)]
fn rows(context: &mut Context, registers: &Registers, inst: &Inst, is_write: bool) -> Result<[u32; 32], Box<Trouble>> {
    let addresses = shared::addresses(registers, inst);
    let n_rows = 8 * usize::from(inst.n);
    let last = context.shared.len().saturating_sub(ROW) as u32;
    let mut wrong = 0;
    for (lane, address) in addresses.iter().enumerate() {
        let is_row = 0u32.wrapping_sub(u32::from(lane < n_rows));
        wrong |= is_row & ((address % ROW as u32) | u32::from(*address > last));
    }
    if wrong != 0 || context.shared.len() < ROW {
        check_rows(context, &addresses[..n_rows], is_write)?;
    }
    if context.is_observed {
        observe(context, &addresses, n_rows, is_write)?;
    }
    Ok(addresses)
}

#[inline(never)]
fn check_rows(context: &Context, addresses: &[u32], is_write: bool) -> Outcome {
    for (lane, &address) in addresses.iter().enumerate() {
        let at = address as usize;
        let kind = if !at.is_multiple_of(ROW) {
            FaultKind::Misaligned
        } else if at + ROW > context.shared.len() {
            FaultKind::OutOfBounds
        } else {
            continue;
        };
        return Err(Trouble::access(kind, lane, "shared", is_write, u64::from(address), ROW));
    }
    Ok(())
}

#[inline(never)]
fn observe(context: &mut Context, addresses: &[u32; 32], n_rows: usize, is_write: bool) -> Outcome {
    let kind = if is_write { Kind::Store } else { Kind::Load };
    let (lanes, places) = (!0 >> (32 - n_rows), Places::Each(addresses));
    context.observe_shared(&Touch { kind, is_strong: false, lanes, bytes: ROW as u32, places })
}

/// `ldmatrix` by all lanes. d = a register for each of `inst.n` matrices, s = address.
#[inline(always)]
pub fn load(context: &mut Context, registers: &mut Registers, inst: &Inst) -> Outcome {
    let addresses = rows(context, registers, inst, false)?;
    let shared = &context.shared[..];
    for matrix in 0..usize::from(inst.n) {
        let mut plane = [0; 32];
        for row in 0..8 {
            let bytes = &shared[addresses[8 * matrix + row] as usize..][..ROW];
            for word in 0..4 {
                plane[4 * row + word] = u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[4 * word + byte]));
            }
        }
        if inst.flags & flag::TRANSPOSE != 0 {
            plane = transposed(&plane);
        }
        registers.words[usize::from(inst.d[matrix])] = Words(plane);
    }
    Ok(())
}

/// `stmatrix` by all lanes. d = a register for each of `inst.n` matrices, s = address.
pub fn store(context: &mut Context, registers: &Registers, inst: &Inst) -> Outcome {
    let rows = rows(context, registers, inst, true)?;
    for (rows, &slot) in rows.chunks_exact(8).zip(&inst.d[..usize::from(inst.n)]) {
        let plane = u32::plane(registers, slot);
        let plane = if inst.flags & flag::TRANSPOSE != 0 { transposed(plane) } else { *plane };
        for (words, &row) in plane.chunks_exact(4).zip(rows) {
            let bytes = &mut context.shared[row as usize..][..ROW];
            for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    Ok(())
}

/// `movmatrix.trans` by all lanes.
pub fn transpose(registers: &mut Registers, inst: &Inst) {
    let plane = transposed(u32::plane(registers, inst.s[0]));
    registers.words[usize::from(inst.d[0])] = Words(plane);
}

/// Columns become rows.
#[inline(always)]
fn transposed(plane: &[u32; 32]) -> [u32; 32] {
    // Rows 2t and 2t + 1 side by side: [t][column], the pairs of lane (column, t).
    let mut pairs = [[0; 8]; 4];
    for (t, pairs) in pairs.iter_mut().enumerate() {
        for i in 0..4 {
            let (upper, lower) = (plane[8 * t + i], plane[8 * t + 4 + i]);
            pairs[2 * i] = upper & 0xffff | lower << 16;
            pairs[2 * i + 1] = upper >> 16 | lower & 0xffff_0000;
        }
    }
    std::array::from_fn(|lane| pairs[lane % 4][lane / 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_swaps_row_and_column() {
        let element = |row: usize, column: usize| (row * 16 + column) as u32;
        let plane = std::array::from_fn(|lane| {
            let (g, t) = (lane / 4, lane % 4);
            element(g, 2 * t) | element(g, 2 * t + 1) << 16
        });
        for (lane, word) in transposed(&plane).into_iter().enumerate() {
            let (g, t) = (lane / 4, lane % 4);
            assert_eq!(word, element(2 * t, g) | element(2 * t + 1, g) << 16);
        }
        assert_eq!(transposed(&transposed(&plane)), plane);
    }
}
