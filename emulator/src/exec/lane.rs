//! How typed lanes are read from and written to register planes.

use super::half::{Bf16, F16};

/// A 32-bit register of a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Words(pub [u32; 32]);

/// A 64-bit register of a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Doubles(pub [u64; 32]);

/// A warp's registers, by slot.
#[derive(Clone, Debug, Default)]
pub struct Registers {
    pub words: Vec<Words>,
    pub doubles: Vec<Doubles>,
    /// A bit a lane.
    pub preds: Vec<u32>,
}

/// The lanes that take part in an instruction, as bits and as a plane of 0 and !0.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    pub bits: u32,
    pub n_lanes: u64,
    pub lanes: Words,
}

impl Mask {
    pub const ALL: Mask = Mask { bits: !0, n_lanes: 32, lanes: Words([!0; 32]) };

    #[inline(always)]
    pub fn set(&mut self, bits: u32) {
        if bits != self.bits {
            self.bits = bits;
            self.n_lanes = u64::from(bits.count_ones());
            for (lane, word) in self.lanes.0.iter_mut().enumerate() {
                *word = 0u32.wrapping_sub(bits >> lane & 1);
            }
        }
    }
}

/// A lane's type: where its plane is, and how bits become a value.
pub trait Lane: Copy {
    /// What an operand is read from.
    type Plane<'r>: Copy;
    /// What a result is gathered in before it is written: the source may be the destination.
    type Result;

    fn plane(registers: &Registers, slot: u16) -> Self::Plane<'_>;
    fn get(plane: Self::Plane<'_>, lane: usize) -> Self;
    fn collect(each: impl Fn(usize) -> Self) -> Self::Result;
    fn write(registers: &mut Registers, slot: u16, result: Self::Result, mask: &Mask);
}

macro_rules! lane {
    ($($ty:ty: $file:ident $bits:ty, $from:expr, $to:expr;)*) => {$(
        impl Lane for $ty {
            type Plane<'r> = &'r [$bits; 32];
            type Result = [$bits; 32];

            #[inline(always)]
            fn plane(registers: &Registers, slot: u16) -> &[$bits; 32] {
                &registers.$file[usize::from(slot)].0
            }
            #[inline(always)]
            fn get(plane: &[$bits; 32], lane: usize) -> $ty {
                let from: fn($bits) -> $ty = $from;
                from(plane[lane])
            }
            #[inline(always)]
            fn collect(each: impl Fn(usize) -> $ty) -> [$bits; 32] {
                let to: fn($ty) -> $bits = $to;
                let mut result = [0; 32];
                for (lane, bits) in result.iter_mut().enumerate() {
                    *bits = to(each(lane));
                }
                result
            }
            #[inline(always)]
            fn write(registers: &mut Registers, slot: u16, result: [$bits; 32], mask: &Mask) {
                let plane = &mut registers.$file[usize::from(slot)].0;
                if mask.bits == !0 {
                    *plane = result;
                } else {
                    // Lanes that don't take part keep their bits: they may be live on another path.
                    for lane in 0..32 {
                        let keep = mask.lanes.0[lane] == 0;
                        plane[lane] = if keep { plane[lane] } else { result[lane] };
                    }
                }
            }
        }
    )*};
}

lane! {
    u8: words u32, |bits| bits as u8, u32::from;
    i8: words u32, |bits| bits as i8, |x| i32::from(x) as u32;
    u16: words u32, |bits| bits as u16, u32::from;
    i16: words u32, |bits| bits as i16, |x| u32::from(x as u16);
    u32: words u32, |bits| bits, |x| x;
    i32: words u32, |bits| bits as i32, |x| x as u32;
    f32: words u32, f32::from_bits, f32::to_bits;
    F16: words u32, |bits| F16(bits as u16), |x| u32::from(x.0);
    Bf16: words u32, |bits| Bf16(bits as u16), |x| u32::from(x.0);
    u64: doubles u64, |bits| bits, |x| x;
    i64: doubles u64, |bits| bits as i64, |x| x as u64;
    f64: doubles u64, f64::from_bits, f64::to_bits;
}

impl Lane for bool {
    type Plane<'r> = u32;
    type Result = u32;

    #[inline(always)]
    fn plane(registers: &Registers, slot: u16) -> u32 {
        registers.preds[usize::from(slot)]
    }
    #[inline(always)]
    fn get(plane: u32, lane: usize) -> bool {
        plane >> lane & 1 == 1
    }
    #[inline(always)]
    fn collect(each: impl Fn(usize) -> bool) -> u32 {
        let mut result = 0;
        for lane in 0..32 {
            result |= u32::from(each(lane)) << lane;
        }
        result
    }
    #[inline(always)]
    fn write(registers: &mut Registers, slot: u16, result: u32, mask: &Mask) {
        let plane = &mut registers.preds[usize::from(slot)];
        *plane = (result & mask.bits) | (*plane & !mask.bits);
    }
}
