//! Floating-point operations of one lane that Rust has no word for. No branch depends on data where it matters for
//! speed, so that loops over lanes become vector code; results are the same bits on every host.

/// The canonical NaN of f32, which its instructions give for any NaN (#floating-point-instructions: payloads are kept in
/// f64 only).
pub const NAN: f32 = f32::from_bits(0x7fff_ffff);

/// An f32 result, with the GPU's NaN for any NaN: hosts keep payloads.
#[inline(always)]
pub fn canonical(x: f32) -> f32 {
    if x.is_nan() { NAN } else { x }
}

/// The NaN of a 64-bit operation: that of its first NaN operand, made quiet, or where there is none the default.
#[inline(always)]
pub fn propagated(operands: &[f64]) -> f64 {
    let first = operands.iter().find(|it| it.is_nan()).map_or(0xfff8_0000_0000_0000, |it| it.to_bits());
    f64::from_bits(first | 1 << 51)
}

/// An f64 result with the NaN that its operands ask for: hosts differ in which they keep, and compilers swap operands.
#[inline(always)]
pub fn canonical64(x: f64, operands: &[f64]) -> f64 {
    if x.is_nan() { propagated(operands) } else { x }
}

/// Flushes a subnormal to a zero of the same sign (`.ftz`).
#[inline(always)]
pub fn ftz(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { f32::from_bits(x.to_bits() & 0x8000_0000) } else { x }
}

/// Clamps to [0, 1]; NaN becomes 0 (`.sat`).
#[inline(always)]
pub fn saturate(x: f32) -> f32 {
    if x > 0.0 { if x < 1.0 { x } else { 1.0 } } else { 0.0 }
}

/// The lesser or greater of two: a NaN loses against a number, and -0 < +0, which `$zeros` sees to by joining the signs of
/// equal numbers. Two NaNs give the
/// canonical one.
macro_rules! extremum {
    ($(#[$doc:meta])* $name:ident: $float:ty, $zeros:tt, $wins:tt, $nan:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(a: $float, b: $float) -> $float {
            let zeros = <$float>::from_bits(a.to_bits() $zeros b.to_bits());
            let winner = if a $wins b { a } else { b };
            let number = if a == b { zeros } else { winner };
            let or_a = if b.is_nan() { a } else { number };
            let result = if a.is_nan() { b } else { or_a };
            if result.is_nan() { <$float>::from_bits($nan) } else { result }
        }
    };
}

extremum! {
    /// #floating-point-instructions-min
    min: f32, |, <, 0x7fff_ffff
}
extremum! {
    /// #floating-point-instructions-max
    max: f32, &, >, 0x7fff_ffff
}
extremum! {
    /// [`min`] for f64.
    min64: f64, |, <, 0x7fff_ffff_ffff_ffff
}
extremum! {
    /// [`max`] for f64.
    max64: f64, &, >, 0x7fff_ffff_ffff_ffff
}

/// #floating-point-instructions-div: for 2^126 < |b| < 2^128 `div.approx` gives 0 (NaN if a is infinite).
#[inline(always)]
pub fn div_approx(a: f32, b: f32) -> f32 {
    let is_huge = b.abs() > 8.507_059e37 && b.is_finite();
    if is_huge { a * 0.0 } else { a / b }
}

/// 2^x, within 0.51 ulp: a polynomial in f64 on [-1/2, 1/2], scaled by writing the exponent.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    // Beyond these an f32 is 0 or infinite; NaN passes both comparisons unchanged.
    let x = if x < -160.0 { -160.0 } else { x };
    let x = f64::from(if x > 130.0 { 130.0 } else { x });
    const TO_INTEGER: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52: adding it rounds to an integer in the low bits
    let shifted = x + TO_INTEGER;
    let f = x - (shifted - TO_INTEGER);
    // ln(2)^n / n!
    let p = 1.525_273_380_405_984e-5;
    let p = p * f + 1.540_353_039_338_161e-4;
    let p = p * f + 1.333_355_814_642_844_3e-3;
    let p = p * f + 9.618_129_107_628_477e-3;
    let p = p * f + 5.550_410_866_482_158e-2;
    let p = p * f + 2.402_265_069_591_007e-1;
    let p = p * f + std::f64::consts::LN_2;
    let p = p * f + 1.0;
    let exponent = shifted.to_bits().wrapping_shl(52);
    f64::from_bits(p.to_bits().wrapping_add(exponent)) as f32
}

/// The exact sum `a + b` as (rounded, error) (Knuth's two-sum).
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// a * b + c as (nearest f32, sign of what is missing): the product of two f32 is exact in f64.
#[inline(always)]
fn fma_with_error(a: f32, b: f32, c: f32) -> (f32, f64) {
    let (sum, error) = two_sum(f64::from(a) * f64::from(b), f64::from(c));
    let nearest = sum as f32;
    let above = sum - f64::from(nearest);
    (nearest, if above == 0.0 { error } else { above })
}

/// `fma.rm`: rounded towards minus infinity.
#[inline(always)]
pub fn fma_down(a: f32, b: f32, c: f32) -> f32 {
    let (nearest, missing) = fma_with_error(a, b, c);
    let is_exact_zero = nearest == 0.0 && missing == 0.0;
    if missing < 0.0 {
        nearest.next_down()
    } else if is_exact_zero && (a * b).is_sign_negative() != c.is_sign_negative() {
        -0.0
    } else {
        nearest
    }
}

