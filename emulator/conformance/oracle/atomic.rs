//! #data-movement-and-conversion-instructions-ld, -st, #parallel-synchronization-and-communication-instructions-atom, -red.

use super::{
    Definition, Want,
    exact::Rounding,
    float::Modes,
    integer::{value, wrapped},
};
use crate::conformance::{
    cases::Case,
    types::{F32, Format, Opcode, Type, mask},
    vectors::LANES,
};

pub fn definition(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    let ty = *opcode.types().last()?;
    match opcode.name.as_str() {
        "ld" if opcode.has("v2") || opcode.has("v4") => {
            Some(Definition::Lane(Box::new(|x| x.iter().map(|&it| Want::Bits(it)).collect())))
        }
        "ld" => load(case, ty),
        "st" => Some(Definition::lane(move |x| {
            let part = mask(ty.bits) << 32;
            Want::Bits(x[0] & !part | x[1] << 32 & part)
        })),
        "atom" | "red" => atomic(case, &opcode, ty),
        _ => None,
    }
}

/// Bytes from an offset on, extended to the register as the type says.
fn load(case: &Case, ty: Type) -> Option<Definition> {
    let offset: u32 = case.variant().split([' ', '+']).find(|it| !it.is_empty())?.parse().ok()?;
    let register = mask(case.results[0].bits);
    Some(Definition::lane(move |x| Want::Bits(value(x[0] >> (8 * offset), ty) as u64 & register)))
}

type Operation = Box<dyn Fn(u64, &[u64]) -> Want>;

fn atomic(case: &Case, opcode: &Opcode, ty: Type) -> Option<Definition> {
    let of = operation(opcode, ty)?;
    if case.variant() == "contended" {
        return Some(Definition::Warp(Box::new(move |x| {
            let mut memory = x[0][0];
            for operand in x[1] {
                let Want::Bits(bits) = of(memory, &[operand]) else { unreachable!("integers are exact") };
                memory = bits;
            }
            vec![vec![Want::Bits(memory); LANES]]
        })));
    }
    let returns_old = opcode.name == "atom";
    let compares_equal = case.variant() == "equal";
    Some(Definition::Lane(Box::new(move |x| {
        let new = if compares_equal { of(x[0], x) } else { of(x[0], &x[1..]) };
        if returns_old { vec![Want::Bits(x[0]), new] } else { vec![new] }
    })))
}

/// What is in memory after it, of what was and the operands.
fn operation(opcode: &Opcode, ty: Type) -> Option<Operation> {
    let number = move |bits| value(bits, ty);
    let integers = |of: fn(i128, i128) -> i128| -> Option<Operation> {
        Some(Box::new(move |memory, x| Want::Bits(wrapped(of(number(memory), number(x[0])), ty))))
    };
    let name = opcode.any_of(&["add", "min", "max", "and", "or", "xor", "inc", "dec", "exch", "cas"])?;
    match (name, ty.format()) {
        ("add", Some(format)) => Some(sum(opcode, ty, format)),
        ("add", None) => integers(|a, b| a + b),
        ("min", None) => integers(i128::min),
        ("max", None) => integers(i128::max),
        ("and", _) => integers(|a, b| a & b),
        ("or", _) => integers(|a, b| a | b),
        ("xor", _) => integers(|a, b| a ^ b),
        ("inc", _) => integers(|memory, b| if memory >= b { 0 } else { memory + 1 }),
        ("dec", _) => integers(|memory, b| if memory == 0 || memory > b { b } else { memory - 1 }),
        ("exch", _) => Some(Box::new(|_, x| Want::Bits(x[0]))),
        ("cas", _) => Some(Box::new(|memory, x| Want::Bits(if memory == x[0] { x[1] } else { memory }))),
        _ => None,
    }
}

/// Rounded to nearest. f32 in global memory flushes subnormals, in shared memory it does not; of generic addresses, which
/// here are global, the same holds.
fn sum(opcode: &Opcode, ty: Type, format: &'static Format) -> Operation {
    let ftz = *format == F32 && !opcode.has("shared");
    let modes = Modes { format, rounding: Rounding::NearestEven, ftz, sat: false, relu: false };
    Box::new(move |memory, x| {
        let element = |k: u32| {
            let part = |bits: u64| modes.read(bits >> (k * ty.bits) & ty.mask());
            modes.add(part(memory), part(x[0]))
        };
        match ty.n_elements {
            1 => element(0),
            n => Want::Each(ty.bits, (0..n).map(element).collect()),
        }
    })
}
