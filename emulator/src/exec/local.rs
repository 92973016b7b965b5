//! Local memory: each thread's own frame, kept word by lane, so that the same offset in all lanes is one plane.

use super::{
    lane::{Lane, Mask, Registers, Words},
    shared::Bytes,
    trouble::{Outcome, Trouble},
};
use crate::{check::fault::FaultKind, exec::global::by_shape, lower::program::Inst};

/// Each lane's address: the register plus the instruction's offset.
#[inline(always)]
pub fn addresses(registers: &Registers, inst: &Inst) -> [u32; 32] {
    let base = &registers.doubles[usize::from(inst.s[0])].0;
    let mut addresses = [0; 32];
    for lane in 0..32 {
        // Offsets past 4 GiB stay past any frame.
        let address = base[lane].wrapping_add(inst.imm as i64 as u64);
        addresses[lane] = u32::try_from(address).unwrap_or(!7);
    }
    addresses
}

/// `ld.local`.
pub fn load(frame: &[Words], registers: &mut Registers, mask: &Mask, inst: &Inst, addresses: &[u32; 32]) -> Outcome {
    by_shape!(load_elements, inst, (frame, registers, mask, inst, addresses))
}

/// `st.local`.
pub fn store(frame: &mut [Words], registers: &Registers, mask: &Mask, inst: &Inst, addresses: &[u32; 32]) -> Outcome {
    by_shape!(store_elements, inst, (frame, registers, mask, inst, addresses))
}

fn check(frame: &[Words], mask: &Mask, addresses: &[u32; 32], size: usize, is_write: bool) -> Outcome {
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        let at = addresses[lane] as usize;
        let kind = if !at.is_multiple_of(size) {
            FaultKind::Misaligned
        } else if at + size > frame.len() * 4 {
            FaultKind::OutOfBounds
        } else {
            continue;
        };
        return Err(Trouble::access(kind, lane, "local", is_write, at as u64, size));
    }
    Ok(())
}

fn load_elements<E: Bytes, const N: usize>(
    frame: &[Words],
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
) -> Outcome {
    let width = size_of::<E>();
    check(frame, mask, addresses, width * N, false)?;
    for (k, &slot) in inst.d[..N].iter().enumerate() {
        let plane = E::Register::collect(|lane| {
            let at = addresses[lane] as usize + k * width;
            let word = |i: usize| frame.get(i).map_or(0, |plane| plane.0[lane]);
            let both = u64::from(word(at / 4)) | u64::from(word(at / 4 + 1)) << 32;
            E::from_slice(&(both >> (at % 4 * 8)).to_le_bytes()[..width]).widen()
        });
        E::Register::write(registers, slot, plane, mask);
    }
    Ok(())
}

fn store_elements<E: Bytes, const N: usize>(
    frame: &mut [Words],
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
) -> Outcome {
    let width = size_of::<E>();
    check(frame, mask, addresses, width * N, true)?;
    for (k, &slot) in inst.d[..N].iter().enumerate() {
        for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
            let mut bytes = [0; 8];
            E::narrow(E::Register::get(E::Register::plane(registers, slot), lane)).to_slice(&mut bytes[..width]);
            for (i, byte) in bytes[..width].iter().enumerate() {
                let at = addresses[lane] as usize + k * width + i;
                let word = &mut frame[at / 4].0[lane];
                let shift = at % 4 * 8;
                *word = *word & !(0xff << shift) | u32::from(*byte) << shift;
            }
        }
    }
    Ok(())
}
