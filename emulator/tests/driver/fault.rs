//! What device code can do wrong: the code that a GPU gives, a report that says where, and a context that stays broken.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{memory::*, stream::*, tools::cuda_emulator_last_fault};
use std::ffi::CStr;

pub const MISALIGNED_ADDRESS: u32 = 716;
const LAUNCH_TIMEOUT: u32 = 702;
pub const LAUNCH_FAILED: u32 = 719;

/// A kernel `wrong` of one pointer, `%rd1`, with the thread's index in `%r1`.
fn wrong(body: &str) -> String {
    format!(
        ".visible .entry wrong(.param .u64 at) {{
    .reg .b64 %rd<6>; .reg .b32 %r<8>; .reg .pred %p<3>;
    .shared .align 4 .b8 buffer[64];
    .local .align 4 .b8 slots[16];
    .loc 1 10 5
    ld.param.u64 %rd1, [at];
    mov.u32 %r1, %tid.x;
    {body}
    ret;
}}
.file 1 \"wrong.cu\"
"
    )
}

/// Runs `wrong` and checks its code, that the context is lost, and that the report names all of `said` and the line of
/// the PTX that contains `culprit`.
#[track_caller]
pub fn fails(code: u32, body: &str, (grid, block): (u32, u32), at: u64, culprit: &str, said: &[&str]) {
    let body = wrong(body);
    let kernel = Kernel::new(&body, "wrong");
    let _faults = faults();
    assert_eq!(kernel.run(grid, block, &[at]), code);
    let report = unsafe { CStr::from_ptr(cuda_emulator_last_fault()) }.to_str().unwrap();
    let text = format!("{HEADER}{body}");
    let line = text.lines().position(|line| line.contains(culprit)).unwrap() + 1;
    let here = format!("ptx line {line}: {}", text.lines().nth(line - 1).unwrap().trim());
    for said in said.iter().copied().chain(["in kernel wrong, block (", &here]) {
        assert!(report.contains(said), "`{said}` is not in: {report}");
    }
    assert_eq!(unsafe { cuStreamSynchronize(NULL) }, code, "a fault is sticky");
    assert_eq!(unsafe { cuMemAlloc_v2(&mut 0, 4) }, code);
    assert_eq!(kernel.run(1, 1, &[at]), code);
}

#[test]
fn an_access_out_of_bounds() {
    let _context = Context::new();
    let at = device_memory(4 * 40);
    let body = "
    mov.u32 %r2, %ctaid.x;
    mad.lo.u32 %r1, %r2, 32, %r1;
    mad.wide.u32 %rd2, %r1, 4, %rd1;
    .loc 1 12 9
    st.global.u32 [%rd2], %r1;";
    let place = format!("write of 4 bytes at global {:#x}, 0 bytes after the end of allocation #", at + 160);
    let allocation = format!("(160 bytes at {at:#x})");
    let said = ["out of bounds", "block (1, 0, 0), thread (8, 0, 0)", &place, &allocation, "at wrong.cu:12:9"];
    fails(ILLEGAL_ADDRESS, body, (2, 32), at, "st.global", &said);
}

#[test]
fn an_access_that_straddles_the_end() {
    let _context = Context::new();
    let at = device_memory(12);
    let body = "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1];\nst.global.u32 [%rd1], %r5;";
    fails(ILLEGAL_ADDRESS, body, (1, 1), at, "ld.global.v4", &["read of 16 bytes", "byte 0 of allocation #"]);
}

#[test]
fn a_null_pointer() {
    let _context = Context::new();
    let body = "ld.u32 %r2, [%rd1];\nst.global.u32 [%rd1], %r2;";
    fails(ILLEGAL_ADDRESS, body, (1, 5), 0, "ld.u32", &["read of 4 bytes at global 0x0, below every allocation"]);
}

#[test]
fn a_misaligned_address() {
    let _context = Context::new();
    let at = device_memory(64);
    let body = "ld.global.v2.u32 {%r2, %r3}, [%rd1+4];\nst.global.u32 [%rd1], %r2;";
    let said = ["misaligned address", "thread (0, 0, 0)", "read of 8 bytes", "byte 4 of allocation #"];
    fails(MISALIGNED_ADDRESS, body, (1, 1), at, "ld.global.v2", &said);
}

#[test]
fn memory_that_was_freed() {
    succeeds("fault::child_freed", &[("MODE", "check")]);
}

/// In check mode, where no other allocation comes to lie there.
#[test]
#[ignore = "run by another test"]
fn child_freed() {
    let _context = Context::new();
    let at = device_memory(64);
    ok(unsafe { cuMemFree_v2(at) });
    let body = "ld.global.u32 %r2, [%rd1+8];\nst.global.u32 [%rd1], %r2;";
    fails(ILLEGAL_ADDRESS, body, (1, 1), at, "ld.global.u32", &["byte 8 of allocation #", "which was freed"]);
}

#[test]
fn shared_memory_out_of_bounds() {
    let _context = Context::new();
    let body = "
    mov.u32 %r2, buffer;
    mad.lo.u32 %r2, %r1, 4, %r2;
    .loc 1 20 1
    st.shared.u32 [%r2], %r1;";
    let said = ["out of bounds", "thread (16, 0, 0)", "shared 0x40, the CTA has 64 bytes", "at wrong.cu:20:1"];
    fails(ILLEGAL_ADDRESS, body, (1, 32), 0, "st.shared", &said);
}

