//! `cp.async`: copies from global to shared memory that a thread issues now and waits for later
//! (#data-movement-and-conversion-instructions-cp-async).
//!
//! The bytes always land at the wait, never before: the ISA promises no more, and so a kernel that forgets the wait reads
//! what was there before. Groups belong to threads, so each lane counts its own. A copy that nobody waits for never lands.

#![allow(unsafe_code)]

use super::{
    global,
    lane::{Lane, Mask, Registers},
    observe::{Kind, Places, Touch},
    run::Context,
    trouble::{Outcome, Trouble},
    warp::Warp,
};
use crate::{check::fault::FaultKind, lower::program::Inst};

/// `inst.imm` of `cp.async.wait_all`.
pub const WAIT_ALL: i32 = -1;

/// The copies of a warp that have not landed.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// In the order of issue.
    pending: Vec<Copies>,
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
    /// Host addresses of the source.
    from: [u64; 32],
    /// The instruction, for faults.
    pc: u32,
    /// Bytes of the source; zeros fill the rest of `bytes`.
    n_source: [u32; 32],
    bytes: u32,
}

impl Copies {
    /// The writes of some lanes.
    fn touch(&self, lanes: u32) -> Touch<'_, u32> {
        Touch { kind: Kind::Store, is_strong: false, lanes, bytes: self.bytes, places: Places::Each(&self.to) }
    }
}

impl Queue {
    /// For a CTA that begins.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.n_committed = [0; 32];
    }
}

/// `cp.async`: s = destination (plus `inst.imm`), source, bytes of the source, offset of the source; `inst.bytes` is the
/// size of the copy. Everything is checked here.
pub fn issue(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    let Warp { registers, mask, copies, pc, .. } = warp;
    let copy = Copies {
        lanes: mask.bits,
        groups: copies.n_committed,
        to: destinations(context, registers, mask, inst)?,
        from: sources(context, registers, mask, inst, *pc)?,
        pc: *pc,
        n_source: registers.words[usize::from(inst.s[2])].0,
        bytes: u32::from(inst.bytes),
    };
    if context.is_observed {
        context.observe_copy_issued(&copy.touch(copy.lanes))?;
    }
    copies.pending.push(copy);
    Ok(())
}

fn destinations(context: &Context, registers: &Registers, mask: &Mask, inst: &Inst) -> Result<[u32; 32], Box<Trouble>> {
    let addresses = super::shared::addresses(registers, inst);
    let bytes = usize::from(inst.bytes);
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        let at = addresses[lane] as usize;
        let kind = if !at.is_multiple_of(bytes) {
            FaultKind::Misaligned
        } else if at + bytes > context.shared.len() {
            FaultKind::OutOfBounds
        } else {
            continue;
        };
        return Err(Trouble::access(kind, lane, "shared", true, at as u64, bytes));
    }
    Ok(addresses)
}

/// Host addresses of the bytes that are read; 0 for a lane that reads none.
fn sources(
    context: &mut Context,
    registers: &Registers,
    mask: &Mask,
    inst: &Inst,
    pc: u32,
) -> Result<[u64; 32], Box<Trouble>> {
    let mut hosts = [0; 32];
    let (mut addresses, mut reading) = ([0; 32], 0);
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        let n_source = registers.words[usize::from(inst.s[2])].0[lane];
        let offset = registers.doubles[usize::from(inst.s[3])].0[lane];
        let address = registers.doubles[usize::from(inst.s[1])].0[lane].wrapping_add(offset);
        if n_source > u32::from(inst.bytes) {
            let note = format!("lane {lane} gives a source of {n_source} bytes for a copy of {}", inst.bytes);
            return Err(Trouble::because(FaultKind::OutOfBounds, lane, note));
        }
        // Nothing is read: the address may be anything.
        if n_source == 0 {
            continue;
        }
        let trouble = |kind| Trouble::access(kind, lane, "global", false, address, n_source as usize);
        if !address.is_multiple_of(u64::from(inst.bytes)) {
            return Err(trouble(FaultKind::Misaligned));
        }
        let host = global::locate(context, pc, address, u64::from(n_source));
        hosts[lane] = host.ok_or_else(|| trouble(FaultKind::OutOfBounds))?;
        addresses[lane] = address;
        reading |= 1 << lane;
    }
    if context.is_observed {
        // Copies that read less than they write are rare: each size is an access of its own.
        for bytes in 1..=u32::from(inst.bytes) {
            let n_source = &registers.words[usize::from(inst.s[2])].0;
            let lanes = reading & bool::collect(|lane| n_source[lane] == bytes);
            let places = Places::Each(&addresses);
            if lanes != 0 {
                context.observe_global(&Touch { kind: Kind::Load, is_strong: false, lanes, bytes, places })?;
            }
        }
    }
    Ok(hosts)
}

/// `cp.async.commit_group`: what the lanes issued since the last is a group, also if that is nothing.
pub fn commit(warp: &mut Warp) {
    for lane in (0..32).filter(|lane| warp.mask.bits >> lane & 1 == 1) {
        warp.copies.n_committed[lane] += 1;
    }
}

/// `cp.async.wait_group` and `.wait_all`: lands all groups of the lanes but the latest `inst.imm`, or everything.
pub fn wait(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    let Warp { mask, copies, .. } = warp;
    let mut landing = [0; 32]; // groups before this one
    for (lane, landing) in landing.iter_mut().enumerate() {
        *landing = match inst.imm {
            WAIT_ALL => u32::MAX,
            n_left => copies.n_committed[lane].saturating_sub(n_left as u32),
        };
    }
    for copy in &mut copies.pending {
        let lanes = bool::collect(|lane| copy.groups[lane] < landing[lane]) & copy.lanes & mask.bits;
        copy.lanes &= !lanes;
        if lanes == 0 {
            continue;
        }
        land(&mut context.shared, copy, lanes);
        if context.is_observed {
            context.observe_copy_landed(copy.pc, &copy.touch(lanes));
        }
    }
    copies.pending.retain(|it| it.lanes != 0);
    Ok(())
}

/// Copies the bytes of `lanes`.
fn land(shared: &mut [u8], copy: &Copies, lanes: u32) {
    for lane in (0..32).filter(|lane| lanes >> lane & 1 == 1) {
        let to = &mut shared[copy.to[lane] as usize..][..copy.bytes as usize];
        let n_source = copy.n_source[lane] as usize;
        let mut bytes = [0; 16];
        // SAFETY: `sources` found `n_source` bytes, at most 16, inside one live allocation, and allocations outlive
        // launches.
        unsafe { std::ptr::copy_nonoverlapping(copy.from[lane] as *const u8, bytes.as_mut_ptr(), n_source) };
        to.copy_from_slice(&bytes[..copy.bytes as usize]);
    }
}
