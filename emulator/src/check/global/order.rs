//! Which accesses come before which: the PTX memory model's causality order (#memory-consistency-model), warp by warp.
//!
//! A warp counts as one thread. Inside a CTA barriers order; between CTAs a *release pattern* on a location (a fence, then
//! a strong write) that an *acquire pattern* observes (a strong read, then a fence or a barrier). `st.release`, `ld.acquire` and the
//! like are both halves in one. What a barrier brought together is released together, and what one thread acquired
//! belongs, after a barrier, to all (cumulativity), so thread 0 may signal for its CTA. Accesses run one after the other,
//! so what a read observes is what was written last.

use super::{clock::Clock, history::Access};
use crate::exec::observe::Event;
use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

/// The state of all CTAs that are under way, and of the locations that they signal through.
#[derive(Debug)]
pub struct Order {
    n_warps: usize,
    /// The CTA that ran last, if it is under way, and its linear index.
    current: Option<(usize, Box<Cta>)>,
    /// The others, by linear index: few of a large grid are under way.
    ctas: BTreeMap<usize, Box<Cta>>,
    /// What each location that was written strongly releases, by its unit of four bytes.
    released: HashMap<u64, Rc<Clock>>,
}

#[derive(Debug)]
struct Cta {
    warps: Vec<Warp>,
    /// What those have who arrived at each barrier that is not complete.
    gathered: Vec<Option<Knowledge>>,
    /// Its warps may be ordered by something that is not followed here.
    is_lenient: bool,
    has_fenced: bool,
    /// A bit for each warp whose threads have all exited.
    exited: u32,
}

#[derive(Clone, Debug)]
struct Warp {
    /// Accesses up to this one had their say in an order; later ones need numbers of their own.
    closed: u32,
    /// The latest access before the warp's latest `cp.async`: a later write needs a number of its own.
    issued: u32,
    knows: Knowledge,
}

/// Clocks are shared between those who know the same.
#[derive(Clone, Debug, Default)]
struct Knowledge {
    /// What comes before.
    ordered: Rc<Clock>,
    /// What came before the latest fence: the next strong write releases it.
    fenced: Option<Rc<Clock>>,
    /// What strong reads observed since: the next fence acquires it.
    observed: Option<Rc<Clock>>,
}

fn join(mine: &mut Rc<Clock>, theirs: &Rc<Clock>) {
    if !Rc::ptr_eq(mine, theirs) {
        Rc::make_mut(mine).join(theirs);
    }
}

fn join_some(mine: &mut Option<Rc<Clock>>, theirs: &Option<Rc<Clock>>) {
    match (mine.as_mut(), theirs) {
        (_, None) => {}
        (None, Some(theirs)) => *mine = Some(Rc::clone(theirs)),
        (Some(mine), Some(theirs)) => join(mine, theirs),
    }
}

impl Knowledge {
    fn join(&mut self, other: &Knowledge) {
        join(&mut self.ordered, &other.ordered);
        join_some(&mut self.fenced, &other.fenced);
        join_some(&mut self.observed, &other.observed);
    }
}

/// A warp that runs.
#[derive(Clone, Copy, Debug)]
pub struct Runner {
    pub cta: usize,
    /// In its CTA.
    pub warp: usize,
}

impl Order {
    pub fn new(n_warps: u32) -> Order {
        Order { n_warps: n_warps as usize, current: None, ctas: BTreeMap::new(), released: HashMap::new() }
    }

    /// The warp's index in the grid.
    #[inline(always)]
    pub fn in_grid(&self, Runner { cta, warp }: Runner) -> usize {
        cta * self.n_warps + warp
    }

    /// A warp by its index in the grid: (its CTA, its index there).
    pub fn in_cta(&self, warp: usize) -> (u64, u32) {
        ((warp / self.n_warps) as u64, (warp % self.n_warps) as u32)
    }

    /// The CTA that runs now: what comes next is mostly about it.
    #[inline(always)]
    pub fn enter(&mut self, cta: usize) {
        if self.current.as_ref().is_none_or(|it| it.0 != cta) {
            self.switch_to(cta);
        }
    }

