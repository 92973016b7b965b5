//! Streams: queues of work, the order between them, and who does the work.
//!
//! Work is really deferred. It is done by whoever waits for it, and otherwise by one worker thread that starts within a
//! millisecond, so that a host which only polls makes progress. One piece of work runs at a time.
//!
//! **Why this cannot deadlock.** Every piece of work gets the next number of one sequence, and waits only for work with
//! lower numbers: the work before it in its stream, and a list of [`Ticket`]s that existed when it was queued. So the
//! unfinished work with the lowest number can always run. A waiter either runs something or waits while another thread
//! runs something, and the lock is never held meanwhile. (Work that itself waits for the queue would wait for itself:
//! the entry points refuse calls out of a host function.)
//!
//! A waiter runs only what its goal needs, so that a forgotten wait between two streams shows; under a seed, any work
//! that is ready may come next.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long queued work lies before the worker begins, unless somebody waits or asks.
const DELAY: Duration = Duration::from_micros(500);

/// The most that a seed makes of it, in microseconds.
const SEEDED_DELAY_US: u64 = 1000;

/// Something to do. It must not panic, and must not wait for the queue.
pub type Work = Box<dyn FnOnce() + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

impl StreamId {
    /// Different for every stream of the process.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// How a stream relates to the legacy default stream of its context: what is queued there waits for all earlier work in
/// the context's blocking streams, and later work in those waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Legacy,
    Blocking,
    NonBlocking,
}

/// A piece of work that was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    stream: StreamId,
    number: u64,
}

struct Item {
    number: u64,
    after: Vec<Ticket>,
    work: Work,
}

struct Stream {
    context: u64,
    kind: Kind,
    waiting: VecDeque<Item>,
    /// The number of the work queued last, 0 for none.
    last: u64,
    /// The number of the work finished last, 0 for none.
    done: u64,
    /// No more work will come.
    is_closed: bool,
}

struct Streams {
    streams: BTreeMap<StreamId, Stream>,
    /// The last number given to work or to a stream.
    n_made: u64,
    /// Somebody is running work.
    is_busy: bool,
    /// When the oldest work was queued, while there is any.
    since: Option<Instant>,
    delay: Duration,
    is_hurried: bool,
    is_stopping: bool,
    shuffle: Option<Shuffle>,
}

struct Shared {
    streams: Mutex<Streams>,
    /// Something for the worker: the first work, a hurry, the end.
    wake: Condvar,
    /// A piece of work is done.
    done: Condvar,
}

/// All streams, and the worker.
pub struct Queue {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

impl Queue {
    /// No streams yet. With a seed, orders and delays are drawn.
    pub fn new(seed: Option<u64>) -> Self {
        let streams = Streams {
            streams: BTreeMap::new(),
            n_made: 0,
            is_busy: false,
            since: None,
            delay: DELAY,
            is_hurried: false,
            is_stopping: false,
            shuffle: seed.map(|seed| Shuffle(Cell::new(seed))),
        };
        let shared = Arc::new(Shared { streams: Mutex::new(streams), wake: Condvar::new(), done: Condvar::new() });
        let worker = thread::Builder::new().name("cuda-emulator".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.work()
        });
        Self { shared, worker: Some(worker.expect("the system has no thread for the worker")) }
    }

    /// A new stream of `context`.
    pub fn open(&self, context: u64, kind: Kind) -> StreamId {
        let mut streams = self.shared.lock();
        streams.n_made += 1;
        let id = StreamId(streams.n_made);
        let stream = Stream { context, kind, waiting: VecDeque::new(), last: 0, done: 0, is_closed: false };
        streams.streams.insert(id, stream);
        id
    }

    /// Takes no more work; what is queued will be done.
    pub fn close(&self, stream: StreamId) {
        let mut streams = self.shared.lock();
        if let Some(it) = streams.streams.get_mut(&stream) {
            it.is_closed = true;
        }
        streams.forget_if_over(stream);
    }

    /// Queues `work` behind what is in `stream`, behind `after`, and behind what the legacy stream asks for. `None` when
    /// the stream is closed.
    pub fn push(&self, stream: StreamId, after: &[Ticket], work: Work) -> Option<Ticket> {
        let mut streams = self.shared.lock();
        let ticket = streams.push(stream, after, work);
        if streams.since.is_none() && ticket.is_some() {
            streams.since = Some(Instant::now());
            streams.delay = match &streams.shuffle {
                Some(shuffle) => Duration::from_micros(shuffle.below(SEEDED_DELAY_US + 1)),
                None => DELAY,
            };
            self.shared.wake.notify_one();
        }
        ticket
    }

    /// The work queued last in `stream`; already done when there was none.
    pub fn last(&self, stream: StreamId) -> Ticket {
        let streams = self.shared.lock();
        Ticket { stream, number: streams.streams.get(&stream).map_or(0, |it| it.last) }
    }

