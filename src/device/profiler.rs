//! Marks for NVIDIA's profilers: what is to be recorded, and a name for it on the timeline.

use super::{Device, Result};
use cudarc::driver::sys;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{CString, c_char, c_int};

/// The library of NVTX, which comes with the CUDA toolkit.
const NVTX: [&str; 2] = ["libnvToolsExt.so.1", "libnvToolsExt.so"];

type Push = unsafe extern "C" fn(*const c_char) -> c_int;
type Pop = unsafe extern "C" fn() -> c_int;

/// While this lives, `nsys profile -c cudaProfilerApi` and `ncu --profile-from-start off` record. Where NVTX is installed,
/// the time has a name on their timeline.
pub struct Profiler {
    device: Device,
    nvtx: Option<Library>,
}

impl Device {
    /// Has a profiler, if one is attached, record from here on under this name. What was asked for before is done then.
    pub fn profile(&self, name: &str) -> Result<Profiler> {
        self.synchronize()?;
        // SAFETY: opening NVTX runs only its own initialisers, which every program with NVTX runs.
        let nvtx = NVTX.iter().find_map(|it| unsafe { Library::open(Some(*it), RTLD_NOW | RTLD_LOCAL) }.ok());
        let name = CString::new(name).expect("a name has no NUL");
        if let Some(library) = &nvtx {
            // SAFETY: this is the type that nvToolsExt.h declares; the text is copied.
            unsafe { library.get::<Push>(b"nvtxRangePushA").map(|push| push(name.as_ptr())) }.unwrap_or(0);
        }
        // SAFETY: it takes nothing, and the context is current. An error says that no profiler is attached: no trouble.
        let _ = unsafe { sys::cuProfilerStart() };
        Ok(Profiler { device: self.clone(), nvtx })
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        let _ = self.device.synchronize(); // its error comes out at the next call
        // SAFETY: as above.
        let _ = unsafe { sys::cuProfilerStop() };
        if let Some(library) = &self.nvtx {
            // SAFETY: this is the type that nvToolsExt.h declares.
            unsafe { library.get::<Pop>(b"nvtxRangePop").map(|pop| pop()) }.unwrap_or(0);
        }
    }
}