    #[inline(never)]
    fn switch_to(&mut self, cta: usize) {
        let next = self.ctas.remove(&cta).map(|it| (cta, it));
        if let Some((before, its)) = std::mem::replace(&mut self.current, next) {
            self.ctas.insert(before, its);
        }
    }

    #[inline(always)]
    fn at(&self, cta: usize) -> &Cta {
        match &self.current {
            Some((current, its)) if *current == cta => its,
            _ => self.ctas.get(&cta).expect("the CTA is under way"),
        }
    }

    fn cta(&mut self, cta: usize) -> &mut Cta {
        match &mut self.current {
            Some((current, its)) if *current == cta => its,
            _ => self.ctas.get_mut(&cta).expect("the CTA is under way"),
        }
    }

    #[inline(always)]
    fn warp(&self, Runner { cta, warp }: Runner) -> &Warp {
        &self.at(cta).warps[warp]
    }

    fn warp_mut(&mut self, Runner { cta, warp }: Runner) -> &mut Warp {
        &mut self.cta(cta).warps[warp]
    }

    /// The warp's accesses up to this one are closed: see [`Warp::closed`].
    #[inline(always)]
    pub fn closed(&self, runner: Runner, is_write: bool) -> u32 {
        let Warp { closed, issued, .. } = self.warp(runner);
        if is_write { *closed.max(issued) } else { *closed }
    }

    /// The warp began to copy: its latest access so far is `now`.
    pub fn issue(&mut self, runner: Runner, now: u32) {
        self.warp_mut(runner).issued = now;
    }

    /// Whether an access by a warp (its index in the grid) comes before what `runner` does now.
    pub fn is_before(&self, (warp, access): (usize, u32), runner: Runner) -> bool {
        let is_lenient = || self.at(runner.cta).is_lenient && warp / self.n_warps == runner.cta;
        warp == self.in_grid(runner) || self.warp(runner).knows.ordered.last_of(warp) >= access || is_lenient()
    }

    /// Whether both accesses are strong, each in a scope that holds the other: then they don't race
    /// (#morally-strong-operations).
    #[inline(always)]
    pub fn are_strong(&self, one: &Access, other: &Access) -> bool {
        let is_wide = !one.is_narrow && !other.is_narrow;
        one.is_strong && other.is_strong && (is_wide || self.in_cta(one.warp).0 == self.in_cta(other.warp).0)
    }

    /// Forgets everything but who is under way.
    pub fn clear(&mut self) {
        self.released.clear();
        for cta in self.ctas.values_mut().chain(self.current.as_mut().map(|it| &mut it.1)) {
            cta.warps.fill(Warp::new(0));
            cta.gathered.clear();
        }
    }

    /// A CTA has ended.
    pub fn end(&mut self, cta: usize) {
        self.enter(cta);
        self.current = None;
    }

    /// `now` is the number of the latest access.
    pub fn event(&mut self, runner: Runner, event: Event, is_narrow: bool, now: u32) {
        match event {
            Event::Start => {
                self.end(runner.cta);
                self.current = Some((runner.cta, Box::new(Cta::new(self.n_warps, now))));
            }
            // A warp counts as one thread.
            Event::WarpSync { .. } => {}
            Event::Exit => self.cta(runner.cta).exited |= 1 << runner.warp,
            Event::Fence { .. } if is_narrow => self.fence_narrowly(runner),
            Event::Fence { .. } => self.fence(runner, now),
            Event::Arrive { id } => self.arrive(runner, id, now),
            Event::Complete { id, arrived, waiting } => self.complete(runner.cta, id, arrived, waiting, now),
        }
    }

    fn arrive(&mut self, runner: Runner, id: usize, now: u32) {
        let in_grid = self.in_grid(runner);
        let cta = self.cta(runner.cta);
        let warp = &mut cta.warps[runner.warp];
        warp.closed = now;
        if cta.gathered.len() <= id {
            cta.gathered.resize(id + 1, None);
        }
        let gathered = match &mut cta.gathered[id] {
            Some(gathered) => {
                gathered.join(&warp.knows);
                gathered
            }
            nobody => nobody.insert(warp.knows.clone()),
        };
        Rc::make_mut(&mut gathered.ordered).add(in_grid, now);
    }

