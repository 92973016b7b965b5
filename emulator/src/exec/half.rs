//! 16-bit floats: widening and rounding without branches, so that a loop over 32 lanes becomes vector code.

use super::exact::Format;

/// The bits of an IEEE binary16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct F16(pub u16);

/// The bits of a bfloat16: the upper half of an f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bf16(pub u16);

/// What the two have in common, for operations that are written once.
pub trait Half: Copy {
    const FORMAT: Format;

    fn from_bits(bits: u16) -> Self;
    fn bits(self) -> u16;
    /// Exact.
    fn wide(self) -> f32;
    /// To nearest even; NaN is 0x7fff.
    fn round(x: f32) -> Self;
}

macro_rules! half {
    ($($name:ident: $format:ident;)*) => {$(
        impl Half for $name {
            const FORMAT: Format = Format::$format;

            #[inline(always)]
            fn from_bits(bits: u16) -> Self {
                $name(bits)
            }
            #[inline(always)]
            fn bits(self) -> u16 {
                self.0
            }
            #[inline(always)]
            fn wide(self) -> f32 {
                $name::wide(self)
            }
            #[inline(always)]
            fn round(x: f32) -> Self {
                $name::round(x)
            }
        }
    )*};
}

half! {
    F16: F16;
    Bf16: BF16;
}

impl F16 {
    /// Exact. Scaling by 2^112 moves the exponent, subnormals included; infinity and NaN need their exponent filled up.
    #[inline(always)]
    pub fn wide(self) -> f32 {
        let magnitude = u32::from(self.0 & 0x7fff);
        let scaled = (f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000)).to_bits();
        let special = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
        f32::from_bits(scaled | special | u32::from(self.0 & 0x8000) << 16)
    }

    /// Round to nearest even; NaN is 0x7fff.
    #[inline(always)]
    pub fn round(x: f32) -> F16 {
        let bits = x.to_bits();
        let (sign, magnitude) = ((bits >> 16) as u16 & 0x8000, bits & 0x7fff_ffff);
        // Below 2^-14 the unit is 2^-24: adding 0.5 puts it at the end of an f32's fraction, which rounds for us.
        let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
        let odd = magnitude >> 13 & 1;
        let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
        let finite = if magnitude < 113 << 23 { small } else { normal.min(0x7c00) };
        let finite = if magnitude >= 0x4780_0000 { 0x7c00 } else { finite };
        if magnitude > 0x7f80_0000 { F16(0x7fff) } else { F16(sign | finite as u16) }
    }

    /// Round to nearest even from f64, for results that f32 cannot hold exactly.
    #[inline(always)]
    pub fn round_f64(x: f64) -> F16 {
        F16::round(super::fp::f64_to_odd(x))
    }

    #[inline(always)]
    pub fn round_toward_zero(x: f32) -> F16 {
        let rounded = F16::round(x);
        let is_away = rounded.wide().abs() > x.abs();
        if is_away { F16(rounded.0 - 1) } else { rounded }
    }
}

/// `sum` plus the products of two pairs of bf16, the low one first.
#[inline(always)]
pub fn dot(a: u32, b: u32, sum: f32) -> f32 {
    let (low, high) = (|x: u32| f32::from_bits(x << 16), |x: u32| f32::from_bits(x & 0xffff_0000));
    high(a).mul_add(high(b), low(a).mul_add(low(b), sum))
}

impl Bf16 {
    /// Exact.
    #[inline(always)]
    pub fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// Round to nearest even; NaN is 0x7fff.
    #[inline(always)]
    pub fn round(x: f32) -> Bf16 {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        if bits & 0x7fff_ffff > 0x7f80_0000 { Bf16(0x7fff) } else { Bf16(rounded as u16) }
    }

    /// Round to nearest even from f64, for results that f32 cannot hold exactly.
    #[inline(always)]
    pub fn round_f64(x: f64) -> Bf16 {
        Bf16::round(super::fp::f64_to_odd(x))
    }

    #[inline(always)]
    pub fn round_toward_zero(x: f32) -> Bf16 {
        if x.is_nan() { Bf16(0x7fff) } else { Bf16((x.to_bits() >> 16) as u16) }
    }
}

/// The value of an e5m2 byte: the upper half of an f16.
pub fn e5m2(byte: u8) -> f32 {
    F16(u16::from(byte) << 8).wide()
}

/// The value of an e4m3 byte: the upper part of an f16 whose exponent counts from 8 less; all ones are NaN.
pub fn e4m3(byte: u8) -> f32 {
    if byte & 0x7f == 0x7f {
        return f32::NAN;
    }
    let magnitude = F16(u16::from(byte & 0x7f) << 7).wide() * 256.0;
    if byte & 0x80 != 0 { -magnitude } else { magnitude }
}

/// Applies `f` to the low and the high halves.
#[inline(always)]
pub fn both<H: Half>(a: u32, f: impl Fn(H) -> H) -> u32 {
    join(f(high(a)), f(low(a)))
}

/// Applies `f` to the low halves and to the high halves.
#[inline(always)]
pub fn both2<H: Half>(a: u32, b: u32, f: impl Fn(H, H) -> H) -> u32 {
    join(f(high(a), high(b)), f(low(a), low(b)))
}

