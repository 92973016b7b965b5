use crate::common::*;
use cuda_emulator::driver::{Handle, copy::*, host_memory::*, stream::*};
use std::{
    ffi::c_void,
    ptr,
    time::{Duration, Instant},
};

fn bytes(n: usize, seed: u8) -> Vec<u8> {
    (0..n).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

#[test]
fn bytes_go_round_through_every_kind_of_memory() {
    let _context = Context::new();
    let stream = non_blocking_stream();
    // Up to and beyond what is staged.
    for n in [1, 255, 4096, (1 << 20) + 1, 3 << 20] {
        let source = bytes(n, n as u8);
        let [a, b] = [device_memory(n), device_memory(n)];
        let pinned = handle(|out| unsafe { cuMemAllocHost_v2(out, n) });
        let mut back = vec![0u8; n];
        ok(unsafe { cuMemcpyHtoDAsync_v2(a, source.as_ptr().cast(), n, stream) });
        ok(unsafe { cuMemcpyDtoDAsync_v2(b, a, n, stream) });
        ok(unsafe { cuMemcpyDtoHAsync_v2(pinned, b, n, stream) });
        ok(unsafe { cuMemcpyAsync(back.as_mut_ptr() as u64, pinned as u64, n, stream) });
        assert_eq!(back, source, "a copy to pageable memory is done when it returns");

        let (mut back, source) = (vec![0u8; n], bytes(n, 77));
        ok(unsafe { cuMemcpyHtoD_v2(a, source.as_ptr().cast(), n) });
        ok(unsafe { cuMemcpyDtoD_v2(b, a, n) });
        ok(unsafe { cuMemcpy(pinned as u64, b, n) });
        ok(unsafe { cuMemcpyDtoH_v2(back.as_mut_ptr().cast(), b, n) });
        assert_eq!(back, source);
        assert_eq!(unsafe { std::slice::from_raw_parts(pinned.cast::<u8>(), n) }, source);
    }
}

#[test]
fn a_pageable_source_is_taken_during_the_call() {
    let _context = Context::new();
    let stream = non_blocking_stream();
    let address = device_memory(4);
    let gate = Gate::close(stream);
    let mut source = 1u32;
    ok(unsafe { cuMemcpyHtoDAsync_v2(address, ptr::from_ref(&source).cast(), 4, stream) });
    unsafe { ptr::write_volatile(&mut source, 2) };
    gate.open();
    assert_eq!((read(address, stream), source), (1, 2));
}

/// What a host that forgets to synchronise sees: a pinned source is read, and a pinned destination written, later.
#[test]
fn pinned_copies_are_deferred() {
    let _context = Context::new();
    let stream = non_blocking_stream();
    let address = device_memory(4);
    let (from, to) = (PinnedWord::new(1), PinnedWord::new(7));
    let gate = Gate::close(stream);
    ok(unsafe { cuMemcpyHtoDAsync_v2(address, from.0.cast(), 4, stream) });
    ok(unsafe { cuMemcpyDtoHAsync_v2(to.0.cast(), address, 4, stream) });
    unsafe { ptr::write_volatile(from.0, 2) };
    assert_eq!(to.get(), 7, "not there before a synchronisation");
    gate.open();
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!(to.get(), 2, "the late source was copied");
}

/// The same without anything that holds the stream: deferral alone makes the missing synchronisation show.
#[test]
fn a_missing_synchronisation_shows_by_itself() {
    let _context = Context::new();
    let stream = non_blocking_stream();
    let address = device_memory(4);
    ok(unsafe { cuMemsetD32_v2(address, 9, 1) });
    ok(unsafe { cuStreamSynchronize(NULL) });
    // On a busy machine the worker may come first now and then.
    let n_stale = (0..50)
        .filter(|_| {
            let to = PinnedWord::new(7);
            ok(unsafe { cuMemcpyDtoHAsync_v2(to.0.cast(), address, 4, stream) });
            let is_stale = to.get() == 7;
            ok(unsafe { cuStreamSynchronize(stream) });
            assert_eq!(to.get(), 9);
            is_stale
        })
        .count();
    assert!(n_stale >= 25, "{n_stale} of 50");
}

#[test]
fn a_host_that_polls_pinned_memory_makes_progress() {
    let _context = Context::new();
    let to = PinnedWord::new(7);
    ok(unsafe { cuMemsetD32Async(to.0 as u64, 8, 1, non_blocking_stream()) });
    let start = Instant::now();
    while to.get() != 8 {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody does the work");
    }
}

#[test]
fn memsets_write_their_width_and_no_more() {
    let _context = Context::new();
    let address = device_memory(16);
    let all = || {
        let mut out = [0u8; 16];
        ok(unsafe { cuMemcpyDtoH_v2(out.as_mut_ptr().cast(), address, 16) });
        out
    };
    ok(unsafe { cuMemsetD8_v2(address, 0x11, 16) });
    ok(unsafe { cuMemsetD8_v2(address + 1, 0x22, 1) });
    ok(unsafe { cuMemsetD16_v2(address + 2, 0x4433, 1) });
    ok(unsafe { cuMemsetD32_v2(address + 4, 0x8877_6655, 2) });
    let expected = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x55, 0x66, 0x77, 0x88, 0x11, 0x11, 0x11, 0x11];
    assert_eq!(all(), expected);
    ok(unsafe { cuMemsetD8Async(address, 1, 0, NULL) });
    assert_eq!(unsafe { cuMemsetD16_v2(address + 1, 0, 1) }, INVALID_VALUE, "misaligned");
    assert_eq!(unsafe { cuMemsetD32_v2(address + 2, 0, 1) }, INVALID_VALUE, "misaligned");
    assert_eq!(unsafe { cuMemsetD32_v2(address, 0, 5) }, INVALID_VALUE, "too long");
    assert_eq!(unsafe { cuMemsetD32_v2(address, 0, usize::MAX) }, INVALID_VALUE, "too long to count");
    let mut own = 0u32;
    assert_eq!(unsafe { cuMemsetD8_v2(ptr::from_mut(&mut own) as u64, 0, 1) }, INVALID_VALUE, "no device memory");
    assert_eq!(all(), expected);
    // A memset of pinned memory is not asynchronous.
    let pinned = PinnedWord::new(0);
    ok(unsafe { cuMemsetD8_v2(pinned.0 as u64, 1, 4) });
    assert_eq!(pinned.get(), 0x0101_0101);
}

