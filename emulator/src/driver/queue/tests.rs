//! The order of work under many seeds, and that it is done at all.

use super::*;
use std::{
    collections::BTreeSet,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
};

const CONTEXT: u64 = 1;

/// A random program for the queue, with what CUDA says about its order.
#[derive(Default)]
struct Program {
    tickets: Vec<Ticket>,
    /// (earlier, later), by index in `tickets`.
    order: Vec<(usize, usize)>,
}

/// Queues random work in streams of every kind and checks, when all is done, every order that CUDA promises.
fn random_program(seed: u64, queue_seed: Option<u64>) {
    let random = Shuffle::new(seed);
    let queue = Queue::new(queue_seed);
    let kinds = [Kind::Legacy, Kind::Blocking, Kind::Blocking, Kind::NonBlocking, Kind::NonBlocking];
    let streams: Vec<(StreamId, Kind)> = kinds.into_iter().map(|kind| (queue.open(CONTEXT, kind), kind)).collect();
    let foreign = queue.open(CONTEXT + 1, Kind::Blocking);

    let done = Arc::new(Mutex::new(Vec::new()));
    let mut program = Program::default();
    let mut last_of = vec![None; streams.len()];
    for index in 0..60 {
        let which = random.below(streams.len() as u64) as usize;
        let (stream, kind) = streams[which];
        let mut earlier: Vec<usize> = last_of[which].into_iter().collect();
        for (other, (_, other_kind)) in streams.iter().enumerate() {
            if matches!((kind, *other_kind), (Kind::Legacy, Kind::Blocking) | (Kind::Blocking, Kind::Legacy)) {
                earlier.extend(last_of[other]);
            }
        }
        let event = (index > 0 && random.below(3) == 0).then(|| random.below(index as u64) as usize);
        let after: Vec<Ticket> = event.map(|event| program.tickets[event]).into_iter().collect();
        earlier.extend(event);
        program.order.extend(earlier.into_iter().map(|earlier| (earlier, index)));

        let log = Arc::clone(&done);
        let work = Box::new(move || log.lock().unwrap().push(index));
        program.tickets.push(queue.push(stream, &after, work).unwrap());
        last_of[which] = Some(index);
        if random.below(8) == 0 {
            let goal = random.below(index as u64 + 1) as usize;
            queue.wait(program.tickets[goal]);
            assert!(queue.is_done(program.tickets[goal]) && done.lock().unwrap().contains(&goal));
        }
        if random.below(16) == 0 {
            queue.push(foreign, &after, Box::new(|| {})).unwrap();
        }
    }
    for ticket in queue.last_of_all(None) {
        queue.wait(ticket);
    }
    let done = done.lock().unwrap();
    let place: Vec<usize> = (0..60).map(|index| done.iter().position(|it| *it == index).expect("done")).collect();
    assert_eq!(done.len(), 60, "everything is done once");
    for (earlier, later) in program.order {
        assert!(place[earlier] < place[later], "seed {seed}, {queue_seed:?}: {earlier} and {later} in {done:?}");
    }
}

#[test]
fn orders_hold_under_many_seeds() {
    for seed in 0..100 {
        random_program(seed, Some(seed));
        random_program(seed, None);
    }
}

/// Without an order between them, two streams run in either order: that is what shows a forgotten wait.
#[test]
fn seeds_give_different_orders() {
    let orders: BTreeSet<Vec<u32>> = (0..50)
        .map(|seed| {
            let queue = Queue::new(Some(seed));
            let log = Arc::new(Mutex::new(Vec::new()));
            for stream in 0..3 {
                let id = queue.open(CONTEXT, Kind::NonBlocking);
                let log = Arc::clone(&log);
                queue.push(id, &[], Box::new(move || log.lock().unwrap().push(stream))).unwrap();
            }
            queue.last_of_all(None).into_iter().for_each(|ticket| queue.wait(ticket));
            log.lock().unwrap().clone()
        })
        .collect();
    assert!(orders.len() >= 4, "{orders:?}");
}

/// Repeats what depends on the worker not being early, which it may be on a busy machine.
fn sometimes(name: &str, attempt: impl Fn() -> bool) {
    assert!((0..100).any(|_| attempt()), "{name} never happened");
}

#[test]
fn a_waiter_runs_only_what_its_goal_needs() {
    sometimes("an unneeded stream staying behind", || {
        let queue = Queue::new(None);
        let [a, b, c] = [(); 3].map(|()| queue.open(CONTEXT, Kind::NonBlocking));
        let unneeded = queue.push(a, &[], Box::new(|| {})).unwrap();
        let needed = queue.push(b, &[], Box::new(|| {})).unwrap();
        let goal = queue.push(c, &[needed], Box::new(|| {})).unwrap();
        queue.wait(goal);
        assert!(queue.is_done(needed));
        !queue.is_done(unneeded)
    });
}

