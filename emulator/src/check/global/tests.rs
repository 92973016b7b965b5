//! The checks, driven directly: two CTAs of two warps, in an order of events that the tests choose.

use super::*;

const PC: u32 = 1;
const FENCE: Event = Event::Fence { lanes: !0 };

/// The checks of a launch on memory that was all written.
struct Bench(GlobalChecks);

impl Bench {
    fn new(unit_bytes: u32) -> Bench {
        Bench::with(Arc::new(Shadow::reserve(1 << 20).expect("address space")), unit_bytes)
    }

    fn with(shadow: Arc<Shadow>, unit_bytes: u32) -> Bench {
        shadow.set(0..1 << 16);
        let history = History::new(shadow.take_records(), unit_bytes, 2, 8);
        let semantics = vec![Semantics { is_acquire: false, is_release: false, is_narrow: false }; 8];
        let mut bench = Bench(GlobalChecks { shadow, history: Some(history), order: Order::new(2), semantics });
        [0, 1, 2].into_iter().for_each(|cta| bench.event(cta, 0, Event::Start));
        bench
    }

    fn event(&mut self, cta: u64, warp: u32, event: Event) {
        self.0.event(At { cta, warp, pc: 0 }, event);
    }

    fn barrier(&mut self, cta: u64) {
        [0, 1].into_iter().for_each(|warp| self.event(cta, warp, Event::Arrive { id: 0 }));
        self.event(cta, 1, Event::Complete { id: 0, arrived: 3, waiting: 3 });
    }

    /// A row of all lanes.
    fn row(&mut self, cta: u64, warp: u32, kind: Kind, at: u64, bytes: u32) -> Result<(), FaultKind> {
        let places = Places::Row(DEVICE_BASE + at);
        self.touch(cta, warp, &Touch { kind, is_strong: false, lanes: !0, bytes, places })
    }

    /// Lane 3 alone, 4 bytes.
    fn one(&mut self, cta: u64, warp: u32, kind: Kind, is_strong: bool, at: u64) -> Result<(), FaultKind> {
        let places = [DEVICE_BASE + at; 32];
        self.touch(cta, warp, &Touch { kind, is_strong, lanes: 8, bytes: 4, places: Places::Each(&places) })
    }

    fn touch(&mut self, cta: u64, warp: u32, touch: &Touch<u64>) -> Result<(), FaultKind> {
        let pc = PC + touch.kind as u32;
        self.0.touch(At { cta, warp, pc }, touch).map_err(|it| it.kind)
    }
}

const RACE: Result<(), FaultKind> = Err(FaultKind::RaceGlobal);
const DATA: u64 = 512;
const FLAG: u64 = 4096;

#[test]
fn what_one_cta_writes_another_may_not_touch() {
    for (first, second) in [(Kind::Store, Kind::Load), (Kind::Load, Kind::Store), (Kind::Store, Kind::Store)] {
        for at in [DATA, DATA + 16] {
            let mut bench = Bench::new(4);
            assert_eq!(bench.row(0, 0, first, at, 16), Ok(()));
            assert_eq!(bench.row(0, 0, second, at, 16), Ok(()), "its own");
            let mut bench = Bench::new(4);
            assert_eq!(bench.row(0, 0, first, at, 16), Ok(()));
            assert_eq!(bench.row(1, 0, second, at + 512, 4), Ok(()), "a neighbour");
            assert_eq!(bench.row(1, 0, second, at, 4), RACE, "{first:?}, {second:?}");
        }
    }
}

#[test]
fn the_other_side_is_named_with_its_lane() {
    let mut bench = Bench::new(4);
    bench.row(1, 1, Kind::Load, DATA, 16).unwrap();
    let places = [DEVICE_BASE + DATA + 16 * 21; 32];
    let touch = Touch { kind: Kind::Store, is_strong: false, lanes: 32, bytes: 4, places: Places::Each(&places) };
    let trouble = bench.0.touch(At { cta: 2, warp: 0, pc: 3 }, &touch).unwrap_err();
    let other = trouble.other.unwrap();
    assert_eq!((trouble.lane, other.is_write, other.cta, other.thread, other.pc), (5, false, 1, 32 + 21, PC));
}

