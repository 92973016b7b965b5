//! Libraries: modules that belong to no context. Each context that uses one gets a module of it on first use.

use super::{
    DevicePtr, Handle, entry,
    error::{Error, Result},
    function,
    jit::JitOptions,
    module::{complain, cuModuleGetGlobal_v2, file_text, image_text, read_file},
    name,
    objects::{Context, Function},
    ptx_header::Refusal,
    put,
    state::{Driver, driver},
};
use crate::ptx;
use std::{
    collections::HashMap,
    ffi::{CString, c_char, c_int, c_uint, c_void},
    sync::{Arc, Mutex, PoisonError},
};

/// A `CUlibrary`.
#[derive(Debug)]
pub struct Library {
    text: String,
    /// The names of its kernels.
    kernels: Vec<String>,
    /// The handle of its module in each context, by the context's serial.
    modules: Mutex<HashMap<u64, u64>>,
}

/// A `CUkernel`.
#[derive(Debug)]
pub struct LibraryKernel {
    library: u64,
    name: CString,
}

impl Driver {
    /// The module of a library in a context.
    fn library_module(&self, library: u64, context: &Arc<Context>) -> Result<u64> {
        let library = self.objects().library(library as Handle)?;
        let mut modules = library.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&context.serial) {
            return Ok(*module);
        }
        let module = self.load_module(&library.text, context).map_err(|refusal| complain(&refusal))?.0;
        modules.insert(context.serial, module);
        Ok(module)
    }

    /// The function that a `CUkernel` is in a context, with its handle.
    pub fn kernel_function(&self, kernel: Handle, context: &Arc<Context>) -> Result<(u64, Arc<Function>)> {
        let kernel = self.objects().kernel(kernel)?;
        let module = self.library_module(kernel.library, context)?;
        let name = kernel.name.to_str().map_err(|_| Error::NOT_FOUND)?;
        self.function_of(module as Handle, name)
    }

    fn load_library(&self, text: &str) -> std::result::Result<(u64, String), Refusal> {
        let parsed = ptx::parse(text).map_err(|error| (Error::INVALID_PTX, error.to_string()))?;
        let kernels = parsed.functions.into_iter().filter(|it| it.is_entry && !it.is_extern).map(|it| it.name);
        let (kernels, text) = (kernels.collect(), text.to_owned());
        let mut modules = HashMap::new();
        let mut info = String::new();
        // Without a context, what the parser does not see is said on first use.
        let current = self.objects().current();
        if let Ok(context) = current {
            let (module, log) = self.load_module(&text, &context)?;
            modules.insert(context.serial, module);
            info = log;
        }
        let mut objects = self.objects();
        let handle = objects.new_handle();
        objects.libraries.insert(handle, Arc::new(Library { text, kernels, modules: Mutex::new(modules) }));
        Ok((handle, info))
    }
}

/// Library options choose when code is loaded and how long its image lives: the emulator keeps a copy.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLibraryLoadData(
    out: *mut Handle,
    code: *const c_void,
    options: *mut u32,
    values: *mut *mut c_void,
    n_options: c_uint,
    _library_options: *mut u32,
    _library_values: *mut *mut c_void,
    _n_library_options: c_uint,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        if code.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        unsafe {
            let options = JitOptions::new(n_options, options, values)?;
            put_library(out, image_text(code, driver.settings.card.compute_capability), options)
        }
    })
}

/// Loads a library, unless its text could not be had.
///
/// # Safety
/// `out` is null or valid for a write.
unsafe fn put_library(out: *mut Handle, text: std::result::Result<&str, Refusal>, options: JitOptions) -> Result {
    let driver = driver()?;
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    let made = text.and_then(|text| driver.load_library(text));
    let handle = options.finish(made)?;
    // SAFETY: the caller's promise.
    unsafe { put(out, handle as Handle) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLibraryLoadFromFile(
    out: *mut Handle,
    file: *const c_char,
    options: *mut u32,
    values: *mut *mut c_void,
    n_options: c_uint,
    _library_options: *mut u32,
    _library_values: *mut *mut c_void,
    _n_library_options: c_uint,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        // SAFETY: the caller's promise.
        let (options, file) = unsafe { (JitOptions::new(n_options, options, values)?, name(file)?) };
        let bytes = read_file(file)?;
        // SAFETY: the caller's promise.
        unsafe { put_library(out, file_text(&bytes, driver.settings.card.compute_capability), options) }
    })
}

