//! What a capture forbids. Captures here are thread-local, so that they do not disturb the tests on other threads.

use crate::common::*;
use cuda_emulator::driver::{
    Handle, context::*, copy::*, event::*, graph::*, host_memory::*, memory::*, module::*, stream::*,
};
use std::{ffi::c_void, ptr, thread};

pub const GLOBAL: u32 = 0;
pub const THREAD_LOCAL: u32 = 1;
pub const RELAXED: u32 = 2;

const UNSUPPORTED: u32 = 900;
const INVALIDATED: u32 = 901;
const MERGE: u32 = 902;
const UNMATCHED: u32 = 903;
const UNJOINED: u32 = 904;
const ISOLATION: u32 = 905;
const IMPLICIT: u32 = 906;
const CAPTURED_EVENT: u32 = 907;
const WRONG_THREAD: u32 = 908;

#[track_caller]
pub fn begin(stream: Handle) {
    ok(unsafe { cuStreamBeginCapture_v2(stream, THREAD_LOCAL) });
}

/// 0 none, 1 active, 2 invalidated.
#[track_caller]
fn status(stream: Handle) -> u32 {
    made(|out| unsafe { cuStreamIsCapturing(stream, out) })
}

/// Ends a capture that has to fail with `code`, and leaves the stream usable.
#[track_caller]
fn fails_with(code: u32, stream: Handle) {
    let mut graph = 1 as Handle;
    assert_eq!(unsafe { cuStreamEndCapture(stream, &mut graph) }, code);
    assert_eq!(graph, NULL);
    assert_eq!(status(stream), 0);
    ok(unsafe { cuStreamSynchronize(stream) });
}

/// `call` is refused with `code` in a capture, which is broken then.
#[track_caller]
fn breaks(code: u32, call: impl Fn(Handle) -> u32) {
    let stream = non_blocking_stream();
    begin(stream);
    assert_eq!(status(stream), 1);
    assert_eq!(call(stream), code);
    assert_eq!(status(stream), 2);
    assert_eq!(unsafe { cuStreamSynchronize(stream) }, INVALIDATED);
    assert_eq!(unsafe { cuEventRecord(event(), stream) }, INVALIDATED);
    fails_with(INVALIDATED, stream);
}

#[test]
fn captures_begin_and_end_where_they_may() {
    let _context = Context::new();
    let mut graph = NULL;
    for legacy in [NULL, 1 as Handle] {
        assert_eq!(unsafe { cuStreamBeginCapture_v2(legacy, THREAD_LOCAL) }, UNSUPPORTED);
    }
    let stream = non_blocking_stream();
    assert_eq!(unsafe { cuStreamBeginCapture_v2(stream, 3) }, INVALID_VALUE);
    assert_eq!(unsafe { cuStreamEndCapture(stream, &mut graph) }, ILLEGAL_STATE);
    begin(stream);
    assert_eq!(unsafe { cuStreamBeginCapture_v2(stream, THREAD_LOCAL) }, ILLEGAL_STATE);
    assert_eq!(unsafe { cuStreamEndCapture(stream, ptr::null_mut()) }, INVALID_VALUE);
    ok(unsafe { cuStreamEndCapture(stream, &mut graph) });
    ok(unsafe { cuGraphDestroy(graph) });
}

#[test]
fn waiting_for_captured_work_breaks_the_capture() {
    let _context = Context::new();
    breaks(UNSUPPORTED, |stream| unsafe { cuStreamSynchronize(stream) });
    breaks(UNSUPPORTED, |stream| unsafe { cuStreamQuery(stream) });
    breaks(UNSUPPORTED, |_| unsafe { cuCtxSynchronize() });
    breaks(CAPTURED_EVENT, |stream| {
        let event = event();
        ok(unsafe { cuEventRecord(event, stream) });
        unsafe { cuEventQuery(event) }
    });
    breaks(CAPTURED_EVENT, |stream| {
        let event = event();
        ok(unsafe { cuEventRecord(event, stream) });
        unsafe { cuEventSynchronize(event) }
    });
}

