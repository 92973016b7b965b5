//! Graphs: captured from a stream or built by hand, copied, printed and instantiated.

pub mod model;
pub mod edges;
pub mod params;
pub mod nodes;
pub mod exec;
pub mod capturing;

pub use self::{capturing::*, edges::*, exec::*, nodes::*};

use super::{
    Handle, entry,
    error::{Error, Result},
    name, put, put_if_wanted,
    state::driver,
    work::Work,
};
use model::{Body, Graph, NodeId};
use std::{
    ffi::{c_char, c_uint, c_ulonglong},
    fmt::Write as _,
    fs,
    sync::Arc,
};

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
        objects.graphs.insert(handle, Graph::default());
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

/// The nodes of the copy have the places of those they are copied from.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphClone(out: *mut Handle, graph: Handle) -> u32 {
    entry(|| {
        let mut objects = driver()?.objects();
        let copy = objects.graph(graph)?.clone();
        if out.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        let handle = objects.new_handle();
        objects.graphs.insert(handle, copy);
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeFindInClone(out: *mut NodeId, original: NodeId, clone: Handle) -> u32 {
    entry(|| {
        driver()?.objects().graph(clone)?.node(original.index())?;
        // SAFETY: the caller's promise.
        unsafe { put(out, NodeId::new(clone as u64, original.index())) }
    })
}

/// Writes the graph in the language of Graphviz.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDebugDotPrint(graph: Handle, file: *const c_char, _flags: c_uint) -> u32 {
    entry(|| {
        // SAFETY: the caller's promise.
        let file = unsafe { name(file) }?;
        let text = dot(driver()?.objects().graph(graph)?);
        fs::write(file, text).map_err(|error| {
            say!("cannot write the graph to {file}: {error}");
            Error::OPERATING_SYSTEM
        })
    })
}

fn dot(graph: &Graph) -> String {
    let mut text = "digraph graph {\n".to_owned();
    for (index, node) in graph.nodes() {
        let _ = writeln!(text, "  n{index} [label=\"{}\"];", label(&node.body));
    }
    for (from, to) in graph.edges() {
        let _ = writeln!(text, "  n{from} -> n{to};");
    }
    text + "}\n"
}

/// A node in a few words. Kernel names are PTX identifiers, with nothing to escape.
fn label(body: &Body) -> String {
    match &body.work {
        Work::Launch(launch) => format!("{} {:?} {:?}", launch.kernel.name, launch.shape.grid, launch.shape.block),
        Work::Copy(copy) => format!("copy {} x {} bytes", copy.extent.n_rows, copy.extent.width),
        Work::Fill(fill) => format!("memset {} x {} bytes", fill.extent.n_rows, fill.extent.width),
        Work::Call { .. } => "host".to_owned(),
        Work::Graph(bodies) => format!("graph of {} nodes", bodies.len()),
        Work::WaitFor(_) => "event wait".to_owned(),
        Work::Record(_) => "event record".to_owned(),
        Work::Allocate(memory) => format!("allocate {} bytes", memory.bytes),
        Work::FreeInGraph(_) => "free".to_owned(),
        Work::Join | Work::Stamp { .. } | Work::Callback { .. } | Work::Free(_) => "empty".to_owned(),
    }
}

/// The flag of an instantiation that also brings the graph to the device.
const UPLOAD: c_ulonglong = 2;

/// # Errors
/// When the flags contradict each other, or ask for launches from device code.
fn check_flags(flags: c_ulonglong) -> Result {
    const AUTO_FREE_ON_LAUNCH: c_ulonglong = 1;
    const DEVICE_LAUNCH: c_ulonglong = 4;
    const USE_NODE_PRIORITY: c_ulonglong = 8;
    if flags & !(AUTO_FREE_ON_LAUNCH | UPLOAD | DEVICE_LAUNCH | USE_NODE_PRIORITY) != 0
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
        // Only `cuGraphInstantiateWithParams` has the stream that this one needs.
        if flags & UPLOAD != 0 {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        unsafe { instantiate(out, graph, flags) }
    })
}

/// # Safety
/// `out` is null or valid for a write.
unsafe fn instantiate(out: *mut Handle, graph: Handle, flags: c_ulonglong) -> Result {
    let mut objects = driver()?.objects();
    let it = objects.graph(graph)?;
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    check_flags(flags)?;
    let exec = Arc::new(GraphExec::new(graph as u64, it, flags)?);
    let handle = objects.new_handle();
    objects.graph_execs.insert(handle, exec);
    // SAFETY: the caller's promise.
    unsafe { put(out, handle as Handle) }
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

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[repr(C)]
#[derive(Debug)]
pub struct InstantiateParams {
    pub flags: c_ulonglong,
    pub upload_stream: Handle,
    pub error_node: NodeId,
    /// `CUgraphInstantiateResult`.
    pub result: c_uint,
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithParams(
    out: *mut Handle,
    graph: Handle,
    params: *mut InstantiateParams,
) -> u32 {
    const SUCCESS: c_uint = 0;
    const ERROR: c_uint = 1;
    entry(|| {
        if params.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not null, so valid, by the caller's promise.
        let params = unsafe { &mut *params };
        // SAFETY: the caller's promise.
        let made = unsafe { instantiate(out, graph, params.flags) };
        params.error_node = NodeId::NULL;
        params.result = if made.is_ok() { SUCCESS } else { ERROR };
        made
    })
}

// The layout of `cuda.h`.
const _: () = assert!(size_of::<InstantiateParams>() == 32);
