//! Instructions between the lanes of a warp: shuffles, votes, matches, reductions.

use super::{
    lane::{Lane, Mask, Registers},
    trouble::{Outcome, Trouble},
};
use crate::{
    check::fault::FaultKind,
    isa::Op,
    lower::program::{Inst, Reduction},
};

/// The member mask of a `.sync` instruction: the value of its register in the first active lane.
pub fn members(registers: &Registers, mask: &Mask, slot: u16) -> u32 {
    registers.words[usize::from(slot)].0[mask.bits.trailing_zeros() as usize & 31]
}

/// Whether all active lanes have the same member mask.
pub fn is_one_group(registers: &Registers, mask: &Mask, slot: u16) -> bool {
    let (members, plane) = (members(registers, mask, slot), &registers.words[usize::from(slot)].0);
    let mut difference = 0;
    for (own, is_active) in plane.iter().zip(&mask.lanes.0) {
        difference |= (own ^ members) & is_active;
    }
    difference == 0
}

/// The active lanes by the member mask that they have: (lanes, mask).
pub fn groups(registers: &Registers, mask: &Mask, slot: u16) -> Vec<(u32, u32)> {
    let plane = &registers.words[usize::from(slot)].0;
    let mut groups: Vec<(u32, u32)> = Vec::new();
    for lane in (0..32).filter(|lane| mask.bits >> lane & 1 == 1) {
        match groups.iter_mut().find(|it| it.1 == plane[lane]) {
            Some((lanes, _)) => *lanes |= 1 << lane,
            None => groups.push((1 << lane, plane[lane])),
        }
    }
    groups
}

/// A lane that executes a `.sync` instruction must be a member (#data-movement-and-conversion-instructions-shfl-sync:
/// otherwise the behaviour is undefined).
pub fn check_members(mask: &Mask, members: u32) -> Outcome {
    let strangers = mask.bits & !members;
    if strangers == 0 {
        return Ok(());
    }
    let lane = strangers.trailing_zeros() as usize;
    let note = format!("lane {lane} executes it, but the member mask is {members:#010x}");
    Err(Trouble::because(FaultKind::SyncMaskMismatch, lane, note))
}

/// #data-movement-and-conversion-instructions-shfl-sync: `c` holds the clamp in bits 0-4 and the segment mask in 8-12.
/// s = value, b, c; d = result, then whether the source was in range if `inst.n` is 2.
#[inline(always)]
pub fn shuffle(registers: &mut Registers, mask: &Mask, inst: &Inst) -> Outcome {
    let value = u32::plane(registers, inst.s[0]);
    let (b, c) = (u32::plane(registers, inst.s[1]), u32::plane(registers, inst.s[2]));
    let mut sources = [0u32; 32];
    for lane in 0..32u32 {
        let (b, clamp, segment) = (b[lane as usize] & 31, c[lane as usize] & 31, c[lane as usize] >> 8 & 31);
        let max_lane = lane & segment | clamp & !segment;
        let min_lane = lane & segment;
        let (source, is_valid) = match inst.op {
            Op::ShflUp => (lane.wrapping_sub(b), lane as i32 - b as i32 >= max_lane as i32),
            Op::ShflDown => (lane + b, lane + b <= max_lane),
            Op::ShflBfly => (lane ^ b, lane ^ b <= max_lane),
            _ => (min_lane | b & !segment, min_lane | b & !segment <= max_lane),
        };
        // Bit 5 marks a source out of range: the lane keeps its own value.
        sources[lane as usize] = if is_valid { source & 31 } else { lane | 32 };
    }
    let result = u32::collect(|lane| value[sources[lane] as usize & 31]);
    let is_valid = bool::collect(|lane| sources[lane] < 32);
    let is_absent = |lane: &usize| {
        mask.bits >> lane & 1 == 1 && is_valid >> lane & 1 == 1 && mask.bits >> (sources[*lane] & 31) & 1 == 0
    };
    if mask.bits != !0
        && let Some(lane) = (0..32).find(is_absent)
    {
        let note = format!("lane {lane} reads lane {}, which does not take part", sources[lane] & 31);
        return Err(Trouble::because(FaultKind::SyncMaskMismatch, lane, note));
    }
    u32::write(registers, inst.d[0], result, mask);
    if inst.n == 2 {
        bool::write(registers, inst.d[1], is_valid, mask);
    }
    Ok(())
}

/// #parallel-synchronization-and-communication-instructions-vote-sync. s = predicate.
pub fn vote(registers: &mut Registers, mask: &Mask, inst: &Inst) {
    let yes = registers.preds[usize::from(inst.s[0])] & mask.bits;
    let holds = match inst.op {
        Op::VoteAll => yes == mask.bits,
        Op::VoteAny => yes != 0,
        Op::VoteUni => yes == mask.bits || yes == 0,
        _ => {
            u32::write(registers, inst.d[0], [yes; 32], mask);
            return;
        }
    };
    bool::write(registers, inst.d[0], if holds { !0 } else { 0 }, mask);
}

/// #parallel-synchronization-and-communication-instructions-elect-sync: the lowest lane is the leader. s = members; d =
/// whether a lane is it, then its number if `inst.n` is 2.
pub fn elect(registers: &mut Registers, mask: &Mask, inst: &Inst) {
    let leader = mask.bits & mask.bits.wrapping_neg();
    bool::write(registers, inst.d[0], leader, mask);
    if inst.n == 2 {
        u32::write(registers, inst.d[1], [leader.trailing_zeros(); 32], mask);
    }
}

/// #parallel-synchronization-and-communication-instructions-match-sync. s = value (`inst.bytes` wide).
pub fn matching(registers: &mut Registers, mask: &Mask, inst: &Inst) {
    let value = |registers: &Registers, lane: usize| match inst.bytes {
        4 => u64::from(registers.words[usize::from(inst.s[0])].0[lane]),
        _ => registers.doubles[usize::from(inst.s[0])].0[lane],
    };
    let equal = u32::collect(|lane| {
        let own = value(registers, lane);
        bool::collect(|other| value(registers, other) == own) & mask.bits
    });
    if inst.op == Op::MatchAny {
        u32::write(registers, inst.d[0], equal, mask);
        return;
    }
    let all_equal = equal[mask.bits.trailing_zeros() as usize & 31] == mask.bits;
    u32::write(registers, inst.d[0], [if all_equal { mask.bits } else { 0 }; 32], mask);
    if inst.n == 2 {
        bool::write(registers, inst.d[1], if all_equal { !0 } else { 0 }, mask);
    }
}

/// #parallel-synchronization-and-communication-instructions-redux-sync. s = value.
pub fn reduce(registers: &mut Registers, mask: &Mask, inst: &Inst) {
    let plane = u32::plane(registers, inst.s[0]);
    let values = (0..32).filter(|lane| mask.bits >> lane & 1 == 1).map(|lane| plane[lane]);
    let result = match Reduction::ALL[usize::from(inst.kind)] {
        Reduction::Add => values.reduce(u32::wrapping_add),
        Reduction::MinUnsigned => values.min(),
        Reduction::MaxUnsigned => values.max(),
        Reduction::MinSigned => values.min_by_key(|&it| it as i32),
        Reduction::MaxSigned => values.max_by_key(|&it| it as i32),
        Reduction::And => values.reduce(|a, b| a & b),
        Reduction::Or => values.reduce(|a, b| a | b),
        Reduction::Xor => values.reduce(|a, b| a ^ b),
        Reduction::Popc => unreachable!("popc reduces over a CTA, not a warp"),
    };
    u32::write(registers, inst.d[0], [result.unwrap_or(0); 32], mask);
}
