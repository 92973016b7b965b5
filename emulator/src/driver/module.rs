//! Modules: PTX to kernels and variables.

use super::{
    DevicePtr, Handle, entry,
    error::Error,
    name,
    objects::{Context, Function, Module},
    ptx_header::{Header, Refusal},
    put, put_if_wanted,
    state::{Driver, driver},
};
use crate::{
    lower::{self, Image},
    settings::{Mode, card::Card},
};
use std::{
    ffi::{CStr, CString, c_char, c_uint, c_void},
    fs, ptr, slice,
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
    fn load(&self, text: &[u8], context: &Context) -> Result<Loaded, Refusal> {
        let ptx = check_text(text)?;
        let header = Header::find(ptx);
        if let Some(header) = &header {
            header.check(self.settings.card.compute_capability)?;
        }
        let mut allocations = Vec::new();
        let mut is_out_of_memory = false;
        let image = lower::load(ptx, self.settings.mode != Mode::Fast, &mut |variable| {
            // A variable without bytes still has an address of its own.
            let placed = self.allocate(variable.bytes.max(1), context.serial);
            is_out_of_memory |= placed.is_err();
            allocations.extend(placed);
            placed.unwrap_or(0)
        });
        let refusal = match &image {
            Err(error) => Some((Error::INVALID_PTX, error.message.clone())),
            Ok(_) if is_out_of_memory => {
                Some((Error::OUT_OF_MEMORY, "no device memory for the module's variables".to_owned()))
            }
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

    /// Writes what the module's variables start with.
    fn initialise(&self, image: &Image) {
        let memory = self.memory();
        for (symbol, global) in &image.globals {
            let host = memory.host(global.address, global.init.len() as u64);
            let host = host.unwrap_or_else(|| panic!("variable {symbol} was given memory"));
            // SAFETY: the range lies in a live allocation, and nobody else knows its address yet.
            unsafe { ptr::copy_nonoverlapping(global.init.as_ptr(), host as *mut u8, global.init.len()) };
            if let Some(shadow) = memory.shadow()
                && let Some(range) = shadow.range(global.address, global.init.len() as u64)
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

    fn load_into_current(&self, out: *mut Handle, text: &[u8]) -> Result<(), Refusal> {
        let plain = |error| (error, String::new());
        let context = self.objects().current().map_err(plain)?;
        if out.is_null() {
            return Err(plain(Error::INVALID_VALUE));
        }
        self.captures().refuse_unsafe().map_err(plain)?;
        // Parsing takes a while; nothing is locked meanwhile.
        let Loaded { image, allocations, ptx_version } = self.load(text, &context)?;
        let mut objects = self.objects();
        let handle = objects.new_handle();
        objects.modules.insert(handle, Arc::new(Module { context, image, allocations, ptx_version }));
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }.map_err(plain)
    }
}

/// The PTX of an image.
///
/// # Errors
/// When it is something else, in words.
fn check_text(text: &[u8]) -> Result<&str, Refusal> {
    const FATBIN: [u8; 4] = 0xba55_ed50_u32.to_le_bytes();
    const FATBIN_WRAPPER: [u8; 4] = 0x4662_43b1_u32.to_le_bytes();
    if text.starts_with(b"\x7fELF") || text.starts_with(&FATBIN) || text.starts_with(&FATBIN_WRAPPER) {
        let text = "the image is machine code, the emulator runs PTX: compile with `nvcc -ptx`".to_owned();
        return Err((Error::NO_BINARY_FOR_GPU, text));
    }
    str::from_utf8(text).map_err(|error| (Error::INVALID_PTX, format!("the image is not text: {error}")))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoad(out: *mut Handle, file: *const c_char) -> u32 {
    entry(|| {
        let driver = driver()?;
        // SAFETY: the caller's promise.
        let file = unsafe { name(file) }?;
        let text = fs::read(file).map_err(|error| {
            say!("cannot read the module {file}: {error}");
            Error::FILE_NOT_FOUND
        })?;
        driver.load_into_current(out, &text).map_err(|refusal| complain(&refusal))
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
        if image.is_null() || (n_options > 0 && (options.is_null() || values.is_null())) {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: an image is a C string of PTX, or binary with a longer header than this reads before its first NUL.
        let text = unsafe { CStr::from_ptr(image.cast()) }.to_bytes();
        let result = driver.load_into_current(out, text);
        let message = result.as_ref().err().map_or("", |refusal| refusal.1.as_str());
        if n_options > 0 {
            // SAFETY: not null, so `n_options` long, by the caller's promise, and the buffers as long as they say.
            unsafe {
                let options = slice::from_raw_parts(options, n_options as usize);
                let values = slice::from_raw_parts_mut(values, n_options as usize);
                write_log(options, values, INFO_LOG, "");
                write_log(options, values, ERROR_LOG, message);
            }
        }
        result.map_err(|refusal| complain(&refusal))
    })
}

/// `CU_JIT_INFO_LOG_BUFFER` and `CU_JIT_ERROR_LOG_BUFFER`; the option after each is the buffer's size.
const INFO_LOG: u32 = 3;
const ERROR_LOG: u32 = 5;

/// Writes `text` and a NUL into the buffer of option `log`, and the length with the NUL in place of its size.
///
/// # Safety
/// The buffer is valid for writes of its size.
unsafe fn write_log(options: &[u32], values: &mut [*mut c_void], log: u32, text: &str) {
    let index = |option| options.iter().position(|it| *it == option);
    let (Some(buffer), Some(size)) = (index(log), index(log + 1)) else { return };
    // The size is given by value, in place of a pointer, in the low 32 bits.
    let room = values[size] as usize as u32 as usize;
    if room == 0 || values[buffer].is_null() {
        return;
    }
    let n = text.len().min(room - 1);
    // SAFETY: `n + 1 <= room`.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), values[buffer].cast(), n);
        values[buffer].cast::<u8>().add(n).write(0);
    }
    values[size] = (n + 1) as *mut c_void;
}

/// Says on stderr why a module was refused.
fn complain((error, text): &Refusal) -> Error {
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
        let mut objects = driver()?.objects();
        let it = objects.module(module)?;
        // SAFETY: the caller's promise.
        let kernel = unsafe { name(kernel) }?;
        let kernel = it.image.kernels.get(kernel).ok_or(Error::NOT_FOUND)?;
        let of_kernel = |function: &Function| Arc::ptr_eq(&function.kernel, kernel);
        let known = objects.functions.iter().find(|entry| of_kernel(entry.1)).map(|entry| *entry.0);
        let handle = known.unwrap_or_else(|| {
            let function = Function {
                context: Arc::clone(&it.context),
                module: module as u64,
                kernel: Arc::clone(kernel),
                ptx_version: it.ptx_version,
                name: CString::new(kernel.name.as_str()).expect("the name came from a C string"),
                max_dynamic_shared: Card::SHARED_BYTES_PER_BLOCK.saturating_sub(kernel.static_shared_bytes).into(),
                carveout: (-1).into(),
            };
            let handle = objects.new_handle();
            objects.functions.insert(handle, Arc::new(function));
            handle
        });
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
        let it = {
            let mut objects = driver.objects();
            let it = objects.modules.remove(&(module as u64)).ok_or(Error::INVALID_HANDLE)?;
            objects.functions.retain(|_, function| function.module != module as u64);
            it
        };
        driver.wait_for_all(None);
        driver.free_all(&it.allocations);
        it.context.check()
    })
}
