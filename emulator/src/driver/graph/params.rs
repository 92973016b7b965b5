//! What `cuda.h` says about nodes, to work and back.

use super::model::Body;
use crate::driver::{
    DevicePtr, Handle,
    copy_pitched::{Copy3D, End3D, rows_of},
    error::{Error, Result},
    graph_memory::GraphMemory,
    launch::{Arguments, prepare},
    objects::Objects,
    pool::{AccessDesc, PoolProps},
    state::Driver,
    transfer::{Copy, Extent, Fill, Pitch, Place, Source},
    work::{HostFunction, Launch, Work},
};
use crate::sched::Shape;
use std::{
    ffi::{c_uint, c_void},
    ptr,
    sync::Arc,
};

/// `CUDA_KERNEL_NODE_PARAMS_v2`; the first version ends before `kernel`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
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

/// `CUDA_KERNEL_NODE_PARAMS_v1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KernelNodeParamsV1 {
    pub function: Handle,
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared_bytes: c_uint,
    pub params: *const *const c_void,
    pub extra: *mut *mut c_void,
}

/// `CUDA_MEMSET_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemsetNodeParams {
    pub to: DevicePtr,
    pub pitch: usize,
    pub value: c_uint,
    pub element_bytes: c_uint,
    /// In elements.
    pub width: usize,
    pub height: usize,
}

/// `CUDA_HOST_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HostNodeParams {
    pub function: Option<HostFunction>,
    pub argument: *mut c_void,
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MemAllocNodeParams {
    pub pool: PoolProps,
    pub accesses: *const AccessDesc,
    pub n_accesses: usize,
    pub bytes: usize,
    /// Where the memory will be: written by the call.
    pub address: DevicePtr,
}

/// What a node is wanted for.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    Kernel(KernelNodeParams),
    Copy(Copy3D),
    Fill(MemsetNodeParams),
    Host(HostNodeParams),
    Graph(Handle),
    Empty,
    WaitFor(Handle),
    Record(Handle),
    Allocate(usize),
    Free(DevicePtr),
}

impl From<KernelNodeParamsV1> for KernelNodeParams {
    fn from(KernelNodeParamsV1 { function, grid, block, shared_bytes, params, extra }: KernelNodeParamsV1) -> Self {
        let (kernel, context) = (ptr::null_mut(), ptr::null_mut());
        Self { function, grid, block, shared_bytes, params, extra, kernel, context }
    }
}

impl Wanted {
    /// The work that was described.
    ///
    /// # Safety
    /// A kernel's arguments are as for a launch, and what a copy describes as host memory is valid whenever it runs.
    pub unsafe fn work(self, driver: &Driver) -> Result<Work> {
        Ok(match self {
            // SAFETY: the caller's promise.
            Wanted::Kernel(params) => Work::Launch(unsafe { kernel(driver, params) }?),
            Wanted::Copy(params) => {
                let (to, from) = params.ends()?;
                Work::Copy(driver.check_copy(to, from, nonempty(params.extent())?)?)
            }
            Wanted::Fill(params) => Work::Fill(fill(driver, params)?),
            Wanted::Host(HostNodeParams { function, argument }) => {
                Work::Call { function: function.ok_or(Error::INVALID_VALUE)?, argument: argument as usize }
            }
            Wanted::Graph(graph) => Work::Graph(driver.objects().graph(graph)?.bodies()?),
            Wanted::Empty => Work::Join,
            Wanted::WaitFor(event) => Work::WaitFor(driver.objects().event(event)?),
            Wanted::Record(event) => Work::Record(driver.objects().event(event)?),
            Wanted::Allocate(bytes) => {
                let context = driver.objects().current()?;
                if bytes == 0 {
                    return Err(Error::INVALID_VALUE);
                }
                Work::Allocate(Arc::new(GraphMemory::new(driver, bytes as u64, context.serial)?))
            }
            Wanted::Free(address) if driver.graph_memory().contains(&address) => Work::FreeInGraph(address),
            Wanted::Free(_) => return Err(Error::INVALID_VALUE),
        })
    }
}

fn nonempty(extent: Extent) -> Result<Extent> {
    if extent.is_empty() { Err(Error::INVALID_VALUE) } else { Ok(extent) }
}

