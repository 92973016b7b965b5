//! #floating-point-instructions and #half-precision-floating-point-instructions; with integers packed in pairs
//! (#integer-arithmetic-instructions, .u16x2 and .s16x2), which are in the same chapter of the tests.

use super::{
    Definition, Want,
    exact::{Exact, Number, Rounding},
    integer,
};
use crate::conformance::{
    cases::Case,
    types::{Format, Opcode},
};

/// The modifiers that all floating-point instructions share.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    pub format: &'static Format,
    pub rounding: Rounding,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
}

pub fn rounding(opcode: &Opcode) -> Rounding {
    match opcode.any_of(&["rz", "rm", "rp", "rna", "rzi", "rmi", "rpi"]) {
        Some("rz" | "rzi") => Rounding::TowardZero,
        Some("rm" | "rmi") => Rounding::Down,
        Some("rp" | "rpi") => Rounding::Up,
        Some(_) => Rounding::NearestAway,
        None => Rounding::NearestEven,
    }
}

impl Modes {
    pub fn of(opcode: &Opcode, format: &'static Format) -> Self {
        let [ftz, sat, relu] = ["ftz", "sat", "relu"].map(|it| opcode.has(it));
        Self { format, rounding: rounding(opcode), ftz, sat, relu }
    }

    /// .ftz: subnormals count as zeros of their sign.
    pub fn flushed(self, bits: u64) -> u64 {
        if self.ftz && self.format.is_subnormal(bits) { bits & self.format.sign() } else { bits }
    }

    pub fn read(self, bits: u64) -> Number {
        Number::decode(self.flushed(bits), self.format)
    }

    /// A NaN as the result: .sat makes it zero, .relu canonical.
    pub fn nan(self) -> Want {
        match (self.sat, self.relu) {
            (true, _) => Want::Bits(0),
            (_, true) => Want::Bits(self.format.canonical_nan()),
            _ => Want::Nan(self.format),
        }
    }

    /// Bits as the result, when they are no NaN.
    pub fn limited(self, bits: u64) -> Want {
        let Self { format, sat, relu, .. } = self;
        let is_negative = bits & format.sign() != 0;
        // To [+0, 1] and to no less than 0: of -0 the ISA does not say whether it stays.
        if (sat || relu) && bits == format.sign() {
            return Want::AnyOf(vec![Want::Bits(0), Want::Bits(bits)]);
        }
        if (sat || relu) && is_negative {
            return Want::Bits(0);
        }
        Want::Bits(if sat { bits.min(format.one()) } else { bits })
    }

    pub fn infinite(self, is_negative: bool) -> Want {
        self.limited(self.format.infinity() | if is_negative { self.format.sign() } else { 0 })
    }

    /// The rounded result.
    pub fn finish(self, value: Exact) -> Want {
        let bits = value.round(self.format, self.rounding);
        let is_subnormal = self.format.is_subnormal(bits);
        let zero = bits & self.format.sign();
        if self.ftz && is_subnormal {
            return self.limited(zero);
        }
        // Rounded up to the least normal number: whether the result was subnormal depends on what was asked first.
        if self.ftz && bits & !self.format.sign() == self.format.smallest_normal() && value.is_tiny(self.format) {
            return Want::AnyOf(vec![self.limited(bits), self.limited(zero)]);
        }
        self.limited(bits)
    }

    /// An exact sum; zeros of two signs make +0, but -0 when rounding down.
    pub fn sum(self, a: Exact, b: Exact) -> Want {
        let mut sum = a.plus(b);
        if sum.is_zero() {
            let both = a.is_zero() && b.is_zero() && a.is_negative == b.is_negative;
            sum.is_negative = if both { a.is_negative } else { self.rounding == Rounding::Down };
        }
        self.finish(sum)
    }

    pub fn add(self, a: Number, b: Number) -> Want {
        match (a, b) {
            (Number::Nan, _) | (_, Number::Nan) => self.nan(),
            (Number::Infinite { is_negative: a }, Number::Infinite { is_negative: b }) if a != b => self.nan(),
            (Number::Infinite { is_negative }, _) | (_, Number::Infinite { is_negative }) => self.infinite(is_negative),
            (Number::Finite(a), Number::Finite(b)) => self.sum(a, b),
        }
    }

    pub fn multiply(self, a: Number, b: Number) -> Want {
        match product(a, b) {
            Number::Nan => self.nan(),
            Number::Infinite { is_negative } => self.infinite(is_negative),
            Number::Finite(exact) => self.finish(exact),
        }
    }

    pub fn divide(self, a: Number, b: Number) -> Want {
        let sign = |it| match it {
            Number::Infinite { is_negative } => is_negative,
            Number::Finite(it) => it.is_negative,
            Number::Nan => false,
        };
        let is_negative = sign(a) != sign(b);
        match (a, b) {
            (Number::Nan, _) | (_, Number::Nan) | (Number::Infinite { .. }, Number::Infinite { .. }) => self.nan(),
            (Number::Infinite { .. }, _) => self.infinite(is_negative),
            (_, Number::Infinite { .. }) => self.finish(Exact { is_negative, ..Exact::integer(0) }),
            (Number::Finite(a), Number::Finite(b)) => match (a.is_zero(), b.is_zero()) {
                (true, true) => self.nan(),
                (false, true) => self.infinite(is_negative),
                (true, false) => self.finish(Exact { is_negative, ..a }),
                (false, false) => self.finish(a.over(b)),
            },
        }
    }

