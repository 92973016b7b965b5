//! `.approx` functions: the values themselves, and, where tests must not rely on more than the ISA promises, values with
//! an error as large as it allows.
//!
//! The table's own lines are as exact as they can be. Under [`perturb`], the lowering puts a `Noisy` line in their place;
//! its result depends on the function, the operands and the seed alone, so that equal runs give equal results.

use super::{fp, half::Half};
use crate::isa::modifiers::Modifiers;
use std::sync::atomic::{AtomicU64, Ordering};

/// 0, or what decides the errors.
static SEED: AtomicU64 = AtomicU64::new(0);

/// Makes the modules that are loaded from now on compute `.approx` with errors that this seed decides; `None`: without.
pub fn perturb(seed: Option<u64>) {
    SEED.store(seed.map_or(0, |it| it << 1 | 1), Ordering::Relaxed);
}

pub fn is_perturbed() -> bool {
    SEED.load(Ordering::Relaxed) != 0
}

/// How far a result may be from the exact value before it is rounded, so that it is in the ISA's bound after.
#[derive(Clone, Copy, Debug)]
pub enum Error {
    /// Times the value.
    Relative(f64),
    Absolute(f64),
}

/// A function, and the errors of its f32, f16 and bf16 forms (0: rounding uses up the whole bound).
struct Function {
    /// With its modifiers but `.ftz`.
    name: &'static str,
    value: fn(f64, f64) -> f64,
    errors: [Error; 3],
}

use Error::{Absolute, Relative};

const NONE: Error = Absolute(0.0);
/// Half an ulp of an f32 at most: what rounding adds.
const HALF_ULP: f64 = 1.0 / (1u64 << 24) as f64;

/// The bounds are those of each function's page in #floating-point-instructions: rcp 1 ulp, div 2 ulp, sqrt 2^-23, rsqrt
/// 2^-22.9, ex2 2^-22, lg2 2^-22 (absolute in (0.5, 2)), sin and cos 2^-20.5 absolute, tanh 2^-11; in f16 ex2 2^-9.9 and
/// tanh 2^-10.987 absolute; in bf16 ex2 2^-7 and tanh 2^-8.
static FUNCTIONS: [Function; 10] = [
    Function { name: "rcp.approx", value: |a, _| 1.0 / a, errors: [Relative(HALF_ULP / 2.0), NONE, NONE] },
    Function { name: "div.approx", value: |a, b| a / b, errors: [Relative(HALF_ULP * 1.5), NONE, NONE] },
    Function { name: "div.full", value: |a, b| a / b, errors: [Relative(HALF_ULP * 1.5), NONE, NONE] },
    Function { name: "sqrt.approx", value: |a, _| a.sqrt(), errors: [Relative(HALF_ULP), NONE, NONE] },
    Function { name: "rsqrt.approx", value: |a, _| 1.0 / a.sqrt(), errors: [Relative(HALF_ULP), NONE, NONE] },
    Function {
        name: "ex2.approx",
        value: |a, _| a.exp2(),
        errors: [Relative(HALF_ULP * 3.0), Relative(HALF_ULP * 8192.0), Relative(HALF_ULP * 65000.0)],
    },
    Function { name: "lg2.approx", value: |a, _| a.log2(), errors: [Absolute(HALF_ULP * 3.0), NONE, NONE] },
    Function { name: "sin.approx", value: |a, _| a.sin(), errors: [Absolute(HALF_ULP * 8.0), NONE, NONE] },
    Function { name: "cos.approx", value: |a, _| a.cos(), errors: [Absolute(HALF_ULP * 8.0), NONE, NONE] },
    Function {
        name: "tanh.approx",
        value: |a, _| a.tanh(),
        errors: [Relative(HALF_ULP * 8000.0), Absolute(HALF_ULP * 4096.0), NONE],
    },
];

/// The modifiers of the `Noisy` line that stands for an opcode: which function, and whether it flushes.
pub fn noisy(opcode: &str) -> Option<Modifiers> {
    let (head, _type) = opcode.rsplit_once('.')?;
    let name = head.strip_suffix(".ftz").unwrap_or(head);
    let function = FUNCTIONS.iter().position(|it| it.name == name)?;
    Some(Modifiers(function as i32 | if name == head { 0 } else { Modifiers::FTZ }))
}

