//! Reading prototypes out of CUDA source text.

#[path = "../build/prototypes.rs"]
mod prototypes;

use prototypes::{Param, Pass, Problem, Prototype, parse};

fn param(name: &str, pass: Pass, c_type: &'static str) -> Param {
    Param { name: name.to_owned(), pass, c_type }
}

/// A kernel with these parameters, on line 1.
fn params(text: &str) -> Result<Vec<Param>, String> {
    let source = format!("extern \"C\" __global__ __launch_bounds__(32) void kernel({text}) {{}}");
    parse(&source).map(|mut it| it.remove(0).params).map_err(|it| it.what)
}

#[test]
fn several_kernels_of_one_file() {
    let source = r#"
        // extern "C" __global__ void in_a_comment(double* x)
        /* extern "C" __global__ void in_another(
               double* x) */
        #include "common.cuh"
        template <typename W> __device__ void matmul(const W* w, float* y) { y[0] = f(w[0], ")("); }

        extern "C" __global__ __launch_bounds__(128) void matmul_bf16(
            const bf16* __restrict__ w,  // [n_rows, n_columns], row-major
            float* __restrict__ y /* [n_rows] */, uint32_t n_rows)
        {
            matmul(w, y);
        }
        extern "C" __global__ __launch_bounds__(256, 4)
        void matmul_f16(const half* w, float *y, uint32_t n_rows) { matmul(w, y); }
    "#;
    let kernel = |name: &str, block, c_type| Prototype {
        name: name.to_owned(),
        block,
        params: vec![
            param("w", Pass::In, c_type),
            param("y", Pass::Out, "float"),
            param("n_rows", Pass::Value, "uint32_t"),
        ],
    };
    assert_eq!(parse(source), Ok(vec![kernel("matmul_bf16", 128, "bf16"), kernel("matmul_f16", 256, "f16")]));
}

#[test]
fn a_file_without_kernels_is_fine() {
    assert_eq!(parse("__device__ float f(double x);"), Ok(vec![]));
    assert_eq!(parse(""), Ok(vec![]));
}

#[test]
fn every_type_is_read() {
    for (text, c_type) in
        [("bf16", "bf16"), ("__nv_bfloat16", "bf16"), ("half", "f16"), ("float2", "float2"), ("uint8_t", "uint8_t")]
    {
        assert_eq!(params(&format!("const {text}* x")), Ok(vec![param("x", Pass::In, c_type)]));
        assert_eq!(params(&format!("{text}* __restrict__ x")), Ok(vec![param("x", Pass::Out, c_type)]));
    }
    for c_type in ["uint32_t", "uint64_t", "int32_t", "float"] {
        assert_eq!(params(&format!("{c_type} x")), Ok(vec![param("x", Pass::Value, c_type)]));
    }
}

#[test]
fn the_block_may_have_a_name() {
    let source =
        "constexpr uint32_t n_threads = 96;\nextern \"C\" __global__ __launch_bounds__(n_threads) void f(float* x) {}";
    assert_eq!(parse(source).unwrap()[0].block, 96);
}

#[test]
fn other_parameters_are_refused_with_what_is_allowed() {
    for text in [
        "double* x",
        "const W* x",
        "unsigned int n",
        "float x[4]",
        "const float** x",
        "float4 v",
        "float2 v",
        "bf16 x",
        "bool b",
        "float* const x",
        "",
        "float",
    ] {
        let problem = params(text).unwrap_err();
        assert!(problem.contains("kernel: cannot read parameter"), "{text}: {problem}");
        assert!(problem.contains("`const T* __restrict__ name`") && problem.contains("bf16, f16, float"), "{problem}");
    }
}

#[test]
fn problems_name_their_line() {
    let problem = |source: &str| parse(source).unwrap_err();
    let Problem { line, what } = problem("\n\nextern \"C\" __global__ void f(float* x) {}");
    assert!(line == 3 && what.contains("expected `__launch_bounds__`, found `void`"), "{line}: {what}");
    let Problem { line, what } = problem("/*\n*/ __global__ __launch_bounds__(32) void f(float* x) {}");
    assert!(line == 2 && what.contains("without `extern \"C\"`"), "{line}: {what}");
    let Problem { line, what } = problem("extern \"C\" __global__ __launch_bounds__(N) void f(float* x) {}");
    assert!(line == 1 && what.contains("`N`"), "{line}: {what}");
    let Problem { line, what } =
        problem("extern \"C\" __global__ __launch_bounds__(32) void f(\n  float* x,\n  double y) {}");
    assert!(line == 3 && what.contains("`double y`"), "{line}: {what}");
    let Problem { line, what } = problem("extern \"C\" __global__ __launch_bounds__(32) void f(\nfloat* x,");
    assert!(line == 2 && what.contains("the file ends"), "{line}: {what}");
}
