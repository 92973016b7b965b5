//! `cp.async`: copies from global to shared memory that a thread issues now and waits for later
//! (#data-movement-and-conversion-instructions-cp-async).
//!
//! The bytes always land at the wait, never before: the ISA promises no more, and so a kernel that forgets the wait reads
//! what was there before. Groups belong to threads, so each lane counts its own. A copy that nobody waits for never lands.

#![allow(unsafe_code)]

use super::{
    global,
    lane::{Lane, Registers},
    observe::{At, Kind, Places, Touch},
    run::Context,
    trouble::{Outcome, Trouble},
    warp::Warp,
};
use crate::{check::fault::FaultKind, lower::program::Inst, mem::region::Region};

/// `inst.imm` of `cp.async.wait_all`.
pub const WAIT_ALL: i32 = -1;

/// The copies of a warp that have not landed.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Rooms, that are used again: they are large.
    rooms: Vec<Copies>,
    /// Those that are pending, in the order of issue, and those that are free.
    pending: Vec<usize>,
    free: Vec<usize>,
    /// Groups that each lane has committed.
    n_committed: [u32; 32],
}

/// One `cp.async` of a warp.
#[derive(Clone, Copy, Debug)]
struct Copies {
    /// Lanes whose bytes have not landed.
    lanes: u32,
    /// The group of each lane: how many it had committed before.
    groups: [u32; 32],
    /// Offsets in shared memory.
    to: [u32; 32],
    /// Addresses of the source, on the device and on the host.
    sources: [u64; 32],
    from: [u64; 32],
    /// Lanes that read any.
    reading: u32,
    /// All lanes read all of `bytes`.
    is_whole: bool,
    /// The latest access to global memory before.
    issued: u32,
    /// The instruction, for faults.
    pc: u32,
    /// Bytes of the source; zeros fill the rest of `bytes`.
    n_source: [u32; 32],
    bytes: u32,
}

impl Copies {
    const NONE: Copies = Copies {
        lanes: 0,
        groups: [0; 32],
        to: [0; 32],
        sources: [0; 32],
        from: [0; 32],
        reading: 0,
        is_whole: false,
        issued: 0,
        pc: 0,
        n_source: [0; 32],
        bytes: 0,
    };

    /// The writes of some lanes.
    fn touch(&self, lanes: u32) -> Touch<'_, u32> {
        let is_row = lanes == !0 && is_row(&self.to, self.bytes);
        let places = if is_row { Places::Row(self.to[0]) } else { Places::Each(&self.to) };
        Touch { kind: Kind::Store, is_strong: false, lanes, bytes: self.bytes, places }
    }

    /// Calls `see` for the reads of some lanes.
    fn each_source(&self, lanes: u32, mut see: impl FnMut(&Touch<u64>) -> Outcome) -> Outcome {
        let touch = |lanes, bytes, places| Touch { kind: Kind::Load, is_strong: false, lanes, bytes, places };
        if self.is_whole && lanes == !0 && is_row(&self.sources, u64::from(self.bytes)) {
            return see(&touch(lanes, self.bytes, Places::Row(self.sources[0])));
        }
        // Lanes that read less than they write are rare: each size is an access of its own.
        let mut rest = lanes & self.reading;
        while rest != 0 {
            let bytes = self.n_source[rest.trailing_zeros() as usize];
            let lanes = rest & bool::collect(|lane| self.n_source[lane] == bytes);
            see(&touch(lanes, bytes, Places::Each(&self.sources)))?;
            rest &= !lanes;
        }
        Ok(())
    }
}

/// Whether all addresses are `bytes` behind each other.
fn is_row<A: Copy + PartialEq + std::ops::Add<Output = A>>(addresses: &[A; 32], bytes: A) -> bool {
    addresses.windows(2).all(|pair| pair[0] + bytes == pair[1])
}

impl Queue {
    /// For a CTA that begins.
    pub fn clear(&mut self) {
        self.free.append(&mut self.pending);
        self.n_committed = [0; 32];
    }

    /// A room that is not pending.
    #[inline(always)]
    fn room(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.rooms.push(Copies::NONE);
            self.rooms.len() - 1
        })
    }
}

