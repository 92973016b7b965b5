//! Global memory: loads and stores of a warp.
//!
//! Three ways, from fast to slow: all lanes read neighbouring elements (one bounds check, one copy that also turns
//! vectors into planes), all lanes read the same address, and each lane for itself. The bounds of the last allocation that
//! an instruction touched are kept beside it, since an instruction mostly walks one buffer.

#![allow(unsafe_code)]

use super::{
    lane::{Lane, Mask, Registers},
    run::Context,
    trouble::{Outcome, Trouble},
};
use crate::{
    check::fault::FaultKind,
    lower::program::{Inst, flag},
    mem::region::Region,
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// An element in memory and the lane type that its register holds.
pub trait Element: Copy {
    type Register: Lane;
    fn widen(self) -> Self::Register;
    fn narrow(register: Self::Register) -> Self;
}

macro_rules! element {
    ($($ty:ty as $register:ty;)*) => {$(
        impl Element for $ty {
            type Register = $register;
            #[inline(always)]
            fn widen(self) -> $register {
                <$register>::from(self)
            }
            #[inline(always)]
            fn narrow(register: $register) -> $ty {
                register as $ty
            }
        }
    )*};
}
element! {
    u8 as u32;
    i8 as i32;
    u16 as u32;
    i16 as i32;
    u32 as u32;
    u64 as u64;
}

/// Calls `$function::<element, n, ...>` for the instruction's element type and vector length.
macro_rules! by_shape {
    ($function:ident, $inst:expr, $args:tt $(, $check:ident)?) => {
        match ($inst.bytes, $inst.n, $inst.flags & flag::SIGNED != 0) {
            (1, 1, false) => by_shape!(@ $function::<u8, 1 $(, $check)?> $args),
            (1, 2, false) => by_shape!(@ $function::<u8, 2 $(, $check)?> $args),
            (1, 4, false) => by_shape!(@ $function::<u8, 4 $(, $check)?> $args),
            (1, 1, true) => by_shape!(@ $function::<i8, 1 $(, $check)?> $args),
            (1, 2, true) => by_shape!(@ $function::<i8, 2 $(, $check)?> $args),
            (1, 4, true) => by_shape!(@ $function::<i8, 4 $(, $check)?> $args),
            (2, 1, false) => by_shape!(@ $function::<u16, 1 $(, $check)?> $args),
            (2, 2, false) => by_shape!(@ $function::<u16, 2 $(, $check)?> $args),
            (2, 4, false) => by_shape!(@ $function::<u16, 4 $(, $check)?> $args),
            (2, 1, true) => by_shape!(@ $function::<i16, 1 $(, $check)?> $args),
            (2, 2, true) => by_shape!(@ $function::<i16, 2 $(, $check)?> $args),
            (2, 4, true) => by_shape!(@ $function::<i16, 4 $(, $check)?> $args),
            (4, 1, _) => by_shape!(@ $function::<u32, 1 $(, $check)?> $args),
            (4, 2, _) => by_shape!(@ $function::<u32, 2 $(, $check)?> $args),
            (4, 4, _) => by_shape!(@ $function::<u32, 4 $(, $check)?> $args),
            (8, 1, _) => by_shape!(@ $function::<u64, 1 $(, $check)?> $args),
            (8, 2, _) => by_shape!(@ $function::<u64, 2 $(, $check)?> $args),
            (bytes, n, _) => unreachable!("the lowering lets no access of {n} x {bytes} bytes through"),
        }
    };
    (@ $function:ident::<$($generic:tt),*> ($($arg:expr),*)) => { $function::<$($generic),*>($($arg),*) };
}
pub(crate) use by_shape;

/// Lane `l` is at `base + l * stride`?
#[inline(always)]
fn is_contiguous(addresses: &[u64; 32], stride: u64) -> bool {
    let mut difference = 0;
    for (lane, address) in addresses.iter().enumerate() {
        difference |= address ^ addresses[0].wrapping_add(stride * lane as u64);
    }
    difference == 0
}

#[inline(always)]
fn is_uniform(addresses: &[u64; 32]) -> bool {
    let mut difference = 0;
    for address in addresses {
        difference |= address ^ addresses[0];
    }
    difference == 0
}

/// The host address of `bytes` bytes at a device address, if they are all inside one live allocation.
#[inline(always)]
fn locate(context: &mut Context, pc: u32, address: u64, bytes: u64) -> Option<u64> {
    let Region { start, end, host, .. } = context.nearby[pc as usize];
    if address >= start && address < end && bytes <= end - address {
        return Some(host + (address - start));
    }
    locate_slowly(context, pc, address, bytes)
}

#[inline(never)]
fn locate_slowly(context: &mut Context, pc: u32, address: u64, bytes: u64) -> Option<u64> {
    let region = *context.regions.find(address)?;
    context.nearby[pc as usize] = region;
    (bytes <= region.end - address).then(|| region.host + (address - region.start))
}

/// `ld.global`.
#[inline(always)]
pub fn load<const CHECK: bool>(
    context: &mut Context,
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
) -> Outcome {
    by_shape!(load_elements, inst, (context, registers, mask, inst, pc), CHECK)
}

/// `st.global`.
#[inline(always)]
pub fn store<const CHECK: bool>(
    context: &mut Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
) -> Outcome {
    by_shape!(store_elements, inst, (context, registers, mask, inst, pc), CHECK)
}

#[inline(always)]
fn load_elements<E: Element, const N: usize, const CHECK: bool>(
    context: &mut Context,
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
) -> Outcome {
    let size = (size_of::<E>() * N) as u64;
    let addresses = &registers.doubles[usize::from(inst.s[0])].0;
    let base = addresses[0].wrapping_add(inst.imm as i64 as u64);
    let is_plain = mask.bits == !0 && base.is_multiple_of(size) && inst.flags & flag::STRONG == 0;
    if is_plain && is_contiguous(addresses, size) {
        if let Some(host) = locate(context, pc, base, 32 * size) {
            if CHECK {
                context.counters.count_contiguous(base, 32 * size);
            }
            let from = host as *const E;
            for (k, &slot) in inst.d[..N].iter().enumerate() {
                // SAFETY: `locate` found all 32 * N elements inside one live allocation; the address is aligned.
                let plane = E::Register::collect(|lane| unsafe { from.add(lane * N + k).read() }.widen());
                E::Register::write(registers, slot, plane, &Mask::ALL);
            }
            return Ok(());
        }
    } else if is_plain && is_uniform(addresses) {
        if let Some(host) = locate(context, pc, base, size) {
            if CHECK {
                context.counters.count_contiguous(base, size);
            }
            let from = host as *const E;
            for (k, &slot) in inst.d[..N].iter().enumerate() {
                // SAFETY: `locate` found all N elements inside one live allocation; the address is aligned.
                let value = unsafe { from.add(k).read() }.widen();
                E::Register::write(registers, slot, E::Register::collect(|_| value), &Mask::ALL);
            }
            return Ok(());
        }
    }
    load_lanes::<E, N, CHECK>(context, registers, mask, inst, pc)
}

#[inline(never)]
fn load_lanes<E: Element, const N: usize, const CHECK: bool>(
    context: &mut Context,
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
) -> Outcome {
    let hosts = lane_hosts::<CHECK>(context, registers, mask, inst, pc, size_of::<E>() * N, false)?;
    let is_strong = inst.flags & flag::STRONG != 0;
    for (k, &slot) in inst.d[..N].iter().enumerate() {
        let plane = E::Register::collect(|lane| {
            if mask.bits >> lane & 1 == 0 {
                // SAFETY: all zeros are a value of every integer type.
                return unsafe { std::mem::zeroed::<E>() }.widen();
            }
            let from = (hosts[lane] as *const E).wrapping_add(k);
            // SAFETY: `lane_hosts` found the lane's N elements inside one live allocation and aligned.
            if is_strong { unsafe { read_strong(from) } } else { unsafe { from.read() } }.widen()
        });
        E::Register::write(registers, slot, plane, mask);
    }
    Ok(())
}

#[inline(always)]
fn store_elements<E: Element, const N: usize, const CHECK: bool>(
    context: &mut Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
) -> Outcome {
    let size = (size_of::<E>() * N) as u64;
    let addresses = &registers.doubles[usize::from(inst.s[0])].0;
    let base = addresses[0].wrapping_add(inst.imm as i64 as u64);
    let is_plain = mask.bits == !0 && base.is_multiple_of(size) && inst.flags & flag::STRONG == 0;
    if is_plain
        && is_contiguous(addresses, size)
        && let Some(host) = locate(context, pc, base, 32 * size)
    {
        if CHECK {
            context.counters.count_contiguous(base, 32 * size);
        }
        let to = host as *mut E;
        for (k, &slot) in inst.d[..N].iter().enumerate() {
            let plane = E::Register::plane(registers, slot);
            for lane in 0..32 {
                // SAFETY: `locate` found all 32 * N elements inside one live allocation; the address is aligned.
                unsafe { to.add(lane * N + k).write(E::narrow(E::Register::get(plane, lane))) };
            }
        }
        return Ok(());
    }
    store_lanes::<E, N, CHECK>(context, registers, mask, inst, pc)
}

#[inline(never)]
fn store_lanes<E: Element, const N: usize, const CHECK: bool>(
    context: &mut Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
) -> Outcome {
    let hosts = lane_hosts::<CHECK>(context, registers, mask, inst, pc, size_of::<E>() * N, true)?;
    let is_strong = inst.flags & flag::STRONG != 0;
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        for (k, &slot) in inst.d[..N].iter().enumerate() {
            let value = E::narrow(E::Register::get(E::Register::plane(registers, slot), lane));
            let to = (hosts[lane] as *mut E).wrapping_add(k);
            // SAFETY: `lane_hosts` found the lane's N elements inside one live allocation and aligned.
            if is_strong { unsafe { write_strong(to, value) } } else { unsafe { to.write(value) } }
        }
    }
    Ok(())
}

