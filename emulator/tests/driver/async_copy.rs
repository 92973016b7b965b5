//! `cp.async`: nothing lands before the wait, groups belong to threads, the rest of a short source is zeros.

use crate::{common::*, fault::*, kernel::*};

/// Runs `body` with `%rd1` the address of 64 words 100, 101, ... and `%r1` the offset of 16 bytes of the thread's own in
/// shared memory, which hold four times 7.
#[track_caller]
fn copied(body: &str, n_threads: u32) -> Vec<u32> {
    let from = upload(&(100..164).collect::<Vec<_>>());
    let kernel = format!(
        ".visible .entry k(.param .u64 out, .param .u64 from) {{
            .reg .b32 %r<16>; .reg .b32 %me; .reg .b64 %rd<8>; .reg .pred %p<8>; .reg .b64 %at;
            .shared .align 16 .b8 tile[1024];
            mov.u32 %me, %tid.x;
            ld.param.u64 %rd1, [from];
            mov.u32 %r1, tile;
            mad.lo.u32 %r1, %me, 16, %r1;
            mov.u32 %r2, 7;
            st.shared.v4.u32 [%r1], {{%r2, %r2, %r2, %r2}};
            {body}
            ld.param.u64 %at, [out];
            mad.wide.u32 %at, %me, 4, %at;
            st.global.u32 [%at], %r0;
            ret;
        }}"
    );
    let out = upload(&vec![0xdead_beef; n_threads as usize]);
    ok(Kernel::new(&kernel, "k").run(1, n_threads, &[out, from]));
    download(out, n_threads as usize)
}

/// The four words of each thread as one number.
const SUM: &str = "
    ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r1];
    mad.lo.u32 %r4, %r5, 1000, %r4;
    mad.lo.u32 %r6, %r7, 1000, %r6;
    mad.lo.u32 %r0, %r6, 1000000, %r4;";

fn sum(words: [u32; 4]) -> u32 {
    let [a, b, c, d] = words;
    (b * 1000 + a).wrapping_add((d * 1000 + c).wrapping_mul(1_000_000))
}

#[test]
fn bytes_land_at_the_wait_and_not_before() {
    let _context = Context::new();
    let copy = "and.b32 %r3, %me, 15; mad.wide.u32 %rd2, %r3, 16, %rd1;
        cp.async.cg.shared.global.L2::128B [%r1], [%rd2], 16;";
    let old = vec![sum([7; 4]); 32];
    assert_eq!(copied(&format!("{copy} {SUM}"), 32), old);
    assert_eq!(copied(&format!("{copy} cp.async.commit_group; {SUM}"), 32), old);
    assert_eq!(copied(&format!("{copy} cp.async.wait_group 0; {SUM}"), 32), old, "it is in no group yet");
    assert_eq!(copied(&format!("{copy} cp.async.commit_group; cp.async.wait_group 1; {SUM}"), 32), old);
    let new: Vec<u32> = (0..32)
        .map(|thread| thread % 16 * 4 + 100)
        .map(|first| sum([first, first + 1, first + 2, first + 3]))
        .collect();
    assert_eq!(copied(&format!("{copy} cp.async.commit_group; cp.async.wait_group 0; {SUM}"), 32), new);
    assert_eq!(copied(&format!("{copy} cp.async.wait_all; {SUM}"), 32), new);
}

#[test]
fn the_latest_groups_may_stay_on_their_way() {
    let _context = Context::new();
    // Four words in three groups, the second of them empty, the third of two.
    let body = |n| {
        format!(
            "cp.async.ca.shared.global [%r1], [%rd1], 4;
            cp.async.commit_group;
            cp.async.commit_group;
            cp.async.ca.shared.global [%r1+4], [%rd1+4], 4;
            cp.async.ca.shared.global [%r1+8], [%rd1+8], 8;
            cp.async.commit_group;
            cp.async.wait_group {n};
            {SUM}"
        )
    };
    assert_eq!(copied(&body(3), 1), [sum([7, 7, 7, 7])]);
    assert_eq!(copied(&body(2), 1), [sum([100, 7, 7, 7])]);
    assert_eq!(copied(&body(1), 1), [sum([100, 7, 7, 7])]);
    assert_eq!(copied(&body(0), 1), [sum([100, 101, 102, 103])]);
}

