use super::*;

/// The checks of a CTA of some warps, told what the warps do.
struct Cta {
    checks: SharedChecks,
    n_warps: u32,
    /// By barrier: the warps that arrived, and those that wait.
    barriers: [(u32, u32); 16],
}

impl Cta {
    fn new(n_warps: u32, unit_bytes: u32) -> Cta {
        let mut cta = Cta { checks: SharedChecks::new(n_warps, 4096, unit_bytes), n_warps, barriers: [(0, 0); 16] };
        cta.event(0, Event::Start);
        cta
    }

    fn event(&mut self, warp: u32, event: Event) {
        self.checks.event(At { cta: 0, warp, pc: 0 }, event);
    }

    fn touch(&mut self, warp: u32, pc: u32, kind: Kind, lanes: u32, bytes: u32, places: Places<u32>) -> Outcome {
        self.checks.touch(At { cta: 0, warp, pc }, &Touch { kind, is_strong: false, lanes, bytes, places })
    }

    /// The warp's lanes write a row of words.
    fn write(&mut self, warp: u32, pc: u32, base: u32) -> Outcome {
        self.touch(warp, pc, Kind::Store, !0, 4, Places::Row(base))
    }

    fn read(&mut self, warp: u32, pc: u32, base: u32) -> Outcome {
        self.touch(warp, pc, Kind::Load, !0, 4, Places::Row(base))
    }

    /// One lane, one access.
    fn one(&mut self, warp: u32, pc: u32, lane: u32, kind: Kind, address: u32, bytes: u32) -> Outcome {
        self.touch(warp, pc, kind, 1 << lane, bytes, Places::Each(&[address; 32]))
    }

    /// A warp arrives at a barrier of `n_warps` warps.
    fn arrive(&mut self, warp: u32, id: usize, n_warps: u32, waits: bool) {
        self.event(warp, Event::Arrive { id });
        let (arrived, waiting) = &mut self.barriers[id];
        *arrived |= 1 << warp;
        *waiting |= u32::from(waits) << warp;
        if arrived.count_ones() == n_warps {
            let (arrived, waiting) = std::mem::take(&mut self.barriers[id]);
            self.event(warp, Event::Complete { id, arrived, waiting });
        }
    }

    fn barrier(&mut self) {
        (0..self.n_warps).for_each(|warp| self.arrive(warp, 0, self.n_warps, true));
    }
}

fn ok(outcome: Outcome) {
    if let Err(trouble) = outcome {
        panic!("{trouble:?}");
    }
}

/// A race whose other side is a write or not, by the thread, at the pc.
#[track_caller]
fn races(outcome: Outcome, is_write: bool, thread: u32, pc: u32) {
    let trouble = outcome.expect_err("no race was found");
    assert_eq!(trouble.kind, FaultKind::RaceShared);
    let other = trouble.other.expect("a race has two sides");
    assert_eq!((other.is_write, other.thread, other.pc), (is_write, thread, pc));
}

#[test]
fn a_barrier_orders_and_its_absence_races() {
    let mut cta = Cta::new(2, 4);
    ok(cta.write(0, 1, 0));
    races(cta.read(1, 2, 0), true, 0, 1);
    races(cta.write(1, 3, 64), true, 16, 1);
    cta.barrier();
    ok(cta.read(1, 2, 0));
    races(cta.write(0, 4, 0), false, 32, 2);
    cta.barrier();
    ok(cta.write(0, 4, 0));
    // A CTA that comes later knows nothing of this one.
    cta.event(0, Event::Start);
    ok(cta.write(1, 3, 0));
}

#[test]
fn what_nothing_wrote_is_not_read() {
    let mut cta = Cta::new(1, 4);
    ok(cta.one(0, 1, 5, Kind::Store, 16, 8));
    ok(cta.one(0, 2, 5, Kind::Load, 20, 4));
    for (kind, address) in [(Kind::Load, 24), (Kind::Atomic, 12), (Kind::Load, 12)] {
        let trouble = cta.one(0, 3, 5, kind, address, 4).expect_err("nothing wrote it");
        assert_eq!((trouble.kind, trouble.lane), (FaultKind::UninitShared, 5));
    }
    cta.event(0, Event::Start);
    assert_eq!(cta.one(0, 2, 5, Kind::Load, 16, 4).expect_err("of a CTA before").kind, FaultKind::UninitShared);
}

