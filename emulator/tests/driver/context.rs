use crate::common::*;
use cuda_emulator::driver::{context::*, copy::*, device::*, event::*, memory::*, stream::*};
use std::{ptr, thread};

#[test]
fn each_thread_has_a_stack_of_contexts() {
    let first = Context::new();
    let second = Context::new();
    let current = || handle(|out| unsafe { cuCtxGetCurrent(out) });
    assert_eq!(current(), second.0);
    assert_eq!(handle(|out| unsafe { cuCtxPopCurrent_v2(out) }), second.0);
    assert_eq!(current(), first.0);
    ok(unsafe { cuCtxPushCurrent_v2(second.0) });
    ok(unsafe { cuCtxSetCurrent(first.0) });
    assert_eq!(current(), first.0);
    thread::spawn(|| {
        assert_eq!(handle(|out| unsafe { cuCtxGetCurrent(out) }), NULL);
        let mut bytes = 0;
        assert_eq!(unsafe { cuMemAlloc_v2(&mut bytes, 1) }, INVALID_CONTEXT);
        assert_eq!(unsafe { cuCtxSynchronize() }, INVALID_CONTEXT);
        assert_eq!(unsafe { cuCtxPopCurrent_v2(ptr::null_mut()) }, INVALID_CONTEXT);
        assert_eq!(unsafe { cuStreamQuery(NULL) }, INVALID_CONTEXT);
    })
    .join()
    .unwrap();
    ok(unsafe { cuCtxSetCurrent(NULL) });
}

#[test]
fn a_destroyed_context_takes_everything_along() {
    succeeds("context::child_destroyed", &[]);
}

/// Alone in its process: another test could be given the address.
#[test]
#[ignore = "run by another test"]
fn child_destroyed() {
    let context = Context::new();
    let address = device_memory(1000);
    let (stream, event) = (blocking_stream(), event());
    ok(unsafe { cuCtxPushCurrent_v2(context.0) });
    ok(unsafe { cuCtxDestroy_v2(context.0) });
    assert_eq!(unsafe { cuCtxSynchronize() }, CONTEXT_IS_DESTROYED);
    assert_eq!(unsafe { cuCtxDestroy_v2(context.0) }, INVALID_CONTEXT);
    assert_eq!(unsafe { cuCtxSetCurrent(context.0) }, INVALID_CONTEXT);
    let _other = Context::new();
    assert_eq!(unsafe { cuStreamSynchronize(stream) }, INVALID_HANDLE);
    assert_eq!(unsafe { cuEventSynchronize(event) }, INVALID_HANDLE);
    assert_eq!(unsafe { cuMemFree_v2(address) }, INVALID_VALUE);
}

#[test]
fn bad_contexts_and_flags_are_errors() {
    let _context = Context::new();
    for bad in BAD_HANDLES {
        assert_eq!(unsafe { cuCtxSetCurrent(bad) }, INVALID_CONTEXT);
        assert_eq!(unsafe { cuCtxPushCurrent_v2(bad) }, INVALID_CONTEXT);
        assert_eq!(unsafe { cuCtxDestroy_v2(bad) }, INVALID_CONTEXT);
    }
    let mut out = ptr::null_mut();
    assert_eq!(unsafe { cuCtxCreate_v2(ptr::null_mut(), 0, 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuCtxCreate_v2(&mut out, 0x100, 0) }, INVALID_VALUE);
    assert_eq!(unsafe { cuCtxCreate_v2(&mut out, 0, 1) }, INVALID_DEVICE);
    // A stream is no context.
    assert_eq!(unsafe { cuCtxSetCurrent(blocking_stream()) }, INVALID_CONTEXT);
}

#[test]
fn limits_flags_and_priorities_are_remembered() {
    let _context = Context::new();
    assert_eq!(made(|out| unsafe { cuCtxGetLimit(out, 0) }), 1024);
    ok(unsafe { cuCtxSetLimit(0, 4096) });
    assert_eq!(made(|out| unsafe { cuCtxGetLimit(out, 0) }), 4096);
    let mut value = 0;
    assert_eq!(unsafe { cuCtxGetLimit(&mut value, 99) }, 215);
    ok(unsafe { cuCtxSetFlags(4) });
    assert_eq!(made(|out| unsafe { cuCtxGetFlags(out) }), 4);
    let (mut least, mut greatest) = (9, 9);
    ok(unsafe { cuCtxGetStreamPriorityRange(&mut least, &mut greatest) });
    assert_eq!((least, greatest), (0, -5));
}

#[test]
fn the_primary_context_lives_while_it_is_retained() {
    succeeds("context::child_primary", &[]);
}

/// Alone in its process: another test could be given the address.
#[test]
#[ignore = "run by another test"]
fn child_primary() {
    ok(unsafe { cuInit(0) });
    let state = || {
        let mut active = 9;
        ok(unsafe { cuDevicePrimaryCtxGetState(0, ptr::null_mut(), &mut active) });
        active
    };
    assert_eq!((state(), unsafe { cuDevicePrimaryCtxRelease_v2(0) }), (0, INVALID_CONTEXT));
    let retain = || handle(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) });
    let context = retain();
    assert_eq!((retain(), state()), (context, 1));
    ok(unsafe { cuCtxSetCurrent(context) });
    let address = device_memory(100);
    ok(unsafe { cuMemsetD8_v2(address, 0, 100) });
    ok(unsafe { cuDevicePrimaryCtxRelease_v2(0) });
    assert_eq!(read(address, NULL), 0);
    ok(unsafe { cuDevicePrimaryCtxRelease_v2(0) });
    assert_eq!((state(), unsafe { cuCtxSynchronize() }), (0, CONTEXT_IS_DESTROYED));
    // It starts anew with the same handle, so that threads that had it have it again.
    assert_eq!(retain(), context);
    assert_eq!(unsafe { cuMemFree_v2(address) }, INVALID_VALUE, "memory goes with its context");
    ok(unsafe { cuCtxSynchronize() });
    ok(unsafe { cuDevicePrimaryCtxReset_v2(0) });
    assert_eq!(state(), 0);
    ok(unsafe { cuCtxSetCurrent(NULL) });
}

