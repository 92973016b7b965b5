//! What the warps of a block, and the blocks of a grid, do together.

use crate::{common::*, kernel::*};

#[test]
fn warps_that_exit_release_a_barrier() {
    let _context = Context::new();
    // Warp 1 leaves at once, warp 2 halfway: the others go on at both barriers.
    let kernel = Kernel::new(
        "
.visible .entry warps_leave(.param .u64 out) {
    .reg .b64 %rd<2>; .reg .b32 %r<4>; .reg .pred %p<3>;
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %tid.x;
    shr.u32 %r2, %r1, 5;
    setp.eq.u32 %p1, %r2, 1;
    @%p1 exit;
    bar.sync 0;
    atom.global.add.u32 %r3, [%rd1], 1;
    setp.eq.u32 %p2, %r2, 2;
    @%p2 exit;
    bar.sync 0;
    ld.volatile.global.u32 %r3, [%rd1];
    mad.wide.u32 %rd1, %r1, 4, %rd1;
    st.global.u32 [%rd1+4], %r3;
    ret;
}",
        "warps_leave",
    );
    let out = upload(&[0; 129]);
    ok(kernel.run(1, 128, &[out]));
    let words = download(out, 129);
    assert_eq!(words[0], 96);
    // Warp 2 has added before it left, the others before the second barrier; who waits there sees at least its own.
    let (stayed, left): (Vec<_>, Vec<_>) = (0..128).partition(|thread| [0, 3].contains(&(thread / 32)));
    assert!(stayed.iter().all(|thread| words[1 + thread] >= 64) && left.iter().all(|thread| words[1 + thread] == 0));
}

#[test]
fn barriers_reduce_and_count_a_part_of_the_threads() {
    let _context = Context::new();
    // Barrier 1 is for the first two warps; `bar.red` counts the multiples of 5 of all.
    let body = per_thread(
        "
    .shared .align 4 .b8 word[4];
    rem.u32 %r1, %me, 5;
    setp.eq.u32 %p1, %r1, 0;
    bar.red.popc.u32 %r2, 0, %p1;
    bar.red.and.pred %p2, 0, %p1;
    bar.red.or.pred %p3, 0, %p1;
    selp.u32 %r3, 1000, 0, %p2;
    selp.u32 %r4, 2000, 0, %p3;
    add.u32 %r0, %r2, %r3;
    add.u32 %r0, %r0, %r4;
    setp.ge.u32 %p4, %me, 64;
    @%p4 bra DONE;
    setp.ge.u32 %p5, %me, 32;
    @%p5 bra SECOND;
    mov.u32 %r5, 10000;
    st.shared.u32 [word], %r5;
    bar.arrive 1, 64;
    bra.uni DONE;
SECOND:
    bar.sync 1, 64;
    ld.shared.u32 %r6, [word];
    add.u32 %r0, %r0, %r6;
DONE:",
    );
    let expected = |thread| 2020 + if (32..64).contains(&thread) { 10_000 } else { 0 };
    assert_eq!(words(&body, 96), (0..96).map(expected).collect::<Vec<_>>());
}

/// The combine of the CUDA samples' threadFenceReduction: `atom.inc` wraps to 0, so it works again without a reset.
const LAST_BLOCK: &str = "
.visible .entry last_block(.param .u64 partials, .param .u64 counter, .param .u64 out) {
    .reg .b64 %rd<6>; .reg .b32 %r<12>; .reg .pred %p<3>;
    ld.param.u64 %rd1, [partials];
    ld.param.u64 %rd2, [counter];
    ld.param.u64 %rd3, [out];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %nctaid.x;
    mad.lo.u32 %r3, %r1, %r1, 1;
    mad.wide.u32 %rd4, %r1, 4, %rd1;
    st.global.u32 [%rd4], %r3;
    membar.gl;
    sub.u32 %r4, %r2, 1;
    atom.global.inc.u32 %r5, [%rd2], %r4;
    setp.ne.u32 %p1, %r5, %r4;
    @%p1 exit;
    membar.gl;
    mov.u32 %r6, 0;
    mov.u32 %r7, 0;
SUM:
    mad.wide.u32 %rd5, %r7, 4, %rd1;
    ld.volatile.global.u32 %r8, [%rd5];
    mad.lo.u32 %r6, %r6, 3, %r8;
    add.u32 %r7, %r7, 1;
    setp.lt.u32 %p2, %r7, %r2;
    @%p2 bra SUM;
    ld.global.u32 %r9, [%rd3];
    add.u32 %r6, %r6, %r9;
    st.global.u32 [%rd3], %r6;
    ret;
}";