#[test]
fn an_earlier_reader_is_not_forgotten_for_one_of_its_own_cta() {
    let mut bench = Bench::new(4);
    bench.row(0, 0, Kind::Load, DATA, 4).unwrap();
    bench.row(1, 0, Kind::Load, DATA, 4).unwrap();
    assert_eq!(bench.row(1, 0, Kind::Store, DATA, 4), RACE);
}

#[test]
fn barriers_order_the_warps_of_a_cta_only() {
    let mut bench = Bench::new(4);
    bench.row(0, 0, Kind::Store, DATA, 4).unwrap();
    bench.barrier(0);
    bench.barrier(1);
    assert_eq!(bench.row(0, 1, Kind::Load, DATA, 4), Ok(()));
    assert_eq!(bench.row(1, 1, Kind::Load, DATA, 4), RACE);
    let mut bench = Bench::new(4);
    bench.row(0, 0, Kind::Store, DATA, 4).unwrap();
    assert_eq!(bench.row(0, 1, Kind::Load, DATA, 4), RACE, "no barrier");
}

/// Warp 1 of CTA 0 writes, warp 0 signals; warp 0 of CTA 1 sees it, warp 1 reads. Leaves out some steps.
fn signalled(left_out: &[usize]) -> Result<(), FaultKind> {
    let mut bench = Bench::new(4);
    type Step = fn(&mut Bench) -> Result<(), FaultKind>;
    let steps: [Step; 8] = [
        |it| it.row(0, 1, Kind::Store, DATA, 4),
        |it| {
            it.barrier(0);
            Ok(())
        },
        |it| {
            it.event(0, 0, FENCE);
            Ok(())
        },
        |it| it.one(0, 0, Kind::Atomic, true, FLAG),
        |it| it.one(1, 0, Kind::Load, true, FLAG),
        |it| {
            it.event(1, 0, FENCE);
            Ok(())
        },
        |it| {
            it.barrier(1);
            Ok(())
        },
        |it| it.row(1, 1, Kind::Load, DATA, 4),
    ];
    steps.iter().enumerate().filter(|(step, _)| !left_out.contains(step)).try_for_each(|(_, step)| step(&mut bench))
}

#[test]
fn a_release_that_is_acquired_orders_ctas_and_every_part_of_it_is_needed() {
    assert_eq!(signalled(&[]), Ok(()));
    for step in [1, 2, 3, 4, 6] {
        assert_eq!(signalled(&[step]), RACE, "without step {step}");
    }
    assert_eq!(signalled(&[5]), Ok(()), "a barrier acquires too");
    assert_eq!(signalled(&[5, 6]), RACE, "without a fence or a barrier");
}

#[test]
fn strong_accesses_do_not_race_with_each_other_but_with_weak_ones() {
    let mut bench = Bench::new(4);
    for cta in [0, 1, 2] {
        bench.one(cta, 0, Kind::Atomic, true, FLAG).unwrap();
        bench.one(cta, 1, Kind::Load, true, FLAG).unwrap();
    }
    assert_eq!(bench.one(0, 0, Kind::Store, false, FLAG), RACE);
    let mut bench = Bench::new(4);
    bench.one(0, 0, Kind::Store, false, FLAG).unwrap();
    bench.one(0, 0, Kind::Atomic, true, FLAG).unwrap();
    assert_eq!(bench.one(1, 0, Kind::Atomic, true, FLAG), RACE, "with the weak write before the atomic");
}

#[test]
fn what_non_coherent_loads_read_stays_as_it_is() {
    let non_coherent = Err(FaultKind::NonCoherent);
    let mut bench = Bench::new(4);
    bench.row(0, 0, Kind::LoadNonCoherent, DATA, 4).unwrap();
    bench.row(0, 0, Kind::Load, DATA, 4).unwrap();
    assert_eq!(bench.row(0, 0, Kind::Store, DATA, 4), non_coherent);
    let mut bench = Bench::new(4);
    bench.row(0, 0, Kind::Store, DATA, 4).unwrap();
    assert_eq!(bench.row(0, 0, Kind::LoadNonCoherent, DATA, 4), non_coherent);
}

#[test]
fn halves_of_a_word_are_apart() {
    let mut bench = Bench::new(2);
    bench.row(0, 0, Kind::Store, DATA, 2).unwrap();
    assert_eq!(bench.row(1, 0, Kind::Store, DATA + 64, 2), Ok(()));
    assert_eq!(bench.row(1, 1, Kind::Store, DATA + 62, 2), RACE);
}

