//! Graphs: what a stream captured, and launching it again.

use super::{
    Handle,
    capture::{Mode, exchange_thread_mode},
    entry,
    error::{Error, Result},
    objects::GraphExec,
    put, put_if_wanted,
    state::driver,
    work::{NodeId, Work},
};
use std::{
    ffi::{c_char, c_uint, c_ulonglong, c_void},
    ptr,
    sync::{Arc, Mutex, PoisonError},
};

/// `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
#[derive(Debug)]
pub struct KernelNodeParams {
    pub function: Handle,
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared_bytes: c_uint,
    /// One pointer for each parameter; they live as long as the graph.
    pub params: *const *const c_void,
    pub extra: *mut *mut c_void,
    pub kernel: Handle,
    pub context: Handle,
}

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
        driver.objects().graphs.insert(handle, nodes.into());
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

/// An empty graph.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphCreate(out: *mut Handle, flags: c_uint) -> u32 {
    entry(|| {
        let mut objects = driver()?.objects();
        if out.is_null() || flags != 0 {
            return Err(Error::INVALID_VALUE);
        }
        let handle = objects.new_handle();
        objects.graphs.insert(handle, Arc::new([]));
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }
    })
}

/// What was instantiated from it lives on.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: Handle) -> u32 {
    entry(|| driver()?.objects().graphs.remove(&(graph as u64)).map(drop).ok_or(Error::INVALID_VALUE))
}

