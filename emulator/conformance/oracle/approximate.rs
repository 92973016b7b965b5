//! The `.approx` and `.full` instructions, within the errors that the PTX ISA 8 states on each one's page
//! (#floating-point-instructions-div, -rcp, -sqrt, -rsqrt, -sin, -cos, -lg2, -ex2, -tanh and
//! #half-precision-floating-point-instructions-tanh, -ex2). The values are of the host's f64 library, whose own error is
//! some 2^-52.

use super::{Definition, Want, exact::Number, float::Modes};
use crate::conformance::{
    cases::Case,
    types::{Format, Opcode, mask},
};
use std::f64::consts::PI;

/// Largest errors; the largest of the three counts.
#[derive(Clone, Copy, Default)]
struct Bound {
    relative: f64,
    absolute: f64,
    ulps: f64,
}

fn power(exponent: f64) -> f64 {
    exponent.exp2()
}

pub fn definition(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    let ty = *opcode.types().last()?;
    let modes = Modes::of(&opcode, ty.format()?);
    let of = element(&opcode, modes)?;
    Some(Definition::lane(move |x| {
        if ty.n_elements == 1 {
            return of(x);
        }
        let element = |k: u32| of(&x.iter().map(|it| it >> (k * ty.bits) & ty.mask()).collect::<Vec<_>>());
        Want::Each(ty.bits, (0..ty.n_elements).map(element).collect())
    }))
}

type Lane = Box<dyn Fn(&[u64]) -> Want>;

fn element(opcode: &Opcode, modes: Modes) -> Option<Lane> {
    let near = move |value: f64, bound: Bound| approximately(modes, value, bound);
    let read = move |bits| modes.read(bits).to_f64();
    let ulps = |ulps| Bound { ulps, ..Bound::default() };
    let relative = |exponent| Bound { relative: power(exponent), ..Bound::default() };
    if opcode.name == "div" {
        let is_full = opcode.has("full");
        return Some(Box::new(move |x| divide(modes, read(x[0]), read(x[1]), is_full)));
    }
    let bits = modes.format.bits();
    let is_bf16 = bits == 16 && modes.format.exponent_bits == 8;
    let of: Box<dyn Fn(f64) -> Want> = match (opcode.name.as_str(), bits) {
        // One ulp over the full range.
        ("rcp", 32) => Box::new(move |x| near(1.0 / x, ulps(1.0))),
        ("sqrt", 32) => Box::new(move |x| near(x.sqrt(), relative(-23.0))),
        ("rsqrt", 32) => Box::new(move |x| near(1.0 / x.sqrt(), relative(-22.9))),
        ("sin", 32) => Box::new(move |x| near_sine(modes, x, x.sin())),
        ("cos", 32) => Box::new(move |x| near_sine(modes, x, x.cos())),
        // 2^-22: absolute from 0.5 to 2, and relative outside.
        ("lg2", 32) => Box::new(move |x| {
            let error = power(-22.0);
            let is_near_one = (0.5..=2.0).contains(&x);
            let bound = Bound { absolute: error, ..Bound::default() };
            near(x.log2(), if is_near_one { bound } else { relative(-22.0) })
        }),
        // 2 ulp from the correctly rounded result: half an ulp more from the exact one.
        ("ex2", 32) => Box::new(move |x| near(x.exp2(), ulps(2.5))),
        ("ex2", 16) if is_bf16 => Box::new(move |x| near(x.exp2(), relative(-7.0))),
        ("ex2", 16) => Box::new(move |x| near(x.exp2(), relative(-9.9))),
        ("tanh", 32) => Box::new(move |x| near(x.tanh(), relative(-11.0))),
        ("tanh", 16) if is_bf16 => Box::new(move |x| near(x.tanh(), relative(-8.0))),
        ("tanh", 16) => Box::new(move |x| near(x.tanh(), Bound { absolute: power(-10.987), ..Bound::default() })),
        // rcp.approx.ftz.f64 and rsqrt.approx{.ftz}.f64 compute with the upper words.
        ("rcp", 64) => Box::new(move |x| upper_word(modes, x, 1.0 / x)),
        ("rsqrt", 64) => Box::new(move |x| upper_word(modes, x, 1.0 / x.sqrt())),
        _ => return None,
    };
    // Of f64 with .ftz, the lower word is not read; without, nothing is said of the error, and the same bound is held.
    let ignored = if bits == 64 && modes.ftz { mask(32) } else { 0 };
    Some(Box::new(move |x| of(read(x[0] & !ignored))))
}

