//! Shared memory: loads and stores of a warp. Addresses are offsets in the CTA's shared memory.

#![allow(unsafe_code)]

use super::{
    conflict, deal,
    lane::{Lane, Mask, Registers},
    observe::{Kind, Places, Touch},
    run::Context,
    trouble::{Outcome, Trouble},
    vectors::{Element, elements_of, planes, write_planes},
};
use crate::{
    check::fault::FaultKind,
    exec::global::{by_fast_shape, by_shape},
    lower::program::{Inst, flag},
};
use std::hint::black_box;

/// An element as little-endian bytes.
pub trait Bytes: Element {
    fn from_slice(bytes: &[u8]) -> Self;
    fn to_slice(self, bytes: &mut [u8]);
}

macro_rules! bytes {
    ($($ty:ty),*) => {$(
        impl Bytes for $ty {
            #[inline(always)]
            fn from_slice(bytes: &[u8]) -> $ty {
                <$ty>::from_le_bytes(bytes.try_into().expect("the slice has the element's size"))
            }
            #[inline(always)]
            fn to_slice(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
bytes!(u8, u16, u32, u64);

/// Each lane's address: the register plus the instruction's offset.
#[inline(always)]
pub fn addresses(registers: &Registers, inst: &Inst) -> [u32; 32] {
    let base = &registers.words[usize::from(inst.s[0])].0;
    let mut addresses = [0; 32];
    for lane in 0..32 {
        addresses[lane] = base[lane].wrapping_add(inst.imm as u32);
    }
    addresses
}

/// Reports an access, unless it is one to the parameter block, which nobody writes.
#[inline(always)]
fn observe(context: &mut Context, kind: Kind, mask: &Mask, inst: &Inst, places: Places<u32>) -> Outcome {
    if context.is_in_params {
        return Ok(());
    }
    let (is_strong, bytes) = (inst.flags & flag::STRONG != 0, u32::from(inst.bytes) * u32::from(inst.n));
    context.observe_shared(&Touch { kind, is_strong, lanes: mask.bits, bytes, places })
}

/// `ld.shared`.
#[inline(always)]
pub fn load(
    context: &mut Context,
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
) -> Outcome {
    if by_fast_shape!(load_together, inst, (context, registers, mask, inst, addresses))? {
        return Ok(());
    }
    load_lanes(context, registers, mask, inst, addresses)
}

/// `st.shared`.
#[inline(always)]
pub fn store(context: &mut Context, registers: &Registers, mask: &Mask, inst: &Inst, addresses: &[u32; 32]) -> Outcome {
    if by_fast_shape!(store_together, inst, (context, registers, mask, inst, addresses))? {
        return Ok(());
    }
    store_lanes(context, registers, mask, inst, addresses)
}

/// The 32 elements of `size` bytes at lane 0's address, if all lanes run and read neighbours.
#[inline(always)]
fn contiguous(mask: &Mask, addresses: &[u32; 32], size: usize, n_shared: usize) -> Option<std::ops::Range<usize>> {
    // If the compiler knew that the first difference is zero, it would not compute it, and 31 make bad vectors.
    let (mut difference, first) = (0, black_box(addresses[0]));
    for (lane, address) in addresses.iter().enumerate() {
        difference |= address ^ first.wrapping_add((size * lane) as u32);
    }
    let start = addresses[0] as usize;
    let is_whole = difference == 0 && mask.bits == !0 && start.is_multiple_of(size) && start + 32 * size <= n_shared;
    is_whole.then(|| start..start + 32 * size)
}

/// The places of 32 elements of `size` bytes when all lanes run and each place is aligned and inside.
#[inline(always)]
fn all_inside(mask: &Mask, addresses: &[u32; 32], size: usize, n_shared: usize) -> bool {
    let Some(last) = n_shared.checked_sub(size) else { return false };
    // Flags and no maximum: the compiler makes vectors of this loop, but not of that one.
    let (mut bits, mut is_outside) = (0, 0);
    for &address in addresses {
        bits |= address;
        is_outside |= u32::from(address > last as u32);
    }
    mask.bits == !0 && bits as usize & (size - 1) == 0 && is_outside == 0
}

/// The place of one element, checked.
#[inline(always)]
fn place(address: u32, size: usize, lane: usize, n_shared: usize, is_write: bool) -> Result<usize, Box<Trouble>> {
    let at = address as usize;
    let kind = if !at.is_multiple_of(size) {
        FaultKind::Misaligned
    } else if at + size > n_shared {
        FaultKind::OutOfBounds
    } else {
        return Ok(at);
    };
    Err(Trouble::access(kind, lane, "shared", is_write, u64::from(address), size))
}

/// All lanes at once; false if one is missing or wrong.
#[inline(always)]
fn load_together<E: Bytes, const N: usize>(
    context: &mut Context,
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
) -> Result<bool, Box<Trouble>> {
    let (width, size) = (size_of::<E>(), size_of::<E>() * N);
    if let Some(range) = contiguous(mask, addresses, size, context.shared.len()) {
        if context.is_observed {
            observe(context, Kind::Load, mask, inst, Places::Row(addresses[0]))?;
        }
        let bytes = &context.shared[range.start..][..32 * size];
        if (width, N) == (4, 4) {
            // SAFETY: these are the bytes of 32 vectors.
            unsafe { context.engine.deal(registers, &inst.d, &deal::row(bytes.as_ptr())) };
            return Ok(true);
        }
        let planes = planes::<E, N>(|lane, k| E::from_slice(&bytes[(lane * N + k) * width..][..width]));
        write_planes(registers, inst, &planes);
        return Ok(true);
    }
    if !all_inside(mask, addresses, size, context.shared.len()) {
        return Ok(false);
    }
    if context.is_observed {
        let is_same = addresses.iter().all(|it| *it == addresses[0]);
        let places = if is_same { Places::Same(addresses[0]) } else { Places::Each(addresses) };
        observe(context, Kind::Load, mask, inst, places)?;
    }
    let shared = &context.shared[..];
    if (width, N) == (4, 4) {
        let places = std::array::from_fn(|lane| shared.as_ptr().wrapping_add(addresses[lane] as usize));
        // SAFETY: `all_inside` found the 16 bytes of each lane inside.
        unsafe { context.engine.deal(registers, &inst.d, &places) };
        return Ok(true);
    }
    for (k, &slot) in inst.d[..N].iter().enumerate() {
        let at = |lane: usize| addresses[lane] as usize + k * width;
        let plane = E::Register::collect(|lane| E::from_slice(&shared[at(lane)..at(lane) + width]).widen());
        E::Register::write(registers, slot, plane, &Mask::ALL);
    }
    Ok(true)
}

/// All lanes that take part, from the instruction's own offset; false if that is not inside or not aligned.
pub fn load_same<E: Bytes, const N: usize>(bytes: &[u8], registers: &mut Registers, mask: &Mask, inst: &Inst) -> bool {
    let (width, at) = (size_of::<E>(), inst.imm as u32 as usize);
    let size = width * N;
    let Some(bytes) = bytes.get(at..at + size).filter(|_| at.is_multiple_of(size)) else { return false };
    for (k, &slot) in inst.d[..N].iter().enumerate() {
        let value = E::from_slice(&bytes[k * width..][..width]).widen();
        E::Register::write(registers, slot, E::Register::collect(|_| value), mask);
    }
    true
}

/// All lanes, to neighbouring places; false if that is not how it is.
#[inline(always)]
fn store_together<E: Bytes, const N: usize>(
    context: &mut Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
) -> Result<bool, Box<Trouble>> {
    let (width, size) = (size_of::<E>(), size_of::<E>() * N);
    let Some(range) = contiguous(mask, addresses, size, context.shared.len()) else { return Ok(false) };
    if context.is_observed {
        observe(context, Kind::Store, mask, inst, Places::Row(addresses[0]))?;
    }
    let bytes = &mut context.shared[range.start..][..32 * size];
    let elements = elements_of::<E, N>(registers, inst);
    for lane in 0..32 {
        for k in 0..N {
            elements[lane][k].to_slice(&mut bytes[(lane * N + k) * width..][..width]);
        }
    }
    Ok(true)
}

/// The place of each active lane's element, checked.
pub fn places(
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
    n_shared: usize,
    is_write: bool,
) -> Result<[usize; 32], Box<Trouble>> {
    let size = usize::from(inst.bytes * inst.n);
    let mut places = [usize::MAX; 32];
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        places[lane] = place(addresses[lane], size, lane, n_shared, is_write)?;
    }
    Ok(places)
}

#[inline(never)]
fn load_lanes(
    context: &mut Context,
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
) -> Outcome {
    let places = places(mask, inst, addresses, context.shared.len(), false)?;
    if context.is_observed {
        observe(context, Kind::Load, mask, inst, Places::Each(addresses))?;
    }
    by_shape!(read_lanes, inst, (&context.shared, registers, mask, inst, &places));
    Ok(())
}

fn read_lanes<E: Bytes, const N: usize>(
    shared: &[u8],
    registers: &mut Registers,
    mask: &Mask,
    inst: &Inst,
    places: &[usize; 32],
) {
    let width = size_of::<E>();
    for (k, &slot) in inst.d[..N].iter().enumerate() {
        let plane = E::Register::collect(|lane| {
            let bytes = shared.get(places[lane].wrapping_add(k * width)..).and_then(|it| it.get(..width));
            E::from_slice(bytes.unwrap_or(&[0; 8][..width])).widen()
        });
        E::Register::write(registers, slot, plane, mask);
    }
}

#[inline(never)]
fn store_lanes(
    context: &mut Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    addresses: &[u32; 32],
) -> Outcome {
    let places = places(mask, inst, addresses, context.shared.len(), true)?;
    if context.is_observed {
        observe(context, Kind::Store, mask, inst, Places::Each(addresses))?;
    }
    if context.shared_checks.is_some() {
        conflict::check(context.at, "shared", registers, mask, inst, addresses)?;
    }
    by_shape!(write_lanes, inst, (&mut context.shared, registers, mask, inst, &places));
    Ok(())
}

fn write_lanes<E: Bytes, const N: usize>(
    shared: &mut [u8],
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    places: &[usize; 32],
) {
    let width = size_of::<E>();
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        for (k, &slot) in inst.d[..N].iter().enumerate() {
            let value = E::narrow(E::Register::get(E::Register::plane(registers, slot), lane));
            value.to_slice(&mut shared[places[lane] + k * width..][..width]);
        }
    }
}