/// `cp.async`: s = destination (plus `inst.imm`), source, bytes of the source, offset of the source; `inst.bytes` is the
/// size of the copy. Everything is checked here.
#[inline(always)]
pub fn issue(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    let Warp { registers, mask, copies, pc, .. } = warp;
    let room = copies.room();
    let copy = &mut copies.rooms[room];
    copy.lanes = mask.bits;
    copy.groups = copies.n_committed;
    copy.to = super::shared::addresses(registers, inst);
    copy.n_source = registers.words[usize::from(inst.s[2])].0;
    (copy.pc, copy.bytes) = (*pc, u32::from(inst.bytes));
    find_addresses(registers, inst, copy);
    if mask.bits != !0 || !find_whole(context, copy) {
        let found = find_lanes(context, copy);
        if found.is_err() {
            copies.free.push(room);
            return found;
        }
    }
    if context.is_observed {
        observe_issue(context, copy)?;
    }
    copies.pending.push(room);
    Ok(())
}

/// Where the lanes read, if they do.
#[inline(always)]
fn find_addresses(registers: &Registers, inst: &Inst, copy: &mut Copies) {
    let base = &registers.doubles[usize::from(inst.s[1])].0;
    let offset = &registers.doubles[usize::from(inst.s[3])].0;
    for lane in 0..32 {
        copy.sources[lane] = base[lane].wrapping_add(offset[lane]);
    }
}

#[inline(never)]
fn observe_issue(context: &mut Context, copy: &mut Copies) -> Outcome {
    copy.each_source(copy.lanes, |touch| context.observe_global(touch))?;
    context.observe_copy_issued(&copy.touch(copy.lanes))?;
    copy.issued = context.global_checks.as_mut().map_or(0, |checks| checks.copy_issued(context.at));
    Ok(())
}

/// Finds what all lanes read, when each reads as much as it writes and all is aligned, in shared memory and in the
/// allocation that the instruction touched last: false if it is not so.
#[inline(always)]
fn find_whole(context: &Context, copy: &mut Copies) -> bool {
    let (size, bytes) = (copy.bytes, u64::from(copy.bytes));
    let Region { start, end, host, .. } = context.nearby[copy.pc as usize];
    if start > end || bytes > end - start || size as usize > context.shared.len() {
        return false;
    }
    let (last, last_place) = (end - start - bytes, context.shared.len() as u32 - size);
    let (mut wrong, mut bits, mut wrong_place) = (0u64, 0u64, 0u32);
    for lane in 0..32 {
        let (address, to) = (copy.sources[lane], copy.to[lane]);
        bits |= address | u64::from(to);
        wrong |= u64::from(address.wrapping_sub(start) > last);
        wrong_place |= u32::from(to > last_place) | (copy.n_source[lane] ^ size);
        copy.from[lane] = address.wrapping_sub(start).wrapping_add(host);
    }
    copy.is_whole = wrong == 0 && wrong_place == 0 && bits & (bytes - 1) == 0;
    copy.reading = !0;
    copy.is_whole
}

/// Finds what each lane reads; one that reads nothing has no source.
#[inline(never)]
fn find_lanes(context: &mut Context, copy: &mut Copies) -> Outcome {
    let size = copy.bytes as usize;
    for lane in (0..32).filter(|lane| copy.lanes >> lane & 1 == 1) {
        let at = copy.to[lane] as usize;
        let trouble = |kind| Err(Trouble::access(kind, lane, "shared", true, at as u64, size));
        if !at.is_multiple_of(size) {
            return trouble(FaultKind::Misaligned);
        }
        if at + size > context.shared.len() {
            return trouble(FaultKind::OutOfBounds);
        }
    }
    (copy.reading, copy.is_whole) = (0, false);
    for lane in (0..32).filter(|lane| copy.lanes >> lane & 1 == 1) {
        let (n_source, address) = (copy.n_source[lane], copy.sources[lane]);
        if n_source > copy.bytes {
            let note = format!("lane {lane} gives a source of {n_source} bytes for a copy of {size}");
            return Err(Trouble::because(FaultKind::OutOfBounds, lane, note));
        }
        // Nothing is read: the address may be anything.
        if n_source == 0 {
            continue;
        }
        let trouble = |kind| Trouble::access(kind, lane, "global", false, address, n_source as usize);
        if !address.is_multiple_of(u64::from(copy.bytes)) {
            return Err(trouble(FaultKind::Misaligned));
        }
        let host = global::locate(context, copy.pc, address, u64::from(n_source));
        copy.from[lane] = host.ok_or_else(|| trouble(FaultKind::OutOfBounds))?;
        copy.reading |= 1 << lane;
    }
    Ok(())
}

