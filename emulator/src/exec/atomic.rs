//! `atom` and `red`: lane by lane, in lane order; on global memory with the host's own atomics, since other CTAs run on
//! other threads.

#![allow(unsafe_code)]

use super::{
    fp,
    generic::{self, Window},
    global,
    half::{Bf16, F16, pairs},
    lane::{Mask, Registers},
    observe::{Kind, Places, Touch},
    run::Context,
    shared,
    trouble::{Outcome, Trouble},
    warp::Warp,
};
use crate::{
    check::fault::FaultKind,
    lower::program::{AtomKind, Inst, flag},
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What a 32-bit location holds afterwards (#parallel-synchronization-and-communication-instructions-atom).
fn apply32(kind: AtomKind, old: u32, b: u32, c: u32) -> u32 {
    let (signed, b_signed) = (old as i32, b as i32);
    match kind {
        AtomKind::Add => old.wrapping_add(b),
        AtomKind::AddFloat => (f32::from_bits(old) + f32::from_bits(b)).to_bits(),
        AtomKind::AddHalves => pairs(old, b, 0, |a, b, _| F16::round(F16(a).wide() + F16(b).wide()).0),
        AtomKind::AddBf16Halves => pairs(old, b, 0, |a, b, _| {
            let sum = fp::fma_to_odd(f64::from(Bf16(a).wide()), 1.0, f64::from(Bf16(b).wide()));
            Bf16::round_f64(sum).0
        }),
        AtomKind::MinUnsigned => old.min(b),
        AtomKind::MinSigned => signed.min(b_signed) as u32,
        AtomKind::MaxUnsigned => old.max(b),
        AtomKind::MaxSigned => signed.max(b_signed) as u32,
        AtomKind::And => old & b,
        AtomKind::Or => old | b,
        AtomKind::Xor => old ^ b,
        AtomKind::Exchange => b,
        AtomKind::CompareAndSwap => {
            if old == b {
                c
            } else {
                old
            }
        }
        AtomKind::Increment => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomKind::Decrement => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}

/// What a 64-bit location holds afterwards.
fn apply64(kind: AtomKind, old: u64, b: u64, c: u64) -> u64 {
    match kind {
        AtomKind::Add => old.wrapping_add(b),
        AtomKind::AddFloat => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        AtomKind::MinUnsigned => old.min(b),
        AtomKind::MinSigned => (old as i64).min(b as i64) as u64,
        AtomKind::MaxUnsigned => old.max(b),
        AtomKind::MaxSigned => (old as i64).max(b as i64) as u64,
        AtomKind::And => old & b,
        AtomKind::Or => old | b,
        AtomKind::Xor => old ^ b,
        AtomKind::Exchange => b,
        AtomKind::CompareAndSwap => {
            if old == b {
                c
            } else {
                old
            }
        }
        AtomKind::AddHalves | AtomKind::AddBf16Halves | AtomKind::Increment | AtomKind::Decrement => {
            unreachable!("the lowering lets no 64-bit {kind:?} through")
        }
    }
}

fn operands(registers: &Registers, inst: &Inst, lane: usize) -> (u64, u64) {
    let read = |slot: u16| match inst.bytes {
        4 => u64::from(registers.words[usize::from(slot)].0[lane]),
        _ => registers.doubles[usize::from(slot)].0[lane],
    };
    (read(inst.s[1]), read(inst.s[2]))
}

fn write_result(registers: &mut Registers, inst: &Inst, lane: usize, old: u64) {
    if inst.flags & flag::NO_RESULT != 0 {
        return;
    }
    match inst.bytes {
        4 => registers.words[usize::from(inst.d[0])].0[lane] = old as u32,
        _ => registers.doubles[usize::from(inst.d[0])].0[lane] = old,
    }
}

/// `atom.global`, `red.global`.
pub fn on_global(context: &mut Context, registers: &mut Registers, mask: &Mask, inst: &Inst, pc: u32) -> Outcome {
    let size = usize::from(inst.bytes);
    let hosts = global::lane_hosts(context, registers, mask, inst, pc, size, true)?;
    let kind = AtomKind::ALL[usize::from(inst.kind)];
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        let (b, c) = operands(registers, inst, lane);
        const ORDER: Ordering = Ordering::SeqCst;
        let old = if size == 4 {
            // SAFETY: `lane_hosts` found these 4 bytes inside one live allocation and aligned.
            let location = unsafe { AtomicU32::from_ptr(hosts[lane] as *mut u32) };
            let updated = location.fetch_update(ORDER, ORDER, |old| Some(apply32(kind, old, b as u32, c as u32)));
            u64::from(updated.unwrap_or_else(|old| old))
        } else {
            // SAFETY: `lane_hosts` found these 8 bytes inside one live allocation and aligned.
            let location = unsafe { AtomicU64::from_ptr(hosts[lane] as *mut u64) };
            location.fetch_update(ORDER, ORDER, |old| Some(apply64(kind, old, b, c))).unwrap_or_else(|old| old)
        };
        write_result(registers, inst, lane, old);
    }
    Ok(())
}

/// `atom.shared`, `red.shared`.
pub fn on_shared(
    context: &mut Context,
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
) -> Outcome {
    let size = usize::from(inst.bytes);
    let kind = AtomKind::ALL[usize::from(inst.kind)];
    if context.is_observed {
        shared::places(mask, inst, addresses, context.shared.len(), true)?;
        let (kind, places) = (Kind::Atomic, Places::Each(addresses));
        context.observe_shared(&Touch { kind, is_strong: true, lanes: mask.bits, bytes: size as u32, places })?;
    }
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        let address = addresses[lane] as usize;
        let trouble = |kind| Err(Trouble::access(kind, lane, "shared", true, address as u64, size));
        if !address.is_multiple_of(size) {
            return trouble(FaultKind::Misaligned);
        }
        let Some(bytes) = context.shared.get_mut(address..address + size) else {
            return trouble(FaultKind::OutOfBounds);
        };
        let (b, c) = operands(registers, inst, lane);
        let old = if size == 4 {
            let old = u32::from_le_bytes((&*bytes).try_into().expect("4 bytes"));
            bytes.copy_from_slice(&apply32(kind, old, b as u32, c as u32).to_le_bytes());
            u64::from(old)
        } else {
            let old = u64::from_le_bytes((&*bytes).try_into().expect("8 bytes"));
            bytes.copy_from_slice(&apply64(kind, old, b, c).to_le_bytes());
            old
        };
        write_result(registers, inst, lane, old);
    }
    Ok(())
}

/// `atom` and `red` without a state space; each lane's address says which it is.
pub fn on_generic(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    let pc = warp.pc;
    generic::by_window(warp, inst, |warp, window, mask, offsets| match window {
        Window::Global => on_global(context, &mut warp.registers, mask, inst, pc),
        Window::Shared => on_shared(context, &mut warp.registers, mask, inst, offsets),
        Window::Local | Window::Param => {
            let lane = mask.bits.trailing_zeros() as usize;
            let (address, size) = (u64::from(offsets[lane]), usize::from(inst.bytes));
            Err(Trouble::access(FaultKind::OutOfBounds, lane, "local", true, address, size))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap_at_their_bound() {
        assert_eq!(apply32(AtomKind::Increment, 3, 3, 0), 0);
        assert_eq!(apply32(AtomKind::Increment, 2, 3, 0), 3);
        assert_eq!(apply32(AtomKind::Decrement, 0, 3, 0), 3);
        assert_eq!(apply32(AtomKind::Decrement, 9, 3, 0), 3);
        assert_eq!(apply32(AtomKind::Decrement, 2, 3, 0), 1);
    }

    #[test]
    fn signs_and_floats() {
        assert_eq!(apply32(AtomKind::MinSigned, 1, -1i32 as u32, 0), -1i32 as u32);
        assert_eq!(apply32(AtomKind::MinUnsigned, 1, -1i32 as u32, 0), 1);
        assert_eq!(apply32(AtomKind::AddFloat, 1f32.to_bits(), 2f32.to_bits(), 0), 3f32.to_bits());
        assert_eq!(apply64(AtomKind::CompareAndSwap, 5, 5, 9), 9);
        assert_eq!(apply64(AtomKind::CompareAndSwap, 6, 5, 9), 6);
        assert_eq!(apply32(AtomKind::AddHalves, 0x3c00_4000, 0x3c00_3c00, 0), 0x4000_4200);
    }
}