#[test]
fn neighbours_do_not_race() {
    for bytes in [1, 2] {
        let mut cta = Cta::new(2, bytes);
        ok(cta.one(0, 1, 0, Kind::Store, 0, bytes));
        ok(cta.one(1, 1, 0, Kind::Store, bytes, bytes));
        races(cta.one(1, 2, 3, Kind::Store, 0, 4), true, 0, 1);
    }
}

#[test]
fn lanes_are_ordered_by_warp_sync_only() {
    let mut cta = Cta::new(2, 4);
    let mirrored: [u32; 32] = std::array::from_fn(|lane| 4 * (31 - lane as u32));
    let mirror = Places::Each(&mirrored);
    ok(cta.write(0, 1, 0));
    ok(cta.read(0, 2, 0));
    races(cta.touch(0, 3, Kind::Load, !0, 4, mirror), true, 31, 1);
    cta.event(0, Event::WarpSync { lanes: !0 });
    ok(cta.touch(0, 3, Kind::Load, !0, 4, mirror));
    races(cta.write(0, 4, 0), false, 31, 3);
    // Another warp learned nothing.
    races(cta.read(1, 5, 0), true, 0, 1);
    // Lanes 0 to 3 synchronise: 3 may read what 0 wrote, 4 may not.
    cta.event(0, Event::WarpSync { lanes: !0 });
    ok(cta.one(0, 6, 0, Kind::Store, 512, 4));
    cta.event(0, Event::WarpSync { lanes: 0xf });
    ok(cta.one(0, 7, 3, Kind::Load, 512, 4));
    races(cta.one(0, 7, 4, Kind::Load, 512, 4), true, 0, 6);
    // And on by way of lane 3.
    cta.event(0, Event::WarpSync { lanes: 0x18 });
    ok(cta.one(0, 7, 4, Kind::Load, 512, 4));
}

/// Two producers fill a ring of four stages that two consumers empty, each stage with a barrier that says it is full and
/// one that says it is empty. `forgets` is a consumer that does not wait for one of the stages.
fn ring(forgets: Option<u32>) -> Outcome {
    let mut cta = Cta::new(4, 4);
    for round in 0..100u32 {
        let stage = round % 4;
        let (full, empty) = (1 + stage as usize, 5 + stage as usize);
        for producer in [0, 1] {
            if round >= 4 {
                cta.arrive(producer, empty, 4, true);
            }
        }
        for producer in [0, 1] {
            cta.write(producer, 10, 256 * stage + 128 * producer)?;
            cta.arrive(producer, full, 4, false);
        }
        for consumer in [2, 3] {
            cta.arrive(consumer, full, 4, forgets != Some(consumer) || round != 57);
        }
        for consumer in [2, 3] {
            cta.read(consumer, 20, 256 * stage)?;
            cta.read(consumer, 21, 256 * stage + 128)?;
            cta.arrive(consumer, empty, 4, false);
        }
    }
    Ok(())
}

#[test]
fn producers_and_consumers_go_round_a_ring() {
    ok(ring(None));
    races(ring(Some(3)), true, 0, 10);
}

#[test]
fn a_warp_that_only_arrives_learns_nothing() {
    let mut cta = Cta::new(3, 4);
    ok(cta.write(0, 1, 0));
    ok(cta.write(1, 1, 256));
    cta.arrive(0, 3, 2, false);
    cta.arrive(1, 3, 2, true);
    ok(cta.read(1, 2, 0));
    races(cta.read(0, 2, 256), true, 32, 1);
    races(cta.read(2, 2, 0), true, 0, 1);
    // What warp 0 does after its arrival is its own.
    ok(cta.write(0, 3, 512));
    races(cta.read(1, 4, 512), true, 0, 3);
}

#[test]
fn every_reader_is_waited_for() {
    let mut cta = Cta::new(3, 4);
    ok(cta.write(0, 1, 0));
    cta.barrier();
    ok(cta.read(0, 2, 0));
    ok(cta.read(1, 2, 0));
    ok(cta.read(2, 2, 0));
    cta.arrive(0, 1, 2, true);
    cta.arrive(1, 1, 2, true);
    races(cta.write(0, 3, 0), false, 64, 2);
    cta.barrier();
    ok(cta.write(0, 3, 0));
}

