use crate::common::*;
use cuda_emulator::driver::{Handle, context::*, copy::*, event::*, graph::*, memory::*, stream::*};
use std::{
    ptr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};

const LEGACY: Handle = 1 as Handle;
const PER_THREAD: Handle = 2 as Handle;

#[test]
fn a_stream_knows_its_flags_priority_and_context() {
    let context = Context::new();
    let stream = handle(|out| unsafe { cuStreamCreateWithPriority(out, 1, -99) });
    assert_eq!(made(|out| unsafe { cuStreamGetPriority(stream, out) }), -5);
    assert_eq!(made::<u32>(|out| unsafe { cuStreamGetFlags(stream, out) }), 1);
    assert_eq!(handle(|out| unsafe { cuStreamGetCtx(stream, out) }), context.0);
    assert_eq!(handle(|out| unsafe { cuStreamGetCtx(NULL, out) }), context.0);
    for stream in [stream, NULL, LEGACY, PER_THREAD] {
        assert_eq!(made::<u32>(|out| unsafe { cuStreamIsCapturing(stream, out) }), 0);
    }
    let mut out = ptr::null_mut();
    assert_eq!(unsafe { cuStreamCreate(&mut out, 2) }, INVALID_VALUE);
    assert_eq!(unsafe { cuStreamCreate(ptr::null_mut(), 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuLaunchHostFunc(stream, None, ptr::null_mut()) }, INVALID_VALUE);
}

#[test]
fn bad_streams_are_errors() {
    let _context = Context::new();
    let destroyed = blocking_stream();
    ok(unsafe { cuStreamDestroy_v2(destroyed) });
    let an_event = event();
    for bad in BAD_HANDLES.into_iter().chain([destroyed, an_event]) {
        assert_eq!(unsafe { cuStreamSynchronize(bad) }, INVALID_HANDLE);
        assert_eq!(unsafe { cuStreamQuery(bad) }, INVALID_HANDLE);
        assert_eq!(unsafe { cuStreamDestroy_v2(bad) }, INVALID_HANDLE);
        assert_eq!(unsafe { cuEventRecord(an_event, bad) }, INVALID_HANDLE);
        assert_eq!(unsafe { cuStreamWaitEvent(bad, an_event, 0) }, INVALID_HANDLE);
        let mut address = 0;
        assert_eq!(unsafe { cuMemAllocAsync(&mut address, 1, bad) }, INVALID_HANDLE);
    }
    for default in [NULL, LEGACY, PER_THREAD] {
        assert_eq!(unsafe { cuStreamDestroy_v2(default) }, INVALID_HANDLE);
    }
}

/// Queues into streams in turn, and returns what was done in which order.
fn order_of(streams: &[Handle]) -> Vec<usize> {
    let log = Arc::new(Mutex::new(Vec::new()));
    for (index, stream) in streams.iter().enumerate() {
        let log = Arc::clone(&log);
        call(*stream, move || {
            thread::sleep(Duration::from_micros(50));
            log.lock().unwrap().push(index);
        });
    }
    ok(unsafe { cuCtxSynchronize() });
    log.lock().unwrap().clone()
}

#[test]
fn the_legacy_stream_orders_blocking_streams() {
    let _context = Context::new();
    let [a, b] = [blocking_stream(), blocking_stream()];
    for legacy in [NULL, LEGACY] {
        for _ in 0..10 {
            let order = order_of(&[a, b, legacy, b, a, PER_THREAD, legacy, PER_THREAD]);
            let place = |index: usize| order.iter().position(|it| *it == index).unwrap();
            for (earlier, later) in [(0, 2), (1, 2), (2, 3), (2, 4), (3, 6), (4, 6), (5, 6), (6, 7), (2, 5)] {
                assert!(place(earlier) < place(later), "{earlier} and {later} in {order:?}");
            }
        }
    }
}

/// Work in a stream that waits for nobody is done while a gate holds the legacy stream's predecessors.
#[test]
fn a_waiter_of_a_non_blocking_stream_does_not_run_others() {
    let _context = Context::new();
    let (blocking, free) = (blocking_stream(), non_blocking_stream());
    let (theirs, mine) = (PinnedWord::new(0), PinnedWord::new(0));
    let was_left_behind = (1..50).any(|round| {
        ok(unsafe { cuMemsetD32Async(theirs.0 as u64, round, 1, blocking) });
        ok(unsafe { cuMemsetD32Async(mine.0 as u64, round, 1, free) });
        ok(unsafe { cuStreamSynchronize(free) });
        let was_left_behind = theirs.get() != round;
        ok(unsafe { cuStreamSynchronize(blocking) });
        was_left_behind
    });
    assert!(was_left_behind, "a non-blocking stream always waited for another");
}

#[test]
fn events_order_streams() {
    let _context = Context::new();
    for _ in 0..20 {
        let [a, b, c] = [(); 3].map(|()| non_blocking_stream());
        let (of_a, of_b) = (event(), event());
        let log = Arc::new(Mutex::new(Vec::new()));
        let push = |stream, name| {
            let log = Arc::clone(&log);
            call(stream, move || log.lock().unwrap().push(name));
        };
        push(a, "a");
        ok(unsafe { cuEventRecord(of_a, a) });
        ok(unsafe { cuStreamWaitEvent(b, of_a, 0) });
        push(b, "b");
        ok(unsafe { cuEventRecord(of_b, b) });
        // A later record moves nobody who waits already.
        push(a, "a2");
        ok(unsafe { cuEventRecord(of_a, a) });
        ok(unsafe { cuStreamWaitEvent(c, of_b, 0) });
        push(c, "c");
        ok(unsafe { cuStreamSynchronize(c) });
        let log = log.lock().unwrap().clone();
        let place = |name| log.iter().position(|it| *it == name);
        assert!(place("a") < place("b") && place("b") < place("c") && place("a").is_some(), "{log:?}");
        for stream in [a, b, c] {
            ok(unsafe { cuStreamDestroy_v2(stream) });
        }
    }
}

#[test]
fn queries_say_not_ready_and_get_the_work_done() {
    let _context = Context::new();
    let stream = non_blocking_stream();
    ok(unsafe { cuStreamQuery(stream) });
    let gate = Gate::close(stream);
    assert_eq!(unsafe { cuStreamQuery(stream) }, NOT_READY);
    gate.wait_until_reached();
    assert_eq!(unsafe { cuStreamQuery(stream) }, NOT_READY, "a query waits for nothing");
    gate.open();
    let start = Instant::now();
    while unsafe { cuStreamQuery(stream) } == NOT_READY {
        assert!(start.elapsed() < Duration::from_secs(20), "polling makes no progress");
    }
    ok(unsafe { cuStreamQuery(stream) });
}

#[test]
fn a_destroyed_stream_finishes_its_work() {
    let _context = Context::new();
    let stream = non_blocking_stream();
    let word = PinnedWord::new(1);
    ok(unsafe { cuMemsetD32Async(word.0 as u64, 2, 1, stream) });
    ok(unsafe { cuStreamDestroy_v2(stream) });
    ok(unsafe { cuCtxSynchronize() });
    assert_eq!(word.get(), 2);
}

#[test]
fn a_host_function_may_not_call_the_driver() {
    let _context = Context::new();
    let code = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&code);
    call(NULL, move || seen.store(unsafe { cuStreamSynchronize(NULL) }, SeqCst));
    ok(unsafe { cuStreamSynchronize(NULL) });
    assert_eq!(code.load(SeqCst), NOT_PERMITTED);
    ok(unsafe { cuStreamSynchronize(NULL) });
}