    /// The work queued last in every stream of `context`, or in every stream.
    pub fn last_of_all(&self, context: Option<u64>) -> Vec<Ticket> {
        let streams = self.shared.lock();
        let of_context = streams.streams.iter().filter(|it| context.is_none_or(|context| it.1.context == context));
        of_context.map(|(id, it)| Ticket { stream: *id, number: it.last }).collect()
    }

    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.shared.lock().is_done(ticket)
    }

    /// Lets the worker begin now, without waiting for it.
    pub fn hurry(&self) {
        let mut streams = self.shared.lock();
        streams.is_hurried = streams.since.is_some();
        self.shared.wake.notify_one();
    }

    /// Returns when `goal` is done, and runs what it needs.
    pub fn wait(&self, goal: Ticket) {
        let mut streams = self.shared.lock();
        while !streams.is_done(goal) {
            streams = if streams.is_busy {
                self.shared.done.wait(streams).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.shared.run_one(streams, Some(goal))
            };
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.lock().is_stopping = true;
        self.shared.wake.notify_one();
        if let Some(worker) = self.worker.take() {
            // The worker reports its own panic.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one piece of work that is ready. Nobody is busy and there is unfinished work, so there is one.
    fn run_one<'a>(&'a self, mut streams: MutexGuard<'a, Streams>, goal: Option<Ticket>) -> MutexGuard<'a, Streams> {
        let stream = streams.pick(goal);
        let item = streams.streams.get_mut(&stream).and_then(|it| it.waiting.pop_front());
        let Item { number, work, .. } = item.expect("a stream was picked for its work");
        streams.is_busy = true;
        drop(streams);
        work();
        let mut streams = self.lock();
        streams.is_busy = false;
        streams.finish(stream, number);
        self.done.notify_all();
        streams
    }

    /// The worker's life.
    fn work(&self) {
        let mut streams = self.lock();
        while !streams.is_stopping {
            let now = Instant::now();
            let due = streams.since.map(|since| since + streams.delay);
            streams = match due {
                None => self.wake.wait(streams).unwrap_or_else(PoisonError::into_inner),
                // While a waiter is busy, look again a little later: it may leave work behind.
                Some(due) if streams.is_busy || (due > now && !streams.is_hurried) => {
                    let pause = if streams.is_busy { DELAY } else { due - now };
                    self.wake.wait_timeout(streams, pause).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => self.run_one(streams, None),
            };
        }
    }
}

impl Streams {
    fn push(&mut self, stream: StreamId, after: &[Ticket], work: Work) -> Option<Ticket> {
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
        it.waiting.push_back(Item { number, after, work });
        Some(Ticket { stream, number })
    }

    fn is_done(&self, ticket: Ticket) -> bool {
        self.streams.get(&ticket.stream).is_none_or(|it| it.done >= ticket.number)
    }

    fn is_ready(&self, item: &Item) -> bool {
        item.after.iter().all(|ticket| self.is_done(*ticket))
    }

    /// The stream whose first work runs next.
    fn pick(&self, goal: Option<Ticket>) -> StreamId {
        let fronts = self.streams.iter().filter_map(|(id, it)| Some((*id, it.waiting.front()?)));
        let Some(shuffle) = &self.shuffle else {
            return match goal {
                Some(goal) => self.first_needed(goal),
                None => fronts.min_by_key(|(_, item)| item.number).expect("there is unfinished work").0,
            };
        };
        let ready: Vec<StreamId> = fronts.filter(|(_, item)| self.is_ready(item)).map(|(id, _)| id).collect();
        ready[shuffle.below(ready.len() as u64) as usize]
    }

    /// The stream whose first work is ready and has to be done before `goal`. Each step goes to a lower number.
    fn first_needed(&self, mut goal: Ticket) -> StreamId {
        loop {
            let front = self.streams.get(&goal.stream).and_then(|it| it.waiting.front());
            let front = front.expect("an unfinished goal is queued when nobody is busy");
            match front.after.iter().find(|ticket| !self.is_done(**ticket)) {
                Some(ticket) => goal = *ticket,
                None => return goal.stream,
            }
        }
    }

    fn finish(&mut self, stream: StreamId, number: u64) {
        if let Some(it) = self.streams.get_mut(&stream) {
            it.done = number;
        }
        self.forget_if_over(stream);
        if self.streams.values().all(|it| it.waiting.is_empty()) {
            self.since = None;
            self.is_hurried = false;
        }
    }

    /// A closed stream without work is gone, and all of its tickets count as done.
    fn forget_if_over(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(|it| it.is_closed && it.done == it.last) {
            self.streams.remove(&stream);
        }
    }
}

/// A generator of repeatable choices: splitmix64 (Steele, Lea, Flood 2014).
struct Shuffle(Cell<u64>);

impl Shuffle {
    /// A number below `n`.
    fn below(&self, n: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

#[cfg(test)]
mod tests;
