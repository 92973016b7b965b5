//! Addresses that are values: between state spaces, of functions, and of the one CTA of a cluster.

use super::{
    micro::Reg,
    translate::{Refusal, Translator},
};
use crate::{
    exec::generic,
    isa::{Class, LaneType, Op},
    ptx::ast::{Operand, Space},
};

/// Addresses of functions, 16 apart: beyond every allocation, like the windows of the state spaces.
const FUNCTION_WINDOW: u64 = 0x7004 << 40;

/// What `mov` gives for a function's name.
pub fn of_function(index: usize) -> u64 {
    FUNCTION_WINDOW + 16 * index as u64
}

/// The window of a state space that has one; a cluster is one CTA, so its shared memory is the CTA's.
fn window(space: &str) -> Option<u64> {
    match space {
        "shared" | "shared::cta" | "shared::cluster" => Some(generic::SHARED_WINDOW),
        "local" => Some(generic::LOCAL_WINDOW),
        "param" | "param::entry" => Some(generic::PARAM_WINDOW),
        _ => None,
    }
}

pub fn translate(translator: &mut Translator, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let parts: Vec<&str> = opcode.split('.').collect();
    match (&parts[..], operands) {
        (["cvta", "to", space, "u64"], [dst, src]) => convert(translator, space, true, dst, src),
        (["cvta", space, "u64"], [dst, src]) => convert(translator, space, false, dst, src),
        (["isspacep", space], [dst, address]) => is_in_space(translator, space, dst, address),
        // Rank 0 is the only one: the address stays.
        (["mapa", .., "u32"], [dst, address, _]) => copy(translator, Op::MovB32, LaneType::U32, dst, address),
        (["mapa", .., "u64"], [dst, address, _]) => copy(translator, Op::MovB64, LaneType::U64, dst, address),
        (["getctarank", ..], [dst, _]) => {
            let zero = translator.constant(Class::Word, 0);
            let dst = translator.destination(dst, Class::Word)?;
            translator.emit(Op::MovB32, [dst], [zero]);
            Ok(())
        }
        _ => Err("is not supported".into()),
    }
}

fn copy(translator: &mut Translator, op: Op, ty: LaneType, dst: &Operand, src: &Operand) -> Result<(), Refusal> {
    let src = translator.source(src, ty)?;
    let dst = translator.destination(dst, ty.class())?;
    translator.emit(op, [dst], [src]);
    Ok(())
}

/// `cvta`: a window's start is added or taken away.
fn convert(translator: &mut Translator, space: &str, is_to: bool, dst: &Operand, src: &Operand) -> Result<(), Refusal> {
    let Some(window) = window(space) else {
        return match space {
            "global" | "const" => copy(translator, Op::MovB64, LaneType::U64, dst, src),
            _ => Err("is not supported".into()),
        };
    };
    let window = translator.constant(Class::Double, if is_to { window.wrapping_neg() } else { window });
    let src = translator.source(src, LaneType::U64)?;
    let dst = translator.destination(dst, Class::Double)?;
    translator.emit(Op::AddU64, [dst], [src, window]);
    Ok(())
}

/// `isspacep`: a state space is its window; constant memory the variables in it; global memory all the rest.
fn is_in_space(translator: &mut Translator, space: &str, dst: &Operand, address: &Operand) -> Result<(), Refusal> {
    let address = translator.source(address, LaneType::U64)?;
    let found = match (space, window(space)) {
        (_, Some(window)) => in_range(translator, address, window, 1 << 40),
        ("const", _) => in_constants(translator, address),
        ("global", _) => {
            let last = translator.constant(Class::Double, generic::SHARED_WINDOW - 1);
            let (below, constant) = (translator.temporary(Class::Pred), in_constants(translator, address));
            let (other, both) = (translator.temporary(Class::Pred), translator.temporary(Class::Pred));
            translator.emit(Op::SetLeU64, [below], [address, last]);
            translator.emit(Op::NotPred, [other], [constant]);
            translator.emit(Op::AndPred, [both], [below, other]);
            both
        }
        _ => return Err("is not supported".into()),
    };
    let dst = translator.destination(dst, Class::Pred)?;
    translator.emit(Op::MovPred, [dst], [found]);
    Ok(())
}

/// Whether the address is one of `bytes` from `start` on.
fn in_range(translator: &mut Translator, address: Reg, start: u64, bytes: u64) -> Reg {
    let to_offset = translator.constant(Class::Double, start.wrapping_neg());
    let bytes = translator.constant(Class::Double, bytes);
    let (offset, found) = (translator.temporary(Class::Double), translator.temporary(Class::Pred));
    translator.emit(Op::AddU64, [offset], [address, to_offset]);
    translator.emit(Op::SetLtU64, [found], [offset, bytes]);
    found
}

/// Whether the address is in a `.const` variable.
fn in_constants(translator: &mut Translator, address: Reg) -> Reg {
    let (module, addresses) = (translator.module, translator.addresses);
    let mut found = in_range(translator, address, 0, 0);
    for (index, variable) in module.variables.iter().enumerate().filter(|(_, it)| it.space == Space::Const) {
        let inside = in_range(translator, address, addresses[&(index as u32)], variable.bytes);
        let either = translator.temporary(Class::Pred);
        translator.emit(Op::OrPred, [either], [found, inside]);
        found = either;
    }
    found
}