/// Writes handles into an array with room for `*n`, and how many there are; with no array, only the latter.
///
/// # Safety
/// `n` is null or valid for reads and writes, `out` null or valid for writes of `*n` handles.
unsafe fn put_list(out: *mut NodeId, n: *mut usize, nodes: &[NodeId]) -> Result {
    if n.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    if out.is_null() {
        // SAFETY: not null, so valid, by the caller's promise.
        return unsafe { put(n, nodes.len()) };
    }
    // SAFETY: the caller's promise.
    unsafe {
        let room = *n;
        for i in 0..room {
            out.add(i).write(nodes.get(i).copied().unwrap_or(NodeId::NULL));
        }
        put(n, room.min(nodes.len()))
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetNodes(graph: Handle, out: *mut NodeId, n: *mut usize) -> u32 {
    entry(|| {
        let nodes = driver()?.objects().graph(graph)?;
        let all: Vec<NodeId> = (0..nodes.len()).map(|i| NodeId::new(graph as u64, i)).collect();
        // SAFETY: the caller's promise.
        unsafe { put_list(out, n, &all) }
    })
}

/// The nodes that wait for no other.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetRootNodes(graph: Handle, out: *mut NodeId, n: *mut usize) -> u32 {
    entry(|| {
        let nodes = driver()?.objects().graph(graph)?;
        let is_root = |i: &usize| nodes[*i].after.is_empty();
        let roots: Vec<NodeId> = (0..nodes.len()).filter(is_root).map(|i| NodeId::new(graph as u64, i)).collect();
        // SAFETY: the caller's promise.
        unsafe { put_list(out, n, &roots) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetDependencies(node: NodeId, out: *mut NodeId, n: *mut usize) -> u32 {
    entry(|| {
        let nodes = driver()?.objects().graph_of(node)?;
        // SAFETY: the caller's promise.
        unsafe { put_list(out, n, &nodes[node.index()].after) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetType(node: NodeId, kind: *mut u32) -> u32 {
    entry(|| {
        let nodes = driver()?.objects().graph_of(node)?;
        let code = match nodes[node.index()].work {
            Work::Launch(_) => 0,
            Work::Copy(_) => 1,
            Work::Fill(_) => 2,
            Work::Call { .. } => 3,
            Work::Graph(_) => 4,
            Work::Allocate(_) => 10,
            Work::FreeInGraph(_) => 11,
            Work::Stamp { .. } | Work::Free(_) | Work::Join => unreachable!("it is not captured"),
        };
        // SAFETY: the caller's promise.
        unsafe { put(kind, code) }
    })
}

/// `CUDA_ERROR_INVALID_VALUE` when the node is no kernel.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphKernelNodeGetParams_v2(node: NodeId, out: *mut KernelNodeParams) -> u32 {
    entry(|| {
        let objects = driver()?.objects();
        let nodes = objects.graph_of(node)?;
        let node = &nodes[node.index()];
        let Work::Launch(launch) = &node.work else { return Err(Error::INVALID_VALUE) };
        let function = objects.functions.iter().find(|it| Arc::ptr_eq(&it.1.kernel, &launch.kernel));
        // The module may have been unloaded since.
        let (handle, function) = function.ok_or(Error::INVALID_HANDLE)?;
        let params = KernelNodeParams {
            function: *handle as Handle,
            grid: launch.shape.grid,
            block: launch.shape.block,
            shared_bytes: launch.shape.dynamic_shared_bytes,
            params: node.params.as_ptr().cast(),
            extra: ptr::null_mut(),
            kernel: ptr::null_mut(),
            context: function.context.handle as Handle,
        };
        // SAFETY: the caller's promise.
        unsafe { put(out, params) }
    })
}

/// # Errors
/// When the flags contradict each other, or ask for launches from device code.
fn check_flags(flags: c_ulonglong) -> Result {
    const AUTO_FREE_ON_LAUNCH: c_ulonglong = 1;
    const DEVICE_LAUNCH: c_ulonglong = 4;
    const USE_NODE_PRIORITY: c_ulonglong = 8;
    if flags & !(AUTO_FREE_ON_LAUNCH | DEVICE_LAUNCH | USE_NODE_PRIORITY) != 0
        || flags & (AUTO_FREE_ON_LAUNCH | DEVICE_LAUNCH) == AUTO_FREE_ON_LAUNCH | DEVICE_LAUNCH
    {
        return Err(Error::INVALID_VALUE);
    }
    if flags & DEVICE_LAUNCH != 0 { Err(Error::NOT_SUPPORTED) } else { Ok(()) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(out: *mut Handle, graph: Handle, flags: c_ulonglong) -> u32 {
    entry(|| {
        let mut objects = driver()?.objects();
        let nodes = objects.graph(graph)?;
        if out.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        check_flags(flags)?;
        let handle = objects.new_handle();
        objects.graph_execs.insert(handle, Arc::new(GraphExec { nodes, flags, last: Mutex::new(None) }));
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }
    })
}

/// There is nothing to say about a node or in a log.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiate_v2(
    out: *mut Handle,
    graph: Handle,
    error_node: *mut NodeId,
    log: *mut c_char,
    log_bytes: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        put_if_wanted(error_node, NodeId::NULL);
        if log_bytes > 0 {
            put_if_wanted(log, 0);
        }
        cuGraphInstantiateWithFlags(out, graph, 0)
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecGetFlags(exec: Handle, flags: *mut c_ulonglong) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(flags, driver()?.objects().graph_exec(exec)?.flags) })
}

/// Launches that are queued will still be done.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(exec: Handle) -> u32 {
    entry(|| driver()?.objects().graph_execs.remove(&(exec as u64)).map(drop).ok_or(Error::INVALID_VALUE))
}

/// There is nothing to upload.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphUpload(exec: Handle, stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        driver.objects().graph_exec(exec)?;
        driver.captures().refuse(&stream, Error::STREAM_CAPTURE_UNSUPPORTED)
    })
}

/// Behind earlier work of the stream, and behind the last launch of the same graph in whatever stream. A stream that is
/// captured takes the graph as one node.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(exec: Handle, stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        let exec = driver.objects().graph_exec(exec)?;
        // Held until the ticket is there, so that two threads do not both wait for the same launch.
        let mut last = exec.last.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = driver.submit(&stream, last.as_slice(), Work::Graph(Arc::clone(&exec.nodes)))?;
        *last = ticket.or(*last);
        Ok(())
    })
}

// The layout of `cuda.h`.
const _: () = assert!(size_of::<KernelNodeParams>() == 72);
