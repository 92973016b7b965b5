//! Global memory: loads and stores of a warp.
//!
//! Four ways, from fast to slow: all lanes read neighbouring elements (one bounds check, one copy that also turns
//! vectors into planes), all lanes read the same address, each group of eight lanes reads neighbours, and each lane for
//! itself. The bounds of the last allocation that
//! an instruction touched are kept beside it, since an instruction mostly walks one buffer.

#![allow(unsafe_code)]

use super::{
    conflict, deal,
    lane::{Lane, Mask, Registers},
    observe::{Kind, Places, Touch},
    run::Context,
    strong,
    trouble::{Outcome, Trouble},
    vectors::{Element, elements_of, planes, write_planes},
};
use crate::{
    check::fault::FaultKind,
    isa::Op,
    lower::program::{Inst, flag},
    mem::region::Region,
};
use std::hint::black_box;

/// Calls `$function::<element, n>` for the instruction's element size and vector length.
macro_rules! by_shape {
    ($function:ident, $inst:expr, $args:tt) => {
        match ($inst.bytes, $inst.n) {
            (1, 1) => by_shape!(@ $function::<u8, 1> $args),
            (1, 2) => by_shape!(@ $function::<u8, 2> $args),
            (1, 4) => by_shape!(@ $function::<u8, 4> $args),
            (2, 1) => by_shape!(@ $function::<u16, 1> $args),
            (2, 2) => by_shape!(@ $function::<u16, 2> $args),
            (2, 4) => by_shape!(@ $function::<u16, 4> $args),
            (4, 1) => by_shape!(@ $function::<u32, 1> $args),
            (4, 2) => by_shape!(@ $function::<u32, 2> $args),
            (4, 4) => by_shape!(@ $function::<u32, 4> $args),
            (8, 1) => by_shape!(@ $function::<u64, 1> $args),
            (8, 2) => by_shape!(@ $function::<u64, 2> $args),
            (bytes, n) => unreachable!("the lowering lets no access of {n} x {bytes} bytes through"),
        }
    };
    (@ $function:ident::<$ty:ty, $n:literal> ($($arg:expr),*)) => { $function::<$ty, $n>($($arg),*) };
}
pub(crate) use by_shape;

/// [`by_shape`] for the shapes that are worth a fast path; `Ok(false)` for the others.
macro_rules! by_fast_shape {
    ($function:ident, $inst:expr, ($($arg:expr),*)) => {
        match ($inst.bytes, $inst.n) {
            (2, 1) => $function::<u16, 1>($($arg),*),
            (4, 1) => $function::<u32, 1>($($arg),*),
            (4, 2) => $function::<u32, 2>($($arg),*),
            (4, 4) => $function::<u32, 4>($($arg),*),
            (8, 1) => $function::<u64, 1>($($arg),*),
            (8, 2) => $function::<u64, 2>($($arg),*),
            _ => Ok(false),
        }
    };
}
pub(crate) use by_fast_shape;

/// Lanes of a group that may read its own run of neighbours: with 16 bytes a lane, a 128-byte line.
const GROUP: usize = 8;

/// How the addresses of 32 lanes lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// Lane `l` is at `base + l * stride`.
    Contiguous,
    /// All at one address.
    Uniform,
    /// Contiguous in each group of eight lanes.
    Grouped,
    Scattered,
}

/// Finds the pattern of addresses that are `stride` bytes apart when they are neighbours.
#[inline(always)]
fn pattern(addresses: &[u64; 32], stride: u64) -> Pattern {
    // Loops, not folds: those are functions of their own, which would be compiled without the engine's CPU features.
    // If the compiler knew that the first difference is zero, it would not compute it, and 31 make bad vectors.
    let (mut off_line, first) = (0, black_box(addresses[0]));
    for (lane, address) in addresses.iter().enumerate() {
        off_line |= address ^ first.wrapping_add(stride * lane as u64);
    }
    if off_line == 0 {
        return Pattern::Contiguous;
    }
    let (mut off_base, mut off_group) = (0, 0);
    for lane in 0..32 {
        off_base |= addresses[lane] ^ addresses[0];
        off_group |= addresses[lane] ^ addresses[lane / GROUP * GROUP].wrapping_add(stride * (lane % GROUP) as u64);
    }
    match () {
        _ if off_base == 0 => Pattern::Uniform,
        _ if off_group == 0 => Pattern::Grouped,
        _ => Pattern::Scattered,
    }
}

