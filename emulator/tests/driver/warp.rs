//! What the lanes of a warp do together, and how they part and meet.

use crate::{common::*, kernel::*};

/// The words that `body` (see [`per_thread`]) leaves in `%r0` of 32 lanes.
#[track_caller]
fn lanes(body: &str) -> Vec<u32> {
    words(&per_thread(body), 32)
}

/// What `f` gives for each lane.
fn each(f: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..32).map(f).collect()
}

#[test]
fn shuffles_read_the_right_lane() {
    let _context = Context::new();
    // In segments of 8 lanes; out of range, a lane keeps its own value.
    let shuffle = |text: &str| {
        lanes(&format!(
            "mad.lo.u32 %r1, %me, %me, 100;
             shfl.sync.{text}, -1;
             selp.u32 %r3, 1000000, 0, %p1;
             add.u32 %r0, %r2, %r3;"
        ))
    };
    let expected = |source: &dyn Fn(u32) -> Option<u32>| {
        each(|lane| match source(lane) {
            Some(source) => source * source + 100 + 1_000_000,
            None => lane * lane + 100,
        })
    };
    let up = |lane: u32| (lane % 8 >= 3).then(|| lane - 3);
    assert_eq!(shuffle("up.b32 %r2|%p1, %r1, 3, 0x1800"), expected(&up));
    let down = |lane: u32| (lane % 8 + 3 < 8).then_some(lane + 3);
    assert_eq!(shuffle("down.b32 %r2|%p1, %r1, 3, 0x181f"), expected(&down));
    assert_eq!(shuffle("bfly.b32 %r2|%p1, %r1, 17, 31"), expected(&|lane| Some(lane ^ 17)));
    assert_eq!(shuffle("idx.b32 %r2|%p1, %r1, 5, 0x181f"), expected(&|lane| Some(lane / 8 * 8 + 5)));
    // Up to lane 4 of each segment of 8.
    let clamped = |lane: u32| (lane % 8 + 3 <= 4).then_some(lane + 3);
    assert_eq!(shuffle("down.b32 %r2|%p1, %r1, 3, 0x1804"), expected(&clamped));
}

#[test]
fn votes_matches_and_reductions_see_their_members() {
    let _context = Context::new();
    let is_third = 0x4924_9249u32; // lanes 0, 3, 6, ..., 30
    let third = "rem.u32 %r1, %me, 3; setp.eq.u32 %p1, %r1, 0;";
    assert_eq!(lanes(&format!("{third} vote.sync.ballot.b32 %r0, %p1, -1;")), each(|_| is_third));
    assert_eq!(lanes(&format!("{third} vote.sync.ballot.b32 %r0, !%p1, -1;")), each(|_| !is_third));
    for (vote, holds) in [("any", true), ("all", false), ("uni", false)] {
        let body = format!("{third} vote.sync.{vote}.pred %p2, %p1, -1; selp.u32 %r0, 1, 0, %p2;");
        assert_eq!(lanes(&body), each(|_| holds.into()), "{vote}");
    }
    assert_eq!(
        lanes(&format!("{third} match.any.sync.b32 %r0, %r1, -1;")),
        each(|lane| { (0..32).filter(|it| it % 3 == lane % 3).map(|it| 1 << it).sum() })
    );
    let all = "match.all.sync.b32 %r2|%p2, %r1, -1; selp.u32 %r3, 7, 0, %p2; xor.b32 %r0, %r2, %r3;";
    assert_eq!(lanes(&format!("{third} {all}")), each(|_| 0));
    assert_eq!(lanes(&format!("mov.u32 %r1, 5; {all}")), each(|_| !7));

    let reduce = |operation: &str| lanes(&format!("sub.s32 %r1, %me, 9; redux.sync.{operation} %r0, %r1, -1;"));
    assert_eq!(reduce("add.s32"), each(|_| (0..32).sum::<u32>() - 9 * 32));
    assert_eq!(reduce("min.s32"), each(|_| -9i32 as u32));
    assert_eq!(reduce("max.u32"), each(|_| u32::MAX));
    assert_eq!(reduce("xor.b32"), each(|_| (0..32u32).fold(0, |sum, lane| sum ^ lane.wrapping_sub(9))));
    // The lower half and the upper half, each for itself.
    let halves = "setp.lt.u32 %p1, %me, 16; selp.u32 %r1, 0xffff, 0xffff0000, %p1;
        @%p1 bra LOW;
        redux.sync.add.u32 %r0, %me, %r1;
        bra END;
    LOW:
        redux.sync.add.u32 %r0, %me, %r1;
    END:";
    assert_eq!(lanes(halves), each(|lane| if lane < 16 { 120 } else { 376 }));
}

