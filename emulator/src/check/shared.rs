//! Shared memory of one CTA: what was never written, what races, what `cp.async` is still writing.
//!
//! Memory is tracked in units of the smallest access that the kernel makes. Each unit knows who wrote it last, and two
//! of those who read it: the first since all was ordered, and the last other thread. So of three unordered readers one
//! may be missed, but two threads that meet without order are found. A race is a race: two unordered stores of the same
//! value are reported too, as the PTX ISA's memory model has it (#causality-order); strong accesses and atomics don't
//! race with each other.

pub mod rows;
#[cfg(test)]
mod tests;

use super::{
    clocks::{Clocks, MAX_TIME, Stamp},
    fault::FaultKind,
};
use crate::exec::{
    engine::Engine,
    observe::{At, Event, Kind, Places, Touch},
    trouble::{Other, Outcome, Trouble},
};
use rows::{Row, State};
use std::ops::Range;

/// What the accesses of one time have in common.
#[derive(Clone, Copy, Debug)]
struct Record {
    pc: u32,
    /// Two of them don't race.
    is_strong: bool,
    is_atomic: bool,
}

/// Times of an instruction that accesses shared memory, the latest of each warp.
type Latest = Box<[u32]>;

/// The checks of one CTA's shared memory, and of those that come after it in its place.
#[derive(Debug, Default)]
pub struct SharedChecks {
    clocks: Clocks,
    /// log2 of a unit's bytes.
    unit_shift: u32,
    /// Times up to it are of CTAs before, or of accesses that were forgotten.
    base: u32,
    /// By time, behind `base`.
    records: Vec<Record>,
    /// By pc.
    latest: Vec<Option<Latest>>,
    n_warps: usize,
    // By unit, stamps:
    writer: Vec<u32>,
    first_reader: Vec<u32>,
    last_reader: Vec<u32>,
    /// Of the `cp.async` that is writing it; a stamp from before this CTA is none.
    copier: Vec<u32>,
    /// Units that have a copier.
    n_in_flight: usize,
}

impl SharedChecks {
    /// For a CTA of `n_warps` warps and `bytes` bytes of shared memory; `unit_bytes` is the smallest access that the
    /// kernel makes to it.
    pub fn new(n_warps: u32, bytes: u32, unit_bytes: u32) -> SharedChecks {
        let stamps = vec![0; bytes.div_ceil(unit_bytes) as usize];
        SharedChecks {
            clocks: Clocks::new(n_warps as usize),
            unit_shift: unit_bytes.trailing_zeros(),
            n_warps: n_warps as usize,
            writer: stamps.clone(),
            first_reader: stamps.clone(),
            last_reader: stamps.clone(),
            copier: stamps,
            ..SharedChecks::default()
        }
    }

    /// An access.
    ///
    /// # Errors
    /// A race, a read of what nothing wrote, an access to what is in flight.
    #[inline]
    pub fn touch(&mut self, at: At, touch: &Touch<u32>) -> Outcome {
        let is_atomic = touch.kind == Kind::Atomic;
        let is_strong = touch.is_strong || is_atomic;
        let stamp = self.stamp(at, is_strong, is_atomic);
        if let Places::Row(base) = touch.places
            && !is_strong
            && self.touch_run(
                self.row(stamp, touch.bytes.trailing_zeros() - self.unit_shift),
                touch.kind,
                self.units(base, 32 * touch.bytes),
            )
        {
            return Ok(());
        }
        self.touch_each(at, stamp, touch, is_strong)
    }

    /// Lanes that access neighbours, whose units these are: false, and nothing noted that is not so, unless all is well.
    #[inline]
    fn touch_run(&mut self, run: Row, kind: Kind, units: Range<usize>) -> bool {
        let (n_units, is_any_in_flight) = (units.len(), self.n_in_flight > 0);
        let mut state = self.state(units);
        if !is_any_in_flight {
            state.copier = &mut [];
        }
        match kind {
            Kind::Store => Engine::chosen().note_write(run, state),
            _ if n_units <= rows::FEW => rows::read_few(run, state),
            _ => Engine::chosen().note_read(run, state),
        }
    }

