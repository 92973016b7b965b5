//! The kernels' modules: the driver translates their PTX, which takes as long as reading some GB of weights.
//!
//! Threads of its own go through the modules as soon as the device is open; who needs a kernel that is not there yet
//! loads its module, or waits for the thread that does. A module that cannot be loaded is the error of all who need it.

use super::{DeviceError, Module, Prototype, Result, error, prototypes};
use cudarc::driver::{CudaContext, result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// All modules of a context.
pub(super) struct Modules {
    shared_limit: u32,
    /// In the order of [`prototypes::MODULES`]; empty before the first need.
    loaded: Vec<OnceLock<Result<Loaded>>>,
    background: Mutex<Vec<JoinHandle<()>>>,
    /// The first, of the modules by size, that no thread of the background has taken.
    next: AtomicUsize,
}

/// A module on the device.
struct Loaded {
    functions: HashMap<&'static str, Function>,
    took: Duration,
}

/// A kernel in a loaded module.
struct Function(sys::CUfunction);

// SAFETY: a handle; the driver API may be called with it from any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Modules {
    /// None of them loaded. A block of any kernel may use `shared_limit` bytes of shared memory.
    pub fn new(shared_limit: u32) -> Modules {
        let loaded = prototypes::MODULES.iter().map(|_| OnceLock::new()).collect();
        Modules { shared_limit, loaded, background: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// A kernel, loaded. The context is current on this thread.
    pub fn function(&self, kernel: &Prototype) -> Result<sys::CUfunction> {
        let module = prototypes::MODULES.iter().position(|it| it.name == kernel.module);
        let Some(module) = module else { panic!("kernels/ has no {}.cu", kernel.module) };
        Ok(self.module(module)?.functions[kernel.name].0)
    }

    /// Loads what is not loaded yet. The time is what loading took in all, on whichever thread. The context is current on
    /// this one.
    pub fn load_all(&self) -> Result<Duration> {
        (0..self.loaded.len()).map(|module| Ok(self.module(module)?.took)).sum()
    }

    /// Begins to load them all, the small ones first: they are what loading weights waits for.
    pub fn load_in_background(&'static self, cuda: &Arc<CudaContext>) {
        let mut order: Vec<usize> = (0..self.loaded.len()).collect();
        order.sort_by_key(|module| prototypes::MODULES[*module].ptx.len());
        let load = move |cuda: Arc<CudaContext>, order: Vec<usize>| {
            // Who needs a kernel will see what goes wrong here.
            if cuda.bind_to_thread().is_ok() {
                while let Some(module) = order.get(self.next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = self.module(*module);
                }
            }
        };
        // Most of the cores are for those who read weights.
        let n_threads = thread::available_parallelism().map_or(1, |n_cores| (n_cores.get() / 4).clamp(1, 4));
        let start = |_| {
            let (cuda, order) = (cuda.clone(), order.clone());
            thread::spawn(move || load(cuda, order))
        };
        self.background.lock().unwrap_or_else(PoisonError::into_inner).extend((0..n_threads).map(start));
    }

    /// Ends the threads that load them: a process must not end while they are in the driver. What is missing then will be
    /// loaded when it is needed.
    pub fn stop(&self) {
        self.next.store(self.loaded.len(), Ordering::Relaxed);
        for thread in self.background.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join(); // its panic has been shown
        }
    }

    fn module(&self, module: usize) -> Result<&Loaded> {
        let loaded = self.loaded[module].get_or_init(|| load_module(&prototypes::MODULES[module], self.shared_limit));
        loaded.as_ref().map_err(DeviceError::clone)
    }
}

/// Whether the driver knows the PTX of every module.
pub(super) fn check_ptx_versions(driver: (u32, u32)) -> Result<()> {
    prototypes::MODULES.iter().try_for_each(|module| check_ptx_version(module, driver))
}

/// Loads a module and finds every kernel in it.
fn load_module(module: &Module, shared_limit: u32) -> Result<Loaded> {
    let started = Instant::now();
    let handle = translate(module)?;
    let kernels = prototypes::ALL.iter().filter(|it| it.module == module.name);
    let functions = kernels
        .map(|it| Ok((it.name, Function(find_function(handle, it.name, shared_limit)?))))
        .collect::<Result<_>>()?;
    Ok(Loaded { functions, took: started.elapsed() })
}

fn check_ptx_version(module: &Module, driver: (u32, u32)) -> Result<()> {
    let ptx = module.ptx_version();
    let needed = cuda_of_ptx(ptx);
    if driver < needed {
        return Err(DeviceError::TooOldDriver { module: module.name, ptx, needed, found: driver });
    }
    Ok(())
}

/// The CUDA release that brought a PTX version (PTX ISA, #release-notes).
fn cuda_of_ptx((major, minor): (u32, u32)) -> (u32, u32) {
    match (major, minor) {
        (8, 6..) => (12, minor + 1), // CUDA 12.6 kept PTX 8.5
        _ => (major + 4, minor),
    }
}

/// Has the driver translate a module's PTX. The module is never unloaded.
fn translate(module: &Module) -> Result<sys::CUmodule> {
    use sys::CUjit_option::{CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    let ptx = CString::new(module.ptx).expect("PTX is text without NUL");
    let mut log = vec![0u8; 8192];
    let mut options = [CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), log.len() as *mut c_void];
    let mut handle = std::ptr::null_mut();
    // SAFETY: the image is a NUL-terminated string, and the options are a buffer and its length.
    let code = unsafe {
        sys::cuModuleLoadDataEx(&mut handle, ptx.as_ptr().cast(), 2, options.as_mut_ptr(), values.as_mut_ptr())
    };
    code.result().map(|()| handle).map_err(|error| {
        let end = log.iter().position(|&it| it == 0).unwrap_or(log.len());
        let log = String::from_utf8_lossy(&log[..end]).into_owned();
        DeviceError::Module { module: module.name, reason: error::reason(error), log }
    })
}

/// A kernel by name, allowed to use all the shared memory that a block can have.
fn find_function(module: sys::CUmodule, kernel: &'static str, shared_limit: u32) -> Result<sys::CUfunction> {
    use sys::CUfunction_attribute as Is;
    let name = CString::new(kernel).expect("an identifier has no NUL");
    let failed = || DeviceError::call(format!("finding the kernel {kernel}"));
    // SAFETY: the module is loaded and stays so.
    unsafe {
        let function = result::module::get_function(module, name).map_err(failed())?;
        let fixed = result::function::get_function_attribute(function, Is::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)
            .map_err(failed())?;
        let dynamic = shared_limit.cast_signed() - fixed;
        result::function::set_function_attribute(
            function,
            Is::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            dynamic,
        )
        .map_err(failed())?;
        Ok(function)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DeviceChoice, context::Context};
    use super::*;

    #[test]
    fn a_module_newer_than_the_driver_is_refused() {
        let module = Module { name: "attention", ptx: "//\n.version 8.6\n.target sm_80\n" };
        assert!(check_ptx_version(&module, (12, 7)).is_ok());
        assert!(check_ptx_version(&module, (13, 0)).is_ok());
        let error = check_ptx_version(&module, (12, 6)).unwrap_err().to_string();
        assert_eq!(
            error,
            "kernels/attention.cu is PTX 8.6, which needs a driver for CUDA 12.7 or newer; \
             this driver is for CUDA 12.6: update the NVIDIA driver"
        );
    }

    /// The error names the file.
    #[test]
    fn a_module_that_cannot_be_loaded_is_named() {
        let context = Context::of_process(DeviceChoice::Emulator, false).unwrap();
        context.cuda.bind_to_thread().unwrap();
        let module = Module { name: "broken", ptx: ".version 7.4\n.target sm_80\n.address_size 64\nnonsense\n" };
        let error = load_module(&module, 0).err().unwrap();
        assert!(error.to_string().starts_with("the driver cannot load kernels/broken.cu: "), "{error}");
    }

    /// The pairs that NVIDIA's release notes list.
    #[test]
    fn ptx_versions_belong_to_cuda_releases() {
        for (ptx, cuda) in
            [((7, 0), (11, 0)), ((7, 8), (11, 8)), ((8, 5), (12, 5)), ((8, 8), (12, 9)), ((9, 0), (13, 0))]
        {
            assert_eq!(cuda_of_ptx(ptx), cuda);
        }
    }
}
