//! Floating point in the roundings and with the modifiers that kernels seldom use. A line whose parameters end in `; with`
//! asks its instruction's modifiers what to do: see `exec::modified`.

macro_rules! rare_float { ($with:ident { $($table:tt)* }) => { crate::isa::rare::rare_convert! { $with { $($table)*
    // f32: `.rz`, `.rm`, `.rp`, `.sat`
    AddWithF32      f32 = (a: f32, b: f32; with)          "add{,.rn}{,.ftz}.sat.f32", "add.{rz,rm,rp}{,.ftz}{,.sat}.f32" with.add_f32(a, b);
    SubWithF32      f32 = (a: f32, b: f32; with)          "sub{,.rn}{,.ftz}.sat.f32", "sub.{rz,rm,rp}{,.ftz}{,.sat}.f32" with.add_f32(a, -b);
    MulWithF32      f32 = (a: f32, b: f32; with)          "mul{,.rn}{,.ftz}.sat.f32", "mul.{rz,rm,rp}{,.ftz}{,.sat}.f32" with.mul_f32(a, b);
    FmaWithF32      f32 = (a: f32, b: f32, c: f32; with)  "{fma,mad}.{rz,rm,rp}{.ftz,.sat,.ftz.sat}.f32" with.fma_f32(a, b, c);
    DivWithF32      f32 = (a: f32, b: f32; with)          "div.{rz,rm,rp}{,.ftz}.f32"        with.div_f32(a, b);
    RcpWithF32      f32 = (a: f32; with)                  "rcp.{rz,rm,rp}{,.ftz}.f32"        with.div_f32(1.0, a);
    SqrtWithF32     f32 = (a: f32; with)                  "sqrt.{rz,rm,rp}{,.ftz}.f32"       with.sqrt_f32(a);
    MinWithF32      f32 = (a: f32, b: f32; with)          "min{,.ftz}{,.NaN}.xorsign.abs.f32", "min.ftz.NaN.f32" with.min_f32(a, b);
    MaxWithF32      f32 = (a: f32, b: f32; with)          "max{,.ftz}{,.NaN}.xorsign.abs.f32", "max.ftz.NaN.f32" with.max_f32(a, b);
    CopysignF32     f32 = (a: f32, b: f32)                "copysign.f32"                     b.copysign(a);
    // f64
    AddWithF64      f64 = (a: f64, b: f64; with)          "add.{rz,rm,rp}.f64"               with.to_f64(exact::add(a, b, with.rounding()), &[a, b]);
    SubWithF64      f64 = (a: f64, b: f64; with)          "sub.{rz,rm,rp}.f64"               with.to_f64(exact::add(a, -b, with.rounding()), &[a, b]);
    MulWithF64      f64 = (a: f64, b: f64; with)          "mul.{rz,rm,rp}.f64"               with.to_f64(exact::mul(a, b), &[a, b]);
    FmaWithF64      f64 = (a: f64, b: f64, c: f64; with)  "{fma,mad}.{rz,rm,rp}.f64"         with.to_f64(exact::fma(a, b, c, with.rounding()), &[a, b, c]);
    DivWithF64      f64 = (a: f64, b: f64; with)          "div.{rz,rm,rp}.f64"               with.to_f64(exact::div(a, b), &[a, b]);
    RcpWithF64      f64 = (a: f64; with)                  "rcp.{rz,rm,rp}.f64"               with.to_f64(exact::div(1.0, a), &[a]);
    SqrtWithF64     f64 = (a: f64; with)                  "sqrt.{rz,rm,rp}.f64"              with.to_f64(exact::sqrt(a), &[a]);
    RcpGrossF64     f64 = (a: f64)                        "rcp.approx.ftz.f64"               approx::gross(a, |x| 1.0 / x);
    RsqrtGrossF64   f64 = (a: f64)                        "rsqrt.approx.ftz.f64"             approx::gross(a, |x| 1.0 / x.sqrt());
    RsqrtF64        f64 = (a: f64)                        "rsqrt.approx.f64"                 fp::canonical64(1.0 / a.sqrt(), &[a]);
    CopysignF64     f64 = (a: f64, b: f64)                "copysign.f64"                     b.copysign(a);
    TestpFiniteF32  bool = (a: f32)                       "testp.finite.f32"                 a.is_finite();
    TestpInfiniteF32 bool = (a: f32)                      "testp.infinite.f32"               a.is_infinite();
    TestpNumberF32  bool = (a: f32)                       "testp.number.f32"                 !a.is_nan();
    TestpNanF32     bool = (a: f32)                       "testp.notanumber.f32"             a.is_nan();
    TestpNormalF32  bool = (a: f32)                       "testp.normal.f32"                 a.is_normal() | (a == 0.0);
    TestpSubnormalF32 bool = (a: f32)                     "testp.subnormal.f32"              a.is_subnormal();
    TestpFiniteF64  bool = (a: f64)                       "testp.finite.f64"                 a.is_finite();
    TestpInfiniteF64 bool = (a: f64)                      "testp.infinite.f64"               a.is_infinite();
    TestpNumberF64  bool = (a: f64)                       "testp.number.f64"                 !a.is_nan();
    TestpNanF64     bool = (a: f64)                       "testp.notanumber.f64"             a.is_nan();
    TestpNormalF64  bool = (a: f64)                       "testp.normal.f64"                 a.is_normal() | (a == 0.0);
    TestpSubnormalF64 bool = (a: f64)                     "testp.subnormal.f64"              a.is_subnormal();
    // 16-bit floats and pairs of them
    AddWithF16      F16 = (a: F16, b: F16; with)          "add{,.rn}{.ftz,.sat,.ftz.sat}.f16" with.half_add(a, b);
    AddWithF16x2    u32 = (a: u32, b: u32; with)          "add{,.rn}{.ftz,.sat,.ftz.sat}.f16x2" half::both2(a, b, |a: F16, b: F16| with.half_add(a, b));
    SubWithF16      F16 = (a: F16, b: F16; with)          "sub{,.rn}{.ftz,.sat,.ftz.sat}.f16" with.half_sub(a, b);
    SubWithF16x2    u32 = (a: u32, b: u32; with)          "sub{,.rn}{.ftz,.sat,.ftz.sat}.f16x2" half::both2(a, b, |a: F16, b: F16| with.half_sub(a, b));
    MulWithF16      F16 = (a: F16, b: F16; with)          "mul{,.rn}{.ftz,.sat,.ftz.sat}.f16" with.half_mul(a, b);
    MulWithF16x2    u32 = (a: u32, b: u32; with)          "mul{,.rn}{.ftz,.sat,.ftz.sat}.f16x2" half::both2(a, b, |a: F16, b: F16| with.half_mul(a, b));
    FmaWithF16      F16 = (a: F16, b: F16, c: F16; with)  "fma.rn{.ftz,.sat,.ftz.sat,.relu,.ftz.relu}.f16" with.half_fma(a, b, c);
    FmaWithF16x2    u32 = (a: u32, b: u32, c: u32; with)  "fma.rn{.ftz,.sat,.ftz.sat,.relu,.ftz.relu}.f16x2" half::both3(a, b, c, |a: F16, b: F16, c: F16| with.half_fma(a, b, c));
    MinWithF16      F16 = (a: F16, b: F16; with)          "min{.NaN,.xorsign.abs,.NaN.xorsign.abs}.f16", "min.ftz{,.NaN,.xorsign.abs,.NaN.xorsign.abs}.f16" with.half_min(a, b);
    MinWithF16x2    u32 = (a: u32, b: u32; with)          "min{.NaN,.xorsign.abs,.NaN.xorsign.abs}.f16x2", "min.ftz{,.NaN,.xorsign.abs,.NaN.xorsign.abs}.f16x2" half::both2(a, b, |a: F16, b: F16| with.half_min(a, b));
    MaxWithF16      F16 = (a: F16, b: F16; with)          "max{.NaN,.xorsign.abs,.NaN.xorsign.abs}.f16", "max.ftz{,.NaN,.xorsign.abs,.NaN.xorsign.abs}.f16" with.half_max(a, b);
    MaxWithF16x2    u32 = (a: u32, b: u32; with)          "max{.NaN,.xorsign.abs,.NaN.xorsign.abs}.f16x2", "max.ftz{,.NaN,.xorsign.abs,.NaN.xorsign.abs}.f16x2" half::both2(a, b, |a: F16, b: F16| with.half_max(a, b));
    AbsFtzF16       F16 = (a: F16; with)                  "abs.ftz.f16"                      F16::round(with.half_input(a).abs());
    AbsFtzF16x2     u32 = (a: u32; with)                  "abs.ftz.f16x2"                    half::both(a, |a: F16| F16::round(with.half_input(a).abs()));
    NegFtzF16       F16 = (a: F16; with)                  "neg.ftz.f16"                      F16::round(-with.half_input(a));
    NegFtzF16x2     u32 = (a: u32; with)                  "neg.ftz.f16x2"                    half::both(a, |a: F16| F16::round(-with.half_input(a)));
    Ex2F16          F16 = (a: F16; with)                  "ex2.approx.f16"                   F16::round(fp::exp2(with.half_input(a)));
    Ex2F16x2        u32 = (a: u32; with)                  "ex2.approx.f16x2"                 half::both(a, |a: F16| F16::round(fp::exp2(with.half_input(a))));
    TanhF16         F16 = (a: F16; with)                  "tanh.approx.f16"                  F16::round(f64::from(a.wide()).tanh() as f32);
    TanhF16x2       u32 = (a: u32; with)                  "tanh.approx.f16x2"                half::both(a, |a: F16| F16::round(f64::from(a.wide()).tanh() as f32));
    FmaWithBf16     Bf16 = (a: Bf16, b: Bf16, c: Bf16; with) "fma.rn.relu.bf16", "fma.{rz,rm,rp}{,.relu}.bf16" with.half_fma(a, b, c);
    FmaWithBf16x2   u32 = (a: u32, b: u32, c: u32; with)  "fma.rn.relu.bf16x2", "fma.{rz,rm,rp}{,.relu}.bf16x2" half::both3(a, b, c, |a: Bf16, b: Bf16, c: Bf16| with.half_fma(a, b, c));
    MinWithBf16     Bf16 = (a: Bf16, b: Bf16; with)       "min{.NaN,.xorsign.abs,.NaN.xorsign.abs}.bf16" with.half_min(a, b);
    MinWithBf16x2   u32 = (a: u32, b: u32; with)          "min{.NaN,.xorsign.abs,.NaN.xorsign.abs}.bf16x2" half::both2(a, b, |a: Bf16, b: Bf16| with.half_min(a, b));
    MaxWithBf16     Bf16 = (a: Bf16, b: Bf16; with)       "max{.NaN,.xorsign.abs,.NaN.xorsign.abs}.bf16" with.half_max(a, b);
    MaxWithBf16x2   u32 = (a: u32, b: u32; with)          "max{.NaN,.xorsign.abs,.NaN.xorsign.abs}.bf16x2" half::both2(a, b, |a: Bf16, b: Bf16| with.half_max(a, b));
    Ex2Bf16         Bf16 = (a: Bf16; with)                "ex2.approx.ftz.bf16"              Bf16::round(fp::ftz(fp::exp2(with.half_input(a))));
    Ex2Bf16x2       u32 = (a: u32; with)                  "ex2.approx.ftz.bf16x2"            half::both(a, |a: Bf16| Bf16::round(fp::ftz(fp::exp2(with.half_input(a)))));
    TanhBf16        Bf16 = (a: Bf16; with)                "tanh.approx.bf16"                 Bf16::round(f64::from(a.wide()).tanh() as f32);
    TanhBf16x2      u32 = (a: u32; with)                  "tanh.approx.bf16x2"               half::both(a, |a: Bf16| Bf16::round(f64::from(a.wide()).tanh() as f32));
    // comparisons
    SetpRestFtzF32  bool = (a: f32, b: f32; with)         "setp.{ne,equ,ltu,leu,gtu,geu,num,nan}.ftz.f32" with.holds(with.input(a).into(), with.input(b).into());
    SetpRestF64     bool = (a: f64, b: f64; with)         "setp.{equ,num}.f64"               with.holds(a, b);
    SetpF16         bool = (a: F16, b: F16; with)         "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}{,.ftz}.f16" with.holds(with.half_input(a).into(), with.half_input(b).into());
    SetpBf16        bool = (a: Bf16, b: Bf16; with)       "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.bf16" with.holds(a.wide().into(), b.wide().into());
    // `.approx` with errors on purpose: the lowering puts these in where `exec::approx` is told to
    NoisyF32        f32 = (a: f32, b: f32; with)          ""                                 approx::noisy_f32(with, a, b);
    NoisyF16        F16 = (a: F16; with)                  ""                                 approx::noisy_half(with, a, 1);
    NoisyF16x2      u32 = (a: u32; with)                  ""                                 half::both(a, |a: F16| approx::noisy_half(with, a, 1));
    NoisyBf16       Bf16 = (a: Bf16; with)                ""                                 approx::noisy_half(with, a, 2);
    NoisyBf16x2     u32 = (a: u32; with)                  ""                                 half::both(a, |a: Bf16| approx::noisy_half(with, a, 2));
} } } }
pub(crate) use rare_float;