    #[inline]
    fn state(&mut self, units: Range<usize>) -> State<'_> {
        State {
            writer: &mut self.writer[units.clone()],
            first_reader: &mut self.first_reader[units.clone()],
            last_reader: &mut self.last_reader[units.clone()],
            copier: &mut self.copier[units],
        }
    }

    #[inline(never)]
    fn touch_each(&mut self, at: At, stamp: Stamp, touch: &Touch<u32>, is_strong: bool) -> Outcome {
        // Of lanes that read one address, the first and the last stand for all: each write is by another than one.
        let is_same = matches!((touch.places, touch.kind), (Places::Same(_), Kind::Load));
        let standing = Touch { lanes: touch.lanes & if is_same { 1 | 1 << 31 } else { !0 }, ..*touch };
        for (first, start, n_lanes) in standing.rows() {
            let units = self.units(start as u32, n_lanes * touch.bytes);
            let run = self.row(Stamp(stamp.0 + first as u32), touch.bytes.trailing_zeros() - self.unit_shift);
            if !is_strong && self.touch_run(run, touch.kind, units) {
                continue;
            }
            for lane in first..first + n_lanes as usize {
                self.touch_lane(at, Stamp(stamp.0 + lane as u32), touch, lane, is_strong)?;
            }
        }
        Ok(())
    }

    fn touch_lane(&mut self, at: At, now: Stamp, touch: &Touch<u32>, lane: usize, is_strong: bool) -> Outcome {
        for unit in self.units(touch.address(lane) as u32, touch.bytes) {
            let hazard = match touch.kind {
                Kind::Store => self.write_hazard(unit, now, is_strong),
                Kind::Load | Kind::LoadNonCoherent => self.read_hazard(unit, now, is_strong),
                Kind::Atomic => self.read_hazard(unit, now, true).and_then(|()| self.write_hazard(unit, now, true)),
            };
            hazard.map_err(|hazard| self.trouble(at, touch, lane, hazard))?;
            self.note(unit, now, touch.kind);
            if is_strong {
                self.note_strong(at, unit, touch);
            }
        }
        Ok(())
    }

    /// For lanes that access `1 << shift` units each.
    #[inline(always)]
    fn row(&self, stamp: Stamp, shift: u32) -> Row {
        Row { stamp, shift, begin: Stamp::new(self.base + 1, 0), floor: self.clocks.floor() }
    }

    /// `cp.async` began to write.
    ///
    /// # Errors
    /// A race, or another `cp.async` that is under way to the same place.
    pub fn copy_issued(&mut self, at: At, touch: &Touch<u32>) -> Outcome {
        let stamp = self.stamp(at, false, false);
        for (first, start, n_lanes) in touch.rows() {
            let units = self.units(start as u32, n_lanes * touch.bytes);
            let run = self.row(Stamp(stamp.0 + first as u32), touch.bytes.trailing_zeros() - self.unit_shift);
            if rows::begin_copy(run, self.state(units.clone())) {
                self.n_in_flight += units.len();
                continue;
            }
            for lane in first..first + n_lanes as usize {
                let now = Stamp(stamp.0 + lane as u32);
                for unit in self.units(touch.address(lane) as u32, touch.bytes) {
                    self.write_hazard(unit, now, false).map_err(|hazard| self.trouble(at, touch, lane, hazard))?;
                    self.copier[unit] = now.0;
                    self.n_in_flight += 1;
                }
            }
        }
        Ok(())
    }

    /// What `cp.async` wrote is there. It counts as written now, by the instruction that began it, whose pc is in `at`.
    pub fn copy_landed(&mut self, at: At, touch: &Touch<u32>) {
        let stamp = self.stamp(at, false, false);
        for (first, start, n_lanes) in touch.rows() {
            let units = self.units(start as u32, n_lanes * touch.bytes);
            let run = self.row(Stamp(stamp.0 + first as u32), touch.bytes.trailing_zeros() - self.unit_shift);
            self.n_in_flight -= rows::land_copy(run, self.state(units));
        }
    }

    /// Something that orders accesses.
    pub fn event(&mut self, at: At, event: Event) {
        let warp = at.warp as usize;
        match event {
            Event::Start => self.start(),
            Event::WarpSync { lanes } => self.clocks.warp_sync(warp, lanes),
            Event::Fence { .. } => self.clocks.fence(warp),
            Event::Arrive { id } => self.clocks.arrive(warp, id),
            Event::Exit => self.clocks.exit(warp),
            Event::Complete { id, arrived, waiting } => {
                // All is ordered: this loses nothing.
                if self.clocks.complete(id, arrived, waiting)
                    && self.clocks.now() > MAX_TIME / 2
                    && self.n_in_flight == 0
                {
                    self.forget();
                }
            }
        }
    }

    /// A new CTA: what is in memory is not its own.
    fn start(&mut self) {
        if self.clocks.now() > MAX_TIME / 2 {
            for stamps in [&mut self.writer, &mut self.first_reader, &mut self.last_reader, &mut self.copier] {
                stamps.fill(0);
            }
            self.latest.clear();
            self.clocks.start(0);
        } else {
            let now = self.clocks.now();
            self.clocks.start(now);
        }
        self.base = self.clocks.now();
        self.records.clear();
        self.n_in_flight = 0;
    }

    /// Forgets who made the accesses so far, and only keeps what they initialised: their times run out, after millions
    /// of barriers. What they race with, and copies in flight, are missed.
    #[cold]
    fn forget(&mut self) {
        let before = Stamp::last_of(self.base);
        for writer in &mut self.writer {
            *writer = if *writer > before.0 { Stamp::new(1, 0).0 } else { 0 };
        }
        for stamps in [&mut self.first_reader, &mut self.last_reader, &mut self.copier] {
            stamps.fill(0);
        }
        self.latest.clear();
        self.clocks.reset(1);
        self.base = 0;
        self.records.clear();
        self.records.push(Record { pc: 0, is_strong: false, is_atomic: false });
        self.n_in_flight = 0;
    }

    /// The stamp of lane 0 for what a warp accesses now.
    #[inline]
    fn stamp(&mut self, at: At, is_strong: bool, is_atomic: bool) -> Stamp {
        let warp = at.warp as usize;
        if let Some(Some(latest)) = self.latest.get(at.pc as usize)
            && self.clocks.is_current(warp, latest[warp])
        {
            return Stamp::new(latest[warp], at.warp * 32);
        }
        self.new_stamp(at, is_strong, is_atomic)
    }

    #[inline(never)]
    fn new_stamp(&mut self, at: At, is_strong: bool, is_atomic: bool) -> Stamp {
        if self.clocks.now() == MAX_TIME {
            self.forget();
        }
        let (pc, warp) = (at.pc as usize, at.warp as usize);
        if self.latest.len() <= pc {
            self.latest.resize(pc + 1, None);
        }
        let n_warps = self.n_warps;
        let time = self.clocks.tick();
        self.latest[pc].get_or_insert_with(|| vec![0; n_warps].into())[warp] = time;
        self.records.push(Record { pc: at.pc, is_strong, is_atomic });
        Stamp::new(time, at.warp * 32)
    }

    /// Of an access in this CTA.
    fn record(&self, stamp: Stamp) -> Record {
        self.records[(stamp.time() - self.base - 1) as usize]
    }

    #[inline(always)]
    fn units(&self, address: u32, bytes: u32) -> Range<usize> {
        (address >> self.unit_shift) as usize..((address + bytes) >> self.unit_shift) as usize
    }

    fn is_initialised(&self, unit: usize) -> bool {
        self.writer[unit] > Stamp::last_of(self.base).0
    }

    /// What is wrong with a read.
    fn read_hazard(&self, unit: usize, now: Stamp, is_strong: bool) -> Result<(), Hazard> {
        self.check_flight(unit)?;
        if !self.is_initialised(unit) {
            return Err(Hazard::Uninitialised);
        }
        let writer = Stamp(self.writer[unit]);
        self.check_order(writer, now, is_strong, true)?;
        // Atomics are readers too: the earlier ones of a row of atomics are remembered as such.
        if writer > self.clocks.floor() && !is_strong {
            for reader in [self.first_reader[unit], self.last_reader[unit]].map(Stamp) {
                if reader > self.clocks.floor() && self.record(reader).is_atomic {
                    self.check_order(reader, now, is_strong, true)?;
                }
            }
        }
        Ok(())
    }

    /// What is wrong with a write.
    fn write_hazard(&self, unit: usize, now: Stamp, is_strong: bool) -> Result<(), Hazard> {
        self.check_flight(unit)?;
        self.check_order(Stamp(self.writer[unit]), now, is_strong, true)?;
        for reader in [self.first_reader[unit], self.last_reader[unit]] {
            self.check_order(Stamp(reader), now, is_strong, false)?;
        }
        Ok(())
    }

    fn check_flight(&self, unit: usize) -> Result<(), Hazard> {
        let copier = Stamp(self.copier[unit]);
        if self.n_in_flight > 0 && copier > Stamp::last_of(self.base) { Err(Hazard::InFlight(copier)) } else { Ok(()) }
    }

    fn check_order(&self, before: Stamp, now: Stamp, is_strong: bool, is_write: bool) -> Result<(), Hazard> {
        if self.clocks.is_ordered(before, now) {
            return Ok(());
        }
        let record = self.record(before);
        if is_strong && record.is_strong {
            return Ok(());
        }
        Err(Hazard::Race { with: before, is_write: is_write || record.is_atomic })
    }

    fn note(&mut self, unit: usize, now: Stamp, kind: Kind) {
        let units = unit..unit + 1;
        if matches!(kind, Kind::Store | Kind::Atomic) {
            self.writer[unit] = now.0;
        }
        if kind != Kind::Store {
            let (first, last) = (&mut self.first_reader[units.clone()], &mut self.last_reader[units]);
            rows::note_readers(first, last, now, 0, self.clocks.floor());
        }
    }

    /// Threads may wait for each other by strong accesses.
    fn note_strong(&mut self, at: At, unit: usize, touch: &Touch<u32>) {
        if touch.kind != Kind::Store {
            self.clocks.observe(at.warp as usize, unit);
        }
        if touch.is_write() {
            self.clocks.publish(at.warp as usize, unit);
        }
    }

    #[cold]
    fn trouble(&self, at: At, touch: &Touch<u32>, lane: usize, hazard: Hazard) -> Box<Trouble> {
        let (kind, other) = match hazard {
            Hazard::Uninitialised => (FaultKind::UninitShared, None),
            Hazard::InFlight(with) => (FaultKind::InFlight, Some((with, true))),
            Hazard::Race { with, is_write } => (FaultKind::RaceShared, Some((with, is_write))),
        };
        let address = touch.address(lane);
        let mut trouble = Trouble::access(kind, lane, "shared", touch.is_write(), address, touch.bytes as usize);
        trouble.other = other.map(|(with, is_write)| Other {
            is_write,
            cta: at.cta,
            thread: with.thread(),
            pc: self.record(with).pc,
        });
        trouble
    }
}

/// What can be wrong with an access to a unit.
#[derive(Clone, Copy, Debug)]
enum Hazard {
    Uninitialised,
    InFlight(Stamp),
    Race { with: Stamp, is_write: bool },
}