/// The host address of `bytes` bytes at a device address, if they are all inside one live allocation.
#[inline(always)]
pub fn locate(context: &mut Context, pc: u32, address: u64, bytes: u64) -> Option<u64> {
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

/// What an instruction's access is to the checks.
fn touch_kind(inst: &Inst, is_write: bool) -> Kind {
    match inst.op {
        Op::AtomGlobal | Op::AtomGeneric => Kind::Atomic,
        _ if is_write => Kind::Store,
        _ if inst.flags & flag::NON_COHERENT != 0 => Kind::LoadNonCoherent,
        _ => Kind::Load,
    }
}

/// Reports an access of all lanes.
fn observe(context: &mut Context, inst: &Inst, is_write: bool, places: Places<u64>) -> Outcome {
    let bytes = u32::from(inst.bytes) * u32::from(inst.n);
    let kind = touch_kind(inst, is_write);
    context.observe_global(&Touch { kind, is_strong: false, lanes: !0, bytes, places })
}

/// `ld.global`.
#[inline(always)]
pub fn load(context: &mut Context, registers: &mut Registers, mask: &Mask, inst: &Inst, pc: u32) -> Outcome {
    if mask.bits == !0
        && inst.flags & flag::STRONG == 0
        && by_fast_shape!(load_together, inst, (context, registers, inst, pc))?
    {
        return Ok(());
    }
    load_lanes(context, registers, mask, inst, pc)
}

/// `st.global`.
#[inline(always)]
pub fn store(context: &mut Context, registers: &Registers, mask: &Mask, inst: &Inst, pc: u32) -> Outcome {
    if mask.bits == !0
        && inst.flags & flag::STRONG == 0
        && by_fast_shape!(store_together, inst, (context, registers, inst, pc))?
    {
        return Ok(());
    }
    store_lanes(context, registers, mask, inst, pc)
}

/// All lanes, when their addresses have a pattern; false when they have none.
#[inline(always)]
fn load_together<E: Element, const N: usize>(
    context: &mut Context,
    registers: &mut Registers,
    inst: &Inst,
    pc: u32,
) -> Result<bool, Box<Trouble>> {
    let size = (size_of::<E>() * N) as u64;
    let addresses = &registers.doubles[usize::from(inst.s[0])].0;
    let base = addresses[0].wrapping_add(inst.imm as i64 as u64);
    if !base.is_multiple_of(size) {
        return Ok(false);
    }
    let pattern = pattern(addresses, size);
    let n_lanes = match pattern {
        Pattern::Contiguous => 32,
        Pattern::Uniform => 1,
        Pattern::Grouped => return load_groups::<E, N>(context, registers, inst, pc),
        Pattern::Scattered => return Ok(false),
    };
    let Some(host) = locate(context, pc, base, n_lanes * size) else { return Ok(false) };
    if context.is_observed {
        let places = if n_lanes == 32 { Places::Row(base) } else { Places::Same(base) };
        observe(context, inst, false, places)?;
    }
    if (pattern, size_of::<E>(), N) == (Pattern::Contiguous, 4, 4) {
        // SAFETY: `locate` found all 32 vectors inside one live allocation.
        unsafe { context.engine.deal(registers, &inst.d, &deal::row(host as *const u8)) };
        return Ok(true);
    }
    let from = host as *const E;
    let planes = if pattern == Pattern::Contiguous {
        // SAFETY: `locate` found all 32 * N elements inside one live allocation; the address is aligned.
        planes(|lane, k| unsafe { from.add(lane * N + k).read() })
    } else {
        // SAFETY: `locate` found all N elements inside one live allocation; the address is aligned.
        std::array::from_fn(|k| [unsafe { from.add(k).read() }; 32])
    };
    write_planes::<E, N>(registers, inst, &planes);
    Ok(true)
}

/// All lanes, each group of eight from neighbouring places.
#[inline(always)]
fn load_groups<E: Element, const N: usize>(
    context: &mut Context,
    registers: &mut Registers,
    inst: &Inst,
    pc: u32,
) -> Result<bool, Box<Trouble>> {
    let size = (size_of::<E>() * N) as u64;
    let mut from = [std::ptr::null::<E>(); 32 / GROUP];
    let mut bases = [0; 32 / GROUP];
    for group in 0..32 / GROUP {
        let lane = group * GROUP;
        let base = registers.doubles[usize::from(inst.s[0])].0[lane].wrapping_add(inst.imm as i64 as u64);
        if !base.is_multiple_of(size) {
            return Ok(false);
        }
        let Some(host) = locate(context, pc, base, GROUP as u64 * size) else { return Ok(false) };
        (from[group], bases[group]) = (host as *const E, base);
    }
    if context.is_observed {
        let addresses = std::array::from_fn(|lane| bases[lane / GROUP] + (lane % GROUP) as u64 * size);
        observe(context, inst, false, Places::Each(&addresses))?;
    }
    let mut elements = [[E::default(); N]; 32];
    for (to, from) in elements.chunks_exact_mut(GROUP).zip(from) {
        // SAFETY: `locate` found the group's 8 * N elements inside one live allocation; the address is aligned.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from.cast(), GROUP) };
    }
    write_planes::<E, N>(registers, inst, &planes(|lane, k| elements[lane][k]));
    Ok(true)
}

/// All lanes, to neighbouring places; false if that is not how it is.
#[inline(always)]
fn store_together<E: Element, const N: usize>(
    context: &mut Context,
    registers: &Registers,
    inst: &Inst,
    pc: u32,
) -> Result<bool, Box<Trouble>> {
    let size = (size_of::<E>() * N) as u64;
    let addresses = &registers.doubles[usize::from(inst.s[0])].0;
    let base = addresses[0].wrapping_add(inst.imm as i64 as u64);
    if !base.is_multiple_of(size) || pattern(addresses, size) != Pattern::Contiguous {
        return Ok(false);
    }
    let Some(host) = locate(context, pc, base, 32 * size) else { return Ok(false) };
    if context.nearby[pc as usize].is_constant {
        return Ok(false);
    }
    if context.is_observed {
        observe(context, inst, true, Places::Row(base))?;
    }
    let elements = elements_of::<E, N>(registers, inst);
    // SAFETY: `locate` found all 32 * N elements inside one live allocation; the address is aligned.
    unsafe { (host as *mut [E; N]).copy_from_nonoverlapping(elements.as_ptr(), 32) };
    Ok(true)
}

#[inline(never)]
fn load_lanes(context: &mut Context, registers: &mut Registers, mask: &Mask, inst: &Inst, pc: u32) -> Outcome {
    let size = usize::from(inst.bytes * inst.n);
    let hosts = lane_hosts(context, registers, mask, inst, pc, size, false)?;
    if (mask.bits, inst.bytes, inst.n) == (!0, 4, 4) && inst.flags & flag::STRONG == 0 {
        // SAFETY: `lane_hosts` found the vector of every lane inside one live allocation.
        unsafe { context.engine.deal(registers, &inst.d, &hosts.map(|it| it as *const u8)) };
        return Ok(());
    }
    by_shape!(read_lanes, inst, (registers, mask, inst, &hosts));
    Ok(())
}

fn read_lanes<E: Element, const N: usize>(registers: &mut Registers, mask: &Mask, inst: &Inst, hosts: &[u64; 32]) {
    let is_strong = inst.flags & flag::STRONG != 0;
    for (k, &slot) in inst.d[..N].iter().enumerate() {
        let plane = E::Register::collect(|lane| {
            if mask.bits >> lane & 1 == 0 {
                // SAFETY: all zeros are a value of every integer type.
                return unsafe { std::mem::zeroed::<E>() }.widen();
            }
            let from = (hosts[lane] as *const E).wrapping_add(k);
            // SAFETY: `lane_hosts` found the lane's N elements inside one live allocation and aligned.
            if is_strong { unsafe { strong::read(from) } } else { unsafe { from.read() } }.widen()
        });
        E::Register::write(registers, slot, plane, mask);
    }
}

#[inline(never)]
fn store_lanes(context: &mut Context, registers: &Registers, mask: &Mask, inst: &Inst, pc: u32) -> Outcome {
    let size = usize::from(inst.bytes * inst.n);
    let hosts = lane_hosts(context, registers, mask, inst, pc, size, true)?;
    if context.global_checks.is_some() {
        let address =
            |lane: usize| registers.doubles[usize::from(inst.s[0])].0[lane].wrapping_add(inst.imm as i64 as u64);
        conflict::check(context.at, "global", registers, mask, inst, &std::array::from_fn(address))?;
    }
    by_shape!(write_lanes, inst, (registers, mask, inst, &hosts));
    Ok(())
}

fn write_lanes<E: Element, const N: usize>(registers: &Registers, mask: &Mask, inst: &Inst, hosts: &[u64; 32]) {
    let is_strong = inst.flags & flag::STRONG != 0;
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        for (k, &slot) in inst.d[..N].iter().enumerate() {
            let value = E::narrow(E::Register::get(E::Register::plane(registers, slot), lane));
            let to = (hosts[lane] as *mut E).wrapping_add(k);
            // SAFETY: `lane_hosts` found the lane's N elements inside one live allocation and aligned.
            if is_strong { unsafe { strong::write(to, value) } } else { unsafe { to.write(value) } }
        }
    }
}