#[test]
fn atomics_race_with_plain_accesses() {
    let mut cta = Cta::new(2, 4);
    ok(cta.one(0, 1, 0, Kind::Store, 0, 4));
    races(cta.one(1, 2, 0, Kind::Atomic, 0, 4), true, 0, 1);
    cta.barrier();
    ok(cta.touch(1, 2, Kind::Atomic, !0, 4, Places::Each(&[0; 32])));
    ok(cta.touch(0, 2, Kind::Atomic, !0, 4, Places::Each(&[0; 32])));
    cta.event(0, Event::WarpSync { lanes: !0 });
    // The last atomics are warp 0's own, but not the first.
    races(cta.one(0, 3, 0, Kind::Load, 0, 4), true, 32, 2);
    races(cta.one(0, 3, 0, Kind::Store, 0, 4), true, 32, 2);
    cta.barrier();
    ok(cta.one(0, 3, 0, Kind::Load, 0, 4));
}

#[test]
fn a_flag_and_fences_order() {
    let strong = |cta: &mut Cta, warp, kind| {
        let touch = Touch { kind, is_strong: true, lanes: 1, bytes: 4, places: Places::Each(&[1024; 32]) };
        ok(cta.checks.touch(At { cta: 0, warp, pc: 9 }, &touch));
    };
    for (writer_fences, reader_fences) in [(true, true), (false, true), (true, false)] {
        let mut cta = Cta::new(2, 4);
        ok(cta.one(1, 1, 0, Kind::Store, 1024, 4));
        cta.barrier();
        ok(cta.write(0, 2, 0));
        if writer_fences {
            cta.event(0, Event::Fence { lanes: 1 });
        }
        strong(&mut cta, 0, Kind::Store);
        strong(&mut cta, 1, Kind::Load);
        if reader_fences {
            cta.event(1, Event::Fence { lanes: 1 });
        }
        match cta.read(1, 3, 0) {
            outcome if writer_fences && reader_fences => ok(outcome),
            outcome => races(outcome, true, 0, 2),
        }
    }
}

#[test]
fn a_copy_in_flight_is_not_touched() {
    let mut cta = Cta::new(2, 4);
    let to: [u32; 32] = std::array::from_fn(|lane| 16 * lane as u32);
    let copy = Touch { kind: Kind::Store, is_strong: false, lanes: !0, bytes: 16, places: Places::Each(&to) };
    let at = At { cta: 0, warp: 0, pc: 7 };
    ok(cta.checks.copy_issued(at, &copy));
    for outcome in [cta.read(0, 8, 0), cta.write(1, 8, 128), cta.checks.copy_issued(at, &copy)] {
        let trouble = outcome.expect_err("it is in flight");
        let other = trouble.other.expect("the copy");
        assert_eq!((trouble.kind, other.is_write, other.pc), (FaultKind::InFlight, true, 7));
        assert_eq!(u64::from(other.thread), trouble.access.expect("an access").2 / 16);
    }
    cta.barrier();
    assert_eq!(cta.read(1, 8, 0).expect_err("a barrier is no wait").kind, FaultKind::InFlight);
    cta.checks.copy_landed(at, &copy);
    races(cta.read(1, 8, 0), true, 0, 7);
    cta.barrier();
    ok(cta.read(1, 8, 0));
    races(cta.checks.copy_issued(at, &copy), false, 32, 8);
}

#[test]
fn a_warp_that_exited_has_arrived() {
    let mut cta = Cta::new(3, 4);
    ok(cta.write(2, 1, 0));
    cta.event(2, Event::Exit);
    cta.arrive(0, 0, 2, true);
    cta.arrive(1, 0, 2, true);
    ok(cta.read(0, 2, 0));
    ok(cta.read(1, 2, 0));
}

/// Times run out; what is initialised stays so, and races are found again.
#[test]
fn the_clock_begins_anew() {
    for orders in [true, false] {
        let mut cta = Cta::new(2, 4);
        cta.checks.clocks.start(MAX_TIME - 100);
        cta.checks.base = MAX_TIME - 100;
        ok(cta.write(0, 1, 0));
        for _ in 0..300 {
            ok(cta.read(0, 2, 0));
            if orders {
                cta.barrier();
            } else {
                cta.event(0, Event::WarpSync { lanes: !0 });
            }
        }
        assert!(cta.checks.clocks.now() < 400);
        ok(cta.read(0, 2, 0));
        races(cta.write(1, 3, 0), false, 0, 2);
        assert_eq!(cta.read(1, 3, 128).expect_err("never written").kind, FaultKind::UninitShared);
    }
}
