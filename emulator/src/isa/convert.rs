//! Conversions: the PTX ISA's `cvt`. Rust's `as` from floats saturates and turns NaN into 0, as the ISA asks; but from f64,
//! and to 64 bits, NaN becomes the highest bit alone. The source of an integer conversion is the low part of its register,
//! and the result of a narrow one fills its register extended.

macro_rules! convert { ($with:ident { $($table:tt)* }) => { $with! { $($table)*
    CvtU8          u32 = (a: u8)                          "cvt.{u8.u8,u8.u16,u8.s16,u8.s8,u8.u32,u8.s32,u16.u8,s16.u8,u32.u8,s32.u8}" u32::from(a);
    CvtS8          i32 = (a: i8)                          "cvt.{s8.u8,s8.s8,s8.u16,s8.s16,s8.u32,s8.s32,s32.s8,u32.s8}" i32::from(a);
    CvtS16S8       i16 = (a: i8)                          "cvt.{s16,u16}.s8"                 i16::from(a);
    CvtU16         u16 = (a: u16)                         "cvt.{u16,s16}.{u16,s16,u32,s32}"  a;
    CvtU32U16      u32 = (a: u16)                         "cvt.{u32,s32}.u16"                u32::from(a);
    CvtU32S16      i32 = (a: i16)                         "cvt.{u32,s32}.s16"                i32::from(a);
    CvtU32U32      u32 = (a: u32)                         "cvt.{u32,s32}.{u32,s32}"          a;
    CvtU8B64       u32 = (a: u64)                         "cvt.u8.{u64,s64}"                 u32::from(a as u8);
    CvtS8B64       i32 = (a: u64)                         "cvt.s8.{u64,s64}"                 i32::from(a as i8);
    CvtU16U64      u16 = (a: u64)                         "cvt.{u16,s16}.{u64,s64}"          a as u16;
    CvtU32U64      u32 = (a: u64)                         "cvt.{u32,s32}.{u64,s64}"          a as u32;
    CvtU64U8       u64 = (a: u8)                          "cvt.{u64,s64}.u8"                 u64::from(a);
    CvtU64S8       i64 = (a: i8)                          "cvt.{u64,s64}.s8"                 i64::from(a);
    CvtU64U16      u64 = (a: u16)                         "cvt.{u64,s64}.u16"                u64::from(a);
    CvtU64S16      i64 = (a: i16)                         "cvt.{u64,s64}.s16"                i64::from(a);
    CvtU64U32      u64 = (a: u32)                         "cvt.{u64,s64}.u32"                u64::from(a);
    CvtU64S32      i64 = (a: i32)                         "cvt.{u64,s64}.s32"                i64::from(a);
    CvtU64U64      u64 = (a: u64)                         "cvt.{u64,s64}.{u64,s64}"          a;

    CvtF32U8       f32 = (a: u8)                          "cvt.{rn,rz,rm,rp}{,.ftz}.f32.u8"  f32::from(a);
    CvtF32S8       f32 = (a: i8)                          "cvt.{rn,rz,rm,rp}{,.ftz}.f32.s8"  f32::from(a);
    CvtF32U16      f32 = (a: u16)                         "cvt.{rn,rz,rm,rp}{,.ftz}.f32.u16" f32::from(a);
    CvtF32S16      f32 = (a: i16)                         "cvt.{rn,rz,rm,rp}{,.ftz}.f32.s16" f32::from(a);
    CvtF32U32      f32 = (a: u32)                         "cvt.rn{,.ftz}.f32.u32"            a as f32;
    CvtF32S32      f32 = (a: i32)                         "cvt.rn{,.ftz}.f32.s32"            a as f32;
    CvtF32U64      f32 = (a: u64)                         "cvt.rn{,.ftz}.f32.u64"            a as f32;
    CvtF32S64      f32 = (a: i64)                         "cvt.rn{,.ftz}.f32.s64"            a as f32;
    CvtF64U32      f64 = (a: u32)                         "cvt.{rn,rz,rm,rp}.f64.u32"        f64::from(a);
    CvtF64S32      f64 = (a: i32)                         "cvt.{rn,rz,rm,rp}.f64.s32"        f64::from(a);
    CvtF64U64      f64 = (a: u64)                         "cvt.rn.f64.u64"                   a as f64;
    CvtF64S64      f64 = (a: i64)                         "cvt.rn.f64.s64"                   a as f64;
    CvtRniS32F32   i32 = (a: f32)                         "cvt.rni{,.ftz}{,.sat}.s32.f32"    a.round_ties_even() as i32;
    CvtRziS32F32   i32 = (a: f32)                         "cvt.rzi{,.ftz}{,.sat}.s32.f32"    a as i32;
    CvtRmiS32F32   i32 = (a: f32)                         "cvt.rmi{,.sat}.s32.f32"           a.floor() as i32;
    CvtRpiS32F32   i32 = (a: f32)                         "cvt.rpi{,.sat}.s32.f32"           a.ceil() as i32;
    CvtRniU32F32   u32 = (a: f32)                         "cvt.rni{,.ftz}{,.sat}.u32.f32"    a.round_ties_even() as u32;
    CvtRziU32F32   u32 = (a: f32)                         "cvt.rzi{,.ftz}{,.sat}.u32.f32"    a as u32;
    CvtRmiU32F32   u32 = (a: f32)                         "cvt.rmi{,.sat}.u32.f32"           a.floor() as u32;
    CvtRpiU32F32   u32 = (a: f32)                         "cvt.rpi{,.sat}.u32.f32"           a.ceil() as u32;
    CvtRziS64F32   i64 = (a: f32)                         "cvt.rzi{,.ftz}{,.sat}.s64.f32"    if a.is_nan() { i64::MIN } else { a as i64 };
    CvtRziU64F32   u64 = (a: f32)                         "cvt.rzi{,.ftz}{,.sat}.u64.f32"    if a.is_nan() { 1 << 63 } else { a as u64 };
    CvtRziS32F64   i32 = (a: f64)                         "cvt.rzi{,.sat}.s32.f64"           if a.is_nan() { i32::MIN } else { a as i32 };
    CvtRziU32F64   u32 = (a: f64)                         "cvt.rzi{,.sat}.u32.f64"           if a.is_nan() { 1 << 31 } else { a as u32 };
    CvtRziS64F64   i64 = (a: f64)                         "cvt.rzi{,.sat}.s64.f64"           if a.is_nan() { i64::MIN } else { a as i64 };
    RoundNiF32     f32 = (a: f32)                         "cvt.rni.f32.f32"                  fp::canonical(a.round_ties_even());
    RoundZiF32     f32 = (a: f32)                         "cvt.rzi.f32.f32"                  fp::canonical(a.trunc());
    RoundMiF32     f32 = (a: f32)                         "cvt.rmi.f32.f32"                  fp::canonical(a.floor());
    RoundPiF32     f32 = (a: f32)                         "cvt.rpi.f32.f32"                  fp::canonical(a.ceil());
    CvtF32F32      f32 = (a: f32)                         "cvt.f32.f32"                      a;
    CvtSatF32F32   f32 = (a: f32)                         "cvt.sat.f32.f32"                  fp::saturate(a);
    CvtFtzF32F32   f32 = (a: f32)                         "cvt.ftz.f32.f32"                  fp::ftz(a);
    CvtF64F32      f64 = (a: f32)                         "cvt.f64.f32"                      f64::from(a);
    CvtF32F64      f32 = (a: f64)                         "cvt.rn.f32.f64"                   fp::canonical(a as f32);

    CvtF32F16      f32 = (a: F16)                         "cvt{,.ftz}.f32.f16"               fp::canonical(a.wide());
    CvtF32Bf16     f32 = (a: Bf16)                        "cvt{,.rn,.rz,.rm,.rp}.f32.bf16"   a.wide();
    CvtF16F32      F16 = (a: f32)                         "cvt.rn{,.ftz}.f16.f32"            F16::round(a);
    CvtBf16F32     Bf16 = (a: f32)                        "cvt.rn.bf16.f32"                  Bf16::round(a);
    // #data-movement-and-conversion-instructions-cvt: "for .f16x2, .bf16x2: a goes to the upper half".
    CvtF16x2F32    u32 = (a: f32, b: f32)                 "cvt.rn.f16x2.f32"                 u32::from(F16::round(a).0) << 16 | u32::from(F16::round(b).0);
    CvtBf16x2F32   u32 = (a: f32, b: f32)                 "cvt.rn.bf16x2.f32"                u32::from(Bf16::round(a).0) << 16 | u32::from(Bf16::round(b).0);
} } }
pub(crate) use convert;
