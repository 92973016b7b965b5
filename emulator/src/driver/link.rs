//! The linker, for what it is often used for: one piece of PTX, of which it makes an image to load. There is no
//! linking of several.

use super::{
    Handle, entry,
    error::{Error, Result},
    jit::JitOptions,
    name,
    ptx_header::Refusal,
    put, put_if_wanted,
    state::driver,
};
use crate::ptx;
use std::{
    ffi::{CString, c_char, c_uint, c_void},
    fs, slice,
};

/// `CU_JIT_INPUT_PTX`.
const PTX: u32 = 1;

/// A `CUlinkState`.
#[derive(Debug, Default)]
pub struct Link {
    image: Option<CString>,
}

/// The logs of the options are of each call that has some.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLinkCreate_v2(
    n_options: c_uint,
    options: *mut u32,
    values: *mut *mut c_void,
    out: *mut Handle,
) -> u32 {
    entry(|| {
        let mut objects = driver()?.objects();
        objects.current()?;
        // SAFETY: the caller's promise.
        unsafe { JitOptions::new(n_options, options, values) }?;
        if out.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        let handle = objects.new_handle();
        objects.links.insert(handle, Link::default());
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLinkAddData_v2(
    link: Handle,
    kind: u32,
    data: *mut c_void,
    bytes: usize,
    _name: *const c_char,
    n_options: c_uint,
    options: *mut u32,
    values: *mut *mut c_void,
) -> u32 {
    entry(|| {
        check_handle(link)?;
        if data.is_null() || bytes == 0 || bytes > isize::MAX as usize {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let (options, data) =
            unsafe { (JitOptions::new(n_options, options, values)?, slice::from_raw_parts(data.cast::<u8>(), bytes)) };
        add(link, kind, data, options)
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLinkAddFile_v2(
    link: Handle,
    kind: u32,
    file: *const c_char,
    n_options: c_uint,
    options: *mut u32,
    values: *mut *mut c_void,
) -> u32 {
    entry(|| {
        check_handle(link)?;
        // SAFETY: the caller's promise.
        let (options, file) = unsafe { (JitOptions::new(n_options, options, values)?, name(file)?) };
        let data = fs::read(file).map_err(|error| {
            say!("cannot read {file}, which is to be linked: {error}");
            Error::FILE_NOT_FOUND
        })?;
        add(link, kind, &data, options)
    })
}

fn check_handle(link: Handle) -> Result {
    if driver()?.objects().links.contains_key(&(link as u64)) { Ok(()) } else { Err(Error::INVALID_HANDLE) }
}

fn add(link: Handle, kind: u32, data: &[u8], options: JitOptions) -> Result {
    let mut objects = driver()?.objects();
    let link = objects.links.get_mut(&(link as u64)).ok_or(Error::INVALID_HANDLE)?;
    if kind != PTX || link.image.is_some() {
        say!("the linker takes one piece of PTX, and was given another input (of type {kind})");
        return Err(Error::NOT_SUPPORTED);
    }
    let checked = check(data);
    link.image = Some(options.finish(checked)?);
    Ok(())
}

fn check(data: &[u8]) -> std::result::Result<(CString, String), Refusal> {
    let text = data.split(|byte| *byte == 0).next().unwrap_or(data);
    let text = str::from_utf8(text).map_err(|error| (Error::INVALID_PTX, format!("the input is not text: {error}")))?;
    ptx::parse(text).map_err(|error| (Error::INVALID_PTX, error.to_string()))?;
    Ok((CString::new(text).expect("the text ends before a NUL"), String::new()))
}

/// The image lives as long as the link.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLinkComplete(link: Handle, image: *mut *mut c_void, bytes: *mut usize) -> u32 {
    entry(|| {
        let objects = driver()?.objects();
        let link = objects.links.get(&(link as u64)).ok_or(Error::INVALID_HANDLE)?;
        let text = link.image.as_ref().ok_or(Error::INVALID_VALUE)?;
        // SAFETY: the caller's promise.
        unsafe {
            put(image, text.as_ptr().cast_mut().cast())?;
            put_if_wanted(bytes, text.as_bytes_with_nul().len());
        }
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLinkDestroy(link: Handle) -> u32 {
    entry(|| driver()?.objects().links.remove(&(link as u64)).map(drop).ok_or(Error::INVALID_HANDLE))
}
