//! What becomes of a module's text at load: copies that may go and those that may not, and texts that ask for too much.

use crate::{common::*, kernel::*};
use cuda_emulator::{
    driver::{memory::*, module::*},
    lower,
    ptx::ast::Variable,
};
use std::{ffi::CString, ptr};

/// `prev` keeps the value of the last round, though `cur` and it are written at one place each.
#[test]
fn a_copy_that_outlives_its_source_stays() {
    let _context = Context::new();
    let values = [3, 3, 5, 5, 5, 1, 3, 3];
    let out = upload(&[0]);
    let kernel = ".visible .entry k(.param .u64 out, .param .u64 in) {
        .reg .b32 %i, %n, %cur, %prev; .reg .b64 %at, %to; .reg .pred %p<4>;
        ld.param.u64 %to, [out];
        ld.param.u64 %at, [in];
        mov.u32 %i, 0;
        mov.u32 %n, 0;
    round:
        ld.global.u32 %cur, [%at];
        setp.eq.u32 %p1, %i, 0;
        @%p1 bra same;
        setp.eq.u32 %p2, %cur, %prev;
        @%p2 bra same;
        add.u32 %n, %n, 1;
    same:
        mov.u32 %prev, %cur;
        add.u64 %at, %at, 4;
        add.u32 %i, %i, 1;
        setp.lt.u32 %p3, %i, 8;
        @%p3 bra round;
        st.global.u32 [%to], %n;
        ret;
    }";
    ok(Kernel::new(kernel, "k").run(1, 1, &[out, upload(&values)]));
    assert_eq!(download(out, 1), [3]);
}

#[test]
fn copies_in_a_circle_are_no_trouble() {
    let _context = Context::new();
    let unreachable = "mov.u32 %r0, %me; bra out_; mov.b32 %r1, %r2; mov.b32 %r2, %r1; out_:";
    assert_eq!(words(&per_thread(unreachable), 32), Vec::from_iter(0..32));
    let unwritten = "mov.u32 %r0, %me; mov.b32 %r1, %r2; mov.b32 %r2, %r1; mov.b32 %r3, %r3;";
    assert_eq!(words(&per_thread(unwritten), 32), Vec::from_iter(0..32));
}

/// Why a module of this body is refused.
#[track_caller]
fn refusal(body: &str) -> String {
    let place = &mut |variable: &Variable| (variable.bytes < 1 << 30).then_some(1 << 48);
    lower::load(&format!("{HEADER}{body}"), true, place).expect_err("it asks for too much").message
}

fn load(body: &str) -> lower::Image {
    lower::load(&format!("{HEADER}{body}"), true, &mut |_| Some(1 << 48)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_asks_for_too_much_is_refused_with_what_fits() {
    for (body, expected) in [
        (".global .b8 x[281474976710656];", "x: no memory for 281474976710656 bytes"),
        (".entry k() { .local .b8 x[1000000000]; ret; }", "x of k: needs 1000000000 bytes"),
        (".entry k() { .local .b8 x[524289]; ret; }", "at most 524288 fit"),
        (".entry k() { .shared .b8 x[4294967295]; ret; }", "x of k: needs 4294967295 bytes"),
        (".entry k(.param .b8 p[1073741824]) { ret; }", "p ends at byte 1073741824, expected at most 32764"),
        (".entry k(.param .b8 p[4294967304]) { ret; }", "p ends at byte 4294967304, expected at most 32764"),
        (".func f(.param .b8 p[32765]) { ret; } .entry k() { call f; ret; }", "p ends at byte 32765"),
    ] {
        let message = refusal(body);
        assert!(message.contains(expected), "{message}");
    }
    let body: String = (0..8).map(|i| format!(".const .b8 c{i}[536870912];")).collect();
    let uses: String = (0..8).map(|i| format!("mov.u64 %a, c{i};")).collect();
    let message = refusal(&format!("{body} .entry k() {{ .reg .b64 %a; {uses} ret; }}"));
    assert!(message.contains("needs 4294967296 bytes"), "{message}");
}

#[test]
fn limits_are_inclusive_and_products_saturate() {
    let image = load(
        ".global .b8 x[281474976710656];
         .entry k(.param .b8 p[32764]) .maxntid 65536, 65536 { .local .b8 x[524288]; ret; }",
    );
    let kernel = &image.kernels["k"];
    assert_eq!((kernel.param_bytes, kernel.local_bytes, kernel.max_threads), (32764, 524_288, u32::MAX));
    assert!(image.globals["x"].init.is_empty(), "zeros are the driver's");
}

#[test]
fn a_variable_without_memory_fails_the_load_alone() {
    let _context = Context::new();
    let text = CString::new(format!("{HEADER}.global .b8 x[281474976710656];")).unwrap();
    assert_eq!(unsafe { cuModuleLoadData(&mut ptr::null_mut(), text.as_ptr().cast()) }, OUT_OF_MEMORY);
}

#[test]
fn variables_start_as_zeros_in_memory_used_before() {
    let _context = Context::new();
    for _ in 0..8 {
        let used = upload(&[!0; 64]);
        ok(unsafe { cuMemFree_v2(used) });
        let body = ".global .b32 x[64]; .visible .entry k() { .reg .b64 %a; mov.u64 %a, x; ret; }";
        let module = Kernel::new(body, "k").module;
        let address = made(|out| unsafe { cuModuleGetGlobal_v2(out, ptr::null_mut(), module, c"x".as_ptr()) });
        assert_eq!(download(address, 64), [0; 64]);
        ok(unsafe { cuModuleUnload(module) });
    }
}

/// A kernel of `n` blocks, each with a register of its own.
fn blocks(n: usize, n_declared: usize) -> String {
    let blocks: String = (0..n).map(|i| format!("mov.b32 %r{i}, %r{i}; bra l{i}; l{i}:\n")).collect();
    format!(".visible .entry k() {{ .reg .b32 %r<{n_declared}>; {blocks} ret; }}")
}

#[test]
fn registers_cost_only_where_they_are_used() {
    assert_eq!(load(&blocks(4_000, 2_000_000)).kernels.len(), 1);
    let message = refusal(&blocks(66_000, 66_000));
    assert!(message.contains("kernel k: 66000 registers in 66001 basic blocks are too many"), "{message}");
}

/// `f0`, and functions that call the one before so many times each.
fn chain(n: usize, n_calls: usize) -> String {
    let calls = |i: usize| format!("call f{i}; ").repeat(n_calls);
    let functions: String = (1..n).map(|i| format!(".func f{i}() {{ {} ret; }}\n", calls(i - 1))).collect();
    format!(".func f0() {{ ret; }}\n{functions} .visible .entry k() {{ {} ret; }}", calls(n - 1))
}

#[test]
fn calls_of_calls_are_followed_once() {
    assert_eq!(load(&chain(60, 2)).kernels.len(), 1);
    assert_eq!(load(&chain(10_000, 1)).kernels.len(), 1);
}

#[test]
fn recursion_is_refused() {
    for body in [
        ".func f(); .func g() { call f; ret; } .func f() { call g; ret; } .entry k() { call f; ret; }",
        ".func f(); .func f() { call f; ret; } .entry k() { call f; ret; }",
    ] {
        let message = refusal(body);
        assert!(message.contains("function f is recursive"), "{message}");
    }
}
