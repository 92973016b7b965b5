//! Adding nodes to a graph, and asking and changing what they do.

use super::{
    edges::{EdgeData, check_plain, indices},
    model::{Body, NodeId},
    params::{
        HostNodeParams, KernelNodeParams, KernelNodeParamsV1, MemAllocNodeParams, MemsetNodeParams, Wanted,
        copy_params, host_params, kernel_params, memset_params,
    },
};
use crate::driver::{
    DevicePtr, Handle,
    copy_pitched::Copy3D,
    entry,
    error::{Error, Result},
    objects::Objects,
    put,
    state::driver,
    work::Work,
};
use std::{ffi::c_int, sync::Arc};

/// Reads a struct that the caller describes.
///
/// # Safety
/// `params` is null or valid for a read.
pub(super) unsafe fn read<T: Copy>(params: *const T) -> Result<T> {
    // SAFETY: not null, so valid, by the caller's promise.
    if params.is_null() { Err(Error::INVALID_VALUE) } else { Ok(unsafe { *params }) }
}

/// Adds a node behind others.
///
/// # Safety
/// As CUDA's, for what is wanted.
unsafe fn add(
    out: *mut NodeId,
    graph: Handle,
    after: *const NodeId,
    n_after: usize,
    wanted: Result<Wanted>,
) -> Result<Arc<Body>> {
    let driver = driver()?;
    // SAFETY: the caller's promise.
    let after = unsafe { indices(graph, after, n_after) }?;
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    let body = Body::new(unsafe { wanted?.work(driver) }?);
    let set = after.iter().copied().collect::<std::collections::BTreeSet<_>>();
    if set.len() != after.len() {
        return Err(Error::INVALID_VALUE);
    }
    let index = driver.objects().graph_mut(graph)?.add(Arc::clone(&body), set);
    // SAFETY: the caller's promise.
    unsafe { put(out, NodeId::new(graph as u64, index)) }?;
    Ok(body)
}

macro_rules! adders {
    ($($name:ident ($($param:ident: $ty:ty),*) $wanted:expr;)*) => {$(
        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            out: *mut NodeId,
            graph: Handle,
            after: *const NodeId,
            n_after: usize,
            $($param: $ty),*
        ) -> u32 {
            // SAFETY: the caller's promise.
            entry(|| unsafe { add(out, graph, after, n_after, $wanted).map(drop) })
        }
    )*};
}

adders! {
    cuGraphAddKernelNode(params: *const KernelNodeParamsV1) read(params).map(|it| Wanted::Kernel(it.into()));
    cuGraphAddKernelNode_v2(params: *const KernelNodeParams) read(params).map(Wanted::Kernel);
    cuGraphAddMemcpyNode(params: *const Copy3D, _context: Handle) read(params).map(Wanted::Copy);
    cuGraphAddMemsetNode(params: *const MemsetNodeParams, _context: Handle) read(params).map(Wanted::Fill);
    cuGraphAddHostNode(params: *const HostNodeParams) read(params).map(Wanted::Host);
    cuGraphAddChildGraphNode(child: Handle) Ok(Wanted::Graph(child));
    cuGraphAddEmptyNode() Ok(Wanted::Empty);
    cuGraphAddEventRecordNode(event: Handle) Ok(Wanted::Record(event));
    cuGraphAddEventWaitNode(event: Handle) Ok(Wanted::WaitFor(event));
    cuGraphAddMemFreeNode(address: DevicePtr) Ok(Wanted::Free(address));
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphAddMemAllocNode(
    out: *mut NodeId,
    graph: Handle,
    after: *const NodeId,
    n_after: usize,
    params: *mut MemAllocNodeParams,
) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { add_alloc(out, graph, after, n_after, params) })
}

/// # Safety
/// As CUDA's.
unsafe fn add_alloc(
    out: *mut NodeId,
    graph: Handle,
    after: *const NodeId,
    n_after: usize,
    params: *mut MemAllocNodeParams,
) -> Result {
    // SAFETY: the caller's promise.
    let mut it = unsafe { read(params.cast_const()) }?;
    // SAFETY: the caller's promise.
    let body = unsafe { add(out, graph, after, n_after, Ok(Wanted::Allocate(it.bytes))) }?;
    if let Work::Allocate(memory) = &body.work {
        it.address = memory.address();
    }
    // SAFETY: not null, so valid, by the caller's promise.
    unsafe { put(params, it) }
}

/// `CUgraphNodeParams`: a type, and a union at offset 16.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct NodeParams {
    pub kind: c_int,
    reserved: [c_int; 3],
    pub value: [u64; 29],
    pub reserved2: u64,
}

