//! What the lines of the table that leave their modifiers open compute with: each function does what the instruction's
//! modifiers ask of one kind of result.

use super::{
    exact::{self, Format, Value},
    fp,
    half::Half,
};
use crate::isa::modifiers::{Modifiers, Rounding};

impl Modifiers {
    /// The format's bits for a result: rounded, then `.satfinite`, `.ftz`, `.sat` and `.relu` where the text has them.
    /// `flushes` tells whether its `.ftz` speaks of this format.
    fn bits(self, value: Value, format: &Format, flushes: bool) -> u64 {
        if matches!(value, Value::Special(x) if x.is_nan()) {
            return if self.has(Modifiers::SAT) { 0 } else { format.nan() };
        }
        let bits = format.round(value, self.rounding());
        let (sign, mut magnitude) = (bits & format.sign_bit(), bits & !format.sign_bit());
        if self.has(Modifiers::SATFINITE) {
            magnitude = magnitude.min(format.largest);
        }
        if flushes && self.has(Modifiers::FTZ) && magnitude < format.least_normal() {
            magnitude = 0;
        }
        if self.has(Modifiers::SAT) {
            magnitude = magnitude.min(format.one());
        }
        let clamps_at_zero = self.has(Modifiers::SAT) || self.has(Modifiers::RELU);
        if clamps_at_zero && sign != 0 { 0 } else { sign | magnitude }
    }

    /// An f32 operand: flushed where `.ftz` asks for it.
    pub fn input(self, x: f32) -> f32 {
        if self.has(Modifiers::FTZ) { fp::ftz(x) } else { x }
    }

    pub fn to_f32(self, value: impl Into<Value>) -> f32 {
        f32::from_bits(self.bits(value.into(), &Format::F32, true) as u32)
    }

    /// The result of operands whose NaNs it keeps: [`fp::propagated`].
    pub fn to_f64(self, value: impl Into<Value>, operands: &[f64]) -> f64 {
        let result = f64::from_bits(self.bits(value.into(), &Format::F64, false));
        if result.is_nan() { fp::propagated(operands) } else { result }
    }

    /// A 16-bit result of an operation on other types, whose `.ftz` speaks of those.
    pub fn to_half<H: Half>(self, value: impl Into<Value>) -> H {
        H::from_bits(self.bits(value.into(), &H::FORMAT, false) as u16)
    }

    /// Two 8-bit results, the first in the upper byte.
    pub fn to_bytes(self, high: f32, low: f32, format: &Format) -> u16 {
        let byte = |x: f32| self.bits(x.into(), format, false) as u16;
        byte(high) << 8 | byte(low)
    }

    /// #data-movement-and-conversion-instructions-cvt: a tf32 is an f32 without the 13 lowest bits.
    pub fn to_tf32(self, x: f32) -> u32 {
        if x.is_nan() { 0x7fff_ffff } else { (self.bits(x.into(), &Format::TF32, false) as u32) << 13 }
    }

    /// Rounded to an integer (`.rni` to `.rpi`), which every f64 near enough to have a fraction can hold.
    pub fn integral(self, x: f64) -> f64 {
        match self.rounding() {
            Rounding::NearestEven => x.round_ties_even(),
            Rounding::NearestAway => x.round(),
            Rounding::TowardZero => x.trunc(),
            Rounding::Down => x.floor(),
            Rounding::Up => x.ceil(),
        }
    }

    pub fn add_f32(self, a: f32, b: f32) -> f32 {
        self.to_f32(exact::add(self.input(a).into(), self.input(b).into(), self.rounding()))
    }

    pub fn mul_f32(self, a: f32, b: f32) -> f32 {
        self.to_f32(exact::mul(self.input(a).into(), self.input(b).into()))
    }

    pub fn fma_f32(self, a: f32, b: f32, c: f32) -> f32 {
        let [a, b, c] = [a, b, c].map(|x| f64::from(self.input(x)));
        self.to_f32(exact::fma(a, b, c, self.rounding()))
    }

    pub fn div_f32(self, a: f32, b: f32) -> f32 {
        self.to_f32(exact::div(self.input(a).into(), self.input(b).into()))
    }

    pub fn sqrt_f32(self, a: f32) -> f32 {
        self.to_f32(exact::sqrt(self.input(a).into()))
    }

    /// `min` or `max`, by `pick`, with `.NaN` and `.xorsign.abs`: #floating-point-instructions-max.
    fn extremum(self, a: f32, b: f32, pick: fn(f32, f32) -> f32) -> f32 {
        if self.has(Modifiers::NAN) && (a.is_nan() || b.is_nan()) {
            return fp::NAN;
        }
        if !self.has(Modifiers::XORSIGN) {
            return pick(a, b);
        }
        let picked = pick(a.abs(), b.abs());
        let is_negative = a.is_sign_negative() != b.is_sign_negative();
        if is_negative && !picked.is_nan() { -picked } else { picked }
    }

    pub fn min_f32(self, a: f32, b: f32) -> f32 {
        self.extremum(self.input(a), self.input(b), fp::min)
    }

    pub fn max_f32(self, a: f32, b: f32) -> f32 {
        self.extremum(self.input(a), self.input(b), fp::max)
    }