#[test]
fn the_last_block_combines() {
    let _context = Context::new();
    let n = 50;
    let (partials, counter, out) = (upload(&vec![0; n as usize]), upload(&[0]), upload(&[0]));
    let kernel = Kernel::new(LAST_BLOCK, "last_block");
    for _ in 0..3 {
        ok(kernel.run(n, 1, &[partials, counter, out]));
    }
    let once = (0..n).fold(0u32, |sum, i| sum.wrapping_mul(3).wrapping_add(i * i + 1));
    assert_eq!((download(out, 1), download(counter, 1)), (vec![once.wrapping_mul(3)], vec![0]));
}

/// Every block waits until the last has said so, and the last until all have arrived.
const WAIT_FOR_ALL: &str = "
.visible .entry wait_for_all(.param .u64 counter, .param .u64 out) {
    .reg .b64 %rd<4>; .reg .b32 %r<6>; .reg .pred %p<3>;
    ld.param.u64 %rd1, [counter];
    ld.param.u64 %rd2, [out];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %nctaid.x;
    mov.u32 %r5, %tid.x;
    setp.ne.u32 %p1, %r5, 0;
    @%p1 bra WAITED;
    atom.global.add.u32 %r3, [%rd1], 1;
SPIN:
    ld.volatile.global.u32 %r3, [%rd1];
    setp.lt.u32 %p2, %r3, %r2;
    @%p2 bra SPIN;
WAITED:
    bar.sync 0;
    ld.volatile.global.u32 %r4, [%rd1];
    mad.wide.u32 %rd3, %r1, 4, %rd2;
    st.global.u32 [%rd3], %r4;
    ret;
}";

#[test]
fn blocks_that_wait_for_later_blocks_finish() {
    for n_threads in ["1", "2"] {
        succeeds("grid::child_wait_for_all", &[("THREADS", n_threads)]);
    }
}

#[test]
#[ignore = "run by another test"]
fn child_wait_for_all() {
    let _context = Context::new();
    let n = 4;
    let (counter, out) = (upload(&[0]), upload(&vec![0; n as usize]));
    ok(Kernel::new(WAIT_FOR_ALL, "wait_for_all").run(n, 64, &[counter, out]));
    assert_eq!(download(out, n as usize), vec![n; n as usize]);
}

#[test]
fn blocks_that_wait_for_more_than_the_card_holds_wait_for_ever() {
    for n_threads in ["1", "2"] {
        let variables = [("GPU", "a100"), ("STEP_LIMIT", "20000000"), ("THREADS", n_threads)];
        succeeds("grid::child_wait_for_too_many", &variables);
    }
}

#[test]
#[ignore = "run by another test"]
fn child_wait_for_too_many() {
    const LAUNCH_TIMEOUT: u32 = 702;
    let _context = Context::new();
    // Two blocks of 1024 threads on each of 108 SMs.
    for (n, code) in [(216, 0), (217, LAUNCH_TIMEOUT)] {
        let (counter, out) = (upload(&[0]), upload(&vec![0; n as usize]));
        assert_eq!(Kernel::new(WAIT_FOR_ALL, "wait_for_all").run(n, 1024, &[counter, out]), code, "{n} blocks");
    }
}