#[test]
fn the_next_launch_comes_after_this_one() {
    let shadow = Arc::new(Shadow::reserve(1 << 20).expect("address space"));
    for cta in [0, 1, 2] {
        let mut bench = Bench::with(Arc::clone(&shadow), 4);
        assert_eq!(bench.row(cta, 0, Kind::Store, DATA, 16), Ok(()));
        assert_eq!(bench.row(cta, 1, Kind::Load, DATA + 512, 16), Ok(()));
    }
}

#[test]
fn nobody_may_read_what_nobody_wrote() {
    let mut bench = Bench::new(4);
    let end = 1 << 16;
    let places = Places::Row(DEVICE_BASE + end - 40);
    let touch = Touch { kind: Kind::Load, is_strong: false, lanes: !0, bytes: 4, places };
    let trouble = bench.0.touch(At::default(), &touch).unwrap_err();
    assert_eq!((trouble.kind, trouble.lane), (FaultKind::UninitGlobal, 10));
    assert_eq!(trouble.access, Some(("global", false, DEVICE_BASE + end, 4)));
    assert_eq!(bench.row(0, 0, Kind::Store, end - 40, 4), Ok(()));
    assert_eq!(bench.row(0, 0, Kind::Load, end - 40, 4), Ok(()));
}

#[test]
fn a_warp_that_exited_has_arrived() {
    for exits in [false, true] {
        let mut bench = Bench::new(4);
        bench.row(0, 1, Kind::Store, DATA, 4).unwrap();
        if exits {
            bench.event(0, 1, Event::Exit);
        }
        bench.event(0, 0, Event::Arrive { id: 0 });
        bench.event(0, 0, Event::Complete { id: 0, arrived: 1, waiting: 1 });
        assert_eq!(bench.row(0, 0, Kind::Load, DATA, 4), if exits { Ok(()) } else { RACE });
    }
}

#[test]
fn a_lane_of_three_bytes_is_named() {
    let mut bench = Bench::new(1);
    let places = [DEVICE_BASE + DATA; 32];
    let touch = Touch { kind: Kind::Load, is_strong: false, lanes: 1 << 31, bytes: 3, places: Places::Each(&places) };
    bench.touch(1, 0, &touch).unwrap();
    let places = [DEVICE_BASE + DATA + 2; 32];
    let touch = Touch { kind: Kind::Store, is_strong: false, lanes: 1, bytes: 1, places: Places::Each(&places) };
    let trouble = bench.0.touch(At { cta: 2, warp: 0, pc: 3 }, &touch).unwrap_err();
    assert_eq!(trouble.other.map(|it| (it.cta, it.thread)), Some((1, 31)));
    let beside = Places::Row(DEVICE_BASE + DATA + 3);
    let touch = Touch { kind: Kind::Store, is_strong: false, lanes: !0, bytes: 1, places: beside };
    assert_eq!(bench.touch(2, 0, &touch), Ok(()), "the byte behind");
}

#[test]
fn a_cta_far_into_the_grid_costs_no_more_than_the_first() {
    let mut bench = Bench::new(4);
    let last = (1 << 31) - 1;
    bench.event(last, 0, Event::Start);
    bench.row(last, 1, Kind::Store, DATA, 4).unwrap();
    assert_eq!(bench.row(0, 1, Kind::Load, DATA, 4), RACE);
}

#[test]
fn what_is_remembered_of_a_launch_is_bounded() {
    let mut bench = Bench::new(4);
    let access = Access {
        warp: 0,
        pc: PC,
        bytes: 4,
        is_write: false,
        is_strong: false,
        is_narrow: false,
        is_non_coherent: false,
    };
    let history = bench.0.history();
    let n = (0..1 << 23).find(|_| {
        let closed = history.last();
        history.number(access, closed);
        history.is_full()
    });
    assert!(n.is_some(), "8 Mi accesses are not too many");
    bench.row(0, 0, Kind::Store, DATA, 4).unwrap();
    assert_eq!(bench.0.history().last(), 1, "begun anew");
    assert_eq!(bench.row(1, 0, Kind::Load, DATA, 4), RACE);
}