/// Waits for all work, then forgets the library, its kernels and its modules.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLibraryUnload(library: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let it = {
            let mut objects = driver.objects();
            let it = objects.libraries.remove(&(library as u64)).ok_or(Error::INVALID_HANDLE)?;
            objects.kernels.retain(|_, kernel| kernel.library != library as u64);
            it
        };
        let modules = std::mem::take(&mut *it.modules.lock().unwrap_or_else(PoisonError::into_inner));
        for module in modules.into_values() {
            // A context that ended has taken its module along.
            let _ = driver.unload(module);
        }
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLibraryGetModule(out: *mut Handle, library: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        // SAFETY: the caller's promise.
        unsafe { put(out, driver.library_module(library as u64, &context)? as Handle) }
    })
}

/// The handle of a kernel, made on first use.
fn kernel_handle(library: Handle, kernel: &str) -> Result<u64> {
    let mut objects = driver()?.objects();
    let it = objects.library(library)?;
    if !it.kernels.iter().any(|it| it == kernel) {
        return Err(Error::NOT_FOUND);
    }
    let is_it = |it: &LibraryKernel| it.library == library as u64 && it.name.to_bytes() == kernel.as_bytes();
    if let Some(known) = objects.kernels.iter().find(|it| is_it(it.1)) {
        return Ok(*known.0);
    }
    let handle = objects.new_handle();
    let name = CString::new(kernel).map_err(|_| Error::NOT_FOUND)?;
    objects.kernels.insert(handle, Arc::new(LibraryKernel { library: library as u64, name }));
    Ok(handle)
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLibraryGetKernel(out: *mut Handle, library: Handle, kernel: *const c_char) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(out, kernel_handle(library, name(kernel)?)? as Handle) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLibraryGetKernelCount(out: *mut c_uint, library: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(out, driver()?.objects().library(library)?.kernels.len() as c_uint) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLibraryEnumerateKernels(out: *mut Handle, n: c_uint, library: Handle) -> u32 {
    entry(|| {
        let it = driver()?.objects().library(library)?;
        if out.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        for (i, kernel) in it.kernels.iter().take(n as usize).enumerate() {
            // SAFETY: the caller promises room for `n` of them.
            unsafe { out.add(i).write(kernel_handle(library, kernel)? as Handle) };
        }
        Ok(())
    })
}

/// In the current context.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLibraryGetGlobal(
    address: *mut DevicePtr,
    bytes: *mut usize,
    library: Handle,
    variable: *const c_char,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        let module = driver.library_module(library as u64, &context)?;
        // SAFETY: the caller's promise.
        match unsafe { cuModuleGetGlobal_v2(address, bytes, module as Handle, variable) } {
            0 => Ok(()),
            code => Err(Error(code)),
        }
    })
}

/// The function of a kernel in the current context.
fn current_function(kernel: Handle) -> Result<(u64, Arc<Function>)> {
    let driver = driver()?;
    let context = driver.objects().current()?;
    driver.kernel_function(kernel, &context)
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuKernelGetFunction(out: *mut Handle, kernel: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(out, current_function(kernel)?.0 as Handle) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuKernelGetLibrary(out: *mut Handle, kernel: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(out, driver()?.objects().kernel(kernel)?.library as Handle) })
}

/// The name lives as long as the library.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuKernelGetName(out: *mut *const c_char, kernel: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(out, driver()?.objects().kernel(kernel)?.name.as_ptr()) })
}

/// Calls an entry point of functions with the function of a kernel in the current context.
fn forward(kernel: Handle, call: impl FnOnce(Handle) -> u32) -> Result {
    match call(current_function(kernel)?.0 as Handle) {
        0 => Ok(()),
        code => Err(Error(code)),
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuKernelGetAttribute(value: *mut c_int, attribute: u32, kernel: Handle, device: c_int) -> u32 {
    entry(|| {
        super::device::card(device)?;
        // SAFETY: the caller's promise.
        forward(kernel, |it| unsafe { function::cuFuncGetAttribute(value, attribute, it) })
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuKernelSetAttribute(attribute: u32, value: c_int, kernel: Handle, device: c_int) -> u32 {
    entry(|| {
        super::device::card(device)?;
        // SAFETY: the caller's promise.
        forward(kernel, |it| unsafe { function::cuFuncSetAttribute(it, attribute, value) })
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuKernelSetCacheConfig(kernel: Handle, config: u32, device: c_int) -> u32 {
    entry(|| {
        super::device::card(device)?;
        // SAFETY: the caller's promise.
        forward(kernel, |it| unsafe { function::cuFuncSetCacheConfig(it, config) })
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuKernelGetParamInfo(
    kernel: Handle,
    index: usize,
    offset: *mut usize,
    bytes: *mut usize,
) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| forward(kernel, |it| unsafe { function::cuFuncGetParamInfo(it, index, offset, bytes) }))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuKernelGetParamCount(kernel: Handle, count: *mut usize) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| forward(kernel, |it| unsafe { function::cuFuncGetParamCount(it, count) }))
}
