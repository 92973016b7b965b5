//! Modules: PTX to kernels and variables.

use super::{
    DevicePtr, Handle, entry,
    error::Error,
    fatbin,
    jit::JitOptions,
    name,
    objects::{Context, Function, Module},
    ptx_header::{Header, Refusal},
    put, put_if_wanted,
    state::{Driver, driver},
};
use crate::{
    lower::{self, Image, Kernel},
    ptx::ast::Space,
    settings::{Mode, card::Card},
};
use std::{
    ffi::{CStr, CString, c_char, c_uint, c_void},
    fs, ptr,
    sync::Arc,
};

/// What a module becomes in a context.
struct Loaded {
    image: Image,
    allocations: Vec<u64>,
    ptx_version: u32,
}

impl Driver {
    /// Loads PTX for `context`.
    fn load(&self, ptx: &str, context: &Context) -> Result<Loaded, Refusal> {
        let header = Header::find(ptx);
        if let Some(header) = &header {
            header.check(self.settings.card.compute_capability)?;
        }
        let mut allocations = Vec::new();
        let mut is_out_of_memory = false;
        let image = lower::load(ptx, self.settings.mode != Mode::Fast, &mut |variable| {
            // A variable without bytes still has an address of its own.
            let placed = self.allocate(variable.bytes.max(1), context.serial);
            let Ok(address) = placed else {
                is_out_of_memory = true;
                return None;
            };
            if variable.space == Space::Const {
                self.memory().make_constant(address);
            }
            allocations.push(address);
            Some(address)
        });
        let refusal = match &image {
            Err(error) if is_out_of_memory => Some((Error::OUT_OF_MEMORY, error.message.clone())),
            Err(error) => Some((Error::INVALID_PTX, error.message.clone())),
            Ok(_) => None,
        };
        let image = match (image, refusal) {
            (Ok(image), None) => image,
            (_, refusal) => {
                self.free_all(&allocations);
                return Err(refusal.expect("without an image there is a reason"));
            }
        };
        self.initialise(&image);
        let ptx_version = header.map_or(0, |it| it.version.0 * 10 + it.version.1);
        Ok(Loaded { image, allocations, ptx_version })
    }

    /// Writes what the module's variables start with, zeros where their text says nothing.
    fn initialise(&self, image: &Image) {
        let memory = self.memory();
        for (symbol, global) in &image.globals {
            let host = memory.host(global.address, global.bytes);
            let host = host.unwrap_or_else(|| panic!("variable {symbol} was given memory"));
            let (host, n_given, n_bytes) = (host as *mut u8, global.init.len(), global.bytes as usize);
            assert!(n_given <= n_bytes, "variable {symbol} of {n_bytes} bytes starts with {n_given}");
            // SAFETY: the range lies in a live allocation, and nobody else knows its address yet; what is given is no
            // longer than the range.
            unsafe {
                ptr::copy_nonoverlapping(global.init.as_ptr(), host, n_given);
                host.add(n_given).write_bytes(0, n_bytes - n_given);
            }
            if let Some(shadow) = memory.shadow()
                && let Some(range) = shadow.range(global.address, global.bytes)
            {
                shadow.set(range);
            }
        }
    }

    /// Frees a module's memory, but for what its context took along.
    fn free_all(&self, allocations: &[u64]) {
        let mut memory = self.memory();
        for address in allocations {
            let _ = memory.free(*address);
        }
    }

    /// Loads PTX for `context`: the module's handle, and what there is to say about it.
    pub fn load_module(&self, text: &str, context: &Arc<Context>) -> Result<(u64, String), Refusal> {
        // Parsing takes a while; nothing is locked meanwhile.
        let Loaded { image, allocations, ptx_version } = self.load(text, context)?;
        let info = image.kernels.values().map(|kernel| {
            let Kernel { name, static_shared_bytes, local_bytes, .. } = &**kernel;
            format!("{name}: {static_shared_bytes} bytes of shared memory, {local_bytes} bytes of local memory\n")
        });
        let info = info.collect();
        let context = Arc::clone(context);
        let mut objects = self.objects();
        let handle = objects.new_handle();
        objects.modules.insert(handle, Arc::new(Module { context, image, allocations, ptx_version }));
        Ok((handle, info))
    }

    /// The function of a kernel of a module, made on first use, with its handle.
    pub fn function_of(&self, module: Handle, kernel: &str) -> Result<(u64, Arc<Function>), Error> {
        let mut objects = self.objects();
        let it = objects.module(module)?;
        let kernel = it.image.kernels.get(kernel).ok_or(Error::NOT_FOUND)?;
        if let Some(known) = objects.functions.iter().find(|it| Arc::ptr_eq(&it.1.kernel, kernel)) {
            return Ok((*known.0, Arc::clone(known.1)));
        }
        let function = Arc::new(Function {
            context: Arc::clone(&it.context),
            module: module as u64,
            kernel: Arc::clone(kernel),
            ptx_version: it.ptx_version,
            name: CString::new(kernel.name.as_str()).map_err(|_| Error::NOT_FOUND)?,
            max_dynamic_shared: Card::SHARED_BYTES_PER_BLOCK.saturating_sub(kernel.static_shared_bytes).into(),
            carveout: (-1).into(),
        });
        let handle = objects.new_handle();
        objects.functions.insert(handle, Arc::clone(&function));
        Ok((handle, function))
    }

