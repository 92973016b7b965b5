//! Floating point in any format and rounding, by exact integer arithmetic: for the roundings and the narrow types that the
//! host has no instruction for. Slow beside the host's own, and right at subnormals, at overflow and at cancellation.
//!
//! An operation keeps its exact result, or enough of it ([`Value`]), and [`Format::round`] rounds it, once.

use crate::isa::modifiers::Rounding;
use std::cmp::Ordering;

/// A binary floating-point format: a sign, then the exponent, then the fraction.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    exponent_bits: u32,
    fraction_bits: u32,
    /// The bits of the largest finite number. The code above it is the infinity.
    pub largest: u64,
}

impl Format {
    pub const F16: Format = Format::ieee(5, 10);
    pub const BF16: Format = Format::ieee(8, 7);
    pub const TF32: Format = Format::ieee(8, 10);
    pub const F32: Format = Format::ieee(8, 23);
    pub const F64: Format = Format::ieee(11, 52);
    pub const E5M2: Format = Format::ieee(5, 2);
    /// No infinity: its highest exponent has numbers up to 448, and one NaN.
    pub const E4M3: Format = Format { exponent_bits: 4, fraction_bits: 3, largest: 0x7e };

    const fn ieee(exponent_bits: u32, fraction_bits: u32) -> Format {
        Format { exponent_bits, fraction_bits, largest: (((1 << exponent_bits) - 1) << fraction_bits) - 1 }
    }

    pub const fn sign_bit(&self) -> u64 {
        1 << (self.exponent_bits + self.fraction_bits)
    }

    /// All ones but the sign: what PTX calls the canonical NaN of each type.
    pub const fn nan(&self) -> u64 {
        self.sign_bit() - 1
    }

    /// The format's bits for a value.
    #[inline(never)]
    pub fn round(&self, value: Value, rounding: Rounding) -> u64 {
        match value {
            Value::Special(x) if x.is_nan() => self.nan(),
            Value::Special(x) => self.signed(x.is_sign_negative(), if x == 0.0 { 0 } else { self.largest + 1 }),
            Value::Finite(x) => self.signed(x.is_negative, self.round_finite(x, rounding)),
        }
    }

    pub const fn least_normal(&self) -> u64 {
        1 << self.fraction_bits
    }

    /// The bits of 1.0.
    pub const fn one(&self) -> u64 {
        ((1 << (self.exponent_bits - 1)) - 1) << self.fraction_bits
    }

    fn signed(&self, is_negative: bool, magnitude: u64) -> u64 {
        if is_negative { magnitude | self.sign_bit() } else { magnitude }
    }

    fn round_finite(&self, Exact { is_negative, significand, exponent }: Exact, rounding: Rounding) -> u64 {
        let least_exponent = 2 - (1i32 << (self.exponent_bits - 1));
        let own_exponent = 127 - significand.leading_zeros() as i32 + exponent;
        let unit = own_exponent.max(least_exponent) - self.fraction_bits as i32;
        let (kept, rest) = split(significand, unit - exponent);
        let goes_up = match rounding {
            Rounding::NearestEven => rest.to_half == Ordering::Greater || rest.to_half.is_eq() && kept & 1 == 1,
            Rounding::NearestAway => rest.to_half != Ordering::Less,
            Rounding::TowardZero => false,
            Rounding::Down => is_negative && !rest.is_zero,
            Rounding::Up => !is_negative && !rest.is_zero,
        };
        // The leading bit of a normal number counts as one in its exponent; a carry out of the fraction does too.
        let steps = (own_exponent - least_exponent).max(0) as u64;
        let bits = kept + u64::from(goes_up) + (steps << self.fraction_bits);
        let is_inward = match rounding {
            Rounding::NearestEven | Rounding::NearestAway => false,
            Rounding::TowardZero => true,
            Rounding::Down => !is_negative,
            Rounding::Up => is_negative,
        };
        bits.min(if is_inward { self.largest } else { self.largest + 1 })
    }
}

/// What a rounding drops.
struct Rest {
    is_zero: bool,
    to_half: Ordering,
}

/// `significand / 2^n`, rounded down, and what is missing.
fn split(significand: u128, n: i32) -> (u64, Rest) {
    if n <= 0 {
        return ((significand << -n) as u64, Rest { is_zero: true, to_half: Ordering::Less });
    }
    if n > 127 {
        return (0, Rest { is_zero: false, to_half: Ordering::Less });
    }
    let rest = significand & ((1 << n) - 1);
    ((significand >> n) as u64, Rest { is_zero: rest == 0, to_half: rest.cmp(&(1 << (n - 1))) })
}

/// A result before it is rounded.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// A zero, an infinity or a NaN.
    Special(f64),
    Finite(Exact),
}

/// ±significand · 2^exponent, not zero. If more than 60 bits precede it, the lowest bit may stand for any that follow.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    is_negative: bool,
    significand: u128,
    exponent: i32,
}

