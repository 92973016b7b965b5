//! The entry points of stream capture.

use super::{
    edges::{EdgeData, are_plain},
    model::NodeId,
};
use crate::driver::{
    Handle,
    capture::{Mode, exchange_thread_mode},
    entry,
    error::Error,
    put, put_if_wanted,
    state::driver,
};
use std::{
    ffi::{c_uint, c_ulonglong, c_void},
    ptr,
};

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: Handle, mode: u32) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        let mode = Mode::new(mode)?;
        let graph = driver.objects().new_handle();
        driver.captures().begin(&stream, mode, graph)
    })
}

/// The graph is null when the capture failed.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        // SAFETY: the caller's promise.
        unsafe { put(graph, ptr::null_mut()) }?;
        let (handle, nodes) = driver.captures().end(&stream)?;
        driver.objects().graphs.insert(handle, nodes);
        // SAFETY: the caller's promise.
        unsafe { put(graph, handle as Handle) }
    })
}

/// Swaps the calling thread's mode with `*mode`.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuThreadExchangeStreamCaptureMode(mode: *mut u32) -> u32 {
    entry(|| {
        if mode.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not null, so valid, by the caller's promise.
        let new = Mode::new(unsafe { *mode })?;
        // SAFETY: the caller's promise.
        unsafe { put(mode, exchange_thread_mode(new) as u32) }
    })
}

/// `CUstreamCaptureStatus`.
const NOT_CAPTURING: c_uint = 0;
const CAPTURING: c_uint = 1;
const INVALIDATED: c_uint = 2;

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(stream: Handle, status: *mut c_uint) -> u32 {
    let (id, graph) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the caller's promise.
    unsafe { cuStreamGetCaptureInfo_v2(stream, status, id, graph, ptr::null_mut(), ptr::null_mut()) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCaptureInfo_v2(
    stream: Handle,
    status: *mut c_uint,
    id: *mut c_ulonglong,
    graph: *mut Handle,
    dependencies: *mut *const NodeId,
    n_dependencies: *mut usize,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        let info = driver.captures().info(&stream)?;
        let code = info.as_ref().map_or(NOT_CAPTURING, |it| if it.is_broken { INVALIDATED } else { CAPTURING });
        let active = info.filter(|it| !it.is_broken);
        let (handle, (after, n_after)) = active.map_or((0, (ptr::null(), 0)), |it| (it.graph, it.after));
        // SAFETY: the caller's promise.
        unsafe {
            put_if_wanted(id, handle);
            put_if_wanted(graph, handle as Handle);
            put_if_wanted(dependencies, after);
            put_if_wanted(n_dependencies, n_after);
            put(status, code)
        }
    })
}

/// All edges are plain ones, which null stands for.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCaptureInfo_v3(
    stream: Handle,
    status: *mut c_uint,
    id: *mut c_ulonglong,
    graph: *mut Handle,
    dependencies: *mut *const NodeId,
    edges: *mut *const c_void,
    n_dependencies: *mut usize,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        put_if_wanted(edges, ptr::null());
        cuStreamGetCaptureInfo_v2(stream, status, id, graph, dependencies, n_dependencies)
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCaptureInfo(stream: Handle, status: *mut c_uint, id: *mut c_ulonglong) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuStreamGetCaptureInfo_v2(stream, status, id, ptr::null_mut(), ptr::null_mut(), ptr::null_mut()) }
}

/// Changes what the stream's next node waits for: adds to it, or puts these in its place.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamUpdateCaptureDependencies(
    stream: Handle,
    nodes: *mut NodeId,
    n: usize,
    flags: c_uint,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuStreamUpdateCaptureDependencies_v2(stream, nodes, ptr::null(), n, flags) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamUpdateCaptureDependencies_v2(
    stream: Handle,
    nodes: *mut NodeId,
    edges: *const EdgeData,
    n: usize,
    flags: c_uint,
) -> u32 {
    const ADD: c_uint = 0;
    const SET: c_uint = 1;
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        if !matches!(flags, ADD | SET) || (n > 0 && nodes.is_null()) {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller promises `n` of them.
        let (is_plain, nodes) =
            unsafe { (are_plain(edges, n), (0..n).map(|i| *nodes.add(i)).collect::<Vec<NodeId>>()) };
        if !is_plain {
            return Err(Error::NOT_SUPPORTED);
        }
        driver.captures().update(&stream, &nodes, flags == SET)
    })
}
