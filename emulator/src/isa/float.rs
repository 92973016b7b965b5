//! Floating point: the PTX ISA's "Floating Point Instructions" and "Half Precision Floating-Point Instructions".
//!
//! `.approx` results are correctly rounded here, or nearly; a GPU gives less, and so does `exec::approx` where asked.
//! Directed roundings, saturation and other seldom modifiers are in [`super::rare`].
//! Without `.rn`, ptxas may fuse a `mul.f32` into an `add.f32`; kernels built with `-fmad=false` carry the `.rn`.

macro_rules! float { ($with:ident { $($table:tt)* }) => { crate::isa::compare::compare! { $with { $($table)*
    AddF32         f32 = (a: f32, b: f32)                 "add{,.rn}.f32"                    fp::canonical(a + b);
    AddFtzF32      f32 = (a: f32, b: f32)                 "add{,.rn}.ftz.f32"                fp::canonical(fp::ftz(fp::ftz(a) + fp::ftz(b)));
    SubF32         f32 = (a: f32, b: f32)                 "sub{,.rn}.f32"                    fp::canonical(a - b);
    SubFtzF32      f32 = (a: f32, b: f32)                 "sub{,.rn}.ftz.f32"                fp::canonical(fp::ftz(fp::ftz(a) - fp::ftz(b)));
    MulF32         f32 = (a: f32, b: f32)                 "mul{,.rn}.f32"                    fp::canonical(a * b);
    MulFtzF32      f32 = (a: f32, b: f32)                 "mul{,.rn}.ftz.f32"                fp::canonical(fp::ftz(fp::ftz(a) * fp::ftz(b)));
    FmaF32         f32 = (a: f32, b: f32, c: f32)         "{fma,mad}.rn.f32"                 fp::canonical(a.mul_add(b, c));
    // Chains of the above, which the lowering fuses. A NaN stays one, so the last link makes it canonical for all.
    Fma2F32        f32 = (c: f32, a0: f32, b0: f32, a1: f32, b1: f32) ""                         fp::canonical(a1.mul_add(b1, a0.mul_add(b0, c)));
    Fma3F32        f32 = (c: f32, a0: f32, b0: f32, a1: f32, b1: f32, a2: f32, b2: f32) ""       fp::canonical(a2.mul_add(b2, a1.mul_add(b1, a0.mul_add(b0, c))));
    Dot2Bf16       f32 = (c: f32, a: u32, b: u32)         ""                                 fp::canonical(half::dot(a, b, c));
    Dot4Bf16       f32 = (c: f32, a0: u32, b0: u32, a1: u32, b1: u32) ""                         fp::canonical(half::dot(a1, b1, half::dot(a0, b0, c)));
    Dot6Bf16       f32 = (c: f32, a0: u32, b0: u32, a1: u32, b1: u32, a2: u32, b2: u32) ""       fp::canonical(half::dot(a2, b2, half::dot(a1, b1, half::dot(a0, b0, c))));
    FmaFtzF32      f32 = (a: f32, b: f32, c: f32)         "{fma,mad}.rn.ftz.f32"             fp::canonical(fp::ftz(fp::ftz(a).mul_add(fp::ftz(b), fp::ftz(c))));
    FmaSatF32      f32 = (a: f32, b: f32, c: f32)         "{fma,mad}.rn.sat.f32"             fp::saturate(a.mul_add(b, c));
    FmaFtzSatF32   f32 = (a: f32, b: f32, c: f32)         "{fma,mad}.rn.ftz.sat.f32"         fp::saturate(fp::ftz(fp::ftz(a).mul_add(fp::ftz(b), fp::ftz(c))));
    FmaRzF32       f32 = (a: f32, b: f32, c: f32)         "{fma,mad}.rz.f32"                 fp::canonical(fp::fma_toward_zero(a, b, c));
    FmaRmF32       f32 = (a: f32, b: f32, c: f32)         "{fma,mad}.rm.f32"                 fp::canonical(fp::fma_down(a, b, c));
    FmaRpF32       f32 = (a: f32, b: f32, c: f32)         "{fma,mad}.rp.f32"                 fp::canonical(fp::fma_up(a, b, c));
    DivF32         f32 = (a: f32, b: f32)                 "div{.rn,.full}.f32"               fp::canonical(a / b);
    DivFtzF32      f32 = (a: f32, b: f32)                 "div{.rn,.full}.ftz.f32"           fp::canonical(fp::ftz(fp::ftz(a) / fp::ftz(b)));
    DivApproxF32   f32 = (a: f32, b: f32)                 "div.approx.f32"                   fp::canonical(fp::div_approx(a, b));
    DivApproxFtzF32 f32 = (a: f32, b: f32)                "div.approx.ftz.f32"               fp::canonical(fp::ftz(fp::div_approx(fp::ftz(a), fp::ftz(b))));
    RcpF32         f32 = (a: f32)                         "rcp{.rn,.approx}.f32"             fp::canonical(1.0 / a);
    RcpFtzF32      f32 = (a: f32)                         "rcp{.rn,.approx}.ftz.f32"         fp::canonical(fp::ftz(1.0 / fp::ftz(a)));
    SqrtF32        f32 = (a: f32)                         "sqrt{.rn,.approx}.f32"            fp::canonical(a.sqrt());
    SqrtFtzF32     f32 = (a: f32)                         "sqrt{.rn,.approx}.ftz.f32"        fp::canonical(fp::ftz(a).sqrt());
    RsqrtF32       f32 = (a: f32)                         "rsqrt.approx.f32"                 fp::canonical((1.0 / f64::from(a).sqrt()) as f32);
    RsqrtFtzF32    f32 = (a: f32)                         "rsqrt.approx.ftz.f32"             fp::canonical((1.0 / f64::from(fp::ftz(a)).sqrt()) as f32);
    Ex2F32         f32 = (a: f32)                         "ex2.approx.f32"                   fp::canonical(fp::exp2(a));
    Ex2FtzF32      f32 = (a: f32)                         "ex2.approx.ftz.f32"               fp::canonical(fp::ftz(fp::exp2(fp::ftz(a))));
    Lg2F32         f32 = (a: f32)                         "lg2.approx.f32"                   fp::canonical(f64::from(a).log2() as f32);
    Lg2FtzF32      f32 = (a: f32)                         "lg2.approx.ftz.f32"               fp::canonical(f64::from(fp::ftz(a)).log2() as f32);
    SinF32         f32 = (a: f32)                         "sin.approx.f32"                   fp::canonical(f64::from(a).sin() as f32);
    SinFtzF32      f32 = (a: f32)                         "sin.approx.ftz.f32"               fp::canonical(fp::ftz(f64::from(fp::ftz(a)).sin() as f32));
    CosF32         f32 = (a: f32)                         "cos.approx{,.ftz}.f32"            fp::canonical(f64::from(a).cos() as f32);
    TanhF32        f32 = (a: f32)                         "tanh.approx.f32"                  fp::canonical(f64::from(a).tanh() as f32);
    AbsF32         f32 = (a: f32)                         "abs.f32"                          a.abs();
    NegF32         f32 = (a: f32)                         "neg.f32"                          -a;
    AbsFtzF32      f32 = (a: f32)                         "abs.ftz.f32"                      fp::ftz(a).abs();
    NegFtzF32      f32 = (a: f32)                         "neg.ftz.f32"                      -fp::ftz(a);
    MinF32         f32 = (a: f32, b: f32)                 "min.f32"                          fp::min(a, b);
    MaxF32         f32 = (a: f32, b: f32)                 "max.f32"                          fp::max(a, b);
    MinFtzF32      f32 = (a: f32, b: f32)                 "min.ftz.f32"                      fp::min(fp::ftz(a), fp::ftz(b));
    MaxFtzF32      f32 = (a: f32, b: f32)                 "max.ftz.f32"                      fp::max(fp::ftz(a), fp::ftz(b));
    MinNanF32      f32 = (a: f32, b: f32)                 "min.NaN.f32"                      if a.is_nan() | b.is_nan() { fp::NAN } else { fp::min(a, b) };
    MaxNanF32      f32 = (a: f32, b: f32)                 "max.NaN.f32"                      if a.is_nan() | b.is_nan() { fp::NAN } else { fp::max(a, b) };

    AddF64         f64 = (a: f64, b: f64)                 "add{,.rn}.f64"                    fp::canonical64(a + b, &[a, b]);
    SubF64         f64 = (a: f64, b: f64)                 "sub{,.rn}.f64"                    fp::canonical64(a - b, &[a, b]);
    MulF64         f64 = (a: f64, b: f64)                 "mul{,.rn}.f64"                    fp::canonical64(a * b, &[a, b]);
    FmaF64         f64 = (a: f64, b: f64, c: f64)         "{fma,mad}.rn.f64"                 fp::canonical64(a.mul_add(b, c), &[a, b, c]);
    DivF64         f64 = (a: f64, b: f64)                 "div.rn.f64"                       fp::canonical64(a / b, &[a, b]);
    RcpF64         f64 = (a: f64)                         "rcp.rn.f64"                       fp::canonical64(1.0 / a, &[a]);
    SqrtF64        f64 = (a: f64)                         "sqrt.rn.f64"                      fp::canonical64(a.sqrt(), &[a]);
    AbsF64         f64 = (a: f64)                         "abs.f64"                          a.abs();
    NegF64         f64 = (a: f64)                         "neg.f64"                          -a;
    MinF64         f64 = (a: f64, b: f64)                 "min.f64"                          fp::min64(a, b);
    MaxF64         f64 = (a: f64, b: f64)                 "max.f64"                          fp::max64(a, b);

    AddF16         F16 = (a: F16, b: F16)                 "add{,.rn}.f16"                    F16::round(a.wide() + b.wide());
    SubF16         F16 = (a: F16, b: F16)                 "sub{,.rn}.f16"                    F16::round(a.wide() - b.wide());
    MulF16         F16 = (a: F16, b: F16)                 "mul{,.rn}.f16"                    F16::round(a.wide() * b.wide());
    FmaF16         F16 = (a: F16, b: F16, c: F16)         "fma.rn.f16"                       F16::round_f64(f64::from(a.wide()) * f64::from(b.wide()) + f64::from(c.wide()));
    MinF16         F16 = (a: F16, b: F16)                 "min.f16"                          F16::round(fp::min(a.wide(), b.wide()));
    MaxF16         F16 = (a: F16, b: F16)                 "max.f16"                          F16::round(fp::max(a.wide(), b.wide()));
    NegF16         u16 = (a: u16)                         "neg.{f16,bf16}"                   a ^ 0x8000;
    AbsF16         u16 = (a: u16)                         "abs.{f16,bf16}"                   a & 0x7fff;
    AddF16x2       u32 = (a: u32, b: u32)                 "add{,.rn}.f16x2"                  half::both2(a, b, |a: F16, b: F16| F16::round(a.wide() + b.wide()));
    SubF16x2       u32 = (a: u32, b: u32)                 "sub{,.rn}.f16x2"                  half::both2(a, b, |a: F16, b: F16| F16::round(a.wide() - b.wide()));
    MulF16x2       u32 = (a: u32, b: u32)                 "mul{,.rn}.f16x2"                  half::both2(a, b, |a: F16, b: F16| F16::round(a.wide() * b.wide()));
    FmaF16x2       u32 = (a: u32, b: u32, c: u32)         "fma.rn.f16x2"                     half::both3(a, b, c, |a: F16, b: F16, c: F16| F16::round_f64(f64::from(a.wide()) * f64::from(b.wide()) + f64::from(c.wide())));
    MinF16x2       u32 = (a: u32, b: u32)                 "min.f16x2"                        half::both2(a, b, |a: F16, b: F16| F16::round(fp::min(a.wide(), b.wide())));
    MaxF16x2       u32 = (a: u32, b: u32)                 "max.f16x2"                        half::both2(a, b, |a: F16, b: F16| F16::round(fp::max(a.wide(), b.wide())));
    NegF16x2       u32 = (a: u32)                         "neg.{f16x2,bf16x2}"               a ^ 0x8000_8000;
    AbsF16x2       u32 = (a: u32)                         "abs.{f16x2,bf16x2}"               a & 0x7fff_7fff;
    AddBf16        Bf16 = (a: Bf16, b: Bf16)              "add{,.rn}.bf16"                   Bf16::round(a.wide() + b.wide());
    SubBf16        Bf16 = (a: Bf16, b: Bf16)              "sub{,.rn}.bf16"                   Bf16::round(a.wide() - b.wide());
    MulBf16        Bf16 = (a: Bf16, b: Bf16)              "mul{,.rn}.bf16"                   Bf16::round(a.wide() * b.wide());
    AddBf16x2      u32 = (a: u32, b: u32)                 "add{,.rn}.bf16x2"                 half::both2(a, b, |a: Bf16, b: Bf16| Bf16::round(a.wide() + b.wide()));
    SubBf16x2      u32 = (a: u32, b: u32)                 "sub{,.rn}.bf16x2"                 half::both2(a, b, |a: Bf16, b: Bf16| Bf16::round(a.wide() - b.wide()));
    MulBf16x2      u32 = (a: u32, b: u32)                 "mul{,.rn}.bf16x2"                 half::both2(a, b, |a: Bf16, b: Bf16| Bf16::round(a.wide() * b.wide()));
    FmaBf16        Bf16 = (a: Bf16, b: Bf16, c: Bf16)     "fma.rn.bf16"                      Bf16::round_f64(fp::fma_to_odd(f64::from(a.wide()), f64::from(b.wide()), f64::from(c.wide())));
    FmaBf16x2      u32 = (a: u32, b: u32, c: u32)         "fma.rn.bf16x2"                    half::both3(a, b, c, |a: Bf16, b: Bf16, c: Bf16| Bf16::round_f64(fp::fma_to_odd(f64::from(a.wide()), f64::from(b.wide()), f64::from(c.wide()))));
    MinBf16        Bf16 = (a: Bf16, b: Bf16)              "min.bf16"                         Bf16::round(fp::min(a.wide(), b.wide()));
    MaxBf16        Bf16 = (a: Bf16, b: Bf16)              "max.bf16"                         Bf16::round(fp::max(a.wide(), b.wide()));
    MinBf16x2      u32 = (a: u32, b: u32)                 "min.bf16x2"                       half::both2(a, b, |a: Bf16, b: Bf16| Bf16::round(fp::min(a.wide(), b.wide())));
    MaxBf16x2      u32 = (a: u32, b: u32)                 "max.bf16x2"                       half::both2(a, b, |a: Bf16, b: Bf16| Bf16::round(fp::max(a.wide(), b.wide())));
} } } }
pub(crate) use float;
