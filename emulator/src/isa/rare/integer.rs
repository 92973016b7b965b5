//! Integer instructions that kernels seldom have: 24-bit products, packed 16-bit arithmetic, bit searches.

macro_rules! rare_integer { ($with:ident { $($table:tt)* }) => { crate::isa::rare::rare_float! { $with { $($table)*
    AddU16x2        u32 = (a: u32, b: u32)                "add.{u16x2,s16x2}"                half::pairs(a, b, 0, |a, b, _| a.wrapping_add(b));
    MinU16x2        u32 = (a: u32, b: u32)                "min.u16x2"                        half::pairs(a, b, 0, |a, b, _| a.min(b));
    MinS16x2        u32 = (a: u32, b: u32)                "min.s16x2"                        half::pairs(a, b, 0, |a, b, _| (a as i16).min(b as i16) as u16);
    MinReluS16x2    u32 = (a: u32, b: u32)                "min.relu.s16x2"                   half::pairs(a, b, 0, |a, b, _| (a as i16).min(b as i16).max(0) as u16);
    MinReluS32      i32 = (a: i32, b: i32)                "min.relu.s32"                     a.min(b).max(0);
    MaxU16x2        u32 = (a: u32, b: u32)                "max.u16x2"                        half::pairs(a, b, 0, |a, b, _| a.max(b));
    MaxS16x2        u32 = (a: u32, b: u32)                "max.s16x2"                        half::pairs(a, b, 0, |a, b, _| (a as i16).max(b as i16) as u16);
    MaxReluS16x2    u32 = (a: u32, b: u32)                "max.relu.s16x2"                   half::pairs(a, b, 0, |a, b, _| (a as i16).max(b as i16).max(0) as u16);
    MaxReluS32      i32 = (a: i32, b: i32)                "max.relu.s32"                     a.max(b).max(0);
    SadU16          u16 = (a: u16, b: u16, c: u16)        "sad.u16"                          a.abs_diff(b).wrapping_add(c);
    SadS16          u16 = (a: i16, b: i16, c: u16)        "sad.s16"                          a.abs_diff(b).wrapping_add(c);
    SadU64          u64 = (a: u64, b: u64, c: u64)        "sad.u64"                          a.abs_diff(b).wrapping_add(c);
    SadS64          u64 = (a: i64, b: i64, c: u64)        "sad.s64"                          a.abs_diff(b).wrapping_add(c);
    MadHiU16        u16 = (a: u16, b: u16, c: u16)        "mad.hi.u16"                       ((u32::from(a) * u32::from(b) >> 16) as u16).wrapping_add(c);
    MadHiS16        i16 = (a: i16, b: i16, c: i16)        "mad.hi.s16"                       ((i32::from(a) * i32::from(b) >> 16) as i16).wrapping_add(c);
    MadHiSatS32     i32 = (a: i32, b: i32, c: i32)        "mad.hi.sat.s32"                   ((i64::from(a) * i64::from(b) >> 32) as i32).saturating_add(c);
    // The product of two 24-bit numbers has 48 bits; `.hi` is its upper 32.
    Mul24HiU32      u32 = (a: u32, b: u32)                "mul24.hi.u32"                     (bits::product24_unsigned(a, b) >> 16) as u32;
    Mad24LoU32      u32 = (a: u32, b: u32, c: u32)        "mad24.lo.u32"                     (bits::product24_unsigned(a, b) as u32).wrapping_add(c);
    Mad24HiU32      u32 = (a: u32, b: u32, c: u32)        "mad24.hi.u32"                     ((bits::product24_unsigned(a, b) >> 16) as u32).wrapping_add(c);
    Mul24HiS32      i32 = (a: i32, b: i32)                "mul24.hi.s32"                     (bits::product24_signed(a, b) >> 16) as i32;
    Mad24LoS32      i32 = (a: i32, b: i32, c: i32)        "mad24.lo.s32"                     (bits::product24_signed(a, b) as i32).wrapping_add(c);
    Mad24HiS32      i32 = (a: i32, b: i32, c: i32)        "mad24.hi.s32"                     ((bits::product24_signed(a, b) >> 16) as i32).wrapping_add(c);
    Mad24HiSatS32   i32 = (a: i32, b: i32, c: i32)        "mad24.hi.sat.s32"                 ((bits::product24_signed(a, b) >> 16) as i32).saturating_add(c);
    Dp2aLoSS        i32 = (a: u32, b: u32, c: i32)        "dp2a.lo.s32.s32"                  bits::dot2(a, b, true, true).wrapping_add(c);
    Dp2aLoSU        i32 = (a: u32, b: u32, c: i32)        "dp2a.lo.s32.u32"                  bits::dot2(a, b, true, false).wrapping_add(c);
    Dp2aLoUS        i32 = (a: u32, b: u32, c: i32)        "dp2a.lo.u32.s32"                  bits::dot2(a, b, false, true).wrapping_add(c);
    Dp2aLoUU        i32 = (a: u32, b: u32, c: i32)        "dp2a.lo.u32.u32"                  bits::dot2(a, b, false, false).wrapping_add(c);
    Dp2aHiSS        i32 = (a: u32, b: u32, c: i32)        "dp2a.hi.s32.s32"                  bits::dot2(a, b >> 16, true, true).wrapping_add(c);
    Dp2aHiSU        i32 = (a: u32, b: u32, c: i32)        "dp2a.hi.s32.u32"                  bits::dot2(a, b >> 16, true, false).wrapping_add(c);
    Dp2aHiUS        i32 = (a: u32, b: u32, c: i32)        "dp2a.hi.u32.s32"                  bits::dot2(a, b >> 16, false, true).wrapping_add(c);
    Dp2aHiUU        i32 = (a: u32, b: u32, c: i32)        "dp2a.hi.u32.u32"                  bits::dot2(a, b >> 16, false, false).wrapping_add(c);
    BfindS64        u32 = (a: i64)                        "bfind.s64"                        63u32.wrapping_sub(((a ^ (a >> 63)) as u64).leading_zeros());
    BfindShiftS64   u32 = (a: i64)                        "bfind.shiftamt.s64"               if a == 0 || a == -1 { !0 } else { ((a ^ (a >> 63)) as u64).leading_zeros() };
    Fns             u32 = (mask: u32, base: u32, n: i32)  "fns.b32"                          bits::find_nth_set(mask, base, n);
    BmskClamp       u32 = (a: u32, b: u32)                "bmsk.clamp.b32"                   bits::insert(!0, 0, a.min(32), b.min(32)) as u32;
    BmskWrap        u32 = (a: u32, b: u32)                "bmsk.wrap.b32"                    bits::insert(!0, 0, a & 31, b & 31) as u32;
    SzextClampU32   u32 = (a: u32, b: u32)                "szext.clamp.u32"                  bits::extract(u64::from(a), 0, b.min(32)) as u32;
    SzextWrapU32    u32 = (a: u32, b: u32)                "szext.wrap.u32"                   bits::extract(u64::from(a), 0, b & 31) as u32;
    SzextClampS32   i32 = (a: i32, b: u32)                "szext.clamp.s32"                  bits::extract_signed(i64::from(a), 0, b.min(32), 32) as i32;
    SzextWrapS32    i32 = (a: i32, b: u32)                "szext.wrap.s32"                   bits::extract_signed(i64::from(a), 0, b & 31, 32) as i32;
    // #extended-precision-integer-arithmetic-instructions: sums with the carry of the one before, and the carries
    Addc32          u32 = (a: u32, b: u32, c: bool)       ""                                 a.wrapping_add(b).wrapping_add(u32::from(c));
    AddCarry32      bool = (a: u32, b: u32)               ""                                 a.overflowing_add(b).1;
    AddcCarry32     bool = (a: u32, b: u32, c: bool)      ""                                 u128::from(a) + u128::from(b) + u128::from(c) > u128::from(u32::MAX);
    Subc32          u32 = (a: u32, b: u32, c: bool)       ""                                 a.wrapping_sub(b).wrapping_sub(u32::from(c));
    SubBorrow32     bool = (a: u32, b: u32)               ""                                 a < b;
    SubcBorrow32    bool = (a: u32, b: u32, c: bool)      ""                                 u128::from(a) < u128::from(b) + u128::from(c);
    Addc64          u64 = (a: u64, b: u64, c: bool)       ""                                 a.wrapping_add(b).wrapping_add(u64::from(c));
    AddCarry64      bool = (a: u64, b: u64)               ""                                 a.overflowing_add(b).1;
    AddcCarry64     bool = (a: u64, b: u64, c: bool)      ""                                 u128::from(a) + u128::from(b) + u128::from(c) > u128::from(u64::MAX);
    Subc64          u64 = (a: u64, b: u64, c: bool)       ""                                 a.wrapping_sub(b).wrapping_sub(u64::from(c));
    SubBorrow64     bool = (a: u64, b: u64)               ""                                 a < b;
    SubcBorrow64    bool = (a: u64, b: u64, c: bool)      ""                                 u128::from(a) < u128::from(b) + u128::from(c);
    LowB8           u8 = (a: u32)                         ""                                 a as u8;
    HighB8          u8 = (a: u32)                         ""                                 (a >> 8) as u8;
    // NaN is not >= 0, and -0 is; `.ftz` makes a negative subnormal -0.
    SlctB16         u16 = (a: u16, b: u16, c: i32)        "slct.{b16,u16,s16}.s32"           if c >= 0 { a } else { b };
    SlctB16F32      u16 = (a: u16, b: u16, c: f32; with)  "slct{,.ftz}.{b16,u16,s16}.f32"    if with.input(c) >= 0.0 { a } else { b };
    SlctB32F32      u32 = (a: u32, b: u32, c: f32; with)  "slct{,.ftz}.{b32,u32,s32,f32}.f32" if with.input(c) >= 0.0 { a } else { b };
    SlctB64F32      u64 = (a: u64, b: u64, c: f32; with)  "slct{,.ftz}.{b64,u64,s64,f64}.f32" if with.input(c) >= 0.0 { a } else { b };
    // #data-movement-and-conversion-instructions-cvt-pack: a above b, and c, where there is one, above both.
    CvtPackU8       u32 = (a: i32, b: i32, c: u32)        "cvt.pack.sat.u8.s32.b32"          bits::pack(a.clamp(0, 255), b.clamp(0, 255), c, 8);
    CvtPackS8       u32 = (a: i32, b: i32, c: u32)        "cvt.pack.sat.s8.s32.b32"          bits::pack(a.clamp(-128, 127), b.clamp(-128, 127), c, 8);
    CvtPackU16      u32 = (a: i32, b: i32)                "cvt.pack.sat.u16.s32"             bits::pack(a.clamp(0, 65535), b.clamp(0, 65535), 0, 16);
    CvtPackS16      u32 = (a: i32, b: i32)                "cvt.pack.sat.s16.s32"             bits::pack(a.clamp(-32768, 32767), b.clamp(-32768, 32767), 0, 16);
    CvtPackU4       u32 = (a: i32, b: i32, c: u32)        "cvt.pack.sat.u4.s32.b32"          bits::pack(a.clamp(0, 15), b.clamp(0, 15), c, 4);
    CvtPackS4       u32 = (a: i32, b: i32, c: u32)        "cvt.pack.sat.s4.s32.b32"          bits::pack(a.clamp(-8, 7), b.clamp(-8, 7), c, 4);
    CvtPackU2       u32 = (a: i32, b: i32, c: u32)        "cvt.pack.sat.u2.s32.b32"          bits::pack(a.clamp(0, 3), b.clamp(0, 3), c, 2);
    CvtPackS2       u32 = (a: i32, b: i32, c: u32)        "cvt.pack.sat.s2.s32.b32"          bits::pack(a.clamp(-2, 1), b.clamp(-2, 1), c, 2);
} } } }
pub(crate) use rare_integer;
