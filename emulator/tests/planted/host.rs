//! Bugs of the host's side: launches that a card refuses, and allocations that nobody freed.

use crate::suite::*;
use cuda_emulator::driver::{context::*, function::*, launch::*, memory::*};
use std::{ffi::c_void, ptr};

const INVALID_VALUE: u32 = 1;
const MAX_DYNAMIC_SHARED_SIZE_BYTES: u32 = 8;

/// `stores_its_index` of 64 words, launched so: the code of the launch. Nothing of it may run.
#[track_caller]
fn refused(name: &str, launch: impl Fn(&Gpu, u64) -> u32) {
    if is_child() {
        let gpu = Gpu::with("planted", "misc");
        let out = gpu.zeros(64);
        assert_eq!(launch(&gpu, out), INVALID_VALUE);
        ok(gpu.finish());
        assert_eq!(gpu.download::<u32>(out, 64), [0; 64], "a launch that was refused has run");
        gpu.run("stores_its_index", Shape { shared_bytes: 256, ..shape(1, 64) }, &[out, 64]);
        assert_eq!(gpu.download::<u32>(out, 64), (0..64).collect::<Vec<_>>(), "an invalid launch is not sticky");
        return;
    }
    let output = alone(&format!("host::{name}"), &[("MODE", "check")]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn block_too_large() {
    refused("block_too_large", |gpu, out| gpu.launch("stores_its_index", shape(1, 1025), &[out, 64]));
}

#[test]
fn block_of_nothing() {
    refused("block_of_nothing", |gpu, out| gpu.launch("stores_its_index", shape(1, 0), &[out, 64]));
}

#[test]
fn shared_memory_without_the_opt_in() {
    refused("shared_memory_without_the_opt_in", |gpu, out| {
        let shared_bytes = (48 << 10) + 4;
        gpu.launch("stores_its_index", Shape { shared_bytes, ..shape(1, 64) }, &[out, 64])
    });
}

#[test]
fn shared_memory_over_the_opt_in() {
    refused("shared_memory_over_the_opt_in", |gpu, out| {
        let function = gpu.function("stores_its_index");
        let opt_in = |n_bytes| unsafe { cuFuncSetAttribute(function, MAX_DYNAMIC_SHARED_SIZE_BYTES, n_bytes) };
        assert_eq!(opt_in((227 << 10) + 1), INVALID_VALUE, "more than an H100 has");
        ok(opt_in(100 << 10));
        gpu.launch("stores_its_index", Shape { shared_bytes: (100 << 10) + 4, ..shape(1, 64) }, &[out, 64])
    });
}

/// The kernel has 12 bytes of parameters, 16 as a C struct; the buffer says 24.
#[test]
fn wrong_parameter_bytes() {
    refused("wrong_parameter_bytes", |gpu, out| {
        let mut params = [out, 64, 0];
        let mut n_bytes = 24_usize;
        let (buffer_pointer, buffer_size, end) =
            (ptr::without_provenance_mut::<c_void>(1), ptr::without_provenance_mut::<c_void>(2), ptr::null_mut());
        let mut extra =
            [buffer_pointer, params.as_mut_ptr().cast(), buffer_size, ptr::from_mut(&mut n_bytes).cast(), end];
        let (function, null) = (gpu.function("stores_its_index"), ptr::null_mut());
        unsafe { cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 256, null, ptr::null_mut(), extra.as_mut_ptr()) }
    });
}

/// One of three allocations is alive when its context ends.
#[test]
fn leaked_allocation() {
    if is_child() {
        let gpu = Gpu::with("planted", "misc");
        let addresses = [gpu.fresh(256), gpu.fresh(4321), gpu.fresh(512)];
        for address in [addresses[0], addresses[2]] {
            ok(unsafe { cuMemFree_v2(address) });
        }
        println!("kept {:#x}.", addresses[1]);
        ok(unsafe { cuCtxDestroy_v2(gpu.context) });
        return;
    }
    let output = alone("host::leaked_allocation", &[("MODE", "check")]);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let kept = text.split_once("kept ").and_then(|it| it.1.split_once('.')).expect("the child prints it").0;
    let reports: Vec<_> = leaks(&text).filter(|line| line.contains("4321 bytes")).collect();
    let is_named = text.lines().any(|line| line.contains("allocation #") && line.ends_with(kept));
    assert!(reports.len() == 1 && is_named, "one report with {kept} was expected: {text}");
}

/// What was freed is no leak.
#[test]
fn nothing_leaked() {
    if is_child() {
        let gpu = Gpu::with("planted", "misc");
        ok(unsafe { cuMemFree_v2(gpu.fresh(4321)) });
        return ok(unsafe { cuCtxDestroy_v2(gpu.context) });
    }
    let output = alone("host::nothing_leaked", &[("MODE", "check")]);
    let text = text(&output);
    assert!(output.status.success() && leaks(&text).count() == 0, "{text}");
}

/// The lines of the emulator that tell of leaks.
fn leaks(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip_while(|line| !line.starts_with("cuda-emulator: ")).filter(|line| line.contains("leak"))
}