impl Exact {
    fn of(x: f64) -> Exact {
        let (field, fraction) = (x.to_bits() >> 52 & 0x7ff, x.to_bits() & ((1 << 52) - 1));
        let leading = u64::from(field != 0) << 52;
        Exact {
            is_negative: x.is_sign_negative(),
            significand: u128::from(leading | fraction),
            exponent: field.max(1) as i32 - 1075,
        }
    }

    /// With the leading bit at `place`, for lower significands.
    fn led_by(self, place: u32) -> Exact {
        let shift = self.significand.leading_zeros() - (127 - place);
        Exact { significand: self.significand << shift, exponent: self.exponent - shift as i32, ..self }
    }
}

fn is_number(x: f64) -> bool {
    x.is_finite() && x != 0.0
}

impl From<f64> for Value {
    fn from(x: f64) -> Value {
        if is_number(x) { Value::Finite(Exact::of(x)) } else { Value::Special(x) }
    }
}

impl From<f32> for Value {
    fn from(x: f32) -> Value {
        f64::from(x).into()
    }
}

impl From<u64> for Value {
    fn from(x: u64) -> Value {
        let exact = Exact { is_negative: false, significand: u128::from(x), exponent: 0 };
        if x == 0 { Value::Special(0.0) } else { Value::Finite(exact) }
    }
}

impl From<i64> for Value {
    fn from(x: i64) -> Value {
        match Value::from(x.unsigned_abs()) {
            Value::Finite(magnitude) => Value::Finite(Exact { is_negative: x < 0, ..magnitude }),
            zero => zero,
        }
    }
}

/// a + b; `rounding` decides the sign of a zero that two opposite numbers leave.
pub fn add(a: f64, b: f64, rounding: Rounding) -> Value {
    match (Value::from(a), Value::from(b)) {
        (Value::Finite(x), Value::Finite(y)) => sum(x, y, rounding),
        (Value::Special(_), Value::Special(_)) if a == 0.0 && b == 0.0 => {
            let is_negative = if rounding == Rounding::Down {
                a.is_sign_negative() || b.is_sign_negative()
            } else {
                a.is_sign_negative() && b.is_sign_negative()
            };
            Value::Special(if is_negative { -0.0 } else { 0.0 })
        }
        _ => Value::from(a + b),
    }
}

pub fn mul(a: f64, b: f64) -> Value {
    if is_number(a) && is_number(b) { Value::Finite(product(a, b)) } else { Value::Special(a * b) }
}

/// a * b + c, as for [`add`].
#[inline(never)]
pub fn fma(a: f64, b: f64, c: f64, rounding: Rounding) -> Value {
    if !is_number(a) || !is_number(b) {
        // The product is a zero, an infinity or a NaN, and exact.
        return add(a * b, c, rounding);
    }
    match Value::from(c) {
        Value::Finite(c) => sum(product(a, b), c, rounding),
        Value::Special(0.0) => Value::Finite(product(a, b)),
        special => special,
    }
}

#[inline(never)]
pub fn div(a: f64, b: f64) -> Value {
    if !is_number(a) || !is_number(b) {
        return Value::Special(a / b);
    }
    let (x, y) = (Exact::of(a).led_by(127), Exact::of(b).led_by(52));
    let (quotient, remainder) = (x.significand / y.significand, x.significand % y.significand);
    Value::Finite(Exact {
        is_negative: x.is_negative != y.is_negative,
        significand: quotient | u128::from(remainder != 0),
        exponent: x.exponent - y.exponent,
    })
}

#[inline(never)]
pub fn sqrt(a: f64) -> Value {
    if !is_number(a) || a < 0.0 {
        return Value::Special(a.sqrt());
    }
    let x = Exact::of(a).led_by(126);
    let x =
        if x.exponent % 2 == 0 { x } else { Exact { significand: x.significand << 1, exponent: x.exponent - 1, ..x } };
    let root = x.significand.isqrt();
    let significand = root | u128::from(root * root != x.significand);
    Value::Finite(Exact { significand, exponent: x.exponent / 2, ..x })
}

fn product(a: f64, b: f64) -> Exact {
    let (x, y) = (Exact::of(a), Exact::of(b));
    Exact {
        is_negative: x.is_negative != y.is_negative,
        significand: x.significand * y.significand,
        exponent: x.exponent + y.exponent,
    }
}

/// The lesser number loses low bits when it is far below, and then one bit stands for them; cancellation is deep only when
/// it is near, and then nothing was lost.
fn sum(x: Exact, y: Exact, rounding: Rounding) -> Value {
    let (x, y) = (x.led_by(125), y.led_by(125));
    let (big, small) = if (x.exponent, x.significand) >= (y.exponent, y.significand) { (x, y) } else { (y, x) };
    let distance = (big.exponent - small.exponent).min(127);
    let aligned = small.significand >> distance;
    let small_significand = aligned | u128::from(aligned << distance != small.significand);
    let significand = if big.is_negative == small.is_negative {
        big.significand + small_significand
    } else {
        big.significand - small_significand
    };
    if significand == 0 {
        return Value::Special(if rounding == Rounding::Down { -0.0 } else { 0.0 });
    }
    Value::Finite(Exact { significand, ..big })
}

#[cfg(test)]
mod tests;
