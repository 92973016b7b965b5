//! `atom` and `red`: a vector is an atomic for each of its elements, as the ISA has it.

use super::{
    memory::{Modifiers, Space, access_flags, address},
    micro::Reg,
    program::{AtomKind, flag},
    translate::{Refusal, Translator},
};
use crate::{
    isa::{Class, LaneType, Op},
    ptx::ast::Operand,
};

pub fn translate(
    translator: &mut Translator,
    modifiers: &Modifiers,
    dst: Option<&Operand>,
    at: &Operand,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let kind = kind(modifiers)?;
    let n_operands = if kind == AtomKind::CompareAndSwap { 2 } else { 1 };
    if operands.len() != n_operands {
        return Err("has a number of operands that is not supported".into());
    }
    let (space, base, imm) = address(translator, modifiers.space, at)?;
    let op = match space {
        Space::Global => Op::AtomGlobal,
        Space::Shared => Op::AtomShared,
        Space::Generic => Op::AtomGeneric,
        Space::Local | Space::Param => return Err("is on thread-local memory".into()),
    };
    let (class, ty) = match (modifiers.bytes, modifiers.ty) {
        (8, _) => (Class::Double, LaneType::U64),
        (4, "f32") => (Class::Word, LaneType::F32),
        _ => (Class::Word, LaneType::U32),
    };
    let n = usize::from(modifiers.n);
    let mut results = Vec::new();
    for element in 0..n {
        let mut src: Vec<Reg> = base.into_iter().collect();
        for operand in operands {
            src.push(translator.source(part(operand, element, n)?, ty)?);
        }
        // A vector's results wait until all its operands are read.
        let result = match dst {
            Some(dst) if n == 1 => Some(translator.destination(dst, class)?),
            Some(dst) => {
                let result = translator.temporary(class);
                results.push((result, translator.destination(part(dst, element, n)?, class)?));
                Some(result)
            }
            None => None,
        };
        let micro = translator.emit(op, [], src);
        micro.dst = result.into_iter().collect();
        micro.flags = access_flags(modifiers) | if result.is_none() { flag::NO_RESULT } else { 0 };
        micro.imm = imm + (element * usize::from(modifiers.bytes)) as i32;
        (micro.n, micro.bytes, micro.kind) = (1, modifiers.bytes, kind as u8);
    }
    for (result, dst) in results {
        translator.emit(Op::MovB32, [dst], [result]);
    }
    Ok(())
}

/// An element of a vector operand; a scalar's is itself.
fn part(operand: &Operand, element: usize, n: usize) -> Result<&Operand, Refusal> {
    match operand {
        Operand::Vector(all) if all.len() == n => Ok(&all[element]),
        operand if n == 1 => Ok(operand),
        _ => Err("has a vector of another length".into()),
    }
}

fn kind(modifiers: &Modifiers) -> Result<AtomKind, Refusal> {
    let is_signed = modifiers.ty.starts_with('s');
    let is_vector = modifiers.n > 1;
    let operation = modifiers.operation.unwrap_or_default();
    Ok(match (operation, modifiers.ty) {
        ("add", "f32") => AtomKind::AddFloat,
        ("add", "f16x2" | "f16") => AtomKind::AddHalves,
        ("add", "bf16x2" | "bf16") => AtomKind::AddBf16Halves,
        ("min", "f16x2" | "f16") if is_vector => AtomKind::MinHalves,
        ("max", "f16x2" | "f16") if is_vector => AtomKind::MaxHalves,
        ("min", "bf16x2" | "bf16") if is_vector => AtomKind::MinBf16Halves,
        ("max", "bf16x2" | "bf16") if is_vector => AtomKind::MaxBf16Halves,
        _ if is_vector => return Err("is not supported".into()),
        ("add", "f64") => AtomKind::AddFloat,
        ("cas", "b16" | "b32" | "b64" | "u32" | "s32" | "u64" | "s64") => AtomKind::CompareAndSwap,
        ("exch", "b16" | "b32" | "b64" | "u32" | "s32" | "u64" | "s64" | "f32" | "f64") => AtomKind::Exchange,
        _ if modifiers.bytes < 4 || modifiers.ty.contains('f') => return Err("is not supported".into()),
        ("add", _) => AtomKind::Add,
        ("min", _) if is_signed => AtomKind::MinSigned,
        ("min", _) => AtomKind::MinUnsigned,
        ("max", _) if is_signed => AtomKind::MaxSigned,
        ("max", _) => AtomKind::MaxUnsigned,
        ("and", _) => AtomKind::And,
        ("or", _) => AtomKind::Or,
        ("xor", _) => AtomKind::Xor,
        ("inc", "u32") => AtomKind::Increment,
        ("dec", "u32") => AtomKind::Decrement,
        _ => return Err("is not supported".into()),
    })
}
