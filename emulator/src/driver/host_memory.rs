//! Pinned host memory. Its address is the same for host and device, whatever the flags: write-combining and portability
//! make no difference here.

use super::{
    DevicePtr, entry,
    error::{Error, Result},
    managed::{MANAGED, is_managed},
    put,
    state::driver,
};
use crate::mem::{
    allocations::{DEVICE_BASE, Kind},
    map::is_mapped,
};
use std::ffi::{c_uint, c_void};

/// Portable, device-mapped, write-combined.
const ALLOC_FLAGS: c_uint = 7;

/// Portable, device-mapped, I/O memory, read-only.
const REGISTER_FLAGS: c_uint = 15;

/// The registered memory is only read by device code, so that the program need not be able to write it.
const READ_ONLY: c_uint = 8;

/// The flag that unified addressing implies.
const DEVICE_MAP: c_uint = 2;

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(out: *mut *mut c_void, bytes: usize, flags: c_uint) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        if out.is_null() || bytes == 0 || flags & !ALLOC_FLAGS != 0 {
            return Err(Error::INVALID_VALUE);
        }
        driver.captures().refuse_unsafe()?;
        let address = driver.memory().pin(bytes as u64, flags | DEVICE_MAP, context.serial)?;
        // SAFETY: the caller's promise.
        unsafe { put(out, address as *mut c_void) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(out: *mut *mut c_void, bytes: usize) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuMemHostAlloc(out, bytes, 0) }
}

/// Waits for all work, then frees. Freeing null does nothing.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> u32 {
    entry(|| if pointer.is_null() { driver().map(drop) } else { unpin(pointer, false, Error::INVALID_VALUE) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostUnregister(pointer: *mut c_void) -> u32 {
    entry(|| unpin(pointer, true, Error::HOST_MEMORY_NOT_REGISTERED))
}

fn unpin(pointer: *mut c_void, is_registered: bool, otherwise: Error) -> Result {
    let driver = driver()?;
    let context = driver.objects().current()?;
    driver.captures().refuse_unsafe()?;
    if driver.memory().find(pointer as u64, 1).is_some_and(is_managed) {
        return Err(otherwise);
    }
    driver.wait_for_all(None);
    driver.memory().unpin(pointer as u64, is_registered).map_err(|_| otherwise)?;
    context.check()
}

/// # Safety
/// As CUDA's. The range stays mapped until it is unregistered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostRegister_v2(pointer: *mut c_void, bytes: usize, flags: c_uint) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        let address = pointer as u64;
        let is_host = address.checked_add(bytes as u64).is_some_and(|end| end <= DEVICE_BASE);
        if bytes == 0 || !is_host || flags & !REGISTER_FLAGS != 0 {
            return Err(Error::INVALID_VALUE);
        }
        if !is_mapped(address..address + bytes as u64, flags & READ_ONLY == 0) {
            say!(
                "{bytes} bytes at {address:#x} cannot be registered: expected mapped memory, to write unless it is READ_ONLY"
            );
            return Err(Error::INVALID_VALUE);
        }
        driver.captures().refuse_unsafe()?;
        if !driver.memory().register(address, bytes as u64, flags | DEVICE_MAP, context.serial) {
            return Err(Error::HOST_MEMORY_ALREADY_REGISTERED);
        }
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetDevicePointer_v2(out: *mut DevicePtr, pointer: *mut c_void, flags: c_uint) -> u32 {
    entry(|| {
        let driver = driver()?;
        driver.objects().current()?;
        let is_host = driver.memory().find(pointer as u64, 1).is_some_and(|it| it.is_host());
        if flags != 0 || !is_host {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        unsafe { put(out, pointer as DevicePtr) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetFlags(out: *mut c_uint, pointer: *mut c_void) -> u32 {
    entry(|| {
        let driver = driver()?;
        driver.objects().current()?;
        let memory = driver.memory();
        match memory.find(pointer as u64, 1).map(|it| &it.kind) {
            // SAFETY: the caller's promise.
            Some(Kind::Pinned { flags, .. } | Kind::Registered { flags }) if flags & MANAGED == 0 => unsafe {
                put(out, *flags)
            },
            _ => Err(Error::INVALID_VALUE),
        }
    })
}
