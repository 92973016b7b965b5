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
