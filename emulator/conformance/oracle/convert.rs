//! #data-movement-and-conversion-instructions-cvt.

use super::{
    Definition, Want,
    exact::{Exact, Number, Rounding},
    float::{Modes, rounding},
    integer::{clamped, value, wrapped},
};
use crate::conformance::{
    cases::Case,
    types::{F32, F64, Format, Opcode, TF32, Type, mask},
};

pub fn definition(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    if opcode.has("pack") {
        let types = opcode.types();
        return Some(Definition::lane(move |x| pack(x, types[0], types[1])));
    }
    let [result, source] = opcode.types()[..] else { return None };
    let convert = element(&opcode, result.element(), source.element())?;
    Some(Definition::lane(move |x| match (result.n_elements, source.n_elements) {
        (1, 1) => widened(convert(x[0]), result),
        // Two operands make the upper and the lower element.
        (2, 1) => Want::Each(result.bits, vec![convert(x[1]), convert(x[0])]),
        _ => {
            let part = |k: u32| convert(x[0] >> (k * source.bits) & source.mask());
            Want::Each(result.bits, (0..result.n_elements).map(part).collect())
        }
    }))
}

/// #data-movement-and-conversion-instructions-cvt-pack: a and b, clamped, b in the low bits and a above it, and the low
/// bits of c above both.
fn pack(x: &[u64], result: Type, source: Type) -> Want {
    let [a, b] = [x[0], x[1]].map(|it| clamped(value(it, source), result));
    let c = x.get(2).map_or(0, |it| it << (2 * result.bits));
    Want::Bits((c | a << result.bits | b) & mask(32))
}

/// A result narrower than its register is extended as its type says
/// (#operand-size-exceeding-instruction-type-size).
fn widened(want: Want, ty: Type) -> Want {
    let register = mask(ty.register_bits());
    match want {
        Want::Bits(bits) if ty.format().is_none() => Want::Bits(value(bits, ty) as u64 & register),
        other => other,
    }
}

type Element = Box<dyn Fn(u64) -> Want>;

fn element(opcode: &Opcode, result: Type, source: Type) -> Option<Element> {
    let sat = opcode.has("sat");
    Some(match (source.format(), result.format()) {
        (None, None) => Box::new(move |bits| {
            let number = value(bits, source);
            Want::Bits(if sat { clamped(number, result) } else { wrapped(number, result) })
        }),
        (None, Some(format)) => {
            let modes = Modes::of(opcode, format);
            Box::new(move |bits| modes.finish(Exact::integer(value(bits, source))))
        }
        (Some(format), None) => to_integer(opcode, format, result),
        (Some(from), Some(to)) => to_float(opcode, from, to),
    })
}

/// .ftz is about f32 only, whichever side it is on.
fn modes(opcode: &Opcode, format: &'static Format) -> Modes {
    let modes = Modes::of(opcode, format);
    Modes { ftz: modes.ftz && *format == F32, ..modes }
}

/// Clamped whether .sat is there or not. A NaN is 0, but of or to 64 bits it is the integer of the top bit alone.
fn to_integer(opcode: &Opcode, format: &'static Format, result: Type) -> Element {
    let (modes, rounding) = (modes(opcode, format), rounding(opcode));
    let nan = if *format == F64 || result.bits == 64 { 1 << (result.bits - 1) } else { 0 };
    Box::new(move |bits| {
        Want::Bits(match modes.read(bits) {
            Number::Nan => nan,
            Number::Infinite { is_negative } => clamped(if is_negative { i128::MIN } else { i128::MAX }, result),
            Number::Finite(it) => clamped(it.to_integer(rounding), result),
        })
    })
}

fn to_float(opcode: &Opcode, from: &'static Format, to: &'static Format) -> Element {
    let (source, target) = (modes(opcode, from), modes(opcode, to));
    let integral = opcode.any_of(&["rni", "rzi", "rmi", "rpi"]).map(|_| rounding(opcode));
    // With an integer rounding the number that comes of it has to be rounded too where it is too long: to nearest.
    let target = if integral.is_some() { Modes { rounding: Rounding::NearestEven, ..target } } else { target };
    let satfinite = opcode.has("satfinite");
    Box::new(move |bits| {
        let want = match source.read(bits) {
            Number::Nan if satfinite => Want::Bits(to.canonical_nan()),
            Number::Nan => target.nan(),
            Number::Infinite { is_negative } if satfinite => largest(is_negative, target),
            Number::Infinite { is_negative } => target.infinite(is_negative),
            Number::Finite(it) => {
                let it = integral.map_or(it, |rounding| it.to_integral(rounding));
                let overflows = it.round(to, target.rounding) & !to.sign() > to.largest();
                if satfinite && overflows { largest(it.is_negative, target) } else { target.finish(it) }
            }
        };
        if *to == TF32 { top_of_word(want) } else { want }
    })
}

/// .satfinite: what is beyond the largest number becomes that.
fn largest(is_negative: bool, target: Modes) -> Want {
    let sign = if is_negative { target.format.sign() } else { 0 };
    target.limited(sign | target.format.largest())
}

/// tf32 is the upper 19 bits of its register; of the lower 13 the ISA says nothing.
fn top_of_word(want: Want) -> Want {
    let low = 32 - TF32.bits();
    let top = |bits| Want::Masked(bits << low, !mask(low) & mask(32));
    match want {
        Want::Bits(bits) => top(bits),
        Want::Nan(_) => Want::Nan(&F32),
        Want::AnyOf(wants) => Want::AnyOf(wants.into_iter().map(top_of_word).collect()),
        other => other,
    }
}