    /// A warp that exited is counted as arrived at the barriers of the whole CTA: they may have waited for its exit.
    fn complete(&mut self, cta: usize, id: usize, arrived: u32, waiting: u32, now: u32) {
        let first_in_grid = cta * self.n_warps;
        let cta = self.cta(cta);
        let Some(mut gathered) = cta.gathered.get_mut(id).and_then(Option::take) else { return };
        let is_whole = (0..cta.warps.len()).all(|warp| (arrived | cta.exited) >> warp & 1 == 1);
        for warp in (0..cta.warps.len()).filter(|warp| is_whole && cta.exited >> warp & 1 == 1) {
            gathered.join(&cta.warps[warp].knows);
            Rc::make_mut(&mut gathered.ordered).add(first_in_grid + warp, now);
        }
        // The model asks for a fence after the strong read. NVIDIA's own reduction has none, only this barrier, which is
        // enough on every card: what is read behind it was in no cache yet.
        if let Some(observed) = gathered.observed.take() {
            join(&mut gathered.ordered, &observed);
        }
        for (_, warp) in cta.warps.iter_mut().enumerate().filter(|(warp, _)| waiting >> warp & 1 == 1) {
            warp.knows = gathered.clone();
        }
    }

    /// A fence that orders for other CTAs.
    pub fn fence(&mut self, runner: Runner, now: u32) {
        self.cta(runner.cta).has_fenced = true;
        let knows = &mut self.warp_mut(runner).knows;
        if let Some(observed) = knows.observed.take() {
            join(&mut knows.ordered, &observed);
        }
        self.release(runner, now);
    }

    /// A fence among the threads of a CTA. What it orders is not followed, so nothing in the CTA counts as a race from
    /// here on.
    fn fence_narrowly(&mut self, runner: Runner) {
        self.cta(runner.cta).is_lenient = true;
    }

    /// Strong accesses to shared memory, or for a CTA alone, may order its warps behind a fence, which is not followed
    /// either.
    pub fn signal_within(&mut self, cta: usize, is_fence: bool) {
        let cta = self.cta(cta);
        cta.is_lenient |= cta.has_fenced || is_fence;
    }

    /// What comes before is what the warp's next strong write releases.
    pub fn release(&mut self, runner: Runner, now: u32) {
        let in_grid = self.in_grid(runner);
        let warp = self.warp_mut(runner);
        warp.closed = now;
        Rc::make_mut(&mut warp.knows.ordered).add(in_grid, now);
        warp.knows.fenced = Some(Rc::clone(&warp.knows.ordered));
    }

    /// A strong read of a location.
    pub fn observe(&mut self, runner: Runner, unit: u64, is_acquire: bool) {
        let Some(released) = self.released.get(&unit).cloned() else { return };
        let knows = &mut self.warp_mut(runner).knows;
        if is_acquire {
            join(&mut knows.ordered, &released);
        } else {
            join_some(&mut knows.observed, &Some(released));
        }
    }

    /// A strong write to a location; `is_atomic` goes on with what was released there, as a release sequence does.
    pub fn publish(&mut self, runner: Runner, unit: u64, is_atomic: bool) {
        let fenced = self.warp(runner).knows.fenced.clone();
        match (fenced, self.released.get_mut(&unit)) {
            (Some(fenced), Some(released)) if is_atomic => join(released, &fenced),
            (Some(fenced), _) => {
                self.released.insert(unit, fenced);
            }
            (None, Some(_)) if !is_atomic => {
                self.released.remove(&unit);
            }
            (None, _) => {}
        }
    }
}

impl Warp {
    fn new(now: u32) -> Warp {
        Warp { closed: now, issued: 0, knows: Knowledge::default() }
    }
}

impl Cta {
    fn new(n_warps: usize, now: u32) -> Cta {
        Cta {
            warps: vec![Warp::new(now); n_warps],
            gathered: Vec::new(),
            is_lenient: false,
            has_fenced: false,
            exited: 0,
        }
    }
}