#[test]
fn each_thread_has_its_own_default_stream() {
    let context = Context::new();
    let gate = Gate::close(PER_THREAD);
    let handle = context.0 as usize;
    thread::spawn(move || {
        ok(unsafe { cuCtxSetCurrent(handle as Handle) });
        ok(unsafe { cuStreamQuery(PER_THREAD) });
    })
    .join()
    .unwrap();
    assert_eq!(unsafe { cuStreamQuery(PER_THREAD) }, NOT_READY);
    gate.open();
    ok(unsafe { cuStreamSynchronize(PER_THREAD) });
}

/// A host function blocks on what this thread holds while it waits for another stream, which a GPU would finish.
#[test]
fn a_host_function_that_blocks_holds_up_its_own_stream_only() {
    let _context = Context::new();
    let [blocked, free] = [(); 2].map(|()| non_blocking_stream());
    let word = device_memory(4);
    let queue_call = |call_in: &dyn Fn(Box<dyn FnOnce() + Send>)| {
        let held = Arc::new(Mutex::new(()));
        let guard = held.lock().unwrap();
        let ((begin, has_begun), (end, has_ended)) = (channel(), channel());
        call_in(Box::new({
            let held = Arc::clone(&held);
            move || {
                begin.send(()).unwrap();
                let start = Instant::now();
                let mut got = held.try_lock().is_ok();
                while !got && start.elapsed() < Duration::from_secs(10) {
                    thread::sleep(Duration::from_micros(100));
                    got = held.try_lock().is_ok();
                }
                end.send(got).unwrap();
            }
        }));
        has_begun.recv_timeout(Duration::from_secs(60)).expect("the worker runs what nobody waits for");
        ok(unsafe { cuMemsetD32Async(word, 7, 1, free) });
        ok(unsafe { cuStreamSynchronize(free) });
        drop(guard);
        assert!(has_ended.recv().unwrap(), "the wait for one stream waited for another's host function");
        ok(unsafe { cuStreamSynchronize(blocked) });
    };
    queue_call(&|function| call(blocked, function));
    // The same in a graph, between two nodes.
    queue_call(&|function| {
        ok(unsafe { cuStreamBeginCapture_v2(blocked, 0) });
        ok(unsafe { cuMemsetD32Async(word, 1, 1, blocked) });
        call(blocked, function);
        ok(unsafe { cuMemsetD32Async(word, 2, 1, blocked) });
        let graph = handle(|out| unsafe { cuStreamEndCapture(blocked, out) });
        let executable = handle(|out| unsafe { cuGraphInstantiateWithFlags(out, graph, 0) });
        ok(unsafe { cuGraphLaunch(executable, blocked) });
    });
    assert_eq!(read(word, blocked), 2, "the graph goes on behind its host function");
}