    /// A 16-bit operand, widened.
    pub fn half_input<H: Half>(self, x: H) -> f32 {
        let is_subnormal = u64::from(x.bits() & 0x7fff) < H::FORMAT.least_normal();
        let x = if self.has(Modifiers::FTZ) && is_subnormal { H::from_bits(x.bits() & 0x8000) } else { x };
        x.wide()
    }

    fn half<H: Half>(self, value: Value) -> H {
        H::from_bits(self.bits(value, &H::FORMAT, true) as u16)
    }

    pub fn half_add<H: Half>(self, a: H, b: H) -> H {
        self.half(exact::add(self.half_input(a).into(), self.half_input(b).into(), self.rounding()))
    }

    pub fn half_sub<H: Half>(self, a: H, b: H) -> H {
        self.half(exact::add(self.half_input(a).into(), (-self.half_input(b)).into(), self.rounding()))
    }

    pub fn half_mul<H: Half>(self, a: H, b: H) -> H {
        self.half(exact::mul(self.half_input(a).into(), self.half_input(b).into()))
    }

    pub fn half_fma<H: Half>(self, a: H, b: H, c: H) -> H {
        let [a, b, c] = [a, b, c].map(|x| f64::from(self.half_input(x)));
        self.half(exact::fma(a, b, c, self.rounding()))
    }

    pub fn half_min<H: Half>(self, a: H, b: H) -> H {
        H::round(self.extremum(self.half_input(a), self.half_input(b), fp::min))
    }

    pub fn half_max<H: Half>(self, a: H, b: H) -> H {
        H::round(self.extremum(self.half_input(a), self.half_input(b), fp::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::half::F16;

    fn with(text: &str) -> Modifiers {
        Modifiers::of(text)
    }

    #[test]
    fn saturation_flushing_and_relu() {
        let half = |text: &str, x: f32| with(text).to_half::<F16>(x).0;
        assert_eq!(half("cvt.rn.sat.f16.f32", 7.0), 0x3c00);
        assert_eq!(half("cvt.rn.sat.f16.f32", -0.0), 0);
        assert_eq!(half("cvt.rn.sat.f16.f32", f32::NAN), 0);
        assert_eq!(half("cvt.rn.relu.f16.f32", -7.0), 0);
        assert_eq!(half("cvt.rn.relu.f16.f32", f32::NAN), 0x7fff);
        assert_eq!(half("cvt.rn.satfinite.f16.f32", -1e9), 0xfbff);
        assert_eq!(half("cvt.rn.satfinite.f16.f32", f32::INFINITY), 0x7bff);
        // `.ftz` of a conversion from f32 speaks of f32: a subnormal f16 stays.
        assert_eq!(half("cvt.rn.ftz.f16.f32", 2f32.powi(-24)), 1);
        assert_eq!(with("add.ftz.f16").half_add(F16(1), F16(0x8001)).0, 0);
        assert_eq!(with("add.ftz.f16").half_add(F16(0x0400), F16(0x8401)).0, 0x8000);
        assert_eq!(with("add.rz.ftz.f32").add_f32(-1e-40, 0.0).to_bits(), 0);
        assert_eq!(with("mul.rm.ftz.f32").mul_f32(-1e-20, 1e-20).to_bits(), 0x8000_0000);
    }

    #[test]
    fn bytes_saturate() {
        let e4m3 = |high, low| with("cvt.rn.satfinite.e4m3x2.f32").to_bytes(high, low, &Format::E4M3);
        assert_eq!(e4m3(1.0, -448.0), 0x38fe);
        assert_eq!(e4m3(f32::NAN, f32::NEG_INFINITY), 0x7ffe);
        assert_eq!(e4m3(1e9, 2f32.powi(-10)), 0x7e00);
        let relu = with("cvt.rn.satfinite.relu.e5m2x2.f32").to_bytes(-3.0, f32::NAN, &Format::E5M2);
        assert_eq!(relu, 0x007f);
    }

    #[test]
    fn tf32_ties_go_away_or_to_even() {
        let tie = f32::from_bits(0x3f80_1000);
        assert_eq!(with("cvt.rna.tf32.f32").to_tf32(tie), 0x3f80_2000);
        assert_eq!(with("cvt.rn.tf32.f32").to_tf32(tie), 0x3f80_0000);
        assert_eq!(with("cvt.rn.tf32.f32").to_tf32(-tie), 0xbf80_0000);
    }

    #[test]
    fn extremes_join_signs_and_keep_nan() {
        let max = |text: &str, a: f32, b: f32| with(text).max_f32(a, b);
        assert_eq!(max("max.xorsign.abs.f32", -3.0, 2.0), -3.0);
        assert_eq!(max("max.xorsign.abs.f32", -3.0, -4.0), 4.0);
        assert_eq!(max("max.xorsign.abs.f32", f32::NAN, -4.0).abs(), 4.0);
        assert_eq!(max("max.NaN.xorsign.abs.f32", f32::NAN, -4.0).to_bits(), 0x7fff_ffff);
        assert_eq!(with("min.ftz.xorsign.abs.f32").min_f32(-1e-40, 1.0).to_bits(), 0x8000_0000);
    }
}
