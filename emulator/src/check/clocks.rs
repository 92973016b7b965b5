//! What is ordered before what in one CTA, by the PTX ISA's rules (#memory-consistency-model, #parallel-synchronization-
//! and-communication-instructions-bar).
//!
//! The warps of a checked CTA run on one host thread, so its accesses have one order. Their time counts up with each
//! group of accesses that a warp makes at one instruction without anything between them that orders. Each warp knows
//! for each other warp up to which time that warp's accesses are ordered before its own next one:
//! - A barrier: the warps that waited know what those that arrived knew and did up to their arrival. A barrier that all
//!   warps waited at raises the floor instead, one number for the whole CTA.
//! - A warp that exited is counted as arrived at the barriers of the whole CTA: they may have waited for its exit.
//! - `fence`: what a thread did before its fence is ordered before what another does behind its own, if the other read
//!   what the first wrote behind the fence (strong accesses, which [`Clocks::publish`] and [`Clocks::observe`] hear of).
//! - `bar.warp.sync` orders the lanes of its mask. The other `.sync` instructions order nothing: they exchange registers.
//!
//! A warp's lanes share what it knows of other warps: all of its lanes arrive at a barrier together.

use std::collections::HashMap;

/// Bits of a [`Stamp`] that name the thread; a CTA has 1024 threads at most.
const THREAD_BITS: u32 = 10;
/// Barriers that a CTA may have: its own sixteen, and room for such as a cluster's.
const N_BARRIERS: usize = 32;

/// Times that fit in a stamp.
pub const MAX_TIME: u32 = (1 << (32 - THREAD_BITS)) - 1;

/// Who made an access, and when: the time in the high bits, the thread in the low ones. Later stamps are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u32);

impl Stamp {
    pub fn new(time: u32, thread: u32) -> Stamp {
        Stamp(time << THREAD_BITS | thread)
    }

    /// No stamp of this time or an earlier one is larger.
    pub fn last_of(time: u32) -> Stamp {
        Stamp(time << THREAD_BITS | ((1 << THREAD_BITS) - 1))
    }

    pub fn time(self) -> u32 {
        self.0 >> THREAD_BITS
    }

    pub fn thread(self) -> u32 {
        self.0 & ((1 << THREAD_BITS) - 1)
    }

    pub fn warp(self) -> usize {
        self.thread() as usize / 32
    }

    pub fn lane(self) -> usize {
        self.thread() as usize % 32
    }
}

/// For each warp, a time.
type Times = Vec<u32>;

/// For each lane, up to which time each other lane of its warp is ordered before it.
type Lanes = Box<[[u32; 32]; 32]>;

/// The orders of one CTA.
#[derive(Debug, Default)]
pub struct Clocks {
    /// The time of the latest accesses.
    now: u32,
    /// What happened up to it is ordered before everything to come.
    floor: u32,
    /// By warp: what it knows of each warp. Of itself: up to when its own lanes are ordered among each other.
    known: Vec<Times>,
    /// By warp: accesses from here on are behind the last thing that ordered.
    since: Times,
    /// By barrier: what those that arrived know.
    arrived: Vec<Times>,
    /// By warp, if a part of its lanes ever synchronised.
    lanes: Vec<Option<Lanes>>,
    /// A bit for each warp whose threads have all exited.
    exited: u32,
    /// By warp: what it knew at its last fence, if it had one.
    fenced: Vec<Option<Times>>,
    /// By unit of memory: what those knew at their fences who wrote it behind them.
    published: HashMap<usize, Times>,
    /// By warp: what its next fence will let it know.
    observed: Vec<Option<Times>>,
}

/// Raises each of `times` to its counterpart.
fn join(times: &mut Times, others: &[u32]) {
    for (time, other) in times.iter_mut().zip(others) {
        *time = (*time).max(*other);
    }
}

impl Clocks {
    pub fn new(n_warps: usize) -> Clocks {
        let times = vec![0; n_warps];
        Clocks {
            known: vec![times.clone(); n_warps],
            since: times.clone(),
            arrived: vec![times; N_BARRIERS],
            lanes: vec![None; n_warps],
            fenced: vec![None; n_warps],
            observed: vec![None; n_warps],
            ..Clocks::default()
        }
    }

    pub fn now(&self) -> u32 {
        self.now
    }

    /// Stamps up to it are ordered before everything to come.
    pub fn floor(&self) -> Stamp {
        Stamp::last_of(self.floor)
    }

    /// Nothing orders a warp's accesses at `time` from its accesses now.
    pub fn is_current(&self, warp: usize, time: u32) -> bool {
        time >= self.since[warp]
    }