/// The value with an error of at most `bound`, in f64.
fn perturbed(with: Modifiers, a: f64, b: f64, bound: usize) -> f64 {
    let index = (with.0 & 0xff) as usize;
    let Function { name, value, errors } = &FUNCTIONS[index];
    let exact = value(a, b);
    // Each page's table says what zeros, infinities and NaN give, and so that 2^0 and cos 0 are 1.
    if !exact.is_finite() || exact == 0.0 || a == 0.0 {
        return exact;
    }
    let mut hash = SEED.load(Ordering::Relaxed) ^ (index as u64) << 56;
    for bits in [a.to_bits(), b.to_bits()] {
        // One step of splitmix64 for each operand.
        hash = (hash ^ bits).wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    let share = (hash >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    let noisy = match errors[bound] {
        Relative(error) => exact * (1.0 + share * error),
        Absolute(error) if exact.abs() < 1.0 => exact + share * error,
        Absolute(error) => exact * (1.0 + share * error),
    };
    let is_within_one = matches!(*name, "sin.approx" | "cos.approx" | "tanh.approx");
    if is_within_one { noisy.clamp(-1.0, 1.0) } else { noisy }
}

pub fn noisy_f32(with: Modifiers, a: f32, b: f32) -> f32 {
    let (a, b) = (with.input(a), with.input(b));
    let is_huge_divisor = FUNCTIONS[(with.0 & 0xff) as usize].name == "div.approx" && fp::div_approx(a, b) == 0.0;
    let result = if is_huge_divisor { fp::div_approx(a, b) } else { perturbed(with, a.into(), b.into(), 0) as f32 };
    fp::canonical(with.input(result))
}

pub fn noisy_half<H: Half>(with: Modifiers, a: H, bound: usize) -> H {
    H::round(with.input(perturbed(with, with.half_input(a).into(), 0.0, bound) as f32))
}

/// `rcp` and `rsqrt.approx.ftz.f64`: only the upper word of operand and result count, and subnormals are zeros.
pub fn gross(a: f64, value: fn(f64) -> f64) -> f64 {
    let upper = |x: f64| f64::from_bits(x.to_bits() & 0xffff_ffff_0000_0000);
    let flushed = |x: f64| if x.is_subnormal() { 0f64.copysign(x) } else { x };
    let result = value(flushed(upper(a)));
    if result.is_nan() { f64::from_bits(0x7fff_ffff_0000_0000) } else { flushed(upper(result)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::half::F16;

    #[test]
    fn errors_stay_in_the_bounds_and_are_there() {
        perturb(Some(7));
        let points: Vec<f32> = (1..4000).map(|i| i as f32 * 0.003_1).collect();
        type Bounded = (&'static str, fn(f64) -> f64, fn(f64) -> f64);
        let cases: [Bounded; 8] = [
            ("rcp.approx.f32", |a| 1.0 / a, |y| y * 2f64.powi(-23)),
            ("sqrt.approx.ftz.f32", f64::sqrt, |y| y * 2f64.powi(-23)),
            ("rsqrt.approx.f32", |a| 1.0 / a.sqrt(), |y| y * 2f64.powf(-22.9)),
            ("ex2.approx.ftz.f32", f64::exp2, |y| y * 2f64.powi(-22)),
            ("lg2.approx.f32", f64::log2, |y| y.abs().max(1.0) * 2f64.powi(-22)),
            ("sin.approx.f32", f64::sin, |_| 2f64.powf(-20.5)),
            ("cos.approx.f32", f64::cos, |_| 2f64.powf(-20.5)),
            ("tanh.approx.f32", f64::tanh, |y| y * 2f64.powi(-11)),
        ];
        for (opcode, exact, bound) in cases {
            let with = noisy(opcode).expect("an approximate opcode");
            let mut n_inexact = 0;
            for &a in &points {
                let (got, want) = (noisy_f32(with, a, a), exact(a.into()));
                assert!((f64::from(got) - want).abs() <= bound(want), "{opcode} {a}: {got} {want}");
                assert_eq!(got.to_bits(), noisy_f32(with, a, a).to_bits());
                n_inexact += usize::from(got != want as f32);
            }
            assert!(n_inexact > points.len() / 10, "{opcode}: {n_inexact}");
        }
        for bits in 0x0400..0x4000 {
            let a = F16(bits);
            let got = noisy_half(noisy("ex2.approx.f16x2").expect("an approximate opcode"), a, 1).wide();
            let want = f64::from(a.wide()).exp2();
            assert!((f64::from(got) - want).abs() <= want * 2f64.powf(-9.9), "{bits:#x}");
        }
        assert_eq!(noisy_f32(noisy("div.approx.f32").expect("there"), 1.0, f32::MAX), 0.0);
        for opcode in ["ex2.approx.ftz.f32", "cos.approx.f32"] {
            let with = noisy(opcode).expect("there");
            assert_eq!([0.0, -0.0].map(|it| noisy_f32(with, it, 0.0)), [1.0; 2], "{opcode}");
        }
        assert!(noisy("add.rn.f32").is_none());
        perturb(None);
    }

    #[test]
    fn gross_f64() {
        assert_eq!(gross(4.0, |x| 1.0 / x), 0.25);
        assert_eq!(gross(f64::from_bits(1), |x| 1.0 / x), f64::INFINITY);
        let third = gross(3.0, |x| 1.0 / x);
        assert!((third - 1.0 / 3.0).abs() < 1e-6 && third.to_bits() as u32 == 0);
    }
}
