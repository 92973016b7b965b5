//! Floats as exact numbers, arithmetic on them without loss, and the one rounding that all formats share.

use crate::conformance::types::{Format, mask};

/// ± mantissa * 2^exponent; when `is_inexact`, more than that by less than one 2^exponent.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    pub is_negative: bool,
    pub mantissa: u128,
    pub exponent: i32,
    pub is_inexact: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Number {
    Nan,
    Infinite { is_negative: bool },
    Finite(Exact),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    NearestEven,
    NearestAway,
    TowardZero,
    Down,
    Up,
}

/// Where the leading bit stands after [`Exact::normalized`]: room for one carry, and 18 bits below the longest product.
const LEADING_BIT: u32 = 124;

impl Exact {
    pub fn integer(value: i128) -> Self {
        Self { is_negative: value < 0, mantissa: value.unsigned_abs(), exponent: 0, is_inexact: false }
    }

    pub fn is_zero(self) -> bool {
        self.mantissa == 0 && !self.is_inexact
    }

    pub fn negated_if(self, negate: bool) -> Self {
        Self { is_negative: self.is_negative != negate, ..self }
    }

    fn normalized(self) -> Self {
        if self.mantissa == 0 {
            return self;
        }
        let shift = self.mantissa.leading_zeros() as i32 - (127 - LEADING_BIT as i32);
        assert!(shift >= 0, "a mantissa longer than any format's product");
        Self { mantissa: self.mantissa << shift, exponent: self.exponent - shift, ..self }
    }

    pub fn times(self, other: Self) -> Self {
        Self {
            is_negative: self.is_negative != other.is_negative,
            mantissa: self.mantissa * other.mantissa,
            exponent: self.exponent + other.exponent,
            is_inexact: false,
        }
    }

    /// The sum; of an exact zero the sign is that of `self`, which the caller has to mend.
    pub fn plus(self, other: Self) -> Self {
        if other.is_zero() {
            return self;
        }
        if self.is_zero() {
            return other;
        }
        let (a, b) = (self.normalized(), other.normalized());
        let (large, small) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
        let distance = (large.exponent - small.exponent) as u32;
        let (aligned, is_inexact) = match distance {
            0..128 => {
                let aligned = small.mantissa >> distance;
                (aligned, aligned << distance != small.mantissa)
            }
            _ => (0, true),
        };
        if large.is_negative == small.is_negative {
            return Self { mantissa: large.mantissa + aligned, is_inexact, ..large };
        }
        if aligned > large.mantissa {
            return Self { mantissa: aligned - large.mantissa, is_inexact, ..small };
        }
        // What was shifted out takes a little more away: one less, and something above it.
        let mantissa = large.mantissa - aligned - u128::from(is_inexact);
        Self { mantissa, is_inexact, ..large }
    }

    /// The quotient to at least 60 bits. Neither is zero.
    pub fn over(self, other: Self) -> Self {
        let a = self.normalized();
        Self {
            is_negative: self.is_negative != other.is_negative,
            mantissa: a.mantissa / other.mantissa,
            exponent: a.exponent - other.exponent,
            is_inexact: !a.mantissa.is_multiple_of(other.mantissa),
        }
    }

    /// The square root to 62 bits. Positive.
    pub fn square_root(self) -> Self {
        let mut a = self.normalized();
        if a.exponent % 2 != 0 {
            a = Self { mantissa: a.mantissa << 1, exponent: a.exponent - 1, ..a };
        }
        let root = a.mantissa.isqrt();
        Self { mantissa: root, exponent: a.exponent / 2, is_inexact: root * root != a.mantissa, ..a }
    }