    /// A time for accesses that differ from all before.
    pub fn tick(&mut self) -> u32 {
        self.now += 1;
        self.now
    }

    /// All that happened up to now is ordered before everything to come. `now` is what the clock shows then.
    pub fn reset(&mut self, now: u32) {
        (self.now, self.floor) = (now, now);
        self.since.fill(now + 1);
        self.known.iter_mut().chain(&mut self.arrived).for_each(|it| it.fill(0));
        self.lanes.fill_with(|| None);
        self.fenced.fill(None);
        self.observed.fill(None);
        self.published.clear();
    }

    /// A CTA begins.
    pub fn start(&mut self, now: u32) {
        self.reset(now);
        self.exited = 0;
    }

    /// All of a warp's threads have exited.
    pub fn exit(&mut self, warp: usize) {
        self.exited |= 1 << warp;
    }

    /// A warp arrives at a barrier.
    pub fn arrive(&mut self, warp: usize, id: usize) {
        let now = self.now;
        join(&mut self.arrived[id], &self.known[warp]);
        self.arrived[id][warp] = now;
        self.since[warp] = now + 1;
    }

    /// A barrier completes; true if it orders all that happened before all that will.
    pub fn complete(&mut self, id: usize, arrived: u32, waiting: u32) -> bool {
        let all = ((1u64 << self.known.len()) - 1) as u32;
        let is_whole = (arrived | self.exited) == all;
        if is_whole && waiting == arrived {
            self.floor = self.now;
            self.since.fill(self.now + 1);
        } else {
            for warp in (0..self.known.len()).filter(|it| is_whole && self.exited >> it & 1 == 1) {
                self.arrived[id][warp] = self.now;
            }
            for warp in (0..self.known.len()).filter(|it| waiting >> it & 1 == 1) {
                join(&mut self.known[warp], &self.arrived[id]);
            }
        }
        self.arrived[id].fill(0);
        is_whole && waiting == arrived
    }

    /// `bar.warp.sync` of `lanes`.
    pub fn warp_sync(&mut self, warp: usize, lanes: u32) {
        let now = self.now;
        self.since[warp] = now + 1;
        if lanes == !0 {
            self.known[warp][warp] = now;
            return;
        }
        let table = self.lanes[warp].get_or_insert_with(|| Box::new([[0; 32]; 32]));
        let mut joined = [0; 32];
        for lane in (0..32).filter(|lane| lanes >> lane & 1 == 1) {
            for (time, other) in joined.iter_mut().zip(table[lane]) {
                *time = other.max(*time);
            }
        }
        for lane in (0..32).filter(|lane| lanes >> lane & 1 == 1) {
            joined[lane] = now;
        }
        for lane in (0..32).filter(|lane| lanes >> lane & 1 == 1) {
            table[lane] = joined;
        }
    }

    /// `fence` by threads of a warp. What one of them knows, all lanes are taken to know.
    pub fn fence(&mut self, warp: usize) {
        if let Some(observed) = self.observed[warp].take() {
            join(&mut self.known[warp], &observed);
        }
        let mut known = self.known[warp].clone();
        known[warp] = self.now;
        self.fenced[warp] = Some(known);
        self.since[warp] = self.now + 1;
    }

    /// A warp writes a unit of memory in a way that others may wait for.
    pub fn publish(&mut self, warp: usize, unit: usize) {
        if let Some(fenced) = &self.fenced[warp] {
            join(self.published.entry(unit).or_insert_with(|| vec![0; fenced.len()]), fenced);
        }
    }

    /// A warp reads a unit of memory that others may have published by.
    pub fn observe(&mut self, warp: usize, unit: usize) {
        if let Some(published) = self.published.get(&unit) {
            join(self.observed[warp].get_or_insert_with(|| vec![0; published.len()]), published);
        }
    }

    /// The access at `before` is ordered before the one at `now`, or is the same thread's or the same instruction's.
    pub fn is_ordered(&self, before: Stamp, now: Stamp) -> bool {
        if before <= self.floor() || before.thread() == now.thread() {
            return true;
        }
        let (warp, other) = (now.warp(), before.warp());
        before.time() <= self.known[warp][other] || warp == other && self.are_lanes_ordered(before, now)
    }

    /// [`Clocks::is_ordered`] for two lanes of one warp.
    fn are_lanes_ordered(&self, before: Stamp, now: Stamp) -> bool {
        let lanes = &self.lanes[now.warp()];
        before.time() == now.time() || lanes.as_ref().is_some_and(|it| before.time() <= it[now.lane()][before.lane()])
    }
}
