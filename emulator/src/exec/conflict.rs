//! Lanes of one store instruction that store different values to one address: the PTX ISA does not say which stays.

use super::{
    lane::{Mask, Registers},
    observe::At,
    trouble::{Other, Outcome, Trouble},
};
use crate::{check::fault::FaultKind, lower::program::Inst};

/// Checks a store to `addresses`, which are aligned to its size.
pub fn check<A: Copy + Ord + Into<u64>>(
    at: At,
    space: &'static str,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[A; 32],
) -> Outcome {
    let lanes = || (0..32).filter(|lane| mask.bits >> lane & 1 == 1);
    if lanes().zip(lanes().skip(1)).all(|(lane, next)| addresses[lane] < addresses[next]) {
        return Ok(());
    }
    let mut by_address: Vec<usize> = lanes().collect();
    by_address.sort_by_key(|&lane| addresses[lane]);
    for pair in by_address.windows(2) {
        let [lane, other] = *pair else { continue };
        let is_same =
            (0..usize::from(inst.n)).all(|k| value(registers, inst, lane, k) == value(registers, inst, other, k));
        if addresses[lane] == addresses[other] && !is_same {
            let (address, bytes) = (addresses[lane].into(), usize::from(inst.bytes * inst.n));
            let mut trouble = Trouble::access(FaultKind::ConflictingStores, lane, space, true, address, bytes);
            trouble.other = Some(Other { is_write: true, cta: at.cta, thread: at.thread(other), pc: at.pc });
            return Err(trouble);
        }
    }
    Ok(())
}

/// What a lane stores as element `k`.
fn value(registers: &Registers, inst: &Inst, lane: usize, k: usize) -> u64 {
    let slot = usize::from(inst.d[k]);
    match inst.bytes {
        8 => registers.doubles[slot].0[lane],
        bytes => u64::from(registers.words[slot].0[lane]) & ((1 << (8 * bytes)) - 1),
    }
}
