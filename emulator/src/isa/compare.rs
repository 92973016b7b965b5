//! Comparisons: the PTX ISA's "Comparison and Selection Instructions". `set` and the `.and`/`.or`/`.xor` forms of
//! `setp` are made of these by the lowering. The unordered forms (`ltu`) are true on NaN, the others false.
//! Comparisons of 16-bit floats and seldom ones are in `super::rare`.

macro_rules! compare { ($with:ident { $($table:tt)* }) => { crate::isa::convert::convert! { $with { $($table)*
    SetEqB16       bool = (a: u16, b: u16)                "setp.eq.{b16,u16,s16}"            a == b;
    SetNeB16       bool = (a: u16, b: u16)                "setp.ne.{b16,u16,s16}"            a != b;
    SetLtU16       bool = (a: u16, b: u16)                "setp.{lt,lo}.u16"                 a < b;
    SetLeU16       bool = (a: u16, b: u16)                "setp.{le,ls}.u16"                 a <= b;
    SetGtU16       bool = (a: u16, b: u16)                "setp.{gt,hi}.u16"                 a > b;
    SetGeU16       bool = (a: u16, b: u16)                "setp.{ge,hs}.u16"                 a >= b;
    SetLtS16       bool = (a: i16, b: i16)                "setp.lt.s16"                      a < b;
    SetLeS16       bool = (a: i16, b: i16)                "setp.le.s16"                      a <= b;
    SetGtS16       bool = (a: i16, b: i16)                "setp.gt.s16"                      a > b;
    SetGeS16       bool = (a: i16, b: i16)                "setp.ge.s16"                      a >= b;
    SetEqB32       bool = (a: u32, b: u32)                "setp.eq.{b32,u32,s32}"            a == b;
    SetNeB32       bool = (a: u32, b: u32)                "setp.ne.{b32,u32,s32}"            a != b;
    SetLtU32       bool = (a: u32, b: u32)                "setp.{lt,lo}.u32"                 a < b;
    SetLeU32       bool = (a: u32, b: u32)                "setp.{le,ls}.u32"                 a <= b;
    SetGtU32       bool = (a: u32, b: u32)                "setp.{gt,hi}.u32"                 a > b;
    SetGeU32       bool = (a: u32, b: u32)                "setp.{ge,hs}.u32"                 a >= b;
    SetLtS32       bool = (a: i32, b: i32)                "setp.lt.s32"                      a < b;
    SetLeS32       bool = (a: i32, b: i32)                "setp.le.s32"                      a <= b;
    SetGtS32       bool = (a: i32, b: i32)                "setp.gt.s32"                      a > b;
    SetGeS32       bool = (a: i32, b: i32)                "setp.ge.s32"                      a >= b;
    SetEqB64       bool = (a: u64, b: u64)                "setp.eq.{b64,u64,s64}"            a == b;
    SetNeB64       bool = (a: u64, b: u64)                "setp.ne.{b64,u64,s64}"            a != b;
    SetLtU64       bool = (a: u64, b: u64)                "setp.{lt,lo}.u64"                 a < b;
    SetLeU64       bool = (a: u64, b: u64)                "setp.{le,ls}.u64"                 a <= b;
    SetGtU64       bool = (a: u64, b: u64)                "setp.{gt,hi}.u64"                 a > b;
    SetGeU64       bool = (a: u64, b: u64)                "setp.{ge,hs}.u64"                 a >= b;
    SetLtS64       bool = (a: i64, b: i64)                "setp.lt.s64"                      a < b;
    SetLeS64       bool = (a: i64, b: i64)                "setp.le.s64"                      a <= b;
    SetGtS64       bool = (a: i64, b: i64)                "setp.gt.s64"                      a > b;
    SetGeS64       bool = (a: i64, b: i64)                "setp.ge.s64"                      a >= b;
    SetEqF32       bool = (a: f32, b: f32)                "setp.eq.f32"                      a == b;
    SetNeF32       bool = (a: f32, b: f32)                "setp.ne.f32"                      (a < b) | (a > b);
    SetLtF32       bool = (a: f32, b: f32)                "setp.lt.f32"                      a < b;
    SetLeF32       bool = (a: f32, b: f32)                "setp.le.f32"                      a <= b;
    SetGtF32       bool = (a: f32, b: f32)                "setp.gt.f32"                      a > b;
    SetGeF32       bool = (a: f32, b: f32)                "setp.ge.f32"                      a >= b;
    SetEquF32      bool = (a: f32, b: f32)                "setp.equ.f32"                     !((a < b) | (a > b));
    SetNeuF32      bool = (a: f32, b: f32)                "setp.neu.f32"                     a != b;
    SetLtuF32      bool = (a: f32, b: f32)                "setp.ltu.f32"                     !(a >= b);
    SetLeuF32      bool = (a: f32, b: f32)                "setp.leu.f32"                     !(a > b);
    SetGtuF32      bool = (a: f32, b: f32)                "setp.gtu.f32"                     !(a <= b);
    SetGeuF32      bool = (a: f32, b: f32)                "setp.geu.f32"                     !(a < b);
    SetNumF32      bool = (a: f32, b: f32)                "setp.num.f32"                     !(a.is_nan() | b.is_nan());
    SetNanF32      bool = (a: f32, b: f32)                "setp.nan.f32"                     a.is_nan() | b.is_nan();
    SetEqFtzF32    bool = (a: f32, b: f32)                "setp.eq.ftz.f32"                  fp::ftz(a) == fp::ftz(b);
    SetNeuFtzF32   bool = (a: f32, b: f32)                "setp.neu.ftz.f32"                 fp::ftz(a) != fp::ftz(b);
    SetLtFtzF32    bool = (a: f32, b: f32)                "setp.lt.ftz.f32"                  fp::ftz(a) < fp::ftz(b);
    SetLeFtzF32    bool = (a: f32, b: f32)                "setp.le.ftz.f32"                  fp::ftz(a) <= fp::ftz(b);
    SetGtFtzF32    bool = (a: f32, b: f32)                "setp.gt.ftz.f32"                  fp::ftz(a) > fp::ftz(b);
    SetGeFtzF32    bool = (a: f32, b: f32)                "setp.ge.ftz.f32"                  fp::ftz(a) >= fp::ftz(b);
    SetEqF64       bool = (a: f64, b: f64)                "setp.eq.f64"                      a == b;
    SetNeF64       bool = (a: f64, b: f64)                "setp.ne.f64"                      (a < b) | (a > b);
    SetLtF64       bool = (a: f64, b: f64)                "setp.lt.f64"                      a < b;
    SetLeF64       bool = (a: f64, b: f64)                "setp.le.f64"                      a <= b;
    SetGtF64       bool = (a: f64, b: f64)                "setp.gt.f64"                      a > b;
    SetGeF64       bool = (a: f64, b: f64)                "setp.ge.f64"                      a >= b;
    SetNeuF64      bool = (a: f64, b: f64)                "setp.neu.f64"                     a != b;
    SetLtuF64      bool = (a: f64, b: f64)                "setp.ltu.f64"                     !(a >= b);
    SetLeuF64      bool = (a: f64, b: f64)                "setp.leu.f64"                     !(a > b);
    SetGtuF64      bool = (a: f64, b: f64)                "setp.gtu.f64"                     !(a <= b);
    SetGeuF64      bool = (a: f64, b: f64)                "setp.geu.f64"                     !(a < b);
    SetNanF64      bool = (a: f64, b: f64)                "setp.nan.f64"                     a.is_nan() | b.is_nan();
} } } }
pub(crate) use compare;