/// A result within the bound; subnormal ones are zero with .ftz.
fn approximately(modes: Modes, value: f64, bound: Bound) -> Want {
    let format = modes.format;
    if value.is_nan() {
        return modes.nan();
    }
    let Number::Finite(exact) = Number::decode(value.to_bits(), &crate::conformance::types::F64) else {
        return modes.infinite(value < 0.0);
    };
    let rounded = exact.round(format, modes.rounding);
    if value == 0.0 {
        return Want::Bits(rounded);
    }
    let Bound { relative, absolute, ulps } = bound;
    let near = Want::Near { format, value, relative, absolute, ulps };
    let zero = Want::Bits(rounded & format.sign());
    // About the smallest normal number, what is flushed is the approximation.
    let smallest = power(f64::from(1 - format.bias()));
    match value.abs() / smallest {
        below if modes.ftz && below < 1.0 - power(-20.0) => zero,
        about if modes.ftz && about < 1.0 + power(-20.0) => Want::AnyOf(vec![near, zero]),
        _ => near,
    }
}

/// sin and cos: 2^-20.5 within 2π of zero and 2^-14.7 within 100π; beyond, nothing is promised.
fn near_sine(modes: Modes, x: f64, value: f64) -> Want {
    if !x.is_finite() || x == 0.0 {
        return if value.is_nan() { modes.nan() } else { exactly(modes.format, value) };
    }
    let absolute = match x.abs() {
        near if near <= 2.0 * PI => power(-20.5),
        far if far <= 100.0 * PI => power(-14.7),
        _ => return Want::Anything,
    };
    Want::Near { format: modes.format, value, absolute, relative: 0.0, ulps: 0.0 }
}

/// A value that the format holds.
fn exactly(format: &'static Format, value: f64) -> Want {
    Want::Near { format, value, relative: 0.0, absolute: 0.0, ulps: 0.0 }
}

/// .approx: a * (1/b), 2 ulp for |b| from 2^-126 to 2^126; above that zero, or a NaN of an infinity. .full: 2 ulp over the
/// full range.
fn divide(modes: Modes, a: f64, b: f64, is_full: bool) -> Want {
    let magnitude = b.abs();
    if !is_full && b.is_finite() {
        if magnitude > power(126.0) {
            // "Otherwise it delivers 0", of either sign.
            return if a.is_finite() {
                Want::AnyOf(vec![Want::Bits(0), Want::Bits(modes.format.sign())])
            } else {
                modes.nan()
            };
        }
        if b != 0.0 && magnitude < power(-126.0) {
            return Want::Anything;
        }
    }
    approximately(modes, a / b, Bound { ulps: 2.0, ..Bound::default() })
}

/// The upper word of the operand makes the upper word of the result, to 20 bits of mantissa; the lower word is zero.
/// #floating-point-instructions-rcp-approx-ftz-f64
fn upper_word(modes: Modes, x: f64, value: f64) -> Want {
    if !value.is_finite() || value == 0.0 {
        return if value.is_nan() { modes.nan() } else { exactly(modes.format, value) };
    }
    let relative = power(-19.0);
    match x.abs() > power(1021.0) || x.abs() < power(-1021.0) {
        true => Want::Anything,
        false => Want::Near { format: modes.format, value, relative, absolute: 0.0, ulps: 0.0 },
    }
}