/// Makes the accesses of one kind narrow.
fn narrow(bench: &mut Bench, kind: Kind) {
    bench.0.semantics[(PC + kind as u32) as usize].is_narrow = true;
}

#[test]
fn accesses_for_a_cta_are_strong_there_only() {
    for other in [Kind::Atomic, Kind::Load] {
        let mut bench = Bench::new(4);
        narrow(&mut bench, Kind::Atomic);
        bench.one(0, 0, Kind::Atomic, true, FLAG).unwrap();
        assert_eq!(bench.one(0, 1, other, true, FLAG), Ok(()), "the same CTA");
        assert_eq!(bench.one(1, 0, other, true, FLAG), RACE, "another CTA");
    }
}

#[test]
fn accesses_for_a_cta_release_nothing_to_others() {
    for is_narrow in [false, true] {
        let mut bench = Bench::new(4);
        if is_narrow {
            narrow(&mut bench, Kind::Store);
        }
        bench.row(0, 0, Kind::Load, DATA, 4).unwrap();
        bench.event(0, 0, FENCE);
        bench.one(0, 0, Kind::Store, true, FLAG).unwrap();
        let seen = bench.one(1, 0, Kind::Atomic, true, FLAG);
        bench.event(1, 0, FENCE);
        let written = bench.one(1, 0, Kind::Atomic, true, DATA);
        assert_eq!((seen, written), if is_narrow { (RACE, RACE) } else { (Ok(()), Ok(())) });
    }
}

#[test]
fn a_source_is_not_written_before_the_wait() {
    for warp in [0, 1] {
        let mut bench = Bench::new(4);
        let at = At { cta: 0, warp: 0, pc: 7 };
        let places = [DEVICE_BASE + DATA; 32];
        let touch = Touch { kind: Kind::Load, is_strong: false, lanes: 8, bytes: 4, places: Places::Each(&places) };
        bench.one(0, warp, Kind::Store, false, DATA).unwrap();
        bench.barrier(0);
        bench.0.touch(at, &touch).unwrap();
        // Its own next store is like this one, and yet another.
        bench.one(0, 0, Kind::Store, false, FLAG).unwrap();
        let issued = bench.0.copy_issued(at);
        if warp == 1 {
            bench.barrier(0);
        }
        assert!(bench.0.copy_landed(at, issued, &touch).is_ok());
        bench.one(0, warp, Kind::Store, false, DATA).unwrap();
        let trouble = bench.0.copy_landed(at, issued, &touch).unwrap_err();
        assert_eq!((trouble.kind, trouble.lane), (FaultKind::RaceGlobal, 3));
        assert_eq!(trouble.other.map(|it| it.thread), Some(warp * 32 + 3));
    }
}

#[test]
fn copies_of_unknown_size_are_tracked_by_the_byte() {
    // The size of a copy is %r1.
    let unit_bytes = |size: &str| {
        let ptx = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n
            .visible .entry k(.param .u64 from, .param .u32 n) {{
                .reg .b32 %r<4>; .reg .b64 %from; .reg .pred %p;
                .shared .align 16 .b8 tile[16];
                ld.param.u64 %from, [from];
                ld.param.u32 %r0, [n];
                setp.eq.u32 %p, %r0, 0;
                {size}
                mov.u32 %r2, tile;
                cp.async.cg.shared.global [%r2], [%from], 16, %r1;
                ret;
            }}"
        );
        crate::lower::load(&ptx, false, &mut |_| None).unwrap().kernels["k"].program.global_unit_bytes()
    };
    assert_eq!(unit_bytes("mov.u32 %r1, 16;"), 4);
    assert_eq!(unit_bytes("mov.u32 %r1, 3;"), 1);
    assert_eq!(unit_bytes("mov.u32 %r1, %r0;"), 1);
    assert_eq!(unit_bytes("selp.b32 %r1, 16, 0, %p;"), 4, "all or nothing");
    assert_eq!(unit_bytes("mov.u32 %r3, 0; selp.b32 %r1, %r3, 16, %p;"), 4);
    assert_eq!(unit_bytes("selp.b32 %r1, 16, 3, %p;"), 1);
    assert_eq!(unit_bytes("selp.b32 %r1, 16, %r0, %p;"), 1);
    assert_eq!(unit_bytes("selp.b32 %r1, 16, 0, %p; @%p mov.u32 %r1, 5;"), 1);
}
