//! `mma`, `ldmatrix`, `stmatrix` and `movmatrix`: fragments to registers.

use super::{
    memory,
    program::{Factor, flag},
    translate::{Refusal, Translator},
};
use crate::{
    isa::{Class, LaneType, Op},
    ptx::ast::Operand,
};

pub fn translate(translator: &mut Translator, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let parts: Vec<&str> = opcode.split('.').collect();
    match (&parts[..], operands) {
        (["mma", "sync", "aligned", shape, types @ ..], [d, a, b, c]) => {
            multiply(translator, shape, types, [d, a, b, c])
        }
        (["ldmatrix", "sync", "aligned", "m8n8", modifiers @ ..], [d, address]) => {
            matrices(translator, Op::LdMatrix, modifiers, d, address)
        }
        (["stmatrix", "sync", "aligned", "m8n8", modifiers @ ..], [address, values]) => {
            matrices(translator, Op::StMatrix, modifiers, values, address)
        }
        (["movmatrix", "sync", "aligned", "m8n8", "trans", "b16"], [d, a]) => {
            let a = translator.source(a, LaneType::U32)?;
            let d = translator.destination(d, Class::Word)?;
            translator.emit(Op::MovMatrix, [d], [a]);
            Ok(())
        }
        _ => Err("is not supported".into()),
    }
}

/// An `mma` as its opcode has it.
struct Shape {
    rows: usize,
    depth: usize,
    a: Factor,
    b: Factor,
    flags: u8,
}

fn multiply(
    translator: &mut Translator,
    shape: &str,
    types: &[&str],
    [d, a, b, c]: [&Operand; 4],
) -> Result<(), Refusal> {
    let shape = mma_shape(shape, types).ok_or("has a shape and types that are not supported")?;
    // Elements in a register of A or B.
    let n_elements = match shape.a {
        Factor::F64 | Factor::Tf32 => 1,
        Factor::F16 | Factor::Bf16 => 2,
        Factor::E4m3 | Factor::E5m2 | Factor::U8 | Factor::S8 => 4,
        Factor::U4 | Factor::S4 => 8,
        Factor::BitsAnd | Factor::BitsXor => 32,
    };
    let n_k = shape.depth / (4 * n_elements);
    let n_sums = shape.rows / if shape.flags & flag::HALVES != 0 { 8 } else { 4 };
    let (class, factor, sum) = match shape.a {
        Factor::F64 => (Class::Double, LaneType::F64, LaneType::F64),
        _ if shape.flags & flag::HALVES != 0 => (Class::Word, LaneType::U32, LaneType::U32),
        Factor::F16 | Factor::Bf16 | Factor::E4m3 | Factor::E5m2 => (Class::Word, LaneType::U32, LaneType::F32),
        Factor::Tf32 => (Class::Word, LaneType::F32, LaneType::F32),
        _ => (Class::Word, LaneType::U32, LaneType::U32),
    };
    let mut src = Vec::new();
    for (operand, n, ty) in [(a, n_k * shape.rows / 8, factor), (b, n_k, factor), (c, n_sums, sum)] {
        for element in elements(operand, n)? {
            src.push(translator.source(element, ty)?);
        }
    }
    // The executor finds the sources in the table of long operand lists, also where they are few.
    let n_needed = src.len().max(5);
    src.resize(n_needed, src[0]);
    let dst = elements(d, n_sums)?.iter().map(|it| translator.destination(it, class)).collect::<Result<Vec<_>, _>>()?;
    let micro = translator.emit(Op::Mma, [], src);
    (micro.dst, micro.bytes, micro.n) = (dst, shape.rows as u8, n_k as u8);
    (micro.kind, micro.flags) = (shape.a as u8 | (shape.b as u8) << 4, shape.flags);
    Ok(())
}

