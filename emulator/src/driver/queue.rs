//! Streams: queues of work, the order between them, and who does the work.
//!
//! Work is really deferred. It is done by whoever waits for it, and otherwise by one worker thread that starts within a
//! millisecond, so that a host which only polls makes progress. One piece of work runs at a time, and beside it one of the
//! program's own functions ([`Runner::Caller`]), on a thread of its own: it may block on what the program holds.
//!
//! **Why this cannot deadlock.** Every piece of work gets the next number of one sequence, and waits only for work with
//! lower numbers: the work before it in its stream, and a list of [`Ticket`]s that existed when it was queued. So the
//! unfinished work with the lowest number runs already, or can always be begun. A waiter either runs something or waits
//! while another thread does, and the lock is never held meanwhile. A function of the program that blocks holds up what
//! is ordered behind it and other functions of the program, which CUDA may run one by one too, and nothing else. (Work
//! that itself waits for the queue would wait for itself: the entry points refuse calls out of a host function.)
//!
//! A waiter runs only what its goal needs, so that a forgotten wait between two streams shows; under a seed, any work
//! that is ready may come next.

mod streams;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use streams::{Call, Item, Shuffle, Stream, Streams};

/// How long queued work lies before the worker begins, unless somebody waits or asks.
const DELAY: Duration = Duration::from_micros(500);

/// The most that a seed makes of it, in microseconds.
const SEEDED_DELAY_US: u64 = 1000;

/// Something to do. It must not panic, and must not wait for the queue.
pub type Work = Box<dyn FnOnce() + Send>;

/// Who does a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// Whoever waits for it, or the worker.
    Anybody,
    /// The thread for the program's own functions.
    Caller,
}

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

struct Shared {
    streams: Mutex<Streams>,
    /// Something for the worker: the first work, a hurry, the end.
    wake: Condvar,
    /// Something for the caller.
    call: Condvar,
    /// A piece of work is done.
    done: Condvar,
}

/// All streams, the worker and the caller.
pub struct Queue {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Queue {
    /// No streams yet. With a seed, orders and delays are drawn.
    pub fn new(seed: Option<u64>) -> Self {
        let streams = Streams {
            streams: BTreeMap::new(),
            n_made: 0,
            is_busy: false,
            calls: VecDeque::new(),
            since: None,
            delay: DELAY,
            is_hurried: false,
            is_stopping: false,
            shuffle: seed.map(Shuffle::new),
        };
        let [wake, call, done] = [(); 3].map(|()| Condvar::new());
        let shared = Arc::new(Shared { streams: Mutex::new(streams), wake, call, done });
        let threads = [("cuda-emulator", Shared::work as fn(&Shared)), ("cuda-host-call", Shared::make_calls)];
        let threads = threads.map(|(name, life)| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(name.to_owned()).spawn(move || life(&shared));
            thread.expect("the system has threads for the queue")
        });
        Self { shared, threads: threads.into() }
    }

    /// A new stream of `context`.
    pub fn open(&self, context: u64, kind: Kind) -> StreamId {
        let mut streams = self.shared.lock();
        streams.n_made += 1;
        let id = StreamId(streams.n_made);
        let waiting = VecDeque::new();
        let stream = Stream { context, kind, waiting, is_calling: false, last: 0, done: 0, is_closed: false };
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
        self.push_all(stream, after, [(Runner::Anybody, work)])
    }

    /// Queues pieces of work that follow each other, with nothing of another thread between them: the ticket of the last.
    pub fn push_all(
        &self,
        stream: StreamId,
        after: &[Ticket],
        pieces: impl IntoIterator<Item = (Runner, Work)>,
    ) -> Option<Ticket> {
        let mut streams = self.shared.lock();
        let mut ticket = None;
        for (runner, work) in pieces {
            ticket = Some(streams.push(stream, after, runner, work)?);
        }
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
            let next = if streams.is_busy { None } else { streams.pick(Some(goal)) };
            streams = match next {
                Some(stream) => self.shared.run_one(streams, stream),
                // Somebody is running what comes first.
                None => self.shared.done.wait(streams).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.lock().is_stopping = true;
        self.shared.wake.notify_one();
        self.shared.call.notify_one();
        for thread in self.threads.drain(..) {
            // A thread reports its own panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the first work of a stream, which is ready, or gives it to the caller. Nobody is busy.
    fn run_one<'a>(&'a self, mut streams: MutexGuard<'a, Streams>, stream: StreamId) -> MutexGuard<'a, Streams> {
        let it = streams.streams.get_mut(&stream).expect("a stream was picked");
        let Item { number, runner, work, .. } = it.waiting.pop_front().expect("a stream was picked for its work");
        if runner == Runner::Caller {
            it.is_calling = true;
            streams.calls.push_back(Call { stream, number, work });
            self.call.notify_one();
            return streams;
        }
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
            let Some(since) = streams.since else {
                streams = self.wake.wait(streams).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let early = (since + streams.delay).saturating_duration_since(Instant::now());
            let is_early = !early.is_zero() && !streams.is_hurried;
            let next = if streams.is_busy || is_early { None } else { streams.pick(None) };
            streams = match next {
                Some(stream) => self.run_one(streams, stream),
                // While others are busy, look again a little later: they may leave work behind.
                None => {
                    let pause = if is_early { early } else { DELAY };
                    self.wake.wait_timeout(streams, pause).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The caller's life.
    fn make_calls(&self) {
        let mut streams = self.lock();
        while !streams.is_stopping {
            let Some(Call { stream, number, work }) = streams.calls.pop_front() else {
                streams = self.call.wait(streams).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(streams);
            work();
            streams = self.lock();
            streams.finish(stream, number);
            self.done.notify_all();
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
