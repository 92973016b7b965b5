//! #comparison-and-selection-instructions, #half-precision-comparison-instructions, and testp.

use super::{Definition, Want, exact::Number, float::Modes, integer::value};
use crate::conformance::{
    cases::Case,
    types::{F32, Format, Kind, Opcode, PRED, Type, mask},
};
use std::cmp::Ordering;

pub fn definition(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    let types = opcode.types();
    let ty = *types.last()?;
    match opcode.name.as_str() {
        "selp" => Some(Definition::lane(|x| Want::Bits(if x[2] != 0 { x[0] } else { x[1] }))),
        "slct" => {
            let is_positive = sign_test(&opcode, ty);
            Some(Definition::lane(move |x| Want::Bits(if is_positive(x[2]) { x[0] } else { x[1] })))
        }
        "testp" => testp(&opcode, ty.format()?),
        "setp" => setp(case, &opcode, ty),
        "set" => set(&opcode, types[0], ty),
        _ => None,
    }
}

/// Is the third operand of slct at least zero? -0 is, a NaN is not.
fn sign_test(opcode: &Opcode, ty: Type) -> impl Fn(u64) -> bool + use<> {
    let modes = Modes::of(opcode, &F32);
    move |bits| match ty.kind {
        Kind::Float(_) => match modes.read(bits) {
            Number::Nan => false,
            Number::Infinite { is_negative } => !is_negative,
            Number::Finite(it) => it.is_zero() || !it.is_negative,
        },
        _ => value(bits, ty) >= 0,
    }
}

/// "Positive and negative zero are considered normal numbers."
fn testp(opcode: &Opcode, format: &'static Format) -> Option<Definition> {
    let property = opcode.any_of(&["finite", "infinite", "number", "notanumber", "normal", "subnormal"])?;
    Some(Definition::lane(move |x| {
        let is_nan = format.is_nan(x[0]);
        let is_infinite = x[0] & !format.sign() == format.infinity();
        let is_subnormal = format.is_subnormal(x[0]);
        Want::pred(match property {
            "finite" => !is_nan && !is_infinite,
            "infinite" => is_infinite,
            "number" => !is_nan,
            "notanumber" => is_nan,
            "normal" => !is_nan && !is_infinite && !is_subnormal,
            _ => is_subnormal,
        })
    }))
}

type Comparison = Box<dyn Fn(u64, u64) -> bool>;

/// Whether `a CmpOp b` holds of one element.
fn comparison(opcode: &Opcode, ty: Type) -> Option<Comparison> {
    let ty = ty.element();
    let ordered = ["eq", "ne", "lt", "le", "gt", "ge"];
    let unsigned = ["lo", "ls", "hi", "hs"];
    let unordered = ["equ", "neu", "ltu", "leu", "gtu", "geu"];
    let relation = opcode
        .any_of(&ordered)
        .or(opcode.any_of(&unsigned))
        .or(opcode.any_of(&unordered))
        .or(opcode.any_of(&["num", "nan"]))?;
    let holds = move |order: Ordering| match relation {
        "eq" | "equ" => order.is_eq(),
        "ne" | "neu" => order.is_ne(),
        "lt" | "lo" | "ltu" => order.is_lt(),
        "le" | "ls" | "leu" => order.is_le(),
        "gt" | "hi" | "gtu" => order.is_gt(),
        _ => order.is_ge(),
    };
    let Some(format) = ty.format() else {
        return Some(Box::new(move |a, b| holds(value(a, ty).cmp(&value(b, ty)))));
    };
    let modes = Modes::of(opcode, format);
    // f64 holds every number of the narrower formats, so comparing there is exact.
    let number = move |bits| modes.read(bits).to_f64();
    Some(Box::new(move |a, b| match (number(a).partial_cmp(&number(b)), relation) {
        (order, "num") => order.is_some(),
        (order, "nan") => order.is_none(),
        (None, _) => unordered.contains(&relation),
        (Some(order), _) => holds(order),
    }))
}

type Combination = fn(bool, bool) -> bool;

/// The Boolean operation with the third operand.
fn combination(opcode: &Opcode) -> Combination {
    match opcode.any_of(&["and", "or", "xor"]) {
        Some("and") => |a, b| a && b,
        Some("or") => |a, b| a || b,
        Some(_) => |a, b| a != b,
        None => |a, _| a,
    }
}

/// p is the comparison with c, q the complement of the comparison with c; of pairs, p is the lower's and q the upper's.
fn setp(case: &Case, opcode: &Opcode, ty: Type) -> Option<Definition> {
    let holds = comparison(opcode, ty)?;
    let combine = combination(opcode);
    let is_negated = case.variant().ends_with('!');
    let n_results = case.results.len();
    Some(Definition::Lane(Box::new(move |x| {
        let c = x.get(2).is_some_and(|&it| (it != 0) != is_negated);
        let element = |bits: u64, k: u32| bits >> (k * ty.bits) & ty.mask();
        let of = |k| holds(element(x[0], k), element(x[1], k));
        if ty.n_elements == 2 {
            return (0..2).map(|k| Want::pred(combine(of(k), c))).collect();
        }
        let both = [of(0), !of(0)];
        both[..n_results].iter().map(|&it| Want::pred(combine(it, c))).collect()
    })))
}

/// All ones or 1.0 for true, in each element of the result.
fn set(opcode: &Opcode, result: Type, ty: Type) -> Option<Definition> {
    let holds = comparison(opcode, ty)?;
    let truth = result.format().map_or(result.mask(), |format| format.one());
    assert!(result != PRED && mask(result.bits) == result.mask());
    // One integer result of 16 or 32 bits for each element compared.
    Some(Definition::lane(move |x| {
        let element = |bits: u64, k: u32| bits >> (k * ty.bits) & ty.mask();
        let of = |k| Want::Bits(if holds(element(x[0], k), element(x[1], k)) { truth } else { 0 });
        if ty.n_elements == 1 {
            return of(0);
        }
        let bits = result.width() / ty.n_elements;
        let narrow = |want| match want {
            Want::Bits(bits_of) => Want::Bits(bits_of & mask(bits)),
            other => other,
        };
        Want::Each(bits, (0..ty.n_elements).map(|k| narrow(of(k))).collect())
    }))
}
