//! Instructions between threads: shuffles, votes, matches, reductions, barriers, fences.

use super::{
    program::{CLUSTER_BARRIER, Reduction, flag},
    translate::{Refusal, Translator},
};
use crate::{
    isa::{Class, LaneType, Op},
    ptx::ast::Operand,
};

pub fn translate(translator: &mut Translator, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let parts: Vec<&str> = opcode.split('.').collect();
    match parts[..] {
        ["shfl", "sync", mode, "b32"] => shuffle(translator, mode, operands),
        ["vote", "sync", mode, _] => vote(translator, mode, operands),
        ["match", mode, "sync", ty] => matching(translator, mode, ty, operands),
        ["redux", "sync", operation, ty] => redux(translator, operation, ty, operands),
        ["activemask", "b32"] => {
            let [dst] = operands else { return Err("needs one operand".into()) };
            let dst = translator.destination(dst, Class::Word)?;
            translator.emit(Op::ActiveMask, [dst], []);
            Ok(())
        }
        ["bar", "warp", "sync"] => {
            let [members] = operands else { return Err("needs a member mask".into()) };
            let members = translator.source(members, LaneType::U32)?;
            translator.emit(Op::BarWarpSync, [], [members]);
            Ok(())
        }
        ["elect", "sync"] => elect(translator, operands),
        // A cluster is one CTA, and what precedes the arrival precedes the wait, which orders it.
        ["barrier", "cluster", "arrive", ..] => translator.emit_plain(Op::Nop),
        ["barrier", "cluster", "wait", ..] => cluster_wait(translator, parts.contains(&"aligned")),
        ["bar" | "barrier", ..] => barrier(translator, &parts, operands),
        // Between ways to reach memory, of which there is one here: it orders no threads
        // (#parallel-synchronization-and-communication-instructions-membar).
        ["fence", "proxy", ..] => translator.emit_plain(Op::Nop),
        ["membar" | "fence", ref modifiers @ ..] => {
            let is_narrow = modifiers.contains(&"cta") || modifiers.contains(&"cluster");
            translator.emit(Op::Membar, [], []).flags = if is_narrow { flag::NARROW } else { 0 };
            Ok(())
        }
        // Launches follow one another, and registers are not counted.
        ["griddepcontrol", "wait" | "launch_dependents"] | ["setmaxnreg", ..] => translator.emit_plain(Op::Nop),
        ["shfl" | "vote", ..] => Err("is not supported: from sm_70 on it has `.sync` and a member mask".into()),
        _ => Err("is not supported".into()),
    }
}

/// `d|p` as (d, p), the second if it is wanted.
fn results(operand: &Operand) -> (&Operand, Option<&Operand>) {
    match operand {
        Operand::Pair(d, p) => (d, Some(&**p).filter(|it| **it != Operand::Sink)),
        d => (d, None),
    }
}

fn shuffle(translator: &mut Translator, mode: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let [result, value, b, c, members] = operands else { return Err("needs five operands".into()) };
    let op = match mode {
        "up" => Op::ShflUp,
        "down" => Op::ShflDown,
        "bfly" => Op::ShflBfly,
        "idx" => Op::ShflIdx,
        _ => return Err("is not supported".into()),
    };
    let mut src = Vec::new();
    for operand in [value, b, c, members] {
        src.push(translator.source(operand, LaneType::U32)?);
    }
    let (d, p) = results(result);
    let mut dst = vec![translator.destination(d, Class::Word)?];
    if let Some(p) = p {
        dst.push(translator.destination(p, Class::Pred)?);
    }
    let micro = translator.emit(op, [], src);
    (micro.n, micro.dst) = (dst.len() as u8, dst);
    Ok(())
}

fn vote(translator: &mut Translator, mode: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let [dst, predicate, members] = operands else { return Err("needs three operands".into()) };
    let (op, class) = match mode {
        "all" => (Op::VoteAll, Class::Pred),
        "any" => (Op::VoteAny, Class::Pred),
        "uni" => (Op::VoteUni, Class::Pred),
        "ballot" => (Op::VoteBallot, Class::Word),
        _ => return Err("is not supported".into()),
    };
    let src = [translator.source(predicate, LaneType::Bool)?, translator.source(members, LaneType::U32)?];
    let dst = translator.destination(dst, class)?;
    translator.emit(op, [dst], src);
    Ok(())
}

fn matching(translator: &mut Translator, mode: &str, ty: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let [result, value, members] = operands else { return Err("needs three operands".into()) };
    let op = if mode == "any" { Op::MatchAny } else { Op::MatchAll };
    let (bytes, ty) = if ty == "b64" { (8, LaneType::U64) } else { (4, LaneType::U32) };
    let src = [translator.source(value, ty)?, translator.source(members, LaneType::U32)?];
    let (d, p) = results(result);
    let mut dst = vec![translator.destination(d, Class::Word)?];
    if let Some(p) = p {
        dst.push(translator.destination(p, Class::Pred)?);
    }
    let micro = translator.emit(op, [], src);
    (micro.bytes, micro.n, micro.dst) = (bytes, dst.len() as u8, dst);
    Ok(())
}

