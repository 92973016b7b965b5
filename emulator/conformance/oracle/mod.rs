//! What each case must compute, written from the PTX ISA in the most obvious way: integers in `i128`, floats as exact
//! numbers that are rounded once. It shares nothing with the emulator.
//!
//! NaNs: where the ISA promises the canonical NaN (.NaN of min and max, .relu, .satfinite) its bits are compared. Elsewhere it
//! leaves the payload open, and any NaN will do.

pub mod approximate;
pub mod atomic;
pub mod compare;
pub mod convert;
pub mod exact;
pub mod float;
pub mod integer;
pub mod matrix;
pub mod warp;

use crate::conformance::{
    cases::{Case, Chapter},
    types::{Format, mask},
    vectors::LANES,
};
use exact::{Number, Rounding};
use std::fmt;

/// What a result has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    Bits(u64),
    /// The ISA leaves it open which.
    AnyOf(Vec<Want>),
    Nan(&'static Format),
    /// Within bounds of `value`; `ulps` are of the format, about `value`.
    Near {
        format: &'static Format,
        value: f64,
        relative: f64,
        absolute: f64,
        ulps: f64,
    },
    /// The ISA says that it is unspecified.
    Anything,
    /// Only these bits.
    Masked(u64, u64),
    /// Elements of so many bits, the lowest first.
    Each(u32, Vec<Want>),
}

impl Want {
    pub fn pred(value: bool) -> Self {
        Self::Bits(value.into())
    }

    /// Does the ISA give bounds, or nothing, where it could give bits?
    pub fn is_approximate(&self) -> bool {
        match self {
            Self::Near { .. } | Self::Anything => true,
            Self::AnyOf(wants) | Self::Each(_, wants) => wants.iter().any(Self::is_approximate),
            Self::Bits(_) | Self::Nan(_) | Self::Masked(..) => false,
        }
    }

    /// Does a result whose bits are `got` satisfy this?
    pub fn accepts(&self, got: u64) -> bool {
        match self {
            Self::Bits(bits) => got == *bits,
            Self::AnyOf(wants) => wants.iter().any(|it| it.accepts(got)),
            Self::Nan(format) => format.is_nan(got),
            Self::Near { format, value, relative, absolute, ulps } => {
                let found = Number::decode(got, format).to_f64();
                if !value.is_finite() {
                    return found == *value || found.is_nan() && value.is_nan();
                }
                let exact = Number::decode(value.to_bits(), &crate::conformance::types::F64);
                let Number::Finite(exact) = exact else { unreachable!("it is finite") };
                let rounded = exact.round(format, Rounding::NearestEven);
                let bound = absolute.max(relative * value.abs()).max(ulps * ulp(*value, format));
                got == rounded || (found - value).abs() <= bound
            }
            Self::Anything => true,
            Self::Masked(bits, mask) => got & mask == bits & mask,
            Self::Each(bits, elements) => {
                let element = |k: usize| got >> (k as u32 * bits) & mask(*bits);
                elements.iter().enumerate().all(|(k, want)| want.accepts(element(k)))
            }
        }
    }
}

/// The distance of the format's numbers about `value`.
fn ulp(value: f64, format: &Format) -> f64 {
    let least = 1 - format.bias();
    let exponent = if value == 0.0 { least } else { (value.abs().log2().floor() as i32).max(least) };
    f64::powi(2.0, exponent - format.mantissa_bits as i32)
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Bits(bits) => write!(f, "{bits:#x}"),
            Self::AnyOf(wants) => f.write_str(&wants.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(" or ")),
            Self::Nan(_) => write!(f, "a NaN"),
            Self::Near { value, relative, absolute, ulps, .. } => {
                write!(f, "{value:e} within {relative:e} of it, {absolute:e} or {ulps} ulp")
            }
            Self::Anything => write!(f, "anything"),
            Self::Masked(bits, mask) => write!(f, "{:#x} in the bits {mask:#x}", bits & mask),
            Self::Each(bits, elements) => {
                let elements: Vec<String> = elements.iter().rev().map(|it| it.to_string()).collect();
                write!(f, "{{{}}} of {bits} bits", elements.join(", "))
            }
        }
    }
}

/// One value a lane.
pub type Row = [u64; LANES];

/// Wants [result] of operands [operand].
pub type OfLane = Box<dyn Fn(&[u64]) -> Vec<Want>>;

/// Wants [result][lane] of operands [operand][lane].
pub type OfWarp = Box<dyn Fn(&[Row]) -> Vec<Vec<Want>>>;

/// The definition of a case.
pub enum Definition {
    /// Of a lane's operands, its results.
    Lane(OfLane),
    /// Of a warp's operands [operand][lane], its results [result][lane].
    Warp(OfWarp),
}

impl Definition {
    /// One result of a lane.
    pub fn lane(of: impl Fn(&[u64]) -> Want + 'static) -> Self {
        Self::Lane(Box::new(move |operands| vec![of(operands)]))
    }

    /// The wants [result][vector] for operands [operand][vector].
    pub fn wants(&self, case: &Case, inputs: &[Vec<u64>], n: usize) -> Vec<Vec<Want>> {
        let mut wants = vec![Vec::with_capacity(n); case.results.len()];
        match self {
            Self::Lane(of) => {
                for i in 0..n {
                    let operands: Vec<u64> = inputs.iter().map(|it| it[i]).collect();
                    let results = of(&operands);
                    assert_eq!(results.len(), wants.len(), "{}", case.label);
                    wants.iter_mut().zip(results).for_each(|(wants, want)| wants.push(want));
                }
            }
            Self::Warp(of) => {
                for warp in 0..n / LANES {
                    let row = |it: &Vec<u64>| std::array::from_fn(|lane| it[warp * LANES + lane]);
                    let results = of(&inputs.iter().map(row).collect::<Vec<Row>>());
                    assert_eq!(results.len(), wants.len(), "{}", case.label);
                    wants.iter_mut().zip(results).for_each(|(wants, row)| wants.extend(row));
                }
            }
        }
        wants
    }
}

/// The definition of a case, if the ISA has been put into words for it here.
pub fn definition(case: &Case) -> Option<Definition> {
    match case.chapter {
        Chapter::Integer => integer::definition(case),
        Chapter::Float | Chapter::Packed => float::definition(case),
        Chapter::Compare => compare::definition(case),
        Chapter::Convert => convert::definition(case),
        Chapter::Approximate => approximate::definition(case),
        Chapter::Warp => warp::definition(case),
        Chapter::Memory => atomic::definition(case),
        Chapter::Matrix => matrix::definition(case),
    }
}
