//! Instructions of sm_90 that make sense without its copy and matrix engines, and hints that change no result.

use crate::{common::*, fault::*, kernel::*};

#[test]
fn one_lane_is_elected() {
    let _context = Context::new();
    let body = "elect.sync %r1|%p1, 0xfffffff0; selp.u32 %r2, 100, 0, %p1; add.u32 %r0, %r1, %r2;";
    let body = format!("setp.lt.u32 %p2, %me, 4; mov.u32 %r0, 9; @%p2 bra END; {body} END:");
    let expected = |lane| match lane {
        0..4 => 9,
        4 => 104,
        _ => 4,
    };
    assert_eq!(words(&per_thread(&body), 32), (0..32).map(expected).collect::<Vec<_>>());
    let body = "elect.sync _|%p1, -1; selp.u32 %r0, 1, 0, %p1;";
    assert_eq!(words(&per_thread(body), 32), (0..32).map(|lane| u32::from(lane == 0)).collect::<Vec<_>>());
}

#[test]
fn hints_change_nothing() {
    let _context = Context::new();
    let body = "
        ld.param.u64 %rd1, [out];
        mad.wide.u32 %rd1, %me, 4, %rd1;
        createpolicy.fractional.L2::evict_last.L2::evict_unchanged.b64 %rd2, 0.5;
        createpolicy.range.global.L2::evict_last.L2::evict_first.b64 %rd3, [%rd1], 0x100000, 0x200000;
        createpolicy.cvt.L2.b64 %rd4, 0x10000000;
        prefetch.global.L2 [%rd1];
        prefetch.global.L2::evict_last [%rd1];
        prefetchu.L1 [%rd1];
        st.global.L1::no_allocate.L2::cache_hint.b32 [%rd1], %me, %rd2;
        griddepcontrol.wait;
        griddepcontrol.launch_dependents;
        setmaxnreg.dec.sync.aligned.u32 40;
        nanosleep.u32 100;
        nanosleep.u32 %me;
        fence.acq_rel.gpu;
        fence.sc.cluster;
        fence.acquire.sync_restrict::shared::cluster.cluster;
        fence.proxy.async;
        fence.proxy.async.shared::cta;
        membar.sys;
        pmevent 7;
        atom.global.add.L2::cache_hint.u32 %r1, [%rd1], 5, %rd3;
        red.release.gpu.global.add.u32 [%rd1], 1;
        ld.global.relaxed.cluster.L1::evict_last.L2::cache_hint.L2::256B.b32 %r2, [%rd1], %rd4;
        mad.lo.u32 %r0, %r1, 100, %r2;";
    let body = body.replace("ld.global.relaxed.cluster", "ld.relaxed.cluster.global");
    assert_eq!(words(&per_thread(&body), 32), (0..32).map(|me| me * 100 + me + 6).collect::<Vec<_>>());
}

#[test]
fn a_cluster_is_one_block() {
    let _context = Context::new();
    let body = "
        .shared .align 4 .b8 word[512];
        mov.u32 %r1, word;
        mad.lo.u32 %r1, %me, 4, %r1;
        mov.u32 %r9, %cluster_ctarank;
        mapa.shared::cluster.u32 %r2, %r1, %r9;
        add.u32 %r3, %me, 50;
        st.shared::cluster.u32 [%r2], %r3;
        barrier.cluster.arrive.release.aligned;
        barrier.cluster.wait.acquire.aligned;
        xor.b32 %r4, %me, 33;
        mov.u32 %r1, word;
        mad.lo.u32 %r1, %r4, 4, %r1;
        ld.shared::cta.u32 %r5, [%r1];
        getctarank.shared::cluster.u32 %r6, %r1;
        mov.u32 %r7, %cluster_nctarank;
        mov.pred %p1, %is_explicit_cluster;
        selp.u32 %r8, 7, 2, %p1;
        mad.lo.u32 %r0, %r6, 1000, %r5;
        mad.lo.u32 %r0, %r7, 10000, %r0;
        mad.lo.u32 %r0, %r8, 100000, %r0;";
    assert_eq!(words(&per_thread(body), 64), (0..64).map(|me| 210_050 + (me ^ 33)).collect::<Vec<_>>());
}