#[test]
fn calls_that_no_graph_can_repeat_break_the_capture() {
    let _context = Context::new();
    let word = device_memory(4);
    let pinned = PinnedWord::new(0);
    let mut host = 0u32;
    let host = ptr::from_mut(&mut host).cast::<c_void>();
    breaks(UNSUPPORTED, |_| unsafe { cuMemAlloc_v2(&mut 0, 4) });
    breaks(UNSUPPORTED, |_| unsafe { cuMemFree_v2(word) });
    breaks(UNSUPPORTED, |_| unsafe { cuMemHostAlloc(&mut ptr::null_mut(), 4, 0) });
    breaks(UNSUPPORTED, |_| unsafe { cuMemFreeHost(pinned.0.cast()) });
    breaks(UNSUPPORTED, |_| unsafe { cuMemHostRegister_v2(host, 4, 0) });
    breaks(UNSUPPORTED, |_| unsafe { cuMemcpyDtoH_v2(host, word, 4) });
    breaks(UNSUPPORTED, |_| unsafe { cuMemsetD32_v2(word, 0, 1) });
    breaks(UNSUPPORTED, |_| unsafe { cuModuleLoadData(&mut NULL.clone(), c".version 8.0".as_ptr().cast()) });
    // The graph did not allocate it.
    breaks(INVALID_VALUE, |stream| unsafe { cuMemFreeAsync(word, stream) });
    // What was refused did not happen.
    ok(unsafe { cuMemFree_v2(word) });
}

#[test]
fn events_from_before_the_capture_break_it() {
    let _context = Context::new();
    let (event, other) = (event(), non_blocking_stream());
    let stream = non_blocking_stream();
    begin(stream);
    ok(unsafe { cuStreamWaitEvent(stream, event, 0) });
    assert_eq!(status(stream), 1, "it was never recorded");
    ok(unsafe { cuStreamEndCapture(stream, &mut NULL.clone()) });
    ok(unsafe { cuEventRecord(event, other) });
    breaks(ISOLATION, |stream| unsafe { cuStreamWaitEvent(stream, event, 0) });
    // External events are nodes.
    begin(stream);
    ok(unsafe { cuStreamWaitEvent(stream, event, 1) });
    ok(unsafe { cuEventRecordWithFlags(event, stream, 1) });
    let graph = handle(|out| unsafe { cuStreamEndCapture(stream, out) });
    assert_eq!(made::<usize>(|n| unsafe { cuGraphGetNodes(graph, ptr::null_mut(), n) }), 2);
}

#[test]
fn the_legacy_stream_breaks_captures_of_blocking_streams() {
    let _context = Context::new();
    let (stream, event, word) = (blocking_stream(), event(), device_memory(4));
    let uses: [&dyn Fn() -> u32; 5] = [
        &|| unsafe { cuStreamSynchronize(NULL) },
        &|| unsafe { cuStreamQuery(NULL) },
        &|| unsafe { cuEventRecord(event, NULL) },
        &|| unsafe { cuMemsetD32_v2(word, 0, 1) },
        &|| unsafe { cuMemcpyDtoD_v2(word, word, 4) },
    ];
    for mode in [THREAD_LOCAL, RELAXED] {
        for legacy_use in uses {
            ok(unsafe { cuStreamBeginCapture_v2(stream, mode) });
            assert_eq!(unsafe { cuStreamIsCapturing(NULL, &mut 0) }, IMPLICIT);
            assert_eq!(status(stream), 1, "asking is no use");
            assert_eq!(legacy_use(), IMPLICIT);
            assert_eq!(status(stream), 2);
            fails_with(INVALIDATED, stream);
        }
    }
    // A non-blocking stream has nothing to do with it.
    let free = non_blocking_stream();
    begin(free);
    ok(unsafe { cuMemsetD32Async(word, 7, 1, NULL) });
    ok(unsafe { cuStreamEndCapture(free, &mut NULL.clone()) });
    assert_eq!(read(word, NULL), 7);
}

#[test]
fn forks_have_to_be_joined() {
    let _context = Context::new();
    let [origin, fork] = [(); 2].map(|()| non_blocking_stream());
    let (forked, joined, word) = (event(), event(), device_memory(4));
    for is_joined in [false, true] {
        begin(origin);
        ok(unsafe { cuEventRecord(forked, origin) });
        ok(unsafe { cuStreamWaitEvent(fork, forked, 0) });
        assert_eq!(status(fork), 1);
        ok(unsafe { cuMemsetD32Async(word, 1, 1, fork) });
        ok(unsafe { cuEventRecord(joined, fork) });
        if is_joined {
            ok(unsafe { cuStreamWaitEvent(origin, joined, 0) });
            ok(unsafe { cuStreamEndCapture(origin, &mut NULL.clone()) });
        } else {
            fails_with(UNJOINED, origin);
        }
        assert_eq!(status(fork), 0);
        assert_eq!(unsafe { cuStreamWaitEvent(fork, joined, 0) }, CAPTURED_EVENT, "its capture is over");
    }
}

