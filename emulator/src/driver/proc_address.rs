//! Entry points by name.

use super::{entry, error::Error, name, put, put_if_wanted, unsupported};
use std::{
    collections::HashMap,
    ffi::{c_char, c_int, c_uint, c_void},
    ptr,
    sync::LazyLock,
};

macro_rules! implemented {
    ($($module:ident: $($name:ident)*;)*) => {
        /// Name and address of each entry point that does something.
        fn implemented() -> Vec<(&'static str, *mut c_void)> {
            vec![$($((stringify!($name), super::$module::$name as *mut c_void)),*),*]
        }
    };
}

implemented! {
    context:
        cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxReset_v2
        cuDevicePrimaryCtxSetFlags_v2 cuCtxCreate_v2 cuCtxCreate_v3 cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxGetCurrent
        cuCtxSetCurrent cuCtxPushCurrent_v2 cuCtxPopCurrent_v2 cuCtxGetDevice cuCtxSynchronize cuCtxGetFlags
        cuCtxSetFlags cuCtxGetId cuCtxGetApiVersion cuCtxGetLimit cuCtxSetLimit cuCtxGetCacheConfig
        cuCtxSetCacheConfig cuCtxGetStreamPriorityRange;
    copy:
        cuMemcpyHtoD_v2 cuMemcpyHtoDAsync_v2 cuMemcpyDtoH_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoD_v2
        cuMemcpyDtoDAsync_v2 cuMemcpy cuMemcpyAsync cuMemcpyPeer cuMemcpyPeerAsync cuMemsetD8_v2 cuMemsetD8Async
        cuMemsetD16_v2 cuMemsetD16Async cuMemsetD32_v2 cuMemsetD32Async;
    device:
        cuInit cuDriverGetVersion cuDeviceGet cuDeviceGetCount cuDeviceGetName cuDeviceGetPCIBusId
        cuDeviceGetByPCIBusId cuDeviceGetUuid cuDeviceGetUuid_v2 cuDeviceTotalMem_v2 cuDeviceComputeCapability
        cuDeviceCanAccessPeer cuDeviceGetAttribute cuModuleGetLoadingMode cuProfilerStart cuProfilerStop
        cuDevicePrimaryCtxGetState;
    error:
        cuGetErrorName cuGetErrorString;
    event:
        cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventRecordWithFlags cuEventSynchronize cuEventQuery
        cuEventElapsedTime cuEventElapsedTime_v2;
    function:
        cuFuncGetAttribute cuFuncSetAttribute cuFuncSetCacheConfig cuFuncGetModule cuFuncGetName cuFuncGetParamInfo
        cuOccupancyMaxActiveBlocksPerMultiprocessor cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags
        cuOccupancyMaxPotentialBlockSize cuOccupancyMaxPotentialBlockSizeWithFlags
        cuOccupancyAvailableDynamicSMemPerBlock cuFuncGetParamCount cuFuncLoad cuFuncIsLoaded cuFuncSetSharedMemConfig;
    host_memory:
        cuMemHostAlloc cuMemAllocHost_v2 cuMemFreeHost cuMemHostUnregister cuMemHostRegister_v2
        cuMemHostGetDevicePointer_v2 cuMemHostGetFlags;
    launch:
        cuLaunchKernel cuLaunchCooperativeKernel cuLaunchKernelEx;
    memory:
        cuMemGetInfo_v2 cuMemAlloc_v2 cuMemFree_v2 cuMemAllocAsync cuMemFreeAsync;
    module:
        cuModuleLoad cuModuleLoadData cuModuleLoadDataEx cuModuleGetFunction cuModuleGetGlobal_v2 cuModuleUnload cuModuleLoadFatBinary cuModuleGetFunctionCount cuModuleEnumerateFunctions;
    stream:
        cuStreamCreate cuStreamCreateWithPriority cuStreamDestroy_v2 cuStreamSynchronize cuStreamQuery
        cuStreamWaitEvent cuLaunchHostFunc cuStreamGetPriority cuStreamGetFlags cuStreamGetCtx;
    graph:
        cuStreamBeginCapture_v2 cuStreamEndCapture cuThreadExchangeStreamCaptureMode cuStreamIsCapturing
        cuStreamGetCaptureInfo_v2 cuStreamGetCaptureInfo_v3 cuGraphCreate cuGraphDestroy cuGraphGetNodes
        cuGraphGetRootNodes cuGraphNodeGetDependencies cuGraphNodeGetType cuGraphKernelNodeGetParams_v2
        cuGraphInstantiateWithFlags cuGraphInstantiate_v2 cuGraphExecGetFlags cuGraphExecDestroy cuGraphUpload
        cuGraphLaunch cuGraphAddKernelNode cuGraphAddKernelNode_v2 cuGraphAddMemcpyNode cuGraphAddMemsetNode
        cuGraphAddHostNode cuGraphAddChildGraphNode cuGraphAddEmptyNode cuGraphAddEventRecordNode
        cuGraphAddEventWaitNode cuGraphAddMemFreeNode cuGraphAddMemAllocNode cuGraphAddNode cuGraphAddNode_v2
        cuGraphKernelNodeGetParams cuGraphMemcpyNodeGetParams cuGraphMemsetNodeGetParams cuGraphHostNodeGetParams
        cuGraphEventRecordNodeGetEvent cuGraphEventWaitNodeGetEvent cuGraphMemFreeNodeGetParams
        cuGraphKernelNodeSetParams cuGraphKernelNodeSetParams_v2 cuGraphMemcpyNodeSetParams
        cuGraphMemsetNodeSetParams cuGraphHostNodeSetParams cuGraphEventRecordNodeSetEvent
        cuGraphEventWaitNodeSetEvent cuGraphNodeSetParams cuGraphExecKernelNodeSetParams
        cuGraphExecKernelNodeSetParams_v2 cuGraphExecMemcpyNodeSetParams cuGraphExecMemsetNodeSetParams
        cuGraphExecHostNodeSetParams cuGraphExecChildGraphNodeSetParams cuGraphExecEventRecordNodeSetEvent
        cuGraphExecEventWaitNodeSetEvent cuGraphExecNodeSetParams cuGraphNodeSetEnabled cuGraphNodeGetEnabled
        cuGraphExecUpdate_v2 cuGraphExecUpdate cuGraphGetEdges cuGraphGetEdges_v2 cuGraphNodeGetDependencies_v2
        cuGraphNodeGetDependentNodes cuGraphNodeGetDependentNodes_v2 cuGraphAddDependencies
        cuGraphAddDependencies_v2 cuGraphRemoveDependencies cuGraphRemoveDependencies_v2 cuGraphDestroyNode
        cuGraphNodeGetContainingGraph cuGraphClone cuGraphNodeFindInClone cuGraphDebugDotPrint
        cuGraphInstantiateWithParams cuStreamGetCaptureInfo cuStreamUpdateCaptureDependencies
        cuStreamUpdateCaptureDependencies_v2;
    copy_pitched:
        cuMemcpy2D_v2 cuMemcpy2DUnaligned_v2 cuMemcpy2DAsync_v2 cuMemcpy3D_v2 cuMemcpy3DAsync_v2 cuMemsetD2D8_v2
        cuMemsetD2D8Async cuMemsetD2D16_v2 cuMemsetD2D16Async cuMemsetD2D32_v2 cuMemsetD2D32Async
        cuMemAllocPitch_v2;
    pool:
        cuMemPoolCreate cuMemPoolDestroy cuMemPoolGetAttribute cuMemPoolSetAttribute cuMemPoolTrimTo
        cuMemPoolSetAccess cuMemPoolGetAccess cuDeviceGetDefaultMemPool cuDeviceGetMemPool cuDeviceSetMemPool
        cuMemAllocFromPoolAsync;
    managed:
        cuMemAllocManaged cuStreamAttachMemAsync cuMemAdvise cuMemAdvise_v2 cuMemPrefetchAsync
        cuMemPrefetchAsync_v2 cuMemRangeGetAttribute;
    pointer:
        cuMemGetAddressRange_v2 cuPointerGetAttribute cuPointerGetAttributes cuPointerSetAttribute;
    stream_extras:
        cuStreamGetId cuStreamGetDevice cuStreamGetCtx_v2 cuStreamAddCallback cuStreamSetAttribute
        cuStreamGetAttribute cuStreamCopyAttributes cuStreamWriteValue32_v2 cuStreamWriteValue64_v2;
    library:
        cuLibraryLoadData cuLibraryLoadFromFile cuLibraryUnload cuLibraryGetModule cuLibraryGetKernel
        cuLibraryGetKernelCount cuLibraryEnumerateKernels cuLibraryGetGlobal cuKernelGetFunction cuKernelGetLibrary
        cuKernelGetName cuKernelGetAttribute cuKernelSetAttribute cuKernelSetCacheConfig cuKernelGetParamInfo
        cuKernelGetParamCount;
    link:
        cuLinkCreate_v2 cuLinkAddData_v2 cuLinkAddFile_v2 cuLinkComplete cuLinkDestroy;
    proc_address:
        cuGetProcAddress_v2;
}

