//! `cp.async`: copies from global to shared memory that a thread issues now and waits for later
//! (#data-movement-and-conversion-instructions-cp-async).
//!
//! The bytes always land at the wait, never before: the ISA promises no more, and so a kernel that forgets the wait reads
//! what was there before. Groups belong to threads, so each lane counts its own. A copy that nobody waits for never lands.

#![allow(unsafe_code)]

use super::{
    global,
    lane::{Lane, Mask, Registers},
    observe::{At, Kind, Places, Touch},
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
    /// Addresses of the source, on the device and on the host.
    sources: [u64; 32],
    from: [u64; 32],
    /// Lanes that read any.
    reading: u32,
    /// The latest access to global memory before.
    issued: u32,
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

    /// Calls `see` for the reads of some lanes. Copies that read less than they write are rare: each size is an access
    /// of its own.
    fn each_source(&self, lanes: u32, mut see: impl FnMut(&Touch<u64>) -> Outcome) -> Outcome {
        let places = Places::Each(&self.sources);
        for bytes in 1..=self.bytes {
            let lanes = lanes & self.reading & bool::collect(|lane| self.n_source[lane] == bytes);
            if lanes != 0 {
                see(&Touch { kind: Kind::Load, is_strong: false, lanes, bytes, places })?;
            }
        }
        Ok(())
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
    let to = destinations(context, registers, mask, inst)?;
    let mut copy = Copies {
        lanes: mask.bits,
        groups: copies.n_committed,
        to,
        sources: [0; 32],
        from: [0; 32],
        reading: 0,
        issued: 0,
        pc: *pc,
        n_source: registers.words[usize::from(inst.s[2])].0,
        bytes: u32::from(inst.bytes),
    };
    find_sources(context, registers, inst, &mut copy)?;
    if context.is_observed {
        copy.each_source(copy.lanes, |touch| context.observe_global(touch))?;
        context.observe_copy_issued(&copy.touch(copy.lanes))?;
        copy.issued = context.global_checks.as_mut().map_or(0, |checks| checks.copy_issued(context.at));
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

/// Finds where the lanes read; a lane that reads nothing has no source.
fn find_sources(context: &mut Context, registers: &Registers, inst: &Inst, copy: &mut Copies) -> Outcome {
    for lane in (0..32).filter(|lane| copy.lanes >> lane & 1 == 1) {
        let n_source = copy.n_source[lane];
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
        let host = global::locate(context, copy.pc, address, u64::from(n_source));
        copy.from[lane] = host.ok_or_else(|| trouble(FaultKind::OutOfBounds))?;
        copy.sources[lane] = address;
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
        if let Some(checks) = &context.global_checks {
            let at = At { pc: copy.pc, ..context.at };
            copy.each_source(lanes, |touch| checks.copy_landed(at, copy.issued, touch))?;
        }
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
        // SAFETY: `find_sources` found `n_source` bytes, at most 16, inside one live allocation, and allocations outlive
        // launches.
        unsafe { std::ptr::copy_nonoverlapping(copy.from[lane] as *const u8, bytes.as_mut_ptr(), n_source) };
        to.copy_from_slice(&bytes[..copy.bytes as usize]);
    }
}
