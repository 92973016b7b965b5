use crate::common::*;
use cuda_emulator::driver::{event::*, stream::*};
use std::{
    ptr, thread,
    time::{Duration, Instant},
};

#[test]
fn an_event_that_was_never_recorded_has_happened() {
    let _context = Context::new();
    let event = event();
    ok(unsafe { cuEventQuery(event) });
    ok(unsafe { cuEventSynchronize(event) });
    ok(unsafe { cuStreamWaitEvent(NULL, event, 0) });
    let mut ms = 0.0;
    assert_eq!(unsafe { cuEventElapsedTime(&mut ms, event, event) }, INVALID_HANDLE);
}

#[test]
fn an_event_happens_when_the_work_before_it_is_done() {
    let _context = Context::new();
    let (stream, event) = (non_blocking_stream(), event());
    let gate = Gate::close(stream);
    ok(unsafe { cuEventRecord(event, stream) });
    assert_eq!(unsafe { cuEventQuery(event) }, NOT_READY);
    let mut ms = 0.0;
    assert_eq!(unsafe { cuEventElapsedTime(&mut ms, event, event) }, NOT_READY);
    gate.open();
    let start = Instant::now();
    while unsafe { cuEventQuery(event) } == NOT_READY {
        assert!(start.elapsed() < Duration::from_secs(20), "polling makes no progress");
    }
    ok(unsafe { cuEventSynchronize(event) });
}

#[test]
fn the_time_between_events_is_that_of_the_work() {
    let _context = Context::new();
    let stream = non_blocking_stream();
    let (start, end) = (event(), event());
    ok(unsafe { cuEventRecord(start, stream) });
    call(stream, || thread::sleep(Duration::from_millis(20)));
    ok(unsafe { cuEventRecordWithFlags(end, stream, 0) });
    ok(unsafe { cuEventSynchronize(end) });
    let elapsed = made(|out| unsafe { cuEventElapsedTime(out, start, end) });
    assert!((20.0..10_000.0).contains(&elapsed), "{elapsed} ms");
    assert_eq!(made(|out| unsafe { cuEventElapsedTime_v2(out, end, start) }), -elapsed);
    // Recorded again, it has a new time.
    ok(unsafe { cuEventRecord(start, stream) });
    ok(unsafe { cuStreamSynchronize(stream) });
    assert!(made(|out| unsafe { cuEventElapsedTime(out, end, start) }) >= 0.0f32);
}

#[test]
fn wrong_events_and_flags_are_errors() {
    let _context = Context::new();
    let mut out = ptr::null_mut();
    assert_eq!(unsafe { cuEventCreate(&mut out, 8) }, INVALID_VALUE);
    assert_eq!(unsafe { cuEventCreate(&mut out, 6) }, NOT_SUPPORTED);
    assert_eq!(unsafe { cuEventCreate(ptr::null_mut(), 0) }, INVALID_VALUE);
    let untimed = handle(|out| unsafe { cuEventCreate(out, 2) });
    let timed = event();
    let mut ms = 0.0;
    for event in [untimed, timed] {
        ok(unsafe { cuEventRecord(event, NULL) });
        ok(unsafe { cuEventSynchronize(event) });
    }
    assert_eq!(unsafe { cuEventElapsedTime(&mut ms, timed, untimed) }, INVALID_HANDLE);
    assert_eq!(unsafe { cuEventElapsedTime(ptr::null_mut(), timed, timed) }, INVALID_VALUE);
    assert_eq!(unsafe { cuEventRecordWithFlags(timed, NULL, 2) }, INVALID_VALUE);
    assert_eq!(unsafe { cuStreamWaitEvent(NULL, timed, 2) }, INVALID_VALUE);
    ok(unsafe { cuEventDestroy_v2(timed) });
    for bad in BAD_HANDLES.into_iter().chain([NULL, timed, blocking_stream()]) {
        assert_eq!(unsafe { cuEventRecord(bad, NULL) }, INVALID_HANDLE);
        assert_eq!(unsafe { cuEventQuery(bad) }, INVALID_HANDLE);
        assert_eq!(unsafe { cuEventDestroy_v2(bad) }, INVALID_HANDLE);
        assert_eq!(unsafe { cuStreamWaitEvent(NULL, bad, 0) }, INVALID_HANDLE);
    }
    let event = timed_in_other_context();
    assert_eq!(unsafe { cuEventRecord(event, NULL) }, INVALID_HANDLE, "an event is recorded in its own context");
}

/// An event of a context that is not current when this returns.
fn timed_in_other_context() -> cuda_emulator::driver::Handle {
    use cuda_emulator::driver::{context::*, device::cuInit};
    ok(unsafe { cuInit(0) });
    handle(|out| unsafe { cuCtxCreate_v2(out, 0, 0) });
    let other = event();
    handle(|out| unsafe { cuCtxPopCurrent_v2(out) });
    other
}