/// # Safety
/// The arguments are as for a launch.
unsafe fn kernel(driver: &Driver, it: KernelNodeParams) -> Result<Launch> {
    let KernelNodeParams { function, grid, block, shared_bytes, params, extra, kernel, .. } = it;
    let handle = if function.is_null() { kernel } else { function };
    let context = driver.objects().current()?;
    let function = driver.function(handle, &context)?;
    let shape = Shape { grid, block, dynamic_shared_bytes: shared_bytes };
    let arguments = Arguments { params: params.cast_mut().cast(), extra };
    // SAFETY: the caller's promise.
    unsafe { prepare(&function, shape, arguments, false) }
}

fn fill(driver: &Driver, it: MemsetNodeParams) -> Result<Fill> {
    let MemsetNodeParams { to, pitch, value, element_bytes, width, height } = it;
    if !matches!(element_bytes, 1 | 2 | 4) {
        return Err(Error::INVALID_VALUE);
    }
    let fill = rows_of(to, pitch, value.into(), element_bytes as usize, (width, height))?;
    nonempty(fill.extent)?;
    driver.check_fill(&fill)?;
    Ok(fill)
}

/// The parameters of a kernel node.
///
/// # Errors
/// When the node is no kernel, or its module was unloaded since.
pub fn kernel_params(body: &Body, objects: &Objects) -> Result<KernelNodeParams> {
    let Work::Launch(launch) = &body.work else { return Err(Error::INVALID_VALUE) };
    let function = objects.functions.iter().find(|it| Arc::ptr_eq(&it.1.kernel, &launch.kernel));
    let (handle, function) = function.ok_or(Error::INVALID_HANDLE)?;
    Ok(KernelNodeParams {
        function: *handle as Handle,
        grid: launch.shape.grid,
        block: launch.shape.block,
        shared_bytes: launch.shape.dynamic_shared_bytes,
        params: body.params.as_ptr().cast(),
        extra: ptr::null_mut(),
        kernel: ptr::null_mut(),
        context: function.context.handle as Handle,
    })
}

/// The parameters of a memset node.
pub fn memset_params(body: &Body) -> Result<MemsetNodeParams> {
    let Work::Fill(Fill { to, value, element, pitch, extent }) = body.work else { return Err(Error::INVALID_VALUE) };
    Ok(MemsetNodeParams {
        to,
        pitch: pitch.row as usize,
        value: value as c_uint,
        element_bytes: element as c_uint,
        width: (extent.width / element) as usize,
        height: extent.n_rows as usize,
    })
}

/// The parameters of a copy node: the same copy, with offsets added to the addresses.
pub fn copy_params(body: &Body) -> Result<Copy3D> {
    let Work::Copy(Copy { to, to_pitch, from: Source::Place(from), from_pitch, extent }) = &body.work else {
        return Err(Error::INVALID_VALUE);
    };
    Ok(Copy3D {
        from: end(*from, *from_pitch),
        to: end(*to, *to_pitch),
        width_bytes: extent.width as usize,
        height: extent.n_rows as usize,
        depth: extent.n_slices as usize,
    })
}

fn end(place: Place, pitch: Pitch) -> End3D {
    const UNIFIED: c_uint = 4;
    let (Place::Mapped(device) | Place::Pageable(device)) = place;
    End3D {
        x_bytes: 0,
        y: 0,
        z: 0,
        level: 0,
        memory_type: UNIFIED,
        host: ptr::null_mut(),
        device,
        array: ptr::null_mut(),
        context: ptr::null_mut(),
        pitch: pitch.row as usize,
        height: pitch.slice.checked_div(pitch.row).unwrap_or(0) as usize,
    }
}

/// The parameters of a host node.
pub fn host_params(body: &Body) -> Result<HostNodeParams> {
    let Work::Call { function, argument } = body.work else { return Err(Error::INVALID_VALUE) };
    Ok(HostNodeParams { function: Some(function), argument: argument as *mut c_void })
}

// The layouts of `cuda.h`.
const _: () = assert!(size_of::<KernelNodeParams>() == 72 && size_of::<KernelNodeParamsV1>() == 56);
const _: () = assert!(size_of::<MemsetNodeParams>() == 40 && size_of::<HostNodeParams>() == 16);
const _: () = assert!(size_of::<MemAllocNodeParams>() == 120);
