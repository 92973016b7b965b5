//! What is queued, and which of it may run next.

use super::{Kind, Runner, StreamId, Ticket, Work};
use crate::sched::random::Random;
use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

pub struct Item {
    pub number: u64,
    pub after: Vec<Ticket>,
    pub runner: Runner,
    pub work: Work,
}

/// A function of the program whose turn has come.
pub struct Call {
    pub stream: StreamId,
    pub number: u64,
    pub work: Work,
}

pub struct Stream {
    pub context: u64,
    pub kind: Kind,
    pub waiting: VecDeque<Item>,
    /// The caller has its first work.
    pub is_calling: bool,
    /// The number of the work queued last, 0 for none.
    pub last: u64,
    /// The number of the work finished last, 0 for none.
    pub done: u64,
    /// No more work will come.
    pub is_closed: bool,
}

pub struct Streams {
    pub streams: BTreeMap<StreamId, Stream>,
    /// The last number given to work or to a stream.
    pub n_made: u64,
    /// Somebody other than the caller is running work.
    pub is_busy: bool,
    /// For the caller.
    pub calls: VecDeque<Call>,
    /// When the oldest work was queued, while there is any.
    pub since: Option<Instant>,
    pub delay: Duration,
    pub is_hurried: bool,
    pub is_stopping: bool,
    pub shuffle: Option<Shuffle>,
}

impl Streams {
    pub fn push(&mut self, stream: StreamId, after: &[Ticket], runner: Runner, work: Work) -> Option<Ticket> {
        let &Stream { context, kind, is_closed, .. } = self.streams.get(&stream)?;
        if is_closed {
            return None;
        }
        let legacy_rule = |other: &&StreamId| {
            let other = &self.streams[*other];
            let pair = (kind, other.kind);
            other.context == context && matches!(pair, (Kind::Legacy, Kind::Blocking) | (Kind::Blocking, Kind::Legacy))
        };
        let ordered = self.streams.keys().filter(legacy_rule);
        let ordered = ordered.map(|id| Ticket { stream: *id, number: self.streams[id].last });
        let after = after.iter().copied().chain(ordered).filter(|ticket| !self.is_done(*ticket)).collect();

        self.n_made += 1;
        let number = self.n_made;
        let it = self.streams.get_mut(&stream)?;
        it.last = number;
        it.waiting.push_back(Item { number, after, runner, work });
        Some(Ticket { stream, number })
    }

    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.streams.get(&ticket.stream).is_none_or(|it| it.done >= ticket.number)
    }

    fn is_ready(&self, item: &Item) -> bool {
        item.after.iter().all(|ticket| self.is_done(*ticket))
    }

    /// The stream whose first work runs next. `None` when all that is wanted waits for the caller. Nobody is busy.
    pub fn pick(&self, goal: Option<Ticket>) -> Option<StreamId> {
        let idle = self.streams.iter().filter(|(_, it)| !it.is_calling);
        let fronts = idle.filter_map(|(id, it)| Some((*id, it.waiting.front()?)));
        let ready = fronts.filter(|(_, item)| self.is_ready(item));
        match (&self.shuffle, goal) {
            (None, Some(goal)) => self.first_needed(goal),
            (None, None) => ready.min_by_key(|(_, item)| item.number).map(|(id, _)| id),
            (Some(shuffle), _) => {
                let ready: Vec<StreamId> = ready.map(|(id, _)| id).collect();
                // Nothing is drawn for nothing: how often somebody looks is no choice of the seed.
                (!ready.is_empty()).then(|| ready[shuffle.below(ready.len() as u64) as usize])
            }
        }
    }

    /// The stream whose first work is ready and has to be done before `goal`, unless the caller has it. Each step goes to
    /// a lower number.
    fn first_needed(&self, mut goal: Ticket) -> Option<StreamId> {
        loop {
            let stream = self.streams.get(&goal.stream).expect("a stream with unfinished work is there");
            if stream.is_calling {
                return None;
            }
            let front = stream.waiting.front().expect("an unfinished goal is queued when nobody has it");
            match front.after.iter().find(|ticket| !self.is_done(**ticket)) {
                Some(ticket) => goal = *ticket,
                None => return Some(goal.stream),
            }
        }
    }

    pub fn finish(&mut self, stream: StreamId, number: u64) {
        if let Some(it) = self.streams.get_mut(&stream) {
            it.done = number;
            it.is_calling = false;
        }
        self.forget_if_over(stream);
        if self.streams.values().all(|it| it.waiting.is_empty()) {
            self.since = None;
            self.is_hurried = false;
        }
    }

    /// A closed stream without work is gone, and all of its tickets count as done.
    pub fn forget_if_over(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(|it| it.is_closed && it.done == it.last) {
            self.streams.remove(&stream);
        }
    }
}

/// Repeatable choices, for which nobody needs the lock alone.
pub struct Shuffle(Cell<Random>);

impl Shuffle {
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(Random(seed)))
    }

    /// A number below `n`, 0 if that is 0.
    pub fn below(&self, n: u64) -> u64 {
        let mut random = self.0.get();
        let number = random.below(n);
        self.0.set(random);
        number
    }
}