#[test]
fn local_memory_out_of_bounds() {
    let _context = Context::new();
    let body = "
    mov.u64 %rd2, slots;
    mad.wide.u32 %rd2, %r1, 4, %rd2;
    st.local.u32 [%rd2], %r1;
    ld.local.u32 %r3, [%rd2];";
    fails(ILLEGAL_ADDRESS, body, (1, 8), 0, "st.local", &["thread (4, 0, 0)", "write of 4 bytes at local"]);
}

#[test]
fn a_trap() {
    let _context = Context::new();
    let body = "
    setp.ne.u32 %p1, %r1, 45;
    @%p1 bra FINE;
    .loc 1 33 2
    trap;
FINE:";
    fails(LAUNCH_FAILED, body, (1, 64), 0, "trap;", &["trap in kernel", "thread (45, 0, 0)", "at wrong.cu:33:2"]);
}

#[test]
fn a_barrier_that_only_some_lanes_reach() {
    let body = "
    setp.lt.u32 %p1, %r1, 16;
    @%p1 bra LOW;
    bar.sync 0;
    bra.uni END;
LOW:
    bar.sync 0; // the lower half
END:";
    let _context = Context::new();
    fails(
        LAUNCH_FAILED,
        body,
        (1, 32),
        0,
        "bar.sync 0; // the lower",
        &["barrier in divergent code", "lanes 0xffff0000"],
    );
    let _context = Context::new();
    let guarded = "setp.lt.u32 %p1, %r1, 40;\n@%p1 bar.sync 0;";
    fails(LAUNCH_FAILED, guarded, (1, 64), 0, "bar.sync", &["barrier in divergent code", "lanes 0xffffff00"]);
}

#[test]
fn a_barrier_that_never_completes() {
    let _context = Context::new();
    let body = "
    setp.lt.u32 %p1, %r1, 32;
    @%p1 bra FIRST;
    bar.sync 2, 64;
    bra.uni END;
FIRST:
    bar.sync 1, 64; // warp 0
END:";
    let said = ["deadlock", "thread (0, 0, 0)", "warp 1 at barrier 2"];
    fails(LAUNCH_TIMEOUT, body, (1, 64), 0, "bar.sync 1", &said);
}

#[test]
fn barriers_against_their_rules() {
    for (barrier, said) in [
        ("bar.sync 0, 33;", "33 threads, but a barrier waits for a multiple of 32"),
        ("mov.u32 %r2, 16;\nbar.sync %r2;", "barrier 16, but a CTA has barriers 0 to 15"),
        ("and.b32 %r2, %r1, 1;\nbar.sync %r2;", "lanes 0 and 1 of one warp give the barriers 0 and 1, expected one"),
        (
            "setp.eq.u32 %p1, %r1, 7;\nselp.u32 %r2, 32, 64, %p1;\nbar.sync 0, %r2;",
            "lanes 0 and 7 of one warp give the counts 64 and 32, expected one",
        ),
        ("bar.sync 0, 96;", "96 threads, but the CTA has no more than 64"),
        (
            "setp.ge.u32 %p1, %r1, 32;\n@%p1 bra END;\nbar.arrive 1, 64;\nbar.sync 1, 64;\nEND:\nbar.sync 0;",
            "warp 0 has arrived at barrier 1 before",
        ),
        (
            "setp.lt.u32 %p1, %r1, 32;\n@%p1 bra END;\nbar.red.popc.u32 %r2, 1, %p1;\nEND:\nbar.sync 1;",
            "at barrier 1, bar.red meets bar.sync",
        ),
    ] {
        let _context = Context::new();
        let culprit = if said.contains("meets") { "bar.red" } else { "bar.sync" };
        fails(LAUNCH_FAILED, barrier, (1, 64), 0, culprit, &["barrier misuse", said]);
    }
}

#[test]
fn lanes_that_wait_for_lanes_elsewhere() {
    let _context = Context::new();
    let body = "
    setp.lt.u32 %p1, %r1, 16;
    @!%p1 bra END;
    .loc 1 31 7
    vote.sync.ballot.b32 %r2, %p1, -1;
END:
    .loc 1 32 3
    bar.warp.sync -1;";
    let said = [
        "lanes do not match the sync mask",
        "thread (0, 0, 0)",
        "lanes 0x0000ffff wait at wrong.cu:31:7",
        "lanes 0xffff0000 wait at wrong.cu:32:3",
    ];
    fails(LAUNCH_FAILED, body, (1, 32), 0, "vote.sync", &said);
}

#[test]
fn lanes_outside_of_a_member_mask() {
    let _context = Context::new();
    let body = "shfl.sync.idx.b32 %r2, %r1, 0, 31, 0xffff;\nst.global.u32 [%rd1], %r2;";
    let said = ["lanes do not match the sync mask", "thread (16, 0, 0)", "the member mask is 0x0000ffff"];
    fails(LAUNCH_FAILED, body, (1, 32), 0, "shfl.sync", &said);
}

#[test]
fn the_fault_of_the_first_block_is_told() {
    let _context = Context::new();
    let body = "mov.u32 %r2, %ctaid.x;\nsetp.ge.u32 %p1, %r2, 0;\n@%p1 trap;";
    fails(LAUNCH_FAILED, body, (7, 1), 0, "trap;", &["block (0, 0, 0)"]);
}
