//! Memory pools, managed memory, and what is known about pointers.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{Handle, managed::*, memory::*, pointer::*, pool::*, stream::*};
use std::{mem::MaybeUninit, ptr};

/// A pool of at most `max_bytes`.
#[track_caller]
fn pool(max_bytes: usize) -> Handle {
    let mut props: PoolProps = unsafe { MaybeUninit::zeroed().assume_init() };
    (props.allocation_type, props.location.kind, props.max_bytes) = (1, 1, max_bytes);
    handle(|out| unsafe { cuMemPoolCreate(out, &props) })
}

#[track_caller]
fn attribute(pool: Handle, attribute: u32) -> u64 {
    made(|out: *mut u64| unsafe { cuMemPoolGetAttribute(pool, attribute, out.cast()) })
}

#[track_caller]
fn from_pool(pool: Handle, bytes: usize) -> u64 {
    made(|out| unsafe { cuMemAllocFromPoolAsync(out, bytes, pool, NULL) })
}

#[test]
fn a_pool_counts_what_is_used_and_keeps_its_bound() {
    const USED: u32 = 7;
    const HIGHEST: u32 = 8;
    let _context = Context::new();
    let pool = pool(1000);
    let [a, b] = [400, 500].map(|bytes| from_pool(pool, bytes));
    assert_eq!((attribute(pool, USED), attribute(pool, HIGHEST)), (900, 900));
    assert_eq!(unsafe { cuMemAllocFromPoolAsync(&mut 0, 101, pool, NULL) }, OUT_OF_MEMORY);
    ok(unsafe { cuMemFreeAsync(a, NULL) });
    assert_eq!((attribute(pool, USED), attribute(pool, HIGHEST)), (500, 900));
    let (mut seven, mut zero) = (7u64, 0u64);
    assert_eq!(unsafe { cuMemPoolSetAttribute(pool, HIGHEST, (&raw mut seven).cast()) }, INVALID_VALUE);
    ok(unsafe { cuMemPoolSetAttribute(pool, HIGHEST, (&raw mut zero).cast()) });
    assert_eq!(attribute(pool, HIGHEST), 500);
    assert_eq!(made::<u64>(|out: *mut u64| unsafe { cuPointerGetAttribute(out.cast(), 17, b) }), pool as u64);
    ok(unsafe { cuMemFree_v2(b) });
    assert_eq!(attribute(pool, USED), 0);
    ok(unsafe { cuMemPoolTrimTo(pool, 0) });
    ok(unsafe { cuMemPoolDestroy(pool) });
    assert_eq!(unsafe { cuMemPoolDestroy(pool) }, INVALID_VALUE);
    assert_eq!(unsafe { cuMemAllocFromPoolAsync(&mut 0, 1, pool, NULL) }, INVALID_VALUE);
}

#[test]
fn the_default_pool_stays_and_attributes_are_remembered() {
    let _context = Context::new();
    let default = handle(|out| unsafe { cuDeviceGetDefaultMemPool(out, 0) });
    assert_eq!(unsafe { cuMemPoolDestroy(default) }, INVALID_VALUE);
    let pool = pool(0);
    let mut threshold = u64::MAX;
    ok(unsafe { cuMemPoolSetAttribute(pool, 4, (&raw mut threshold).cast()) });
    assert_eq!(attribute(pool, 4), u64::MAX);
    assert_eq!(unsafe { cuMemPoolGetAttribute(pool, 99, (&raw mut threshold).cast()) }, INVALID_VALUE);
    let at = Location { kind: 1, id: 0 };
    assert_eq!(made::<u32>(|out| unsafe { cuMemPoolGetAccess(out, pool, &at) }), 3);
    ok(unsafe { cuMemPoolDestroy(pool) });
}

#[test]
fn kernels_and_the_host_share_managed_memory() {
    let _context = Context::new();
    let at = made(|out| unsafe { cuMemAllocManaged(out, 8, 1) });
    unsafe { (at as *mut u32).write_volatile(41) };
    let body = ".visible .entry inc(.param .u64 at) {
        .reg .b64 %rd1; .reg .b32 %r1;
        ld.param.u64 %rd1, [at]; ld.global.u32 %r1, [%rd1]; add.u32 %r1, %r1, 1; st.global.u32 [%rd1], %r1; ret;
    }";
    ok(Kernel::new(body, "inc").run(1, 1, &[at]));
    assert_eq!(unsafe { (at as *const u32).read_volatile() }, 42);
    assert!(made::<bool>(|out: *mut bool| unsafe { cuPointerGetAttribute(out.cast(), 8, at) }));
    let home = Location { kind: 1, id: 0 };
    ok(unsafe { cuMemPrefetchAsync_v2(at, 8, home, 0, NULL) });
    ok(unsafe { cuMemAdvise_v2(at, 8, 1, home) });
    assert_eq!(unsafe { cuMemAdvise_v2(at, 9, 1, home) }, INVALID_VALUE);
    ok(unsafe { cuStreamAttachMemAsync(NULL, at, 0, 4) });
    ok(unsafe { cuMemFree_v2(at) });
    assert_eq!(unsafe { cuMemAllocManaged(&mut 0, 8, 4) }, INVALID_VALUE);
}

#[test]
fn attributes_of_several_kinds_come_at_once() {
    let _context = Context::new();
    let (device, host) = (device_memory(100), [0u8; 4]);
    let (mut kind, mut start, mut bytes) = (9u32, 9u64, 9u64);
    let ask = |address: u64, kind: &mut u32, start: &mut u64, bytes: &mut u64| {
        let mut out = [(&raw mut *kind).cast(), (&raw mut *start).cast(), (&raw mut *bytes).cast()];
        unsafe { cuPointerGetAttributes(3, [2, 11, 12].as_ptr(), out.as_mut_ptr(), address) }
    };
    ok(ask(device + 7, &mut kind, &mut start, &mut bytes));
    assert_eq!((kind, start, bytes), (2, device, 100));
    ok(ask(host.as_ptr() as u64, &mut kind, &mut start, &mut bytes));
    assert_eq!((kind, start, bytes), (0, 0, 0));
    assert_eq!(
        unsafe { cuPointerGetAttributes(1, [99].as_ptr(), [ptr::null_mut()].as_mut_ptr(), device) },
        INVALID_VALUE
    );
}

#[test]
fn streams_write_words_and_keep_attributes() {
    use cuda_emulator::driver::stream_extras::*;
    let _context = Context::new();
    let (stream, word) = (blocking_stream(), PinnedWord::new(0));
    ok(unsafe { cuStreamWriteValue32_v2(stream, word.0 as u64, 77, 0) });
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!(word.get(), 77);
    ok(unsafe { cuStreamSetAttribute(stream, 3, &[5; 8]) });
    let other = blocking_stream();
    ok(unsafe { cuStreamCopyAttributes(other, stream) });
    assert_eq!(made::<[u64; 8]>(|out| unsafe { cuStreamGetAttribute(other, 3, out) }), [5; 8]);
    assert_eq!(unsafe { cuStreamSetAttribute(stream, 2, &[5; 8]) }, INVALID_VALUE);
    let [a, b] = [stream, other].map(|it| made::<u64>(|out| unsafe { cuStreamGetId(it, out) }));
    assert_ne!(a, b);
}