    /// The magnitude as a multiple of 2^`exponent`, rounded; 2^120 stands for all from there.
    fn multiple_of(self, exponent: i32, rounding: Rounding) -> u128 {
        const MANY: u128 = 1 << 120;
        let shift = exponent - self.exponent;
        if shift <= 0 {
            assert!(!self.is_inexact, "bits are missing below an inexact number");
            let fits = (-shift) as u32 <= self.mantissa.leading_zeros().saturating_sub(8);
            return if self.mantissa == 0 || fits { self.mantissa << (-shift).min(127) } else { MANY };
        }
        let (whole, rest, half) = match shift {
            1..=127 => (self.mantissa >> shift, self.mantissa & ((1 << shift) - 1), 1 << (shift - 1)),
            _ => (0, self.mantissa, u128::MAX),
        };
        let is_above_half = rest > half || (rest == half && self.is_inexact);
        let is_half = rest == half && !self.is_inexact;
        let has_rest = rest != 0 || self.is_inexact;
        let goes_up = match rounding {
            Rounding::NearestEven => is_above_half || (is_half && whole % 2 == 1),
            Rounding::NearestAway => is_above_half || is_half,
            Rounding::TowardZero => false,
            Rounding::Down => has_rest && self.is_negative,
            Rounding::Up => has_rest && !self.is_negative,
        };
        (whole + u128::from(goes_up)).min(MANY)
    }

    /// Rounded to an integer, of which the sign of a zero is lost.
    pub fn to_integer(self, rounding: Rounding) -> i128 {
        let magnitude = self.multiple_of(0, rounding) as i128;
        if self.is_negative { -magnitude } else { magnitude }
    }

    /// Rounded to an integral number.
    pub fn to_integral(self, rounding: Rounding) -> Self {
        if self.exponent >= 0 {
            return self;
        }
        Self { mantissa: self.multiple_of(0, rounding), exponent: 0, ..self }
    }

    /// 2^this is at most the magnitude, which is not zero.
    fn floor_log2(self) -> i32 {
        127 - self.mantissa.leading_zeros() as i32 + self.exponent
    }

    /// Is it smaller than the format's normal numbers, before it is rounded?
    pub fn is_tiny(self, format: &Format) -> bool {
        !self.is_zero() && self.floor_log2() < 1 - format.bias()
    }

    /// The bits of the format's number that `rounding` picks.
    pub fn round(self, format: &Format, rounding: Rounding) -> u64 {
        let sign = if self.is_negative { format.sign() } else { 0 };
        if self.is_zero() {
            return sign;
        }
        let least = 1 - format.bias();
        let exponent = self.floor_log2().max(least);
        let significand = self.multiple_of(exponent - format.mantissa_bits as i32, rounding);
        // A subnormal has no implicit bit and a carry out of the mantissa raises the exponent: both come out by adding.
        let magnitude = (((exponent - least) as u128) << format.mantissa_bits) + significand;
        if magnitude > u128::from(format.largest()) {
            return sign | overflow(format, rounding, self.is_negative);
        }
        sign | magnitude as u64
    }
}

/// What a number too large becomes: infinity (a NaN where there is none), or the largest when rounding goes the other way.
fn overflow(format: &Format, rounding: Rounding, is_negative: bool) -> u64 {
    let to_infinity = match rounding {
        Rounding::NearestEven | Rounding::NearestAway => true,
        Rounding::TowardZero => false,
        Rounding::Down => is_negative,
        Rounding::Up => !is_negative,
    };
    match (to_infinity, format.has_infinity) {
        (false, _) => format.largest(),
        (true, true) => format.infinity(),
        (true, false) => format.canonical_nan(),
    }
}

impl Number {
    pub fn decode(bits: u64, format: &Format) -> Self {
        let is_negative = bits & format.sign() != 0;
        if format.is_nan(bits) {
            return Self::Nan;
        }
        let magnitude = bits & (format.sign() - 1);
        if format.has_infinity && magnitude == format.infinity() {
            return Self::Infinite { is_negative };
        }
        let (field, fraction) = (magnitude >> format.mantissa_bits, magnitude & mask(format.mantissa_bits));
        let mantissa = fraction + if field == 0 { 0 } else { format.smallest_normal() };
        let exponent = field.max(1) as i32 - format.bias() - format.mantissa_bits as i32;
        Self::Finite(Exact { is_negative, mantissa: mantissa.into(), exponent, is_inexact: false })
    }

    /// For the bounds of approximations; f64 holds every narrower format.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Nan => f64::NAN,
            Self::Infinite { is_negative } => {
                if is_negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            Self::Finite(it) => f64::from_bits(it.round(&crate::conformance::types::F64, Rounding::NearestEven)),
        }
    }
}