/// What a `CUgraphNodeParams` describes.
///
/// # Safety
/// `params` is null or valid for a read.
pub(super) unsafe fn wanted(params: *const NodeParams) -> Result<Wanted> {
    if params.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: not null, so valid; each type of the union fits its 232 bytes and is aligned to 8.
    unsafe {
        let value = (&raw const (*params).value).cast::<u64>();
        Ok(match (*params).kind {
            0 => Wanted::Kernel(value.cast::<KernelNodeParams>().read()),
            // `CUDA_MEMCPY_NODE_PARAMS`: flags and context before the copy.
            1 => Wanted::Copy(value.add(2).cast::<Copy3D>().read()),
            2 => Wanted::Fill(value.cast::<MemsetNodeParams>().read()),
            3 => Wanted::Host(value.cast::<HostNodeParams>().read()),
            4 => Wanted::Graph(value.read() as Handle),
            5 => Wanted::Empty,
            6 => Wanted::WaitFor(value.read() as Handle),
            7 => Wanted::Record(value.read() as Handle),
            11 => Wanted::Free(value.read()),
            8 | 9 | 12 | 13 => return Err(Error::NOT_SUPPORTED), // semaphores, batches, conditions
            _ => return Err(Error::INVALID_VALUE),
        })
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphAddNode(
    out: *mut NodeId,
    graph: Handle,
    after: *const NodeId,
    n_after: usize,
    params: *mut NodeParams,
) -> u32 {
    const ALLOCATION: c_int = 10;
    entry(|| {
        // SAFETY: not null, so valid, by the caller's promise.
        if !params.is_null() && unsafe { (*params).kind } == ALLOCATION {
            // SAFETY: the caller's promise: this type has these parameters.
            return unsafe { add_alloc(out, graph, after, n_after, (&raw mut (*params).value).cast()) };
        }
        // SAFETY: the caller's promise.
        unsafe { add(out, graph, after, n_after, wanted(params)).map(drop) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphAddNode_v2(
    out: *mut NodeId,
    graph: Handle,
    after: *const NodeId,
    edges: *const EdgeData,
    n_after: usize,
    params: *mut NodeParams,
) -> u32 {
    // SAFETY: the caller's promise.
    match unsafe { check_plain(graph, edges, n_after) } {
        // SAFETY: the caller's promise.
        Ok(()) => unsafe { cuGraphAddNode(out, graph, after, n_after, params) },
        Err(Error(code)) => code,
    }
}

/// Reads something off a node's body.
fn ask<T>(node: NodeId, read: impl FnOnce(&Body, &Objects) -> Result<T>) -> Result<T> {
    let objects = driver()?.objects();
    read(&objects.graph_of(node)?.node(node.index())?.body, &objects)
}

macro_rules! getters {
    ($($name:ident $ty:ty = $read:expr;)*) => {$(
        /// `CUDA_ERROR_INVALID_VALUE` when the node is of another type.
        ///
        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(node: NodeId, out: *mut $ty) -> u32 {
            // SAFETY: the caller's promise.
            entry(|| unsafe { put(out, ask(node, $read)?) })
        }
    )*};
}

getters! {
    cuGraphKernelNodeGetParams KernelNodeParamsV1 = |body, objects| {
        let KernelNodeParams { function, grid, block, shared_bytes, params, extra, .. } = kernel_params(body, objects)?;
        Ok(KernelNodeParamsV1 { function, grid, block, shared_bytes, params, extra })
    };
    cuGraphKernelNodeGetParams_v2 KernelNodeParams = kernel_params;
    cuGraphMemcpyNodeGetParams Copy3D = |body, _| copy_params(body);
    cuGraphMemsetNodeGetParams MemsetNodeParams = |body, _| memset_params(body);
    cuGraphHostNodeGetParams HostNodeParams = |body, _| host_params(body);
    cuGraphEventRecordNodeGetEvent Handle = |body, objects| match &body.work {
        Work::Record(event) => objects.handle_of(event),
        _ => Err(Error::INVALID_VALUE),
    };
    cuGraphEventWaitNodeGetEvent Handle = |body, objects| match &body.work {
        Work::WaitFor(event) => objects.handle_of(event),
        _ => Err(Error::INVALID_VALUE),
    };
    cuGraphMemFreeNodeGetParams DevicePtr = |body, _| match body.work {
        Work::FreeInGraph(address) => Ok(address),
        _ => Err(Error::INVALID_VALUE),
    };
}

/// Puts other work of the same kind into a node. Executable graphs made of it keep what they have.
///
/// # Safety
/// As CUDA's, for what is wanted.
unsafe fn set(node: NodeId, wanted: Result<Wanted>) -> Result {
    let driver = driver()?;
    driver.objects().graph_of(node)?.node(node.index())?;
    // SAFETY: the caller's promise.
    let body = Body::new(unsafe { wanted?.work(driver) }?);
    let mut objects = driver.objects();
    let it = objects.graph_mut(node.graph() as Handle)?.node_mut(node.index())?;
    if it.body.kind() != body.kind() {
        return Err(Error::INVALID_VALUE);
    }
    it.body = body;
    Ok(())
}

macro_rules! setters {
    ($($name:ident ($param:ident: $ty:ty) $wanted:expr;)*) => {$(
        /// `CUDA_ERROR_INVALID_VALUE` when the node is of another type.
        ///
        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(node: NodeId, $param: $ty) -> u32 {
            // SAFETY: the caller's promise.
            entry(|| unsafe { set(node, $wanted) })
        }
    )*};
}

setters! {
    cuGraphKernelNodeSetParams(params: *const KernelNodeParamsV1) read(params).map(|it| Wanted::Kernel(it.into()));
    cuGraphKernelNodeSetParams_v2(params: *const KernelNodeParams) read(params).map(Wanted::Kernel);
    cuGraphMemcpyNodeSetParams(params: *const Copy3D) read(params).map(Wanted::Copy);
    cuGraphMemsetNodeSetParams(params: *const MemsetNodeParams) read(params).map(Wanted::Fill);
    cuGraphHostNodeSetParams(params: *const HostNodeParams) read(params).map(Wanted::Host);
    cuGraphEventRecordNodeSetEvent(event: Handle) Ok(Wanted::Record(event));
    cuGraphEventWaitNodeSetEvent(event: Handle) Ok(Wanted::WaitFor(event));
    cuGraphNodeSetParams(params: *const NodeParams) wanted(params);
}

// The layout of `cuda.h`.
const _: () = assert!(size_of::<NodeParams>() == 256);