    pub fn square_root(self, a: Number) -> Want {
        match a {
            Number::Finite(a) if a.is_zero() => self.finish(a),
            Number::Finite(a) if !a.is_negative => self.finish(a.square_root()),
            Number::Infinite { is_negative: false } => self.infinite(false),
            _ => self.nan(),
        }
    }
}

/// The exact product.
pub fn product(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Nan, _) | (_, Number::Nan) => Number::Nan,
        (Number::Infinite { is_negative: a }, Number::Infinite { is_negative: b }) => {
            Number::Infinite { is_negative: a != b }
        }
        (Number::Infinite { is_negative }, Number::Finite(it))
        | (Number::Finite(it), Number::Infinite { is_negative }) => match it.is_zero() {
            true => Number::Nan,
            false => Number::Infinite { is_negative: is_negative != it.is_negative },
        },
        (Number::Finite(a), Number::Finite(b)) => Number::Finite(a.times(b)),
    }
}

pub fn negated(number: Number) -> Number {
    match number {
        Number::Nan => Number::Nan,
        Number::Infinite { is_negative } => Number::Infinite { is_negative: !is_negative },
        Number::Finite(it) => Number::Finite(it.negated_if(true)),
    }
}

pub fn definition(case: &Case) -> Option<Definition> {
    let opcode = case.opcode();
    let ty = *opcode.types().last()?;
    let Some(format) = ty.format() else { return integer::definition(case) };
    let of = element(&opcode, Modes::of(&opcode, format))?;
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
    let known = ["rn", "rz", "rm", "rp", "ftz", "sat", "relu", "NaN", "xorsign", "abs"];
    let is_known = |it: &String| known.contains(&it.as_str()) || crate::conformance::types::Type::named(it).is_some();
    if !opcode.modifiers.iter().all(is_known) {
        return None;
    }
    let Modes { format, .. } = modes;
    let read = move |bits| modes.read(bits);
    Some(match opcode.name.as_str() {
        "mov" => Box::new(|x| Want::Bits(x[0])),
        "add" => Box::new(move |x| modes.add(read(x[0]), read(x[1]))),
        "sub" => Box::new(move |x| modes.add(read(x[0]), negated(read(x[1])))),
        "mul" => Box::new(move |x| modes.multiply(read(x[0]), read(x[1]))),
        "fma" | "mad" => Box::new(move |x| modes.add(product(read(x[0]), read(x[1])), read(x[2]))),
        "div" => Box::new(move |x| modes.divide(read(x[0]), read(x[1]))),
        "rcp" => Box::new(move |x| modes.divide(Number::decode(format.one(), format), read(x[0]))),
        "sqrt" => Box::new(move |x| modes.square_root(read(x[0]))),
        "abs" => Box::new(move |x| sign_changed(modes, x[0], |bits| bits & !format.sign())),
        "neg" => Box::new(move |x| sign_changed(modes, x[0], |bits| bits ^ format.sign())),
        "copysign" => Box::new(move |x| Want::Bits(x[0] & format.sign() | x[1] & !format.sign())),
        "min" | "max" => least_or_greatest(opcode, modes),
        _ => return None,
    })
}

/// "NaN inputs yield an unspecified NaN."
fn sign_changed(modes: Modes, bits: u64, of: impl Fn(u64) -> u64) -> Want {
    if modes.format.is_nan(bits) { Want::Nan(modes.format) } else { Want::Bits(of(modes.flushed(bits))) }
}

/// #floating-point-instructions-min: the other operand of a NaN, a NaN of two; .NaN makes the canonical NaN of one; -0 is
/// less than +0; .xorsign.abs compares magnitudes and gives the result the product of the signs.
fn least_or_greatest(opcode: &Opcode, modes: Modes) -> Lane {
    let format = modes.format;
    let (is_max, nan_wins, xorsign) = (opcode.name == "max", opcode.has("NaN"), opcode.has("xorsign"));
    // The bits as integers in the order of the numbers.
    let order = move |bits: u64| {
        let magnitude = (bits & !format.sign()) as i64;
        if bits & format.sign() != 0 { -magnitude - 1 } else { magnitude }
    };
    Box::new(move |x| {
        let [mut a, mut b] = [x[0], x[1]].map(|it| modes.flushed(it));
        let sign = (a ^ b) & format.sign();
        if xorsign {
            a &= !format.sign();
            b &= !format.sign();
        }
        let chosen = match (format.is_nan(a), format.is_nan(b)) {
            (false, false) if (order(a) > order(b)) == is_max => a,
            (false, false) => b,
            _ if nan_wins => return Want::Bits(format.canonical_nan()),
            (true, true) => return Want::Nan(format),
            (true, false) => b,
            (false, true) => a,
        };
        modes.limited(if xorsign { chosen & !format.sign() | sign } else { chosen })
    })
}
