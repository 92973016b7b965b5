//! #data-movement-and-conversion-instructions-shfl-sync, #parallel-synchronization-and-communication-instructions-vote-sync,
//! -match-sync, -redux-sync, -activemask.

use super::{
    Definition, Row, Want,
    integer::{value, wrapped},
};
use crate::conformance::{
    cases::Case,
    types::{Opcode, Type, mask},
    vectors::LANES,
};

pub fn definition(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    let ty = *opcode.types().last()?;
    let variant = case.variant().to_owned();
    let in_halves = variant == "halves";
    Some(match opcode.name.as_str() {
        "shfl" => shuffle(&opcode, u64::from_str_radix(variant.strip_prefix("0x")?, 16).ok()?),
        "vote" => vote(&opcode, variant == "!", in_halves)?,
        "match" if opcode.has("any") => match_any(in_halves),
        "match" => match_all(variant == "equal"),
        "redux" => reduction(&opcode, ty, in_halves)?,
        "activemask" => Definition::Warp(Box::new(|_| vec![vec![Want::Bits(mask(32)); LANES]])),
        _ => return None,
    })
}

/// The lanes that take part with this one.
fn members(lane: usize, in_halves: bool) -> std::ops::Range<usize> {
    match in_halves {
        true => lane / 16 * 16..lane / 16 * 16 + 16,
        false => 0..LANES,
    }
}

/// One result, of each lane.
fn each_lane(of: impl Fn(&[Row], usize) -> Want + 'static) -> Definition {
    Definition::Warp(Box::new(move |x| vec![(0..LANES).map(|lane| of(x, lane)).collect()]))
}

/// The bits of the lanes of which `holds`.
fn lanes(members: impl Iterator<Item = usize>, holds: impl Fn(usize) -> bool) -> u64 {
    members.filter(|&it| holds(it)).map(|it| 1 << it).sum()
}

fn shuffle(opcode: &Opcode, control: u64) -> Definition {
    let (clamp, segments) = (control & 31, control >> 8 & 31);
    let mode = opcode.any_of(&["up", "down", "bfly", "idx"]).unwrap_or_default();
    Definition::Warp(Box::new(move |x| {
        let source = |lane: usize| {
            let (lane, offset) = (lane as i64, (x[1][lane] & 31) as i64);
            let (clamp, segments) = (clamp as i64, segments as i64);
            let first = lane & segments;
            let limit = first | clamp & !segments;
            let (source, is_within) = match mode {
                "up" => (lane - offset, lane - offset >= limit),
                "down" => (lane + offset, lane + offset <= limit),
                "bfly" => (lane ^ offset, lane ^ offset <= limit),
                _ => (first | offset & !segments, first | offset & !segments <= limit),
            };
            (if is_within { source } else { lane }, is_within)
        };
        let value = |lane| Want::Bits(x[0][source(lane).0 as usize]);
        let is_within = |lane| Want::pred(source(lane).1);
        vec![(0..LANES).map(value).collect(), (0..LANES).map(is_within).collect()]
    }))
}

fn vote(opcode: &Opcode, is_negated: bool, in_halves: bool) -> Option<Definition> {
    let mode = opcode.any_of(&["all", "any", "uni", "ballot"])?;
    Some(each_lane(move |x, lane| {
        let votes = |it: usize| (x[0][it] != 0) != is_negated;
        let mut members = members(lane, in_halves);
        match mode {
            "all" => Want::pred(members.all(votes)),
            "any" => Want::pred(members.any(votes)),
            "uni" => Want::pred(members.clone().all(votes) || !members.any(votes)),
            _ => Want::Bits(lanes(members, votes)),
        }
    }))
}

/// The case takes the operands modulo 4.
fn match_any(in_halves: bool) -> Definition {
    each_lane(move |x, lane| Want::Bits(lanes(members(lane, in_halves), |it| x[0][it] % 4 == x[0][lane] % 4)))
}

/// The mask of all, and true, when all are equal; else 0 and false. The case takes the operands modulo 2.
fn match_all(are_made_equal: bool) -> Definition {
    Definition::Warp(Box::new(move |x| {
        let are_equal = are_made_equal || x[0].iter().all(|it| it % 2 == x[0][0] % 2);
        let result = if are_equal { mask(32) } else { 0 };
        vec![vec![Want::Bits(result); LANES], vec![Want::pred(are_equal); LANES]]
    }))
}

fn reduction(opcode: &Opcode, ty: Type, in_halves: bool) -> Option<Definition> {
    let of: fn(i128, i128) -> i128 = match opcode.modifiers.get(1)?.as_str() {
        "add" => |a, b| a + b,
        "min" => i128::min,
        "max" => i128::max,
        "and" => |a, b| a & b,
        "or" => |a, b| a | b,
        "xor" => |a, b| a ^ b,
        _ => return None,
    };
    Some(each_lane(move |x, lane| {
        let reduced = members(lane, in_halves).map(|it| value(x[0][it], ty)).reduce(of);
        Want::Bits(wrapped(reduced.unwrap_or_default(), ty))
    }))
}