#[test]
fn a_capture_ends_in_its_own_stream_and_thread() {
    let context = Context::new();
    let [origin, fork] = [(); 2].map(|()| non_blocking_stream());
    let forked = event();
    begin(origin);
    ok(unsafe { cuEventRecord(forked, origin) });
    ok(unsafe { cuStreamWaitEvent(fork, forked, 0) });
    assert_eq!(unsafe { cuStreamEndCapture(fork, &mut NULL.clone()) }, UNMATCHED);
    fails_with(INVALIDATED, origin);

    let (context, stream) = (context.0 as usize, origin as usize);
    let end_elsewhere = move || {
        ok(unsafe { cuCtxSetCurrent(context as Handle) });
        unsafe { cuStreamEndCapture(stream as Handle, &mut NULL.clone()) }
    };
    begin(origin);
    assert_eq!(thread::spawn(end_elsewhere).join().unwrap(), WRONG_THREAD);
    ok(unsafe { cuStreamEndCapture(origin, &mut NULL.clone()) });
    ok(unsafe { cuStreamBeginCapture_v2(origin, RELAXED) });
    assert_eq!(thread::spawn(end_elsewhere).join().unwrap(), 0);
}

#[test]
fn two_captures_do_not_mix() {
    let _context = Context::new();
    let [a, b] = [(); 2].map(|()| non_blocking_stream());
    let of_a = event();
    begin(a);
    begin(b);
    ok(unsafe { cuEventRecord(of_a, a) });
    assert_eq!(unsafe { cuStreamWaitEvent(b, of_a, 0) }, MERGE);
    assert_eq!(unsafe { cuStreamEndCapture(a, &mut NULL.clone()) }, INVALIDATED);
    fails_with(INVALIDATED, b);
}

#[test]
fn a_destroyed_stream_takes_its_capture_along() {
    let _context = Context::new();
    let [origin, fork] = [(); 2].map(|()| non_blocking_stream());
    let forked = event();
    begin(origin);
    ok(unsafe { cuEventRecord(forked, origin) });
    ok(unsafe { cuStreamWaitEvent(fork, forked, 0) });
    ok(unsafe { cuStreamDestroy_v2(fork) });
    assert_eq!(status(origin), 2);
    fails_with(INVALIDATED, origin);
    begin(origin);
    ok(unsafe { cuStreamDestroy_v2(origin) });
    device_memory(4);
}

#[test]
fn modes_say_which_threads_may_allocate() {
    succeeds("capture::child_modes", &[]);
}

/// In a process of its own: a global capture forbids every thread to allocate.
#[test]
#[ignore = "run by another test"]
fn child_modes() {
    let context = Context::new();
    let stream = non_blocking_stream();
    let handle = context.0 as usize;
    let allocate = || unsafe { cuMemAlloc_v2(&mut 0, 4) };
    // What a thread that heeds captures in this way is told.
    let elsewhere = move |heeds: u32| {
        let thread = thread::spawn(move || {
            ok(unsafe { cuCtxSetCurrent(handle as Handle) });
            let mut mode = heeds;
            ok(unsafe { cuThreadExchangeStreamCaptureMode(&mut mode) });
            assert_eq!(mode, GLOBAL, "the default");
            allocate()
        });
        thread.join().unwrap()
    };
    for (mode, other_heeds, own, other) in [
        (GLOBAL, GLOBAL, UNSUPPORTED, UNSUPPORTED),
        (GLOBAL, THREAD_LOCAL, UNSUPPORTED, 0),
        (THREAD_LOCAL, GLOBAL, UNSUPPORTED, 0),
        (RELAXED, GLOBAL, 0, 0),
    ] {
        ok(unsafe { cuStreamBeginCapture_v2(stream, mode) });
        assert_eq!(elsewhere(other_heeds), other, "mode {mode}, elsewhere {other_heeds}");
        assert_eq!(status(stream), if other == 0 { 1 } else { 2 });
        let own = if other == 0 { own } else { INVALIDATED };
        assert_eq!(allocate(), own, "mode {mode}");
        let end = unsafe { cuStreamEndCapture(stream, &mut NULL.clone()) };
        assert_eq!(end, if own == 0 { 0 } else { INVALIDATED });
    }
    let mut relaxed = RELAXED;
    ok(unsafe { cuThreadExchangeStreamCaptureMode(&mut relaxed) });
    ok(unsafe { cuStreamBeginCapture_v2(stream, GLOBAL) });
    ok(allocate());
    ok(unsafe { cuStreamEndCapture(stream, &mut NULL.clone()) });
    let mut bad = 3;
    assert_eq!(unsafe { cuThreadExchangeStreamCaptureMode(&mut bad) }, INVALID_VALUE);
}