#[test]
fn wrong_ranges_are_errors() {
    let _context = Context::new();
    let address = device_memory(100);
    let pinned = PinnedWord::new(0);
    let mut host = [0u8; 200];
    let on_host: *mut c_void = host.as_mut_ptr().cast();
    let null = ptr::null_mut::<c_void>();
    let stream: Handle = NULL;
    unsafe {
        for device in [0, 1, address - 1, address + 100, u64::MAX - 3, on_host as u64] {
            assert_eq!(cuMemcpyHtoD_v2(device, on_host, 1), INVALID_VALUE, "{device:#x}");
            assert_eq!(cuMemcpyDtoHAsync_v2(on_host, device, 1, stream), INVALID_VALUE, "{device:#x}");
            assert_eq!(cuMemcpyDtoD_v2(device, address, 1), INVALID_VALUE, "{device:#x}");
        }
        for n in [101, usize::MAX] {
            assert_eq!(cuMemcpyHtoDAsync_v2(address, on_host, n, stream), INVALID_VALUE);
            assert_eq!(cuMemcpyDtoH_v2(on_host, address, n), INVALID_VALUE);
        }
        assert_eq!(cuMemcpyHtoD_v2(address, null, 1), INVALID_VALUE);
        assert_eq!(cuMemcpyDtoH_v2(null, address, 1), INVALID_VALUE);
        assert_eq!(cuMemcpyDtoH_v2(pinned.0.cast(), address, 5), INVALID_VALUE, "over the end of pinned memory");
        assert_eq!(cuMemcpy(0, address, 1), INVALID_VALUE);
        ok(cuMemcpyHtoD_v2(0, null, 0));
        for bad in BAD_HANDLES {
            assert_eq!(cuMemcpyHtoDAsync_v2(address, on_host, 1, bad), INVALID_HANDLE);
            assert_eq!(cuMemsetD8Async(address, 0, 1, bad), INVALID_HANDLE);
        }
        ok(cuMemFreeHost(pinned.0.cast()));
    }
}