/// [`lane_hosts`] when all lanes run and are right and inside the allocation that the instruction touched last.
fn nearby_hosts(
    context: &Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
    size: u64,
) -> Option<[u64; 32]> {
    let Region { start, end, host, .. } = context.nearby[pc as usize];
    let (mut bits, mut first, mut last) = (0, u64::MAX, 0);
    let addresses = registers.doubles[usize::from(inst.s[0])].0.map(|it| it.wrapping_add(inst.imm as i64 as u64));
    for address in addresses {
        bits |= address;
        first = first.min(address);
        last = last.max(address);
    }
    let is_inside = mask.bits == !0 && first >= start && last < end && size <= end - last;
    (is_inside && bits & (size - 1) == 0).then(|| addresses.map(|it| host.wrapping_add(it.wrapping_sub(start))))
}

/// The host address of each active lane's `size` bytes, checked.
#[inline(never)]
pub fn lane_hosts(
    context: &mut Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
    size: usize,
    is_write: bool,
) -> Result<[u64; 32], Box<Trouble>> {
    let mut hosts = [0; 32];
    let mut addresses = [0; 32];
    if !is_write
        && !context.is_observed
        && inst.op == Op::LdGlobal
        && inst.flags & flag::STRONG == 0
        && let Some(hosts) = nearby_hosts(context, registers, mask, inst, pc, size as u64)
    {
        return Ok(hosts);
    }
    context.n_polls += u64::from(inst.flags & flag::STRONG != 0 || matches!(inst.op, Op::AtomGlobal | Op::AtomGeneric));
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        let address = registers.doubles[usize::from(inst.s[0])].0[lane].wrapping_add(inst.imm as i64 as u64);
        if !address.is_multiple_of(size as u64) {
            return Err(Trouble::access(FaultKind::Misaligned, lane, "global", is_write, address, size));
        }
        let Some(host) = locate(context, pc, address, size as u64) else {
            return Err(Trouble::access(FaultKind::OutOfBounds, lane, "global", is_write, address, size));
        };
        if is_write && context.nearby[pc as usize].is_constant {
            return Err(Trouble::access(FaultKind::ReadOnly, lane, "const", true, address, size));
        }
        hosts[lane] = host;
        addresses[lane] = address;
    }
    if context.is_observed {
        let (kind, is_strong) = (touch_kind(inst, is_write), inst.flags & flag::STRONG != 0);
        let places = Places::Each(&addresses);
        context.observe_global(&Touch { kind, is_strong, lanes: mask.bits, bytes: size as u32, places })?;
    }
    Ok(hosts)
}
