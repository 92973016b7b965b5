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
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// What a 32-bit location holds afterwards (#parallel-synchronization-and-communication-instructions-atom). A 16-bit
/// one is its low half, with zeros above.
fn apply32(kind: AtomKind, old: u32, b: u32, c: u32) -> u32 {
    let (signed, b_signed) = (old as i32, b as i32);
    let halves = |f: fn(f32, f32) -> f32| pairs(old, b, 0, |a, b, _| F16::round(f(F16(a).wide(), F16(b).wide())).0);
    let bf16_halves =
        |f: fn(f32, f32) -> f32| pairs(old, b, 0, |a, b, _| Bf16::round(f(Bf16(a).wide(), Bf16(b).wide())).0);
    match kind {
        AtomKind::Add => old.wrapping_add(b),
        AtomKind::AddFloat => (f32::from_bits(old) + f32::from_bits(b)).to_bits(),
        AtomKind::AddFlushed => {
            let sum = fp::ftz(f32::from_bits(old)) + fp::ftz(f32::from_bits(b));
            fp::ftz(sum).to_bits()
        }
        AtomKind::AddHalves => halves(|a, b| a + b),
        AtomKind::AddBf16Halves => pairs(old, b, 0, |a, b, _| {
            let sum = fp::fma_to_odd(f64::from(Bf16(a).wide()), 1.0, f64::from(Bf16(b).wide()));
            Bf16::round_f64(sum).0
        }),
        AtomKind::MinHalves => halves(fp::min),
        AtomKind::MaxHalves => halves(fp::max),
        AtomKind::MinBf16Halves => bf16_halves(fp::min),
        AtomKind::MaxBf16Halves => bf16_halves(fp::max),
        AtomKind::MinUnsigned => old.min(b),
        AtomKind::MinSigned => signed.min(b_signed) as u32,
        AtomKind::MaxUnsigned => old.max(b),
        AtomKind::MaxSigned => signed.max(b_signed) as u32,
        AtomKind::And => old & b,
        AtomKind::Or => old | b,
        AtomKind::Xor => old ^ b,
        AtomKind::Exchange => b,
        AtomKind::CompareAndSwap if old == b => c,
        AtomKind::CompareAndSwap => old,
        AtomKind::Increment if old >= b => 0,
        AtomKind::Increment => old + 1,
        AtomKind::Decrement if old == 0 || old > b => b,
        AtomKind::Decrement => old - 1,
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
        AtomKind::CompareAndSwap if old == b => c,
        AtomKind::CompareAndSwap => old,
        _ => unreachable!("the lowering lets no 64-bit {kind:?} through"),
    }
}

/// What a location of `bytes` bytes holds afterwards.
fn apply(kind: AtomKind, bytes: usize, old: u64, b: u64, c: u64) -> u64 {
    if bytes == 8 { apply64(kind, old, b, c) } else { apply32(kind, old as u32, b as u32, c as u32).into() }
}

/// `atom` on global memory: the old value.
///
/// # Safety
/// `host` is the address of `bytes` bytes, aligned, that live as long as the call.
unsafe fn update(host: u64, kind: AtomKind, bytes: usize, b: u64, c: u64) -> u64 {
    macro_rules! on {
        ($atomic:ty, $word:ty) => {{
            // SAFETY: the caller's promise.
            let location = unsafe { <$atomic>::from_ptr(host as *mut $word) };
            let next = |old: $word| Some(apply(kind, bytes, old.into(), b, c) as $word);
            let updated = location.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
            u64::from(updated.unwrap_or_else(|old| old))
        }};
    }
    match bytes {
        2 => on!(AtomicU16, u16),
        4 => on!(AtomicU32, u32),
        _ => on!(AtomicU64, u64),
    }
}

fn operands(registers: &Registers, inst: &Inst, lane: usize) -> (u64, u64) {
    let read = |slot: u16| match inst.bytes {
        2 => u64::from(registers.words[usize::from(slot)].0[lane] as u16),
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
        2 | 4 => registers.words[usize::from(inst.d[0])].0[lane] = old as u32,
        _ => registers.doubles[usize::from(inst.d[0])].0[lane] = old,
    }
}

/// `atom.global`, `red.global`.
pub fn on_global(context: &mut Context, registers: &mut Registers, mask: &Mask, inst: &Inst, pc: u32) -> Outcome {
    let size = usize::from(inst.bytes);
    let hosts = global::lane_hosts(context, registers, mask, inst, pc, size, true)?;
    let kind = match AtomKind::ALL[usize::from(inst.kind)] {
        // The ISA: `add.f32` flushes subnormals in global memory, and keeps them in shared memory.
        AtomKind::AddFloat if size == 4 => AtomKind::AddFlushed,
        kind => kind,
    };
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        let (b, c) = operands(registers, inst, lane);
        // SAFETY: `lane_hosts` found these bytes inside one live allocation and aligned.
        let old = unsafe { update(hosts[lane], kind, size, b, c) };
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
        let mut whole = [0; 8];
        whole[..size].copy_from_slice(bytes);
        let old = u64::from_le_bytes(whole);
        bytes.copy_from_slice(&apply(kind, size, old, b, c).to_le_bytes()[..size]);
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