#[test]
fn copies_of_one_place_land_in_order() {
    let _context = Context::new();
    let body = format!(
        "cp.async.ca.shared.global [%r1], [%rd1+32], 16;
        cp.async.ca.shared.global [%r1+4], [%rd1], 4;
        cp.async.wait_all;
        {SUM}"
    );
    assert_eq!(copied(&body, 1), [sum([108, 100, 110, 111])]);
}

#[test]
fn a_short_source_is_filled_with_zeros() {
    let _context = Context::new();
    let body = |operands: &str| {
        format!(
            "mov.u32 %r3, 6; mov.b64 %rd3, 0; createpolicy.fractional.L2::evict_first.b64 %rd4, 1.0;
            setp.eq.u32 %p1, %me, %me;
            cp.async.ca.shared.global{operands};
            cp.async.wait_all;
            {SUM}"
        )
    };
    let half = 101 & 0xffff;
    assert_eq!(copied(&body(" [%r1], [%rd1], 16, %r3"), 1), [sum([100, half, 0, 0])]);
    assert_eq!(copied(&body(" [%r1], [%rd1], 16, 12"), 1), [sum([100, 101, 102, 0])]);
    assert_eq!(copied(&body(".L2::cache_hint [%r1], [%rd1], 8, 4, %rd4"), 1), [sum([100, 0, 7, 7])]);
    assert_eq!(copied(&body(".L2::cache_hint.L2::64B [%r1], [%rd1], 8, %rd4"), 1), [sum([100, 101, 7, 7])]);
    // Nothing is read, so the address may be anything.
    assert_eq!(copied(&body(" [%r1], [%rd3+3], 16, 0"), 1), [sum([0; 4])]);
    assert_eq!(copied(&body(" [%r1], [%rd3], 16, %p1"), 1), [sum([0; 4])]);
    assert_eq!(copied(&body(" [%r1], [%rd1], 16, !%p1"), 1), [sum([100, 101, 102, 103])]);
}

#[test]
fn each_thread_counts_its_own_groups() {
    let _context = Context::new();
    // Odd threads issue one group, then all issue another: with one left on its way, the odd ones' first is there.
    let body = format!(
        "and.b32 %r3, %me, 1;
        setp.eq.u32 %p1, %r3, 1;
        @!%p1 bra BOTH;
        cp.async.ca.shared.global [%r1], [%rd1], 4;
        cp.async.commit_group;
    BOTH:
        cp.async.ca.shared.global [%r1+4], [%rd1+4], 4;
        cp.async.commit_group;
        cp.async.wait_group 1;
        {SUM}"
    );
    let expected: Vec<u32> = (0..32).map(|me| sum([if me % 2 == 1 { 100 } else { 7 }, 7, 7, 7])).collect();
    assert_eq!(copied(&body, 32), expected);
    // Only some of the lanes wait.
    let body = format!(
        "setp.lt.u32 %p1, %me, 9;
        cp.async.ca.shared.global [%r1], [%rd1], 4;
        @%p1 cp.async.wait_all;
        {SUM}"
    );
    let expected: Vec<u32> = (0..32).map(|me| sum([if me < 9 { 100 } else { 7 }, 7, 7, 7])).collect();
    assert_eq!(copied(&body, 32), expected);
}

#[test]
fn wrong_copies_are_found_when_they_are_issued() {
    let shared = ".shared .align 16 .b8 tile[256]; mov.u32 %r2, tile; mad.lo.u32 %r2, %r1, 8, %r2;";
    let at = |context: &Context| {
        assert!(!context.0.is_null());
        upload(&[0; 64])
    };
    let context = Context::new();
    let body = format!("{shared} cp.async.ca.shared.global [%r2], [%rd1], 16;");
    let said = ["misaligned", "thread (1, 0, 0)", "write of 16 bytes at shared 0x"];
    fails(MISALIGNED_ADDRESS, &body, (1, 32), at(&context), "cp.async", &said);

    let context = Context::new();
    let body = format!("{shared} cp.async.ca.shared.global [%r2+16], [%rd1], 8;");
    fails(ILLEGAL_ADDRESS, &body, (1, 32), at(&context), "cp.async", &["out of bounds", "thread (30, 0, 0)"]);

    let context = Context::new();
    let body = format!("{shared} mad.wide.u32 %rd2, %r1, 32, %rd1; cp.async.ca.shared.global [%r2], [%rd2], 8;");
    let said = ["out of bounds", "thread (8, 0, 0)", "read of 8 bytes at global 0x"];
    fails(ILLEGAL_ADDRESS, &body, (1, 32), at(&context), "cp.async", &said);
}