/// `m16n8k16` and `row.col.f32.bf16.bf16.f32`, or nothing if there is no such `mma`.
fn mma_shape(shape: &str, types: &[&str]) -> Option<Shape> {
    let (rows, depth) = shape.strip_prefix('m')?.split_once("n8k")?;
    let (rows, depth) = (rows.parse().ok()?, depth.parse().ok()?);
    let ["row", "col", types @ ..] = types else { return None };
    let (saturates, types) = match types {
        ["satfinite", rest @ ..] => (true, rest),
        types => (false, types),
    };
    let [result, a, b, addend, bit_operation @ ..] = types else { return None };
    let (a, b) = (factor(a, bit_operation)?, factor(b, bit_operation)?);
    use Factor::*;
    let depths: &[(usize, usize)] = match (a, b) {
        (F64, F64) => &[(8, 4), (16, 4), (16, 8), (16, 16)],
        (Tf32, Tf32) => &[(16, 4), (16, 8)],
        (F16, F16) | (Bf16, Bf16) => &[(16, 8), (16, 16)],
        (E4m3 | E5m2, E4m3 | E5m2) => &[(16, 16), (16, 32)],
        (U8 | S8, U8 | S8) => &[(8, 16), (16, 16), (16, 32)],
        (U4 | S4, U4 | S4) => &[(8, 32), (16, 32), (16, 64)],
        (BitsAnd, BitsAnd) | (BitsXor, BitsXor) => &[(8, 128), (16, 128), (16, 256)],
        _ => return None,
    };
    let sums_fit = matches!(
        (a, *result),
        (F64, "f64")
            | (Tf32 | F16 | Bf16 | E4m3 | E5m2, "f32")
            | (F16 | E4m3 | E5m2, "f16")
            | (U8 | S8 | U4 | S4 | BitsAnd | BitsXor, "s32")
    );
    let is_integer = *result == "s32";
    let modifiers_fit = (!saturates || is_integer) && (bit_operation.is_empty() || matches!(a, BitsAnd | BitsXor));
    if !(sums_fit && result == addend && modifiers_fit && depths.contains(&(rows, depth))) {
        return None;
    }
    let halves = if *result == "f16" { flag::HALVES } else { 0 };
    Some(Shape { rows, depth, a, b, flags: halves | if saturates { flag::SATURATE } else { 0 } })
}

fn factor(ty: &str, bit_operation: &[&str]) -> Option<Factor> {
    Some(match (ty, bit_operation) {
        ("f64", []) => Factor::F64,
        ("tf32", []) => Factor::Tf32,
        ("f16", []) => Factor::F16,
        ("bf16", []) => Factor::Bf16,
        ("e4m3", []) => Factor::E4m3,
        ("e5m2", []) => Factor::E5m2,
        ("u8", []) => Factor::U8,
        ("s8", []) => Factor::S8,
        ("u4", []) => Factor::U4,
        ("s4", []) => Factor::S4,
        ("b1", ["and", "popc"]) => Factor::BitsAnd,
        ("b1", ["xor", "popc"]) => Factor::BitsXor,
        _ => return None,
    })
}

/// The `n` registers of a fragment.
fn elements(operand: &Operand, n: usize) -> Result<&[Operand], Refusal> {
    let elements = if let Operand::Vector(all) = operand { all } else { std::slice::from_ref(operand) };
    if elements.len() == n { Ok(elements) } else { Err(format!("needs {n} registers where it has {}", elements.len())) }
}

/// `ldmatrix` and `stmatrix`: `.x4.trans.shared.b16`.
fn matrices(
    translator: &mut Translator,
    op: Op,
    modifiers: &[&str],
    fragments: &Operand,
    address: &Operand,
) -> Result<(), Refusal> {
    let [count, modifiers @ .., "b16"] = modifiers else { return Err("is not supported".into()) };
    let n = match *count {
        "x1" => 1,
        "x2" => 2,
        "x4" => 4,
        _ => return Err("is not supported".into()),
    };
    let (flags, space) = match modifiers {
        ["trans", space @ ..] => (flag::TRANSPOSE, space),
        space => (0, space),
    };
    let (base, imm) = match space {
        ["shared" | "shared::cta"] => memory::shared_address(translator, address)?,
        [] => memory::generic_shared_address(translator, address)?,
        _ => return Err("is not supported".into()),
    };
    let fragments = elements(fragments, n)?;
    let registers = match op {
        Op::LdMatrix => fragments.iter().map(|it| translator.destination(it, Class::Word)).collect::<Result<_, _>>()?,
        _ => fragments.iter().map(|it| translator.source(it, LaneType::U32)).collect::<Result<_, _>>()?,
    };
    let micro = translator.emit(op, [], [base]);
    (micro.dst, micro.imm, micro.n, micro.flags) = (registers, imm, n as u8, flags);
    Ok(())
}
