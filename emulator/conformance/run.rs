//! Runs cases through whatever `libcuda` cudarc finds, or through the one that was loaded before.

use crate::conformance::{
    cases::Case,
    kernel::{BLOCK, SCRATCH_BYTES, module, name},
};
use cudarc::driver::{
    CudaContext, DriverError,
    result::{self, module::get_function, module::unload},
    sys::{self, CUjit_option, CUmodule, cudaError_enum::CUDA_SUCCESS},
};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::{
    error::Error,
    ffi::{CStr, CString, c_void},
    path::Path,
    ptr,
    sync::Arc,
};

/// A card, or what passes for one.
pub struct Card {
    context: Arc<CudaContext>,
}

/// The result bits [result][vector] of a case.
pub type Results = Vec<Vec<u64>>;

impl Card {
    /// The first card; `library` is loaded before cudarc looks for one by its name.
    pub fn open(library: Option<&Path>) -> Result<Self, String> {
        if let Some(path) = library {
            // SAFETY: loading a library runs its initialisers; whoever names it wants that.
            let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
            // It stays for the life of the process.
            std::mem::forget(library.map_err(|error| {
                let reason = error.source().map_or(error.to_string(), ToString::to_string);
                format!("cannot load {}: {reason}", path.display())
            })?);
        }
        // SAFETY: loading a CUDA driver runs its initialisers, as every CUDA program does. cudarc panics without one.
        if !unsafe { sys::is_culib_present() } {
            return Err("there is no CUDA driver (libcuda.so and its other names are not found)".to_owned());
        }
        let context = CudaContext::new(0).map_err(|error| format!("no CUDA device: {error:?}"))?;
        Ok(Self { context })
    }

    pub fn name(&self) -> String {
        self.context.name().unwrap_or_else(|error| format!("a card without a name ({error:?})"))
    }

    /// Such as 12040 for CUDA 12.4.
    pub fn driver_version(&self) -> i32 {
        let mut version = 0;
        // SAFETY: the pointer is to an `i32` of ours.
        unsafe { sys::cuDriverGetVersion(&mut version) };
        version
    }

    /// Compiles a module; the error is the compiler's log.
    fn load(&self, text: &str) -> Result<CUmodule, String> {
        let text = CString::new(text).expect("PTX of ours has no zero byte");
        let mut log = vec![0u8; 8192];
        let mut options = [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), log.len() as *mut c_void];
        let mut module = ptr::null_mut();
        // SAFETY: the text ends with a zero; the two options have a value each, the log's place and its size.
        let code = unsafe {
            sys::cuModuleLoadDataEx(&mut module, text.as_ptr().cast(), 2, options.as_mut_ptr(), values.as_mut_ptr())
        };
        if code == CUDA_SUCCESS {
            return Ok(module);
        }
        let log = CStr::from_bytes_until_nul(&log).map(|it| it.to_string_lossy().trim().to_owned());
        Err(format!("{code:?}: {}", log.unwrap_or_default()))
    }

    /// Runs cases of the same inputs [operand][vector], as one module. The outer error is of the module.
    pub fn run(&self, cases: &[&Case], inputs: &[Vec<u64>], n: usize) -> Result<Vec<Results>, String> {
        self.context.bind_to_thread().map_err(|error| format!("{error:?}"))?;
        let module = self.load(&module(cases.iter().copied()))?;
        let n_results = cases.iter().map(|it| it.results.len()).sum();
        let results = self.launch(module, cases, inputs, n, n_results).map_err(|error| format!("{error:?}"));
        // SAFETY: the module is ours, and nothing runs in it any more: results are copied after everything.
        let unloaded = unsafe { unload(module) }.map_err(|error| format!("{error:?}"));
        results.and_then(|results| unloaded.map(|()| results))
    }

    fn launch(
        &self,
        module: CUmodule,
        cases: &[&Case],
        inputs: &[Vec<u64>],
        n: usize,
        n_results: usize,
    ) -> Result<Vec<Results>, DriverError> {
        let stream = self.context.default_stream();
        // One word where there is nothing, since no allocation is empty.
        let mut all = inputs.concat();
        all.resize(all.len().max(1), 0);
        let device_inputs = Memory::new(all.len() * 8)?;
        let outputs = Memory::new(n_results * n * 8)?;
        let scratch = Memory::new(n * SCRATCH_BYTES)?;
        // SAFETY: the allocations are of these sizes; a kernel takes four parameters as [`crate::conformance::kernel::entry`] declares
        // them, and reaches no further than n threads.
        unsafe {
            result::memcpy_htod_sync(device_inputs.0, &all)?;
            result::memset_d8_sync(outputs.0, 0, n_results * n * 8)?;
            let mut at = outputs.0;
            for (k, case) in cases.iter().enumerate() {
                let name = CString::new(name(k)).expect("a short name");
                let function = get_function(module, name)?;
                let (mut inputs, mut out, mut scratch, mut count) = (device_inputs.0, at, scratch.0, n as u32);
                let mut parameters = [
                    ptr::from_mut(&mut inputs).cast::<c_void>(),
                    ptr::from_mut(&mut out).cast(),
                    ptr::from_mut(&mut scratch).cast(),
                    ptr::from_mut(&mut count).cast(),
                ];
                let grid = (count.div_ceil(BLOCK), 1, 1);
                result::launch_kernel(function, grid, (BLOCK, 1, 1), 0, stream.cu_stream(), &mut parameters)?;
                at += (case.results.len() * n * 8) as u64;
            }
            stream.synchronize()?;
            let mut words = vec![0u64; n_results * n];
            result::memcpy_dtoh_sync(&mut words, outputs.0)?;
            let mut rows = words.chunks(n).map(<[u64]>::to_vec);
            Ok(cases.iter().map(|case| rows.by_ref().take(case.results.len()).collect()).collect())
        }
    }
}

/// Device memory that is freed again.
struct Memory(sys::CUdeviceptr);

impl Memory {
    fn new(n_bytes: usize) -> Result<Self, DriverError> {
        // SAFETY: a size, and a context that is current.
        unsafe { result::malloc_sync(n_bytes) }.map(Self)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it came of `malloc_sync`. An error here repeats one that a launch has reported.
        let _ = unsafe { result::free_sync(self.0) };
    }
}