/// Breaks the current context: a copy whose memory is freed before its turn, in another stream.
pub fn fault(stream: Handle) {
    let address = device_memory(64);
    let (other, freed) = (non_blocking_stream(), event());
    let gate = Gate::close(other);
    ok(unsafe { cuMemFreeAsync(address, other) });
    ok(unsafe { cuEventRecord(freed, other) });
    ok(unsafe { cuStreamWaitEvent(stream, freed, 0) });
    ok(unsafe { cuMemsetD8Async(address, 1, 64, stream) });
    gate.open();
}

use cuda_emulator::driver::{Handle, tools::cuda_emulator_last_fault};
use std::ffi::CStr;

#[test]
fn a_fault_breaks_its_context_and_no_other() {
    let _faults = faults();
    let healthy = Context::new();
    let broken = Context::new();
    let stream = non_blocking_stream();
    let event = event();
    fault(stream);
    let late = PinnedWord::new(7);
    ok(unsafe { cuMemsetD32Async(late.0 as u64, 8, 1, stream) });
    for _ in 0..2 {
        assert_eq!(unsafe { cuStreamSynchronize(stream) }, ILLEGAL_ADDRESS, "a fault is sticky");
    }
    assert_eq!(late.get(), 7, "work behind a fault is not done");
    let (mut address, mut out) = (0, ptr::null_mut());
    assert_eq!(unsafe { cuMemAlloc_v2(&mut address, 1) }, ILLEGAL_ADDRESS);
    assert_eq!(unsafe { cuMemsetD8_v2(late.0 as u64, 0, 1) }, ILLEGAL_ADDRESS);
    assert_eq!(unsafe { cuEventRecord(event, stream) }, ILLEGAL_ADDRESS);
    assert_eq!(unsafe { cuEventQuery(event) }, ILLEGAL_ADDRESS);
    assert_eq!(unsafe { cuStreamCreate(&mut out, 0) }, ILLEGAL_ADDRESS);
    assert_eq!(unsafe { cuCtxSynchronize() }, ILLEGAL_ADDRESS);
    let report = unsafe { CStr::from_ptr(cuda_emulator_last_fault()) }.to_str().unwrap();
    assert!(report.contains("memset of 64 bytes") && report.contains("which was freed"), "{report}");

    ok(unsafe { cuCtxSetCurrent(healthy.0) });
    ok(unsafe { cuMemFree_v2(device_memory(64)) });
    ok(unsafe { cuCtxSynchronize() });
    ok(unsafe { cuCtxDestroy_v2(broken.0) });
}

#[test]
fn a_reset_heals_the_primary_context() {
    let _faults = faults();
    ok(unsafe { cuInit(0) });
    let context = handle(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) });
    ok(unsafe { cuCtxSetCurrent(context) });
    fault(NULL);
    assert_eq!(unsafe { cuCtxSynchronize() }, ILLEGAL_ADDRESS);
    ok(unsafe { cuDevicePrimaryCtxReset_v2(0) });
    handle(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) });
    ok(unsafe { cuCtxSynchronize() });
    ok(unsafe { cuDevicePrimaryCtxRelease_v2(0) });
    ok(unsafe { cuCtxSetCurrent(NULL) });
}