/// `fma.rp`: rounded towards plus infinity.
#[inline(always)]
pub fn fma_up(a: f32, b: f32, c: f32) -> f32 {
    let (nearest, missing) = fma_with_error(a, b, c);
    if missing > 0.0 { nearest.next_up() } else { nearest }
}

/// `fma.rz`: rounded towards zero.
#[inline(always)]
pub fn fma_toward_zero(a: f32, b: f32, c: f32) -> f32 {
    let (nearest, missing) = fma_with_error(a, b, c);
    if missing < 0.0 && nearest > 0.0 {
        nearest.next_down()
    } else if missing > 0.0 && nearest < 0.0 {
        nearest.next_up()
    } else {
        nearest
    }
}

/// Truncates an f64 to f32.
#[inline(always)]
pub fn f64_toward_zero(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest).abs() > x.abs() { f32::from_bits(nearest.to_bits() - 1) } else { nearest }
}

/// Rounds to odd: an inexact result gets an odd last bit, so that rounding it once more, to a shorter type, rounds right
/// (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums").
#[inline(always)]
pub fn f64_to_odd(x: f64) -> f32 {
    let truncated = f64_toward_zero(x);
    let is_exact = f64::from(truncated) == x || x.is_nan() || truncated.is_infinite();
    if is_exact { truncated } else { f32::from_bits(truncated.to_bits() | 1) }
}

/// a * b + c rounded to odd in f64; the product must be exact, as that of two f32 or shorter is.
#[inline(always)]
pub fn fma_to_odd(a: f64, b: f64, c: f64) -> f64 {
    let (sum, error) = two_sum(a * b, c);
    if error == 0.0 || !sum.is_finite() || sum.to_bits() & 1 == 1 {
        return sum;
    }
    let is_toward_zero = (error > 0.0) == (sum > 0.0);
    if is_toward_zero { f64::from_bits(sum.to_bits() | 1) } else { f64::from_bits(sum.to_bits() - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_f32s(n: usize) -> impl Iterator<Item = f32> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        (0..n).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f32::from_bits((state >> 32) as u32)
        })
    }

    #[test]
    fn exp2_is_within_an_ulp() {
        let scan = (-1_600_000..1_300_000).map(|i| i as f32 * 1e-4).chain(random_f32s(100_000));
        for x in scan.filter(|it| !it.is_nan()) {
            let (got, want) = (f64::from(exp2(x)), f64::from(x).exp2());
            let ulp = if want < 1.2e-38 { 1.5e-45 } else { want * 1.2e-7 };
            assert!((got - want).abs() <= 0.6 * ulp || (want > 3.4e38 && got.is_infinite()), "exp2({x}): {got} {want}");
        }
        assert_eq!(exp2(0.0), 1.0);
        assert_eq!(exp2(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp2(f32::INFINITY), f32::INFINITY);
        assert!(exp2(f32::NAN).is_nan());
    }

    #[test]
    fn directed_rounding_brackets_the_exact_value() {
        let mut values = random_f32s(3000).map(|x| f32::from_bits(x.to_bits() & 0xbfff_ffff | 0x2000_0000));
        while let (Some(a), Some(b), Some(c)) = (values.next(), values.next(), values.next()) {
            let (down, up, zero) = (fma_down(a, b, c), fma_up(a, b, c), fma_toward_zero(a, b, c));
            let nearest = a.mul_add(b, c);
            assert!(down <= nearest && nearest <= up, "{a} {b} {c}");
            assert!(down == up || down.next_up() == up, "{a} {b} {c}");
            assert!(zero == if nearest > 0.0 { down } else { up }, "{a} {b} {c}");
        }
        assert_eq!(fma_down(1.0, 1.0, -1.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(fma_up(1.0, 1.0, -1.0).to_bits(), 0.0f32.to_bits());
        assert_eq!(fma_down(1.0, 1.0, 1e-30), 1.0);
        assert_eq!(fma_up(1.0, 1.0, 1e-30), 1.0f32.next_up());
        assert_eq!(fma_down(1.0, 1.0, -1e-30), 1.0f32.next_down());
    }

    #[test]
    fn min_max_order_zeros_and_drop_nan() {
        assert_eq!(min(0.0, -0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(max(-0.0, 0.0).to_bits(), 0);
        assert_eq!(max(f32::NAN, 1.0), 1.0);
        assert_eq!(min(1.0, f32::NAN), 1.0);
        assert_eq!((min(1.0, 2.0), max(1.0, 2.0)), (1.0, 2.0));
    }

    #[test]
    fn rounding_to_odd_survives_a_second_rounding() {
        let x = 1.0 + 2f64.powi(-24) + 2f64.powi(-50);
        assert_eq!(f64_to_odd(x).to_bits() & 1, 1);
        assert_eq!(f64_to_odd(1.5), 1.5);
        assert_eq!(fma_to_odd(1.0, 1.0, 2f64.powi(-80)).to_bits(), 1.0f64.to_bits() | 1);
    }
}