/// Applies `f` to the low halves and to the high halves.
#[inline(always)]
pub fn both3<H: Half>(a: u32, b: u32, c: u32, f: impl Fn(H, H, H) -> H) -> u32 {
    join(f(high(a), high(b), high(c)), f(low(a), low(b), low(c)))
}

#[inline(always)]
pub fn low<H: Half>(pair: u32) -> H {
    H::from_bits(pair as u16)
}

#[inline(always)]
pub fn high<H: Half>(pair: u32) -> H {
    H::from_bits((pair >> 16) as u16)
}

#[inline(always)]
pub fn join<H: Half>(high: H, low: H) -> u32 {
    u32::from(high.bits()) << 16 | u32::from(low.bits())
}

/// Applies `f` to the bits of the low and the high halves.
#[inline(always)]
pub fn pairs(a: u32, b: u32, c: u32, f: impl Fn(u16, u16, u16) -> u16) -> u32 {
    let low = f(a as u16, b as u16, c as u16);
    let high = f((a >> 16) as u16, (b >> 16) as u16, (c >> 16) as u16);
    u32::from(high) << 16 | u32::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a binary16, from its definition.
    fn exact(bits: u16) -> f64 {
        let sign = if bits & 0x8000 != 0 { -1.0 } else { 1.0 };
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
        match exponent {
            31 if fraction == 0.0 => sign * f64::INFINITY,
            31 => f64::NAN,
            0 => sign * fraction * 2f64.powi(-24),
            _ => sign * (1024.0 + fraction) * 2f64.powi(exponent - 25),
        }
    }

    #[test]
    fn every_f16_widens_exactly_and_rounds_back() {
        for bits in 0..=u16::MAX {
            let (wide, want) = (F16(bits).wide(), exact(bits));
            assert!(f64::from(wide) == want || wide.is_nan() && want.is_nan(), "{bits:#x}");
            if want.is_nan() {
                assert_eq!(F16::round(wide).0, 0x7fff);
            } else {
                assert_eq!(F16::round(wide).0, bits, "{bits:#x}");
                assert_eq!(F16::round_toward_zero(wide).0, bits, "{bits:#x}");
            }
        }
    }

    #[test]
    fn f16_rounds_to_nearest_even_between_neighbours() {
        for bits in 0..0x7bffu16 {
            let (low, high) = (exact(bits), exact(bits + 1));
            let middle = ((low + high) / 2.0) as f32;
            let even = if bits & 1 == 0 { bits } else { bits + 1 };
            assert_eq!(F16::round(middle).0, even, "{bits:#x}");
            assert_eq!(F16::round(middle.next_down()).0, bits);
            assert_eq!(F16::round(middle.next_up()).0, bits + 1);
            assert_eq!(F16::round_toward_zero(middle.next_up()).0, bits);
            assert_eq!(F16::round(-middle.next_up()).0, 0x8000 | (bits + 1));
        }
        assert_eq!(F16::round(65519.0).0, 0x7bff);
        assert_eq!(F16::round(65520.0).0, 0x7c00);
        assert_eq!(F16::round(1e30).0, 0x7c00);
    }

    #[test]
    fn every_byte_widens_to_its_definition() {
        for byte in 0..=255u8 {
            let sign = if byte & 0x80 != 0 { -1.0 } else { 1.0 };
            let definition = |exponent: i32, fraction: f64, bias: i32| {
                let scaled = if exponent == 0 {
                    fraction * 2f64.powi(1 - bias)
                } else {
                    (1.0 + fraction) * 2f64.powi(exponent - bias)
                };
                (sign * scaled) as f32
            };
            let want = definition(i32::from(byte >> 3 & 15), f64::from(byte & 7) / 8.0, 7);
            assert!(e4m3(byte) == want || byte & 0x7f == 0x7f && e4m3(byte).is_nan(), "e4m3 {byte:#x}");
            match byte & 0x7f {
                0x7c => assert_eq!(e5m2(byte), f32::INFINITY * sign as f32),
                0x7d.. => assert!(e5m2(byte).is_nan()),
                _ => assert_eq!(e5m2(byte), definition(i32::from(byte >> 2 & 31), f64::from(byte & 3) / 4.0, 15)),
            }
        }
    }

    #[test]
    fn bf16_rounds_to_nearest_even() {
        for bits in (0..0x7f7fu16).step_by(7) {
            let middle = f32::from_bits(u32::from(bits) << 16 | 0x8000);
            let even = if bits & 1 == 0 { bits } else { bits + 1 };
            assert_eq!(Bf16::round(middle).0, even);
            assert_eq!(Bf16::round(f32::from_bits(middle.to_bits() - 1)).0, bits);
            assert_eq!(Bf16::round(f32::from_bits(middle.to_bits() + 1)).0, bits + 1);
        }
        assert_eq!(Bf16::round(f32::NAN).0, 0x7fff);
        assert_eq!(Bf16::round(f32::MAX).0, 0x7f80);
        // 1 + 2^-8 + 2^-40 in f64: one rounding goes up, a detour over f32 would go to even.
        assert_eq!(Bf16::round_f64(1.0 + 2f64.powi(-8) + 2f64.powi(-40)).0, 0x3f81);
    }
}