fn redux(translator: &mut Translator, operation: &str, ty: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let [dst, value, members] = operands else { return Err("needs three operands".into()) };
    let kind = match (operation, ty) {
        ("add", "u32" | "s32") => Reduction::Add,
        ("min", "u32") => Reduction::MinUnsigned,
        ("min", "s32") => Reduction::MinSigned,
        ("max", "u32") => Reduction::MaxUnsigned,
        ("max", "s32") => Reduction::MaxSigned,
        ("and", "b32") => Reduction::And,
        ("or", "b32") => Reduction::Or,
        ("xor", "b32") => Reduction::Xor,
        _ => return Err("is not supported".into()),
    };
    let src = [translator.source(value, LaneType::U32)?, translator.source(members, LaneType::U32)?];
    let dst = translator.destination(dst, Class::Word)?;
    translator.emit(Op::Redux, [dst], src).kind = kind as u8;
    Ok(())
}

/// `elect.sync d|p, members`; d = p, then d if it is wanted.
fn elect(translator: &mut Translator, operands: &[Operand]) -> Result<(), Refusal> {
    let [Operand::Pair(d, p), members] = operands else { return Err("needs d|p and a member mask".into()) };
    let members = translator.source(members, LaneType::U32)?;
    let mut dst = vec![translator.destination(p, Class::Pred)?];
    if **d != Operand::Sink {
        dst.push(translator.destination(d, Class::Word)?);
    }
    let micro = translator.emit(Op::Elect, [], [members]);
    (micro.n, micro.dst) = (dst.len() as u8, dst);
    Ok(())
}

/// A cluster is one CTA: the wait is a barrier of its own for all its threads, and the arrival has nothing to add.
fn cluster_wait(translator: &mut Translator, is_aligned: bool) -> Result<(), Refusal> {
    let id = translator.constant(Class::Word, u64::from(CLUSTER_BARRIER));
    let micro = translator.emit(Op::BarSync, [], [id, id]);
    micro.flags = flag::CLUSTER | if is_aligned { flag::ALIGNED } else { 0 };
    Ok(())
}

/// `bar{.cta}.sync a{, b}`, `.arrive a, b`, `.red.op.type d, a{, b}, p`; `barrier` is the same with other defaults.
fn barrier(translator: &mut Translator, parts: &[&str], operands: &[Operand]) -> Result<(), Refusal> {
    let words: Vec<&str> = parts[1..].iter().copied().filter(|it| !matches!(*it, "cta" | "aligned")).collect();
    let (op, dst, operands, kind) = match (&words[..], operands) {
        (["sync"], operands) => (Op::BarSync, None, operands, None),
        (["arrive"], operands) => (Op::BarArrive, None, operands, None),
        (["red", "popc", "u32"], [dst, rest @ ..]) => {
            (Op::BarRed, Some((dst, Class::Word)), rest, Some(Reduction::Popc))
        }
        (["red", "and", "pred"], [dst, rest @ ..]) => {
            (Op::BarRed, Some((dst, Class::Pred)), rest, Some(Reduction::And))
        }
        (["red", "or", "pred"], [dst, rest @ ..]) => (Op::BarRed, Some((dst, Class::Pred)), rest, Some(Reduction::Or)),
        _ => return Err("is not supported".into()),
    };
    let (operands, predicate) = match (kind, operands) {
        (Some(_), [rest @ .., predicate]) => (rest, Some(predicate)),
        _ => (operands, None),
    };
    let (id, count) = match operands {
        [_] if op == Op::BarArrive => return Err("needs a number of threads".into()),
        [id] => (id, None),
        [id, count] => (id, Some(count)),
        _ => return Err("has a number of operands that is not supported".into()),
    };
    // s: id, count (or the id again), predicate.
    let id = translator.source(id, LaneType::U32)?;
    let mut src = vec![id, id];
    if let Some(count) = count {
        src[1] = translator.source(count, LaneType::U32)?;
    }
    if let Some(predicate) = predicate {
        src.push(translator.source(predicate, LaneType::Bool)?);
    }
    let dst = match dst {
        Some((dst, class)) => vec![translator.destination(dst, class)?],
        None => Vec::new(),
    };
    let micro = translator.emit(op, [], src);
    micro.dst = dst;
    micro.kind = kind.map_or(0, |it| it as u8);
    let is_aligned = parts[0] == "bar" || parts.contains(&"aligned");
    let aligned = if is_aligned { flag::ALIGNED } else { 0 };
    micro.flags = aligned | if count.is_some() { flag::HAS_COUNT } else { 0 };
    Ok(())
}
