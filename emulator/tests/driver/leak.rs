//! What is said on stderr beside faults: memory that was not freed, and why a launch is refused.

use crate::{common::*, kernel::*};
use cuda_emulator::driver::{context::*, device::*, host_memory::*, launch::*, memory::*};
use std::{ffi::c_void, ptr};

#[test]
fn leaks_are_listed_in_check_mode_and_in_stress() {
    for mode in ["check", "stress"] {
        let text = stderr(&succeeds("leak::child_leaks", &[("MODE", mode)]));
        assert!(
            text.contains("leak: a context ended with 12 allocation(s), 1216 bytes, that were not freed"),
            "{text}"
        );
        assert!(text.contains("100 bytes of device memory at 0x10000000") && text.contains("and 2 more"), "{text}");
        assert!(text.contains("leak: a context ended with 1 allocation(s), 8 bytes"), "{text}");
        assert_eq!(text.matches("leak:").count(), 2, "{text}");
    }
    let text = stderr(&succeeds("leak::child_leaks", &[("MODE", "fast")]));
    assert!(!text.contains("leak"), "{text}");
}

#[test]
#[ignore = "run by another test"]
fn child_leaks() {
    {
        let _context = Context::new();
        // A module's variable and what was freed are no leaks.
        Kernel::new(".global .u32 word;\n.visible .entry k() { ret; }", "k");
        ok(unsafe { cuMemFree_v2(device_memory(1000)) });
        let going = made(|out| unsafe { cuMemAllocAsync(out, 50, NULL) });
        ok(unsafe { cuMemFreeAsync(going, NULL) });
        (0..11).for_each(|_| _ = device_memory(100));
        handle(|out| unsafe { cuMemHostAlloc(out, 116, 0) });
    }
    drop(Context::new());
    ok(unsafe { cuInit(0) });
    let primary = handle(|out| unsafe { cuDevicePrimaryCtxRetain(out, 0) });
    ok(unsafe { cuCtxSetCurrent(primary) });
    device_memory(8);
    ok(unsafe { cuDevicePrimaryCtxRelease_v2(0) });
}

#[test]
fn a_refused_launch_says_what_was_expected() {
    let text = stderr(&succeeds("leak::child_refused", &[]));
    for expected in [
        "launch of k refused: the block is [1025, 1, 1], expected 1 to [1024, 1024, 64]",
        "launch of k refused: the block [64, 32, 1] has 2048 threads, expected at most 1024",
        "launch of k refused: 50000 bytes of dynamic shared memory, expected at most 49152: raise",
        "launch of k refused: 4 bytes of parameters, expected 12",
        "launch of k refused: no parameters, expected 2",
        "launch refused: 0x0 is no function",
        "launch of k refused: it was loaded in another context",
    ] {
        assert!(text.contains(expected), "`{expected}` is not in: {text}");
    }
}

#[test]
#[ignore = "run by another test"]
fn child_refused() {
    let _context = Context::new();
    let k = Kernel::new(".visible .entry k(.param .u64 a, .param .u32 b) { ret; }", "k");
    let params = [0, 0];
    assert_eq!(k.launch([1; 3], [1025, 1, 1], 0, NULL, &params), INVALID_VALUE);
    assert_eq!(k.launch([1; 3], [64, 32, 1], 0, NULL, &params), INVALID_VALUE);
    assert_eq!(k.launch([1; 3], [1; 3], 50_000, NULL, &params), INVALID_VALUE);
    let (mut block, mut few, mut all) = ([0u8; 16], 4usize, 16usize);
    let (parameter_buffer, buffer_size) =
        (ptr::without_provenance_mut::<c_void>(1), ptr::without_provenance_mut::<c_void>(2));
    let mut extra = [parameter_buffer, block.as_mut_ptr().cast(), buffer_size, (&raw mut few).cast(), ptr::null_mut()];
    let launch = |function, extra: *mut *mut c_void| unsafe {
        cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, ptr::null_mut(), extra)
    };
    assert_eq!(launch(k.function, extra.as_mut_ptr()), INVALID_VALUE);
    extra[3] = (&raw mut all).cast();
    ok(launch(k.function, extra.as_mut_ptr()));
    assert_eq!(launch(k.function, ptr::null_mut()), INVALID_VALUE);
    assert_eq!(launch(NULL, ptr::null_mut()), INVALID_HANDLE);
    let _other = Context::new();
    assert_eq!(k.launch([1; 3], [1; 3], 0, NULL, &params), INVALID_HANDLE);
}
