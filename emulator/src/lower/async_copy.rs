//! `cp.async` and its groups.

use super::{
    memory,
    micro::{Content, Draft, Reg},
    program::flag,
    slots,
    translate::{Refusal, Translator},
};
use crate::{
    exec::async_copy::WAIT_ALL,
    isa::{Class, LaneType, Op},
    ptx::ast::Operand,
};
use std::collections::HashMap;

pub fn translate(translator: &mut Translator, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let parts: Vec<&str> = opcode.split('.').skip(2).collect();
    match (&parts[..], operands) {
        (["commit_group"], []) => translator.emit_plain(Op::CpAsyncCommit),
        (["wait_all"], []) => {
            translator.emit(Op::CpAsyncWait, [], []).imm = WAIT_ALL;
            Ok(())
        }
        (["wait_group"], [Operand::Integer(n)]) => {
            let n = i32::try_from(*n).ok().filter(|it| *it >= 0).ok_or("needs a number of groups")?;
            translator.emit(Op::CpAsyncWait, [], []).imm = n;
            Ok(())
        }
        (
            ["ca" | "cg", "shared" | "shared::cta", "global", hints @ ..],
            [to, from, Operand::Integer(bytes), rest @ ..],
        ) => {
            let sizes: &[i64] = if parts[0] == "cg" { &[16] } else { &[4, 8, 16] };
            if !sizes.contains(bytes) {
                return Err(format!("copies {bytes} bytes, but may copy {sizes:?}"));
            }
            let has_policy = hints.contains(&"L2::cache_hint");
            let known = |it: &&str| matches!(*it, "L2::cache_hint" | "L2::64B" | "L2::128B" | "L2::256B");
            if !hints.iter().all(known) {
                return Err("has a modifier that is not supported".into());
            }
            let (source_bytes, policy) = match (rest, has_policy) {
                ([], false) => (None, None),
                ([policy], true) => (None, Some(policy)),
                ([size], false) => (Some(size), None),
                ([size, policy], true) => (Some(size), Some(policy)),
                _ => return Err("has a number of operands that is not supported".into()),
            };
            let kind = policy.map_or(0, |it| translator.policy(it));
            issue(translator, to, from, *bytes as u8, source_bytes, kind)
        }
        _ => Err("is not supported".into()),
    }
}

/// s = destination, source, bytes of the source, offset of the source.
fn issue(
    translator: &mut Translator,
    to: &Operand,
    from: &Operand,
    bytes: u8,
    source_bytes: Option<&Operand>,
    kind: u8,
) -> Result<(), Refusal> {
    let (to, imm) = memory::shared_address(translator, to)?;
    let (from, offset) = memory::global_address(translator, from)?;
    let offset = translator.constant(Class::Double, i64::from(offset) as u64);
    let whole = translator.constant(Class::Word, bytes.into());
    let source_bytes = match source_bytes {
        None => whole,
        Some(it) if translator.is_predicate(it) => ignored(translator, it, whole)?,
        Some(size) => translator.source(size, LaneType::U32)?,
    };
    let micro = translator.emit(Op::CpAsync, [], [to, from, source_bytes, offset]);
    (micro.imm, micro.bytes, micro.kind) = (imm, bytes, kind);
    Ok(())
}

/// No bytes where the predicate says to ignore the source, otherwise all.
fn ignored(translator: &mut Translator, predicate: &Operand, whole: Reg) -> Result<Reg, Refusal> {
    let none = translator.constant(Class::Word, 0);
    let src = [none, whole, translator.source(predicate, LaneType::Bool)?];
    let size = translator.temporary(Class::Word);
    translator.emit(Op::SelB32, [size], src);
    Ok(size)
}

/// Flags the copies that are known to read as much as they write, or nothing: their size is a constant, or chosen
/// between two, as compilers do at the edge of a matrix.
pub fn flag_whole(draft: &mut Draft) {
    let is_copy = |op: &Op| *op == Op::CpAsync;
    if !draft.ops.iter().any(|it| is_copy(&it.op)) {
        return;
    }
    let mut writes: HashMap<Reg, Vec<usize>> = HashMap::new();
    for (at, op) in draft.ops.iter().enumerate() {
        slots::writes(op).iter().for_each(|&reg| writes.entry(reg).or_default().push(at));
    }
    let is_one_of =
        |reg: Reg, bytes: u8| matches!(draft.content(reg), Content::Constant(it) if it == 0 || it == u64::from(bytes));
    let is_choice = |at: usize, bytes: u8| {
        let op = &draft.ops[at];
        op.op == Op::SelB32 && is_one_of(op.src[0], bytes) && is_one_of(op.src[1], bytes)
    };
    let is_whole = |op: &super::micro::Micro| {
        let size = op.src[2];
        let writes = writes.get(&size).map_or(&[][..], |it| it);
        is_one_of(size, op.bytes) || !writes.is_empty() && writes.iter().all(|&at| is_choice(at, op.bytes))
    };
    let flags: Vec<u8> =
        draft.ops.iter().map(|it| if is_copy(&it.op) && is_whole(it) { flag::WHOLE } else { 0 }).collect();
    draft.ops.iter_mut().zip(flags).for_each(|(op, flags)| op.flags |= flags);
}