#[test]
fn addresses_know_their_space() {
    let _context = Context::new();
    let module = format!(
        ".const .align 4 .b8 fixed[8] = {{1}}; {}",
        per_thread(
            "
        .shared .align 4 .b8 word[4];
        .local .align 4 .b8 slot[4];
        mov.u64 %rd1, word; cvta.shared.u64 %rd1, %rd1;
        mov.u64 %rd2, slot; cvta.local.u64 %rd2, %rd2;
        mov.u64 %rd3, fixed; cvta.const.u64 %rd3, %rd3; add.u64 %rd3, %rd3, 7;
        ld.param.u64 %rd4, [out];
        mov.u32 %r0, 0;
        setp.eq.u32 %p1, %me, 0; @!%p1 bra A; mov.u64 %rd5, %rd1; bra TEST;
    A:  setp.eq.u32 %p1, %me, 1; @!%p1 bra B; mov.u64 %rd5, %rd2; bra TEST;
    B:  setp.eq.u32 %p1, %me, 2; mov.u64 %rd5, %rd4; @!%p1 bra TEST; mov.u64 %rd5, %rd3;
    TEST:
        isspacep.shared %p2, %rd5; selp.u32 %r1, 1, 0, %p2; add.u32 %r0, %r0, %r1;
        isspacep.shared::cluster %p2, %rd5; selp.u32 %r1, 10, 0, %p2; add.u32 %r0, %r0, %r1;
        isspacep.local %p2, %rd5; selp.u32 %r1, 100, 0, %p2; add.u32 %r0, %r0, %r1;
        isspacep.const %p2, %rd5; selp.u32 %r1, 1000, 0, %p2; add.u32 %r0, %r0, %r1;
        isspacep.global %p2, %rd5; selp.u32 %r1, 10000, 0, %p2; add.u32 %r0, %r0, %r1;"
        )
    );
    assert_eq!(words(&module, 4), [11, 100, 1000, 10_000]);
}

/// `barrier.sync` without `.aligned`: the threads of a warp may come to it at different places.
#[test]
fn a_loose_barrier_takes_a_parted_warp() {
    let _context = Context::new();
    let body = |barrier: &str| {
        format!(
            "
        .shared .align 4 .b8 cells[256];
        mov.u32 %r1, cells;
        mad.lo.u32 %r2, %me, 4, %r1;
        st.shared.u32 [%r2], %me;
        and.b32 %r3, %me, 5;
        setp.eq.u32 %p1, %r3, 5;
        @%p1 bra OTHER;
        {barrier} 1, 64;
        mov.u32 %r4, 100;
        bra READ;
    OTHER:
        {barrier} 1, 64;
        mov.u32 %r4, 200;
    READ:
        xor.b32 %r5, %me, 63;
        mad.lo.u32 %r5, %r5, 4, %r1;
        ld.shared.u32 %r0, [%r5];
        add.u32 %r0, %r0, %r4;"
        )
    };
    let expected = |me: u32| (me ^ 63) + if me & 5 == 5 { 200 } else { 100 };
    assert_eq!(words(&per_thread(&body("barrier.sync")), 64), (0..64).map(expected).collect::<Vec<_>>());
    let out = upload(&[0; 64]);
    let _faults = faults();
    assert_eq!(Kernel::new(&per_thread(&body("barrier.sync.aligned")), "k").run(1, 64, &[out]), LAUNCH_FAILED);
}

/// Lanes whose guard is false go on while the others wait for members that come later.
#[test]
fn a_guarded_warp_barrier_waits_for_its_members_only() {
    let _context = Context::new();
    let body = "
        .shared .align 4 .b8 cells[128];
        mov.u32 %r1, cells;
        mad.lo.u32 %r2, %me, 4, %r1;
        mov.u32 %r3, 0;
        setp.lt.u32 %p1, %me, 8;
        setp.lt.u32 %p2, %me, 4;
        @!%p2 bra LATE;
        st.shared.u32 [%r2], %me;
        bra SYNC;
    LATE:
        add.u32 %r3, %me, 40;
        st.shared.u32 [%r2], %r3;
    SYNC:
        @%p1 bar.warp.sync 0xff;
        xor.b32 %r4, %me, 7;
        mad.lo.u32 %r4, %r4, 4, %r1;
        bar.warp.sync -1;
        ld.shared.u32 %r0, [%r4];";
    let stored = |me: u32| if me < 4 { me } else { me + 40 };
    assert_eq!(words(&per_thread(body), 32), (0..32).map(|me| stored(me ^ 7)).collect::<Vec<_>>());
}