#[test]
fn work_is_deferred_and_still_gets_done_without_a_waiter() {
    sometimes("work lying in the queue", || {
        let queue = Queue::new(None);
        let stream = queue.open(CONTEXT, Kind::Legacy);
        let flag = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&flag);
        queue.push(stream, &[], Box::new(move || done.store(true, SeqCst))).unwrap();
        let was_deferred = !flag.load(SeqCst);
        let start = Instant::now();
        while !flag.load(SeqCst) {
            assert!(start.elapsed() < Duration::from_secs(20), "the worker never came");
            thread::yield_now();
        }
        was_deferred
    });
}

#[test]
fn a_closed_stream_finishes_its_work_and_takes_no_more() {
    let queue = Queue::new(None);
    let stream = queue.open(CONTEXT, Kind::Blocking);
    let n = Arc::new(AtomicUsize::new(0));
    let mut last = None;
    for _ in 0..10 {
        let n = Arc::clone(&n);
        last = queue.push(stream, &[], Box::new(move || _ = n.fetch_add(1, SeqCst)));
    }
    queue.close(stream);
    assert_eq!(queue.push(stream, &[], Box::new(|| {})), None);
    queue.wait(last.unwrap());
    assert_eq!(n.load(SeqCst), 10);
    assert!(queue.is_done(last.unwrap()), "the stream is gone, its work counts as done");
}

/// Work that takes long keeps nobody from queueing more or asking.
#[test]
fn the_queue_can_be_used_while_work_runs() {
    let queue = Queue::new(None);
    let [a, b] = [(); 2].map(|()| queue.open(CONTEXT, Kind::NonBlocking));
    let (started, has_started) = mpsc::channel();
    let (release, is_released) = mpsc::channel();
    let work = move || {
        started.send(()).unwrap();
        is_released.recv().unwrap();
    };
    let first = queue.push(a, &[], Box::new(work)).unwrap();
    queue.hurry();
    has_started.recv().unwrap();
    let second = queue.push(b, &[first], Box::new(|| {})).unwrap();
    assert!(!queue.is_done(first) && !queue.is_done(second));
    release.send(()).unwrap();
    queue.wait(second);
    assert!(queue.is_done(first));
}

/// Threads that queue, wait for each other's work and close streams at once all come to an end.
#[test]
fn many_threads_do_not_deadlock() {
    for queue_seed in [None, Some(1), Some(2)] {
        let queue = Queue::new(queue_seed);
        let tickets = Mutex::new(Vec::new());
        let n_done = Arc::new(AtomicUsize::new(0));
        let barrier = Barrier::new(4);
        thread::scope(|scope| {
            for seed in 0..4 {
                let (queue, tickets, barrier, n_done) = (&queue, &tickets, &barrier, Arc::clone(&n_done));
                scope.spawn(move || {
                    let random = Shuffle::new(seed);
                    barrier.wait();
                    for round in 0..100 {
                        let kind = [Kind::Blocking, Kind::NonBlocking][random.below(2) as usize];
                        let stream = queue.open(CONTEXT, kind);
                        let known: Vec<Ticket> = tickets.lock().unwrap().clone();
                        let pick = |random: &Shuffle| known.get(random.below(known.len().max(1) as u64) as usize);
                        let after: Vec<Ticket> = pick(&random).copied().into_iter().collect();
                        let n_done = Arc::clone(&n_done);
                        let work = Box::new(move || _ = n_done.fetch_add(1, SeqCst));
                        tickets.lock().unwrap().push(queue.push(stream, &after, work).unwrap());
                        if let Some(ticket) = pick(&random).filter(|_| round % 3 == 0) {
                            queue.wait(*ticket);
                        }
                        queue.close(stream);
                    }
                });
            }
        });
        queue.last_of_all(None).into_iter().for_each(|ticket| queue.wait(ticket));
        assert_eq!(n_done.load(SeqCst), 400);
    }
}

/// A call that blocks on what a waiter holds keeps it from nothing, under no seed, and what is behind it comes later.
#[test]
fn a_call_holds_up_its_own_stream_only() {
    for queue_seed in (0..50).map(Some).chain([None]) {
        let queue = Queue::new(queue_seed);
        let [a, b] = [(); 2].map(|()| queue.open(CONTEXT, Kind::NonBlocking));
        let (release, is_released) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |text| {
            let log = Arc::clone(&log);
            Box::new(move || log.lock().unwrap().push(text)) as Work
        };
        let called = note("call");
        let call: Work = Box::new(move || {
            is_released.recv_timeout(Duration::from_secs(10)).expect("the waiter goes on");
            called();
        });
        let pieces = [(Runner::Anybody, note("before")), (Runner::Caller, call), (Runner::Anybody, note("behind"))];
        let last = queue.push_all(a, &[], pieces).unwrap();
        let other = queue.push(b, &[], note("other")).unwrap();
        queue.wait(other);
        assert!(!queue.is_done(last));
        release.send(()).unwrap();
        queue.wait(last);
        let order: Vec<&str> = log.lock().unwrap().iter().copied().filter(|it| *it != "other").collect();
        assert_eq!(order, ["before", "call", "behind"], "{queue_seed:?}");
    }
}
