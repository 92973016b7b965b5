//! What a process has once: the driver, the device's context and the kernels.
//!
//! The driver translates the kernels' PTX, which takes as long as reading some GB of weights. A thread of its own goes
//! through the modules; who needs a kernel before that loads its module at once.

use super::{DeviceChoice, DeviceError, Prototype, Result, error, library, prototypes};
use cudarc::driver::{CudaContext, result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The lowest compute capability that the kernels' PTX is made for.
const NEEDED_CAPABILITY: (u32, u32) = (8, 0);

/// The context of the chosen device. It lives as long as the process.
pub(super) struct Context {
    pub cuda: Arc<CudaContext>,
    pub name: String,
    pub is_emulator: bool,
    pub compute_capability: (u32, u32),
    pub driver_version: (u32, u32),
    pub n_multiprocessors: u32,
    /// How long it took to open all this, without the modules.
    pub opened_in: Duration,
    shared_limit: u32,
    /// In the order of [`prototypes::MODULES`]; empty before the first need.
    modules: Vec<OnceLock<Result<Loaded>>>,
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

impl Context {
    /// The process's context: opened by the first call, and the same for every later one.
    pub fn of_process(choice: DeviceChoice) -> Result<&'static Context> {
        static OPENED: Mutex<Option<(DeviceChoice, &Context)>> = Mutex::new(None);
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        match *opened {
            Some((first, context)) if first == choice => Ok(context),
            Some((first, _)) => {
                Err(DeviceError::AlreadyChosen { first: first.to_string(), second: choice.to_string() })
            }
            None => {
                let context: &'static Context = Box::leak(Box::new(Context::open(choice)?));
                // A module that cannot be loaded is the error of the first who needs it.
                thread::spawn(move || context.cuda.bind_to_thread().map(|()| context.load_modules()));
                *opened = Some((choice, context));
                Ok(context)
            }
        }
    }

    fn open(choice: DeviceChoice) -> Result<Context> {
        let started = Instant::now();
        let library::Loaded { is_emulator, ordinal } = library::load(choice)?;
        let cuda = CudaContext::new(ordinal as usize).map_err(DeviceError::call("opening the device"))?;
        // SAFETY: buffers here are never CudaSlice, and each is used on one stream, so cudarc has nothing to
        // order. With tracking on, launches would wait on events from before a capture and break it.
        unsafe { cuda.disable_event_tracking() };
        let name = cuda.name().map_err(DeviceError::call("asking for the device's name"))?;
        let attribute = |it| {
            cuda.attribute(it).map(i32::unsigned_abs).map_err(DeviceError::call("asking for the device's properties"))
        };
        use sys::CUdevice_attribute as Is;
        let compute_capability = (
            attribute(Is::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Is::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        if compute_capability < NEEDED_CAPABILITY {
            return Err(DeviceError::TooOldCard { device: name, found: compute_capability, needed: NEEDED_CAPABILITY });
        }
        let driver_version = driver_version()?;
        prototypes::MODULES.iter().try_for_each(|module| check_ptx_version(module, driver_version))?;
        Ok(Context {
            n_multiprocessors: attribute(Is::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            shared_limit: attribute(Is::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
            modules: prototypes::MODULES.iter().map(|_| OnceLock::new()).collect(),
            opened_in: started.elapsed(),
            cuda,
            name,
            is_emulator,
            compute_capability,
            driver_version,
        })
    }

    /// The kernel of this name, loaded. The context is current on this thread.
    pub fn function(&self, kernel: &Prototype) -> Result<sys::CUfunction> {
        let module = prototypes::MODULES.iter().position(|it| it.name == kernel.module);
        let Some(module) = module else { panic!("kernels/ has no {}.cu", kernel.module) };
        Ok(self.module(module)?.functions[kernel.name].0)
    }

    /// Loads what is not loaded yet. The time is what loading took in all, on whichever thread.
    pub fn load_modules(&self) -> Result<Duration> {
        (0..self.modules.len()).map(|module| Ok(self.module(module)?.took)).sum()
    }

    fn module(&self, module: usize) -> Result<&Loaded> {
        let loaded = self.modules[module].get_or_init(|| load_module(&prototypes::MODULES[module], self.shared_limit));
        loaded.as_ref().map_err(DeviceError::clone)
    }
}

fn driver_version() -> Result<(u32, u32)> {
    let mut version = 0;
    // SAFETY: `version` is a valid place for the one int that is written.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(DeviceError::call("asking for the driver's version"))?;
    let version = version.unsigned_abs(); // 1000 * major + 10 * minor
    Ok((version / 1000, version % 1000 / 10))
}

/// Loads a module and finds every kernel in it.
fn load_module(module: &super::Module, shared_limit: u32) -> Result<Loaded> {
    let started = Instant::now();
    let handle = translate(module)?;
    let kernels = prototypes::ALL.iter().filter(|it| it.module == module.name);
    let functions = kernels
        .map(|it| Ok((it.name, Function(find_function(handle, it.name, shared_limit)?))))
        .collect::<Result<_>>()?;
    Ok(Loaded { functions, took: started.elapsed() })
}

fn check_ptx_version(module: &super::Module, driver: (u32, u32)) -> Result<()> {
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
fn translate(module: &super::Module) -> Result<sys::CUmodule> {
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
    use super::*;
    use crate::device::Module;

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
        let context = Context::of_process(DeviceChoice::Emulator).unwrap();
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