/// The host address of each active lane's `size` bytes, checked.
#[inline(never)]
pub fn lane_hosts<const CHECK: bool>(
    context: &mut Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
    size: usize,
    is_write: bool,
) -> Result<[u64; 32], Box<Trouble>> {
    let mut hosts = [0; 32];
    let mut touched = [0; 32];
    let mut n_touched = 0;
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        let address = registers.doubles[usize::from(inst.s[0])].0[lane].wrapping_add(inst.imm as i64 as u64);
        if !address.is_multiple_of(size as u64) {
            return Err(Trouble::access(FaultKind::Misaligned, lane, "global", is_write, address, size));
        }
        let Some(host) = locate(context, pc, address, size as u64) else {
            return Err(Trouble::access(FaultKind::OutOfBounds, lane, "global", is_write, address, size));
        };
        hosts[lane] = host;
        touched[n_touched] = address;
        n_touched += 1;
    }
    if CHECK {
        context.counters.count_scattered(&mut touched[..n_touched], size as u64);
    }
    Ok(hosts)
}

/// A load that another CTA's store may race with.
///
/// # Safety
/// `from` is aligned and inside a live allocation.
#[inline(always)]
unsafe fn read_strong<E: Copy>(from: *const E) -> E {
    // SAFETY: the caller's promise; an atomic of the same size has the same layout, and the copy is of that size.
    unsafe {
        match size_of::<E>() {
            4 => std::mem::transmute_copy(&AtomicU32::from_ptr(from as *mut u32).load(Ordering::SeqCst)),
            8 => std::mem::transmute_copy(&AtomicU64::from_ptr(from as *mut u64).load(Ordering::SeqCst)),
            _ => from.read_volatile(),
        }
    }
}

/// A store that another CTA's load may race with.
///
/// # Safety
/// `to` is aligned and inside a live allocation.
#[inline(always)]
unsafe fn write_strong<E: Copy>(to: *mut E, value: E) {
    // SAFETY: the caller's promise; an atomic of the same size has the same layout, and the copy is of that size.
    unsafe {
        match size_of::<E>() {
            4 => AtomicU32::from_ptr(to as *mut u32).store(std::mem::transmute_copy(&value), Ordering::SeqCst),
            8 => AtomicU64::from_ptr(to as *mut u64).store(std::mem::transmute_copy(&value), Ordering::SeqCst),
            _ => to.write_volatile(value),
        }
    }
}