#[test]
fn tiles_of_a_warp_have_masks_of_their_own() {
    let _context = Context::new();
    // Each quarter is a tile, and all execute the same instructions; the lowest lane of each tile skips one.
    let body = "and.b32 %r1, %me, 24;
         shl.b32 %r1, 0xff, %r1;
         shfl.sync.bfly.b32 %r2, %me, 7, 31, %r1;
         and.b32 %r3, %me, 7;
         setp.ne.u32 %p1, %r3, 0;
         mov.u32 %r4, 0;
         shl.b32 %r5, %r1, 1;
         and.b32 %r5, %r5, %r1;
         @%p1 redux.sync.add.u32 %r4, %r3, %r5;
         mad.lo.u32 %r0, %r4, 1000, %r2;";
    let expected = each(|lane| (lane ^ 7) + if lane % 8 == 0 { 0 } else { 28_000 });
    assert_eq!(lanes(body), expected);
}

#[test]
fn lanes_meet_at_warp_barriers_in_several_places() {
    let _context = Context::new();
    let body = "
        setp.lt.u32 %p1, %me, 7;
        @%p1 bra LOW;
        bar.warp.sync -1;
        mov.u32 %r0, 1;
        bra END;
    LOW:
        bar.warp.sync -1;
        mov.u32 %r0, 2;
    END:";
    assert_eq!(lanes(body), each(|lane| if lane < 7 { 2 } else { 1 }));
}

#[test]
fn a_divergent_loop_meets_behind_it() {
    let _context = Context::new();
    // Lane n goes round n + 1 times; then all are there to exchange what they have.
    let body = "
        mov.u32 %r1, 0;
        mov.u32 %r2, 0;
    ROUND:
        add.u32 %r1, %r1, %me;
        add.u32 %r2, %r2, 1;
        setp.le.u32 %p1, %r2, %me;
        @%p1 bra ROUND;
        activemask.b32 %r3;
        shfl.sync.bfly.b32 %r4, %r1, 31, 31, -1;
        setp.eq.u32 %p2, %r3, -1;
        selp.u32 %r0, %r4, 0, %p2;";
    assert_eq!(lanes(body), each(|lane| (31 - lane) * (32 - lane)));
}

#[test]
fn both_sides_of_a_branch_run_and_meet() {
    let _context = Context::new();
    let body = "
        and.b32 %r1, %me, 1;
        setp.eq.u32 %p1, %r1, 1;
        @%p1 bra ODD;
        mul.lo.u32 %r2, %me, 10;
        and.b32 %r3, %me, 2;
        setp.eq.u32 %p2, %r3, 2;
        @%p2 bra END;
        add.u32 %r2, %r2, 1;
        bra.uni END;
    ODD:
        mul.lo.u32 %r2, %me, 100;
    END:
        shfl.sync.up.b32 %r0, %r2, 1, 0, -1;";
    let value = |lane: u32| match lane % 4 {
        0 => lane * 10 + 1,
        2 => lane * 10,
        _ => lane * 100,
    };
    assert_eq!(lanes(body), each(|lane| value(lane.max(1) - 1)));
}

/// `while (atomicCAS(lock, 0, 1));` by every lane of every warp: the lanes that spin must let the holder go on.
#[test]
fn lanes_that_spin_on_a_lock_let_its_holder_run() {
    let _context = Context::new();
    let kernel = Kernel::new(
        "
.visible .entry locked(.param .u64 lock) {
    .reg .b64 %rd<2>; .reg .b32 %r<6>; .reg .pred %p<2>;
    ld.param.u64 %rd1, [lock];
SPIN:
    atom.global.cas.b32 %r1, [%rd1], 0, 1;
    setp.ne.u32 %p1, %r1, 0;
    @%p1 bra SPIN;
    ld.volatile.global.u32 %r2, [%rd1+4];
    mad.lo.u32 %r2, %r2, 3, 1;
    st.volatile.global.u32 [%rd1+4], %r2;
    membar.gl;
    atom.global.exch.b32 %r3, [%rd1], 0;
    ret;
}",
        "locked",
    );
    let lock = upload(&[0, 0]);
    ok(kernel.run(3, 96, &[lock]));
    let expected = (0..3 * 96).fold(0u32, |value, _| value.wrapping_mul(3).wrapping_add(1));
    assert_eq!(download(lock, 2), [0, expected]);
}

#[test]
fn lanes_that_exit_are_not_waited_for() {
    let _context = Context::new();
    // 20 lanes leave; a shuffle, a vote and a barrier of all go on without them.
    let kernel = Kernel::new(
        "
.visible .entry leave(.param .u64 out) {
    .reg .b64 %rd<2>; .reg .b32 %r<6>; .reg .pred %p<2>;
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %tid.x;
    mad.wide.u32 %rd1, %r1, 4, %rd1;
    setp.ge.u32 %p1, %r1, 12;
    @%p1 exit;
    shfl.sync.idx.b32 %r2, %r1, 3, 31, -1;
    vote.sync.ballot.b32 %r3, 1, -1;
    bar.sync 0;
    mad.lo.u32 %r2, %r2, 65536, %r3;
    st.global.u32 [%rd1], %r2;
    ret;
}",
        "leave",
    );
    let out = upload(&[0; 32]);
    ok(kernel.run(1, 32, &[out]));
    assert_eq!(download(out, 32), each(|lane| if lane < 12 { 3 << 16 | 0xfff } else { 0 }));
}