    /// Waits for all work, then forgets a module, its functions and its variables.
    pub fn unload(&self, module: u64) -> Result<(), Error> {
        let it = {
            let mut objects = self.objects();
            let it = objects.modules.remove(&module).ok_or(Error::INVALID_HANDLE)?;
            objects.functions.retain(|_, function| function.module != module);
            it
        };
        self.wait_for_all(None);
        self.free_all(&it.allocations);
        it.context.check()
    }
}

/// The PTX of an image in memory, for a card of this compute capability.
///
/// # Errors
/// When it is something else, in words.
///
/// # Safety
/// `image` is what CUDA loads: a C string of PTX, a fat binary, or machine code.
pub unsafe fn image_text<'a>(image: *const c_void, capability: (u32, u32)) -> Result<&'a str, Refusal> {
    // SAFETY: binary images have more bytes before their first NUL than tell what they are.
    let text = unsafe { CStr::from_ptr(image.cast()) }.to_bytes();
    // SAFETY: the magic number says so.
    let bytes = if fatbin::is_fatbin(text) { unsafe { fatbin::bytes(image.cast()) } } else { text };
    file_text(bytes, capability)
}

/// The PTX of an image of which all bytes are known.
pub fn file_text(bytes: &[u8], capability: (u32, u32)) -> Result<&str, Refusal> {
    if bytes.starts_with(b"\x7fELF") {
        return Err((Error::NO_BINARY_FOR_GPU, fatbin::MACHINE_CODE.to_owned()));
    }
    let text = if fatbin::is_fatbin(bytes) { fatbin::ptx(bytes, capability)? } else { bytes };
    str::from_utf8(text).map_err(|error| (Error::INVALID_PTX, format!("the image is not text: {error}")))
}

pub fn read_file(file: &str) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| {
        say!("cannot read the module {file}: {error}");
        Error::FILE_NOT_FOUND
    })
}

/// Loads a module into the current context, unless its text could not be had.
///
/// # Safety
/// `out` is null or valid for a write.
unsafe fn put_module(out: *mut Handle, text: Result<&str, Refusal>, options: JitOptions) -> Result<(), Error> {
    let driver = driver()?;
    let context = driver.objects().current()?;
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    driver.captures().refuse_unsafe()?;
    let handle = options.finish(text.and_then(|text| driver.load_module(text, &context)))?;
    // SAFETY: the caller's promise.
    unsafe { put(out, handle as Handle) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoad(out: *mut Handle, file: *const c_char) -> u32 {
    entry(|| {
        let driver = driver()?;
        // SAFETY: the caller's promise.
        let file = unsafe { name(file) }?;
        let bytes = read_file(file)?;
        let text = file_text(&bytes, driver.settings.card.compute_capability);
        // SAFETY: the caller's promise; no options are right.
        unsafe { put_module(out, text, JitOptions::new(0, ptr::null_mut(), ptr::null_mut())?) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(out: *mut Handle, image: *const c_void) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuModuleLoadDataEx(out, image, 0, ptr::null_mut(), ptr::null_mut()) }
}

/// The options that are logs are honoured; the others choose how a GPU's compiler works.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    out: *mut Handle,
    image: *const c_void,
    n_options: c_uint,
    options: *mut u32,
    values: *mut *mut c_void,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        if image.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        unsafe {
            let options = JitOptions::new(n_options, options, values)?;
            put_module(out, image_text(image, driver.settings.card.compute_capability), options)
        }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadFatBinary(out: *mut Handle, image: *const c_void) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuModuleLoadData(out, image) }
}

/// Says on stderr why a module was refused.
pub fn complain((error, text): &Refusal) -> Error {
    if !text.is_empty() {
        say!("module not loaded: {text}");
    }
    *error
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(out: *mut Handle, module: Handle, kernel: *const c_char) -> u32 {
    entry(|| {
        let driver = driver()?;
        // SAFETY: the caller's promise.
        let kernel = unsafe { name(kernel) }?;
        let (handle, _) = driver.function_of(module, kernel)?;
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetGlobal_v2(
    address: *mut DevicePtr,
    bytes: *mut usize,
    module: Handle,
    variable: *const c_char,
) -> u32 {
    entry(|| {
        let module = driver()?.objects().module(module)?;
        // SAFETY: the caller's promise.
        let variable = unsafe { name(variable) }?;
        let global = module.image.globals.get(variable).ok_or(Error::NOT_FOUND)?;
        // SAFETY: the caller's promise.
        unsafe {
            put_if_wanted(address, global.address);
            put_if_wanted(bytes, global.bytes as usize);
        }
        Ok(())
    })
}

/// Waits for all work, then forgets the module, its functions and its variables.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        driver.captures().refuse_unsafe()?;
        driver.unload(module as u64)
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunctionCount(count: *mut c_uint, module: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(count, driver()?.objects().module(module)?.image.kernels.len() as c_uint) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleEnumerateFunctions(out: *mut Handle, n: c_uint, module: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let it = driver.objects().module(module)?;
        if out.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        for (i, kernel) in it.image.kernels.keys().take(n as usize).enumerate() {
            let (handle, _) = driver.function_of(module, kernel)?;
            // SAFETY: the caller promises room for `n` of them.
            unsafe { out.add(i).write(handle as Handle) };
        }
        Ok(())
    })
}
