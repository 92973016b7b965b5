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
mod tests {
    use super::*;
    use crate::exec::half::{Bf16, F16};
    use Rounding::{Down, NearestAway, NearestEven, TowardZero, Up};

    /// Bits that are numbers of every size, with many that meet in exponent.
    fn random_f64s() -> impl Iterator<Item = f64> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = state ^ state >> 29;
            f64::from_bits(match bits % 5 {
                0 => bits,
                1 => bits & 0x800f_ffff_ffff_ffff,
                2 => bits & 0x8000_0000_00ff_ffff | 0x3ff0_0000_0000_0000,
                3 => bits | 0x7fe0_0000_0000_0000,
                _ => bits & 0x803f_ffff_ffff_ffff | 0x3fe0_0000_0000_0000,
            })
        })
    }

    fn same(bits: u64, want: f64) -> bool {
        bits == want.to_bits() || f64::from_bits(bits).is_nan() && want.is_nan()
    }

    #[test]
    fn nearest_even_is_what_the_host_computes() {
        let mut values = random_f64s();
        for _ in 0..200_000 {
            let [a, b, c] = [(); 3].map(|()| values.next().expect("endless"));
            let round = |value| Format::F64.round(value, NearestEven);
            assert!(same(round(add(a, b, NearestEven)), a + b), "{a:e} + {b:e}");
            assert!(same(round(mul(a, b)), a * b), "{a:e} * {b:e}");
            assert!(same(round(fma(a, b, c, NearestEven)), a.mul_add(b, c)), "{a:e} * {b:e} + {c:e}");
            assert!(same(round(div(a, b)), a / b), "{a:e} / {b:e}");
            assert!(same(round(sqrt(a)), a.sqrt()), "sqrt {a:e}");
            let narrow = Format::F32.round(a.into(), NearestEven) as u32;
            assert!(narrow == (a as f32).to_bits() || a.is_nan(), "{a:e} as f32");
        }
    }

    #[test]
    fn directed_results_are_neighbours_around_the_nearest() {
        let mut values = random_f64s();
        for _ in 0..50_000 {
            let [a, b, c] = [(); 3].map(|()| values.next().expect("endless"));
            let fused = |rounding| f64::from_bits(Format::F64.round(fma(a, b, c, rounding), rounding));
            let [down, nearest, up, zero] = [Down, NearestEven, Up, TowardZero].map(fused);
            if nearest.is_nan() {
                continue;
            }
            assert!(down <= nearest && nearest <= up && (down == up || down.next_up() == up), "{a:e} {b:e} {c:e}");
            assert_eq!(zero, if nearest.is_sign_negative() { up } else { down }, "{a:e} {b:e} {c:e}");
            // f32: the exact product of two shorter numbers is in f64, so its rounding is seen by comparison.
            let (a, b) = (a as f32, b as f32);
            let exact = f64::from(a) * f64::from(b);
            if exact.is_finite() && exact != 0.0 {
                let product = |rounding| f32::from_bits(Format::F32.round(mul(a.into(), b.into()), rounding) as u32);
                let (down, up) = (f64::from(product(Down)), f64::from(product(Up)));
                assert!(down <= exact && exact <= up && (down == exact) == (up == exact), "{a:e} * {b:e}");
                assert!(down == up || (down as f32).next_up() == up as f32, "{a:e} * {b:e}");
            }
        }
    }

    #[test]
    fn what_is_lost_far_below_still_decides() {
        let both = |of: &dyn Fn(Rounding) -> Value| [Down, Up].map(|it| f64::from_bits(Format::F64.round(of(it), it)));
        // Dekker's: exact where the first number is the greater.
        let sum_error = |a: f64, b: f64| if a.abs() > b.abs() { (a + b) - a - b } else { (a + b) - b - a };
        let is_moderate = |x: &f64| (1e-90..1e90).contains(&x.abs());
        let mut values = random_f64s().filter(is_moderate);
        for _ in 0..50_000 {
            let [a, b] = [(); 2].map(|()| values.next().expect("endless"));
            // The error of a host result is a number, or zero where the result is exact.
            let cases = [
                (both(&|it| add(a, b, it)), sum_error(a, b)),
                (both(&|it| fma(a, 1.0, b, it)), sum_error(a, b)),
                (both(&|_| div(a, b)), (a / b).mul_add(b, -a)),
                (both(&|_| sqrt(a.abs())), a.abs().sqrt().mul_add(a.abs().sqrt(), -a.abs())),
            ];
            for (i, ([down, up], error)) in cases.into_iter().enumerate() {
                let is_between = if error == 0.0 { down == up } else { down.next_up() == up };
                assert!(is_between, "case {i}: {a:e} {b:e} gives {down:e} {up:e}, error {error:e}");
            }
        }
        // 2^-51 (1 + 2^-51 + 2^-102 + ...): the remainder is all that follows the first two ones for a long way.
        let [down, up] = both(&|_| div(1.0, 2f64.powi(51) - 1.0));
        assert_eq!((down, up), (2f64.powi(-51) + 2f64.powi(-102), down.next_up()));
    }

    #[test]
    fn zeros_take_the_sign_that_the_rounding_gives() {
        let bits = |value| Format::F32.round(value, Down);
        assert_eq!(bits(fma(1.0, 1.0, -1.0, Down)), 0x8000_0000);
        assert_eq!(bits(fma(1.0, 1.0, -1.0, Up)), 0);
        assert_eq!(bits(add(0.0, -0.0, Down)), 0x8000_0000);
        assert_eq!(bits(add(0.0, 0.0, Down)), 0);
        assert_eq!(bits(mul(0.0, 1.0)), 0);
    }

    /// The value of an 8-bit float, from its definition.
    fn exact8(bits: u64, exponent_bits: u32, fraction_bits: u32) -> f64 {
        let bias = (1 << (exponent_bits - 1)) - 1;
        let (field, fraction) = ((bits >> fraction_bits) as i32, (bits & ((1 << fraction_bits) - 1)) as f64);
        let fraction = fraction / f64::from(1 << fraction_bits);
        if field == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(field - bias) }
    }

    #[test]
    fn bytes_round_to_the_nearest_of_all() {
        for (format, exponent_bits, fraction_bits) in [(Format::E4M3, 4, 3), (Format::E5M2, 5, 2)] {
            for bits in 0..format.largest {
                let (low, high) =
                    (exact8(bits, exponent_bits, fraction_bits), exact8(bits + 1, exponent_bits, fraction_bits));
                let middle = (low + high) / 2.0;
                let round = |x: f64, rounding| format.round(x.into(), rounding);
                assert_eq!(round(low, NearestEven), bits);
                assert_eq!(round(middle, NearestEven), bits + (bits & 1));
                assert_eq!(round(middle, NearestAway), bits + 1);
                assert_eq!(round(middle.next_down(), NearestEven), bits);
                assert_eq!(round(-middle.next_up(), NearestEven), (bits + 1) | 0x80);
                assert_eq!([Down, TowardZero, Up].map(|it| round(middle, it)), [bits, bits, bits + 1]);
                assert_eq!([Down, TowardZero, Up].map(|it| round(-middle, it) & 0x7f), [bits + 1, bits, bits]);
            }
        }
        assert_eq!(exact8(Format::E4M3.largest, 4, 3), 448.0);
        assert_eq!(exact8(Format::E5M2.largest, 5, 2), 57344.0);
    }

    #[test]
    fn halves_agree_with_the_short_ways() {
        let mut values = random_f64s();
        for _ in 0..200_000 {
            let x = values.next().expect("endless") as f32;
            assert_eq!(Format::F16.round(x.into(), NearestEven) as u16, F16::round(x).0, "{x:e}");
            assert_eq!(Format::BF16.round(x.into(), NearestEven) as u16, Bf16::round(x).0, "{x:e}");
            assert_eq!(Format::F16.round(x.into(), TowardZero) as u16, F16::round_toward_zero(x).0, "{x:e}");
        }
    }
}
