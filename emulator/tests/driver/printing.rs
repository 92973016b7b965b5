//! `printf` and `assert` in device code, as nvcc calls them.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{context::*, memory::*, stream::*};

const ASSERT: u32 = 710;

/// What nvcc makes of
/// `printf("%d of %u: %5.2f %s %lld%%\n", threadIdx.x, n, 2.5, "abc", 1ll << 40)` and
/// `assert(threadIdx.x < n)`.
const TALK: &str = r#"
.extern .func (.param .b32 func_retval0) vprintf (.param .b64 a, .param .b64 b);
.extern .func __assertfail (.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);
.global .align 1 .b8 format[28] = {37, 100, 32, 111, 102, 32, 37, 117, 58, 32, 37, 53, 46, 50, 102, 32, 37, 115, 32, 37, 108, 108, 100, 37, 37, 10};
.global .align 1 .b8 abc[4] = {97, 98, 99};
.global .align 1 .b8 claim[6] = {120, 32, 60, 32, 110};
.global .align 1 .b8 file[5] = {107, 46, 99, 117};
.global .align 1 .b8 function[8] = {118, 111, 105, 100, 32, 107, 40};
.visible .entry talk(.param .u32 n) {
    .local .align 8 .b8 depot[40];
    .reg .b64 %SP; .reg .b64 %SPL; .reg .b64 %rd<12>; .reg .b32 %r<8>; .reg .f64 %fd1; .reg .pred %p1;
    mov.u64 %SPL, depot;
    cvta.local.u64 %SP, %SPL;
    ld.param.u32 %r2, [n];
    mov.u32 %r1, %tid.x;
    st.local.v2.u32 [%SPL], {%r1, %r2};
    mov.f64 %fd1, 0d4004000000000000;
    st.local.f64 [%SPL+8], %fd1;
    mov.u64 %rd1, abc;
    cvta.global.u64 %rd2, %rd1;
    st.local.u64 [%SPL+16], %rd2;
    mov.u64 %rd3, 1099511627776;
    st.local.u64 [%SPL+24], %rd3;
    mov.u64 %rd4, format;
    cvta.global.u64 %rd5, %rd4;
    {
    .param .b64 param0;
    st.param.b64 [param0+0], %rd5;
    .param .b64 param1;
    st.param.b64 [param1+0], %SP;
    .param .b32 retval0;
    call.uni (retval0), vprintf, (param0, param1);
    ld.param.b32 %r3, [retval0+0];
    }
    setp.eq.u32 %p1, %r3, 5;
    @!%p1 trap;
    setp.lt.u32 %p1, %r1, %r2;
    @%p1 bra END;
    mov.u64 %rd6, claim;
    cvta.global.u64 %rd7, %rd6;
    mov.u64 %rd8, file;
    cvta.global.u64 %rd9, %rd8;
    mov.u64 %rd10, function;
    cvta.global.u64 %rd11, %rd10;
    {
    .param .b64 param0;
    st.param.b64 [param0+0], %rd7;
    .param .b64 param1;
    st.param.b64 [param1+0], %rd9;
    .param .b32 param2;
    st.param.b32 [param2+0], 6;
    .param .b64 param3;
    st.param.b64 [param3+0], %rd11;
    .param .b64 param4;
    st.param.b64 [param4+0], 1;
    call.uni __assertfail, (param0, param1, param2, param3, param4);
    }
END:
    ret;
}"#;

#[test]
fn printf_writes_in_the_order_of_blocks_and_threads_when_the_host_waits() {
    for threads in ["1", "4"] {
        let output = succeeds("printing::child_prints", &[("THREADS", threads)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = |thread: u32| format!("{thread} of 9:  2.50 abc 1099511627776%\n");
        let expected: String = (0..4).flat_map(|_| (0..3).map(line)).collect();
        assert!(text.contains(&format!("before\n{expected}after\n")), "{text}");
    }
}

#[test]
#[ignore = "run by another test"]
fn child_prints() {
    let _context = Context::new();
    let talk = Kernel::new(TALK, "talk");
    println!("\nbefore");
    ok(talk.run(4, 3, &[9]));
    println!("after");
}

#[test]
fn what_the_buffer_does_not_hold_is_dropped_and_said() {
    let output = succeeds("printing::child_prints_too_much", &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts: Vec<usize> = text.split("launch\n").skip(1).map(|it| it.matches(" of 9:").count()).collect();
    // A line has 33 bytes.
    assert_eq!(counts, [4096 / 33, 3, 3000]);
    let missing =
        format!("{} bytes that device code printed are missing: the buffer has 4096", (3000 - 4096 / 33) * 33);
    let said = stderr(&output);
    assert!(said.contains(&missing) && said.matches("are missing").count() == 1, "{said}");
}

#[test]
#[ignore = "run by another test"]
fn child_prints_too_much() {
    let _context = Context::new();
    let talk = Kernel::new(TALK, "talk");
    for (limit, n_blocks) in [(4096, 1000), (4096, 1), (1 << 20, 1000)] {
        ok(unsafe { cuCtxSetLimit(1, limit) });
        println!("\nlaunch");
        ok(talk.run(n_blocks, 3, &[9]));
    }
    println!();
}

#[test]
fn a_failed_assertion_prints_cudas_line_and_breaks_the_context() {
    let output = succeeds("printing::child_asserts", &[]);
    let text = stderr(&output);
    assert!(text.contains("k.cu:6: void k(: block: [0,0,0], thread: [2,0,0] Assertion `x < n` failed.\n"), "{text}");
    assert!(text.contains("cuda-emulator: assertion failed in kernel talk"), "{text}");
}

#[test]
#[ignore = "run by another test"]
fn child_asserts() {
    let _context = Context::new();
    assert_eq!(Kernel::new(TALK, "talk").run(1, 4, &[2]), ASSERT);
    assert_eq!(unsafe { cuStreamSynchronize(NULL) }, ASSERT, "it is sticky");
    assert_eq!(unsafe { cuMemAlloc_v2(&mut 0, 4) }, ASSERT);
}

#[test]
fn a_format_that_cannot_be_read_is_a_fault() {
    let _context = Context::new();
    let _faults = faults();
    let body = TALK.replace("cvta.global.u64 %rd5, %rd4;", "mov.u64 %rd5, 16;");
    assert_eq!(Kernel::new(&body, "talk").run(1, 1, &[9]), ILLEGAL_ADDRESS);
}
