//! The library as programs meet it: loaded by path, found by cudarc under the name `libcuda.so`, driven through cudarc's
//! safe API. It is found beside this test, where cargo leaves it.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // Loading a library and asking it for symbols is unsafe.

use cudarc::driver::{
    CudaContext, DriverError, result,
    sys::{
        self, CUgraphInstantiate_flags as Flags, CUstreamCaptureMode::*, CUstreamCaptureStatus::*, cudaError_enum::*,
    },
};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::{
    env,
    ffi::{CStr, c_char, c_void},
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let folder = env::current_exe().unwrap().parent().unwrap().to_owned();
    let file = folder.join("libcuda_emulator.so");
    unsafe { Library::open(Some(&file), RTLD_NOW | RTLD_GLOBAL) }
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
});

/// A context through cudarc, in the emulator.
fn context() -> Arc<CudaContext> {
    LazyLock::force(&LIBRARY);
    let context = CudaContext::new(0).unwrap();
    assert_eq!(context.name().unwrap(), "CUDA emulator (H100)", "cudarc found another libcuda.so");
    context
}

#[test]
fn every_symbol_that_cudarc_knows_is_exported() {
    for symbol in include_str!("driver_symbols.txt").lines() {
        let found = unsafe { LIBRARY.get::<unsafe extern "C" fn()>(symbol.as_bytes()) };
        assert!(found.is_ok(), "{symbol} is missing");
    }
}

#[test]
fn the_library_has_the_build_id_of_the_crate() {
    let id = unsafe { LIBRARY.get::<unsafe extern "C" fn() -> *const c_char>(b"cuda_emulator_build_id") }.unwrap();
    assert_eq!(unsafe { CStr::from_ptr(id()) }.to_str().unwrap(), cuda_emulator::BUILD_ID);
}

#[test]
fn cudarc_sees_the_card() {
    let context = context();
    assert_eq!(context.compute_capability().unwrap(), (9, 0));
    assert!(context.has_async_alloc());
    assert!(context.total_mem().unwrap() > 1 << 30);
    assert_eq!(context.uuid().unwrap().bytes.len(), 16);
    assert_eq!(CudaContext::device_count().unwrap(), 1);
}

#[test]
fn cudarc_copies_round() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let source: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    let a = stream.clone_htod(&source).unwrap();
    let mut b = stream.alloc_zeros::<f32>(source.len()).unwrap();
    assert_eq!(stream.clone_dtoh(&b).unwrap(), vec![0.0; source.len()]);
    stream.memcpy_dtod(&a, &mut b).unwrap();
    assert_eq!(stream.clone_dtoh(&b).unwrap(), source);
    let half = b.slice(50_000..);
    assert_eq!(stream.clone_dtoh(&half).unwrap(), &source[50_000..]);
    let empty = stream.null::<f32>().unwrap();
    assert_eq!(empty.len(), 0);
}

#[test]
fn cudarc_streams_wait_for_each_other() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.default_stream());
    for round in 0..20u32 {
        let data = a.clone_htod(&vec![round; 5000]).unwrap();
        let event = a.record_event(None).unwrap();
        b.wait(&event).unwrap();
        let copy = b.clone_dtod(&data).unwrap();
        a.join(&b).unwrap();
        assert_eq!(a.clone_dtoh(&copy).unwrap(), vec![round; 5000]);
    }
    let (start, end) = (context.new_event(Some(timed())).unwrap(), context.new_event(Some(timed())).unwrap());
    start.record(&a).unwrap();
    end.record(&a).unwrap();
    assert!(start.elapsed_ms(&end).unwrap() >= 0.0);
}

fn timed() -> sys::CUevent_flags {
    sys::CUevent_flags::CU_EVENT_DEFAULT
}

#[test]
fn cudarc_pinned_memory_arrives_for_a_host_that_polls_an_event() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let data = stream.clone_htod(&[1u32, 2, 3]).unwrap();
    let mut pinned = unsafe { context.alloc_pinned::<u32>(3) }.unwrap();
    stream.memcpy_dtoh(&data, &mut pinned).unwrap();
    let event = stream.record_event(None).unwrap();
    let start = Instant::now();
    while !event.is_complete() {
        assert!(start.elapsed() < Duration::from_secs(20), "polling makes no progress");
    }
    assert_eq!(pinned.as_slice().unwrap(), [1, 2, 3]);
}

