//! The parser of PTX, feature by feature, on what nvcc emits, and on damaged text.

mod body;
mod damage;
mod errors;
mod module;
mod nvcc;
mod source;

use cuda_emulator::ptx::{
    ast::{Function, Module},
    parse,
};

/// The module made of `items` after a header of one line.
fn module(items: &str) -> Module {
    parse(&with_header(items)).unwrap_or_else(|error| panic!("{error}"))
}

fn with_header(items: &str) -> String {
    format!(".version 9.0 .target sm_80 .address_size 64\n{items}")
}

/// The kernel with these statements, the first of which is on line 4. It declares `%p0`..`%p3`, `%h0`..`%h3`,
/// `%r0`..`%r7`, `%rd0`..`%rd3` as registers 0, 4, 8 and 16, and the parameter `k_param_0`.
fn kernel(statements: &str) -> Function {
    module(&with_registers(statements)).functions.pop().unwrap()
}

fn with_registers(statements: &str) -> String {
    let registers = ".reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<8>; .reg .f64 %rd<4>;";
    format!(".entry k(.param .u64 k_param_0) {{\n{registers}\n{statements}\n}}")
}