/// Addresses by name, as integers: pointers cannot be shared between threads.
type Addresses = HashMap<&'static str, usize>;

static IMPLEMENTED: LazyLock<Addresses> = LazyLock::new(|| to_integers(implemented()));
static UNSUPPORTED: LazyLock<Addresses> = LazyLock::new(|| to_integers(unsupported::table()));

fn to_integers(table: Vec<(&'static str, *mut c_void)>) -> Addresses {
    table.into_iter().map(|(name, address)| (name, address as usize)).collect()
}

/// Versions of implemented entry points that are newer than CUDA 12.0, the oldest that a program of today asks for.
const SINCE: [(&str, c_int); 3] =
    [("cuStreamGetCaptureInfo_v3", 12_030), ("cuCtxCreate_v4", 12_050), ("cuEventElapsedTime_v2", 12_080)];

/// The newest version of an entry point that a program written for `cuda_version` knows. One that is implemented comes
/// before one that is not.
fn find(symbol: &str, cuda_version: c_int) -> Option<usize> {
    let symbol = match symbol {
        // CUDA 12 gave the name to another function.
        "cuGraphInstantiate" if cuda_version >= 12_000 => "cuGraphInstantiateWithFlags",
        symbol => symbol,
    };
    let versions = ["_v4", "_v3", "_v2", ""].map(|version| format!("{symbol}{version}"));
    let is_known = |version: &&String| SINCE.iter().all(|(name, since)| name != *version || *since <= cuda_version);
    let known: Vec<&String> = versions.iter().filter(is_known).collect();
    [&*IMPLEMENTED, &*UNSUPPORTED].iter().find_map(|table| known.iter().find_map(|it| table.get(it.as_str()).copied()))
}

/// The address of an entry point by its name without a version.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetProcAddress_v2(
    symbol: *const c_char,
    address: *mut *mut c_void,
    cuda_version: c_int,
    flags: u64,
    status: *mut c_uint,
) -> u32 {
    const SUCCESS: c_uint = 0;
    const SYMBOL_NOT_FOUND: c_uint = 1;
    /// Entry points whose default stream is the thread's are not there.
    const PER_THREAD_DEFAULT_STREAM: u64 = 2;
    entry(|| {
        // SAFETY: the caller's promise.
        let symbol = unsafe { name(symbol) }?;
        let found = if flags & PER_THREAD_DEFAULT_STREAM == 0 { find(symbol, cuda_version) } else { None };
        // SAFETY: the caller's promise.
        unsafe {
            put(address, found.map_or(ptr::null_mut(), |address| address as *mut c_void))?;
            put_if_wanted(status, if found.is_some() { SUCCESS } else { SYMBOL_NOT_FOUND });
        }
        found.map(drop).ok_or(Error::NOT_FOUND)
    })
}