/// `cp.async.commit_group`: what the lanes issued since the last is a group, also if that is nothing.
pub fn commit(warp: &mut Warp) {
    for lane in (0..32).filter(|lane| warp.mask.bits >> lane & 1 == 1) {
        warp.copies.n_committed[lane] += 1;
    }
}

/// `cp.async.wait_group` and `.wait_all`: lands all groups of the lanes but the latest `inst.imm`, or everything.
#[inline(always)]
pub fn wait(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    let Warp { mask, copies: Queue { rooms, pending, free, n_committed }, .. } = warp;
    let mut landing = [u32::MAX; 32]; // groups before this one
    if inst.imm != WAIT_ALL {
        for lane in 0..32 {
            landing[lane] = n_committed[lane].saturating_sub(inst.imm as u32);
        }
    }
    let mut n_left = 0;
    for i in 0..pending.len() {
        let room = pending[i];
        let copy = &mut rooms[room];
        let mut is_landing = [0; 32];
        for lane in 0..32 {
            is_landing[lane] = u32::from(copy.groups[lane] < landing[lane]);
        }
        let lanes = bool::collect(|lane| is_landing[lane] != 0) & copy.lanes & mask.bits;
        copy.lanes &= !lanes;
        if lanes != 0 {
            land(&mut context.shared, copy, lanes);
            if context.is_observed {
                observe_landing(context, copy, lanes)?;
            }
        }
        if copy.lanes == 0 {
            free.push(room);
        } else {
            pending[n_left] = room;
            n_left += 1;
        }
    }
    pending.truncate(n_left);
    Ok(())
}

#[inline(never)]
fn observe_landing(context: &mut Context, copy: &Copies, lanes: u32) -> Outcome {
    if let Some(checks) = &context.global_checks {
        let at = At { pc: copy.pc, ..context.at };
        copy.each_source(lanes, |touch| checks.copy_landed(at, copy.issued, touch))?;
    }
    context.observe_copy_landed(copy.pc, &copy.touch(lanes));
    Ok(())
}

/// Copies the bytes of `lanes`.
#[inline(always)]
fn land(shared: &mut [u8], copy: &Copies, lanes: u32) {
    if copy.is_whole && lanes == !0 && copy.bytes == 16 {
        for lane in 0..32 {
            // SAFETY: `find_whole` found the 16 bytes inside one live allocation, and allocations outlive launches.
            let bytes = unsafe { (copy.from[lane] as *const [u8; 16]).read() };
            shared[copy.to[lane] as usize..][..16].copy_from_slice(&bytes);
        }
        return;
    }
    land_lanes(shared, copy, lanes);
}

#[inline(never)]
fn land_lanes(shared: &mut [u8], copy: &Copies, lanes: u32) {
    for lane in (0..32).filter(|lane| lanes >> lane & 1 == 1) {
        let to = &mut shared[copy.to[lane] as usize..][..copy.bytes as usize];
        let mut bytes = [0; 16];
        if copy.reading >> lane & 1 == 1 {
            let n_source = copy.n_source[lane] as usize;
            // SAFETY: `find_lanes` found `n_source` bytes, at most 16, inside one live allocation, and allocations
            // outlive launches.
            unsafe { std::ptr::copy_nonoverlapping(copy.from[lane] as *const u8, bytes.as_mut_ptr(), n_source) };
        }
        to.copy_from_slice(&bytes[..copy.bytes as usize]);
    }
}