#[test]
fn cudarc_runs_host_functions_in_order() {
    unsafe extern "C" fn push(log: *mut c_void) {
        let mut log = unsafe { &*log.cast::<Mutex<Vec<usize>>>() }.lock().unwrap();
        let n = log.len();
        log.push(n);
    }
    let context = context();
    let stream = context.new_stream().unwrap();
    let log = Mutex::new(Vec::new());
    for _ in 0..100 {
        let log: *const Mutex<Vec<usize>> = &log;
        unsafe { result::stream::launch_host_function(stream.cu_stream(), push, log.cast_mut().cast()) }.unwrap();
    }
    stream.synchronize().unwrap();
    assert_eq!(*log.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

#[test]
fn cudarc_captures_and_launches_graphs() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let mut from = stream.clone_htod(&[1u32, 2, 3]).unwrap();
    let mut to = stream.alloc_zeros::<u32>(3).unwrap();
    // cudarc makes launches wait for events, which would be from before the capture.
    unsafe { context.disable_event_tracking() };
    stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    assert_eq!(stream.capture_status().unwrap(), CU_STREAM_CAPTURE_STATUS_ACTIVE);
    stream.memcpy_dtod(&from, &mut to).unwrap();
    stream.memset_zeros(&mut from).unwrap();
    let graph = stream.end_capture(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH).unwrap().unwrap();
    assert_eq!(stream.capture_status().unwrap(), CU_STREAM_CAPTURE_STATUS_NONE);
    let mut n_nodes = 0;
    let counted = unsafe { sys::cuGraphGetNodes(graph.cu_graph(), std::ptr::null_mut(), &mut n_nodes) };
    assert_eq!((counted, n_nodes), (CUDA_SUCCESS, 2));
    graph.upload().unwrap();
    assert_eq!(stream.clone_dtoh(&to).unwrap(), [0; 3], "a capture does not run");
    for round in 1..4 {
        stream.memcpy_htod(&[round; 3], &mut from).unwrap();
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&to).unwrap(), [round; 3]);
        assert_eq!(stream.clone_dtoh(&from).unwrap(), [0; 3]);
    }
}

#[test]
fn cudarc_gets_the_errors_of_a_capture() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let event = context.new_event(None).unwrap();
    let no_flags = Flags(0);
    stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    event.record(&stream).unwrap();
    assert_eq!(event.try_is_complete(), Err(DriverError(CUDA_ERROR_CAPTURED_EVENT)));
    assert_eq!(stream.capture_status().unwrap(), CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    assert_eq!(stream.end_capture(no_flags).err(), Some(DriverError(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)));
    stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    let device_launch = 4; // CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH, which CUDA 11.4 does not have yet
    let launched_by_the_device = Flags(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH.0 | device_launch);
    assert_eq!(stream.end_capture(launched_by_the_device).err(), Some(DriverError(CUDA_ERROR_INVALID_VALUE)));
    stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    stream.end_capture(no_flags).unwrap().unwrap().launch().unwrap();
    stream.synchronize().unwrap();
}

#[test]
fn cudarc_gets_errors_with_names() {
    let context = context();
    let error = unsafe { result::module::load_data(c"no PTX".as_ptr().cast()) }.unwrap_err();
    assert_eq!(error, DriverError(CUDA_ERROR_INVALID_PTX));
    assert!(format!("{error:?}").contains("CUDA_ERROR_INVALID_PTX"), "{error:?}");
    let stream = context.new_stream().unwrap();
    let too_much = unsafe { stream.alloc::<u8>(1 << 46) }.unwrap_err();
    assert_eq!(too_much, DriverError(CUDA_ERROR_OUT_OF_MEMORY));
}

/// Entry points whose C contract makes the arguments of the two tests below undefined.
const UNDEFINED: [&str; 4] = [
    // The program says how many bytes there are, and a pageable copy goes ahead.
    "cuMemcpy",
    "cuMemcpyAsync",
    // The program says that the memory exists.
    "cuMemHostRegister_v2",
    // The image is as long as its header says, and the arguments are no image.
    "cuModuleLoadFatBinary",
];

type AnyEntryPoint = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u32;

/// Calls every entry point with `argument` in the place of all of its arguments, after `prepare`.
fn call_all(argument: u64, mut prepare: impl FnMut()) {
    let init = unsafe { LIBRARY.get::<unsafe extern "C" fn(u32) -> u32>(b"cuInit") }.unwrap();
    assert_eq!(unsafe { init(0) }, 0);
    let symbols = include_str!("driver_symbols.txt").lines();
    for symbol in symbols.filter(|it| argument == 0 || !UNDEFINED.contains(it)) {
        let call = unsafe { LIBRARY.get::<AnyEntryPoint>(symbol.as_bytes()) }.unwrap();
        prepare();
        let a = argument;
        let code = unsafe { call(a, a, a, a, a, a, a, a, a, a, a, a) };
        assert_ne!(code, 999, "{symbol} panicked");
    }
}

/// Runs the ignored test `child` in a process of its own.
fn survives(child: &str) {
    let mut command = std::process::Command::new(env::current_exe().unwrap());
    let output = command.args([child, "--exact", "--ignored", "--test-threads=1"]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{:?}: {}{}", output.status, text(&output.stdout), text(&output.stderr));
}

#[test]
fn no_entry_point_crashes_on_nulls() {
    survives("child_nulls");
}

#[test]
#[ignore = "run by another test"]
fn child_nulls() {
    call_all(0, || {});
    let context = context();
    call_all(0, || {});
    drop(context);
}

/// All arguments are the address of a buffer of zeros: a wild handle, a huge size, and a pointer that can be written.
#[test]
fn no_entry_point_crashes_on_wild_handles_and_huge_sizes() {
    survives("child_wild");
}

#[test]
#[ignore = "run by another test"]
fn child_wild() {
    let _context = context();
    let mut buffer = vec![0u64; 1 << 17];
    let middle = &raw mut buffer[1 << 10];
    // What one call wrote there is not another's argument.
    call_all(middle as u64, || buffer.fill(0));
}
