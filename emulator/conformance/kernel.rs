//! The PTX around a case: threads load their operands, run its body and store what it leaves.

use crate::conformance::{
    cases::Case,
    types::{Kind, Type},
};
use std::fmt::Write;

/// The directives that every module begins with.
pub const HEADER: &str = ".version 8.4\n.target sm_90\n.address_size 64\n";

/// Threads of a block.
pub const BLOCK: u32 = 128;

/// Bytes of global memory that are a thread's own.
pub const SCRATCH_BYTES: usize = 16;

/// An entry `name` of (inputs, outputs, scratch, n). Inputs are [operand][n] and outputs [result][n], 8 bytes each, of which
/// a narrower type has the low ones; n is a multiple of a warp.
pub fn entry(case: &Case, name: &str) -> String {
    let mut text = format!(
        ".visible .entry {name}(.param .u64 inputs, .param .u64 outputs, .param .u64 scratch, .param .u32 n)
{{
    .reg .pred %outside;
    .reg .b32 %thread, %index, %count, %truth, %shared, %tile;
    .reg .b64 %address, %outputs, %scratch, %step, %generic;
    .shared .align 16 .b8 threads[{}];
    .shared .align 16 .b8 warps[{}];
",
        BLOCK * 16,
        BLOCK / 32 * 512,
    );
    for (k, operand) in case.operands.iter().enumerate() {
        declare(&mut text, &format!("%a{k}"), operand.ty);
    }
    for (k, &ty) in case.results.iter().enumerate() {
        declare(&mut text, &format!("%d{k}"), ty);
    }
    text += "    ld.param.u64 %address, [inputs];
    ld.param.u64 %outputs, [outputs];
    ld.param.u64 %scratch, [scratch];
    ld.param.u32 %count, [n];
    mov.u32 %thread, %tid.x;
    mov.u32 %index, %ctaid.x;
    mov.u32 %truth, %ntid.x;
    mad.lo.u32 %index, %index, %truth, %thread;
    setp.ge.u32 %outside, %index, %count;
    @%outside ret;
    mul.wide.u32 %step, %count, 8;
    mad.wide.u32 %address, %index, 8, %address;
    mad.wide.u32 %outputs, %index, 8, %outputs;
    mad.wide.u32 %scratch, %index, 16, %scratch;
    mov.u32 %shared, threads;
    mad.lo.u32 %shared, %thread, 16, %shared;
    shr.u32 %truth, %thread, 5;
    mov.u32 %tile, warps;
    mad.lo.u32 %tile, %truth, 512, %tile;
";
    for (k, operand) in case.operands.iter().enumerate() {
        let _ = match operand.ty.kind {
            Kind::Pred => writeln!(text, "    ld.global.b32 %truth, [%address];\n    setp.ne.u32 %a{k}, %truth, 0;"),
            _ => writeln!(text, "    ld.global.b{} %a{k}, [%address];", operand.ty.register_bits()),
        };
        text += "    add.u64 %address, %address, %step;\n";
    }
    let _ = writeln!(text, "    {}", case.body);
    for (k, ty) in case.results.iter().enumerate() {
        let _ = match ty.kind {
            Kind::Pred => writeln!(text, "    selp.u32 %truth, 1, 0, %d{k};\n    st.global.b32 [%outputs], %truth;"),
            _ => writeln!(text, "    st.global.b{} [%outputs], %d{k};", ty.register_bits()),
        };
        text += "    add.u64 %outputs, %outputs, %step;\n";
    }
    text + "    ret;\n}\n"
}

fn declare(text: &mut String, name: &str, ty: Type) {
    let _ = match ty.kind {
        Kind::Pred => writeln!(text, "    .reg .pred {name};"),
        _ => writeln!(text, "    .reg .b{} {name};", ty.register_bits()),
    };
}

/// The name of a module's `k`th kernel.
pub fn name(k: usize) -> String {
    format!("k{k}")
}

/// One module of all these cases.
pub fn module<'a>(cases: impl IntoIterator<Item = &'a Case>) -> String {
    let entries = cases.into_iter().enumerate().map(|(k, case)| entry(case, &name(k)));
    HEADER.to_owned() + &entries.collect::<String>()
}
