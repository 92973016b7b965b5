//! What a process has once: the driver, the device's context and the kernels.

use super::modules::{self, Modules};
use super::{DeviceChoice, DeviceError, Result, library};
use cudarc::driver::{CudaContext, sys};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Shared memory that a block may have.
    pub shared_limit: u32,
    /// How long it took to open all this, without the modules.
    pub opened_in: Duration,
    pub modules: Modules,
}

impl Context {
    /// The process's context: opened by the first call, and the same for every later one.
    pub fn of_process(choice: DeviceChoice, is_checked: bool) -> Result<&'static Context> {
        static OPENED: Mutex<Option<(DeviceChoice, &Context)>> = Mutex::new(None);
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        match *opened {
            Some((first, context)) if first == choice => Ok(context),
            Some((first, _)) => {
                Err(DeviceError::AlreadyChosen { first: first.to_string(), second: choice.to_string() })
            }
            None => {
                let context: &'static Context = Box::leak(Box::new(Context::open(choice, is_checked)?));
                context.modules.load_in_background(&context.cuda);
                *opened = Some((choice, context));
                Ok(context)
            }
        }
    }

    fn open(choice: DeviceChoice, is_checked: bool) -> Result<Context> {
        let started = Instant::now();
        let library::Loaded { is_emulator, ordinal } = library::load(choice, is_checked)?;
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
        modules::check_ptx_versions(driver_version)?;
        let shared_limit = attribute(Is::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        Ok(Context {
            n_multiprocessors: attribute(Is::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            shared_limit,
            modules: Modules::new(shared_limit),
            opened_in: started.elapsed(),
            cuda,
            name,
            is_emulator,
            compute_capability,
            driver_version,
        })
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
