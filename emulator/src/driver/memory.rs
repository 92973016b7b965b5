//! Device memory, and what is known about a pointer.

use super::{
    DevicePtr, Handle, entry,
    error::{Error, Result},
    put, put_if_wanted,
    state::{Driver, driver},
    work::Work,
};
use crate::mem::allocations::{Kind, NotAllocated, OutOfMemory};
use std::ffi::{c_int, c_uint, c_ulonglong, c_void};

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Self {
        Self::OUT_OF_MEMORY
    }
}

impl From<NotAllocated> for Error {
    fn from(_: NotAllocated) -> Self {
        Self::INVALID_VALUE
    }
}

impl Driver {
    /// Allocates device memory for a context.
    pub fn allocate(&self, bytes: u64, context: u64) -> Result<DevicePtr> {
        let first = self.memory().allocate(bytes, context);
        if first.is_ok() {
            return Ok(first?);
        }
        // The addresses of memory that is on its way out may be what is missing.
        self.wait_for_all(None);
        Ok(self.memory().allocate(bytes, context)?)
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32 {
    entry(|| {
        let driver = driver()?;
        driver.objects().current()?;
        let info = driver.memory().info();
        // SAFETY: the caller's promise.
        unsafe {
            put_if_wanted(free, info.0 as usize);
            put_if_wanted(total, info.1 as usize);
        }
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(out: *mut DevicePtr, bytes: usize) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        if out.is_null() || bytes == 0 {
            return Err(Error::INVALID_VALUE);
        }
        driver.captures().refuse_unsafe()?;
        let address = driver.allocate(bytes as u64, context.serial)?;
        // SAFETY: the caller's promise.
        unsafe { put(out, address) }
    })
}

/// Waits for all work, then frees. Freeing null does nothing.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: DevicePtr) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        if address == 0 {
            return Ok(());
        }
        driver.captures().refuse_unsafe()?;
        driver.wait_for_all(None);
        driver.memory().free(address)?;
        context.check()
    })
}

/// The memory is there at once; no bytes are null. Nodes of a graph that allocate are not supported.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(out: *mut DevicePtr, bytes: usize, stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.objects().stream(&driver.queue, stream)?;
        if out.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        driver.captures().refuse(&stream, Error::NOT_SUPPORTED)?;
        let address = if bytes == 0 { 0 } else { driver.allocate(bytes as u64, stream.context.serial)? };
        // SAFETY: the caller's promise.
        unsafe { put(out, address) }
    })
}

/// The memory counts as free at once, and is out of bounds when the stream gets here. Nodes of a graph that free are not
/// supported.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeAsync(address: DevicePtr, stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.objects().stream(&driver.queue, stream)?;
        if address == 0 {
            return Ok(());
        }
        driver.captures().refuse(&stream, Error::NOT_SUPPORTED)?;
        let id = driver.memory().begin_free(address)?;
        driver.enqueue(&stream, &[], Work::Free(id))?;
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetAddressRange_v2(base: *mut DevicePtr, bytes: *mut usize, address: DevicePtr) -> u32 {
    entry(|| {
        let driver = driver()?;
        driver.objects().current()?;
        let memory = driver.memory();
        let allocation = memory.find(address, 1).ok_or(Error::NOT_FOUND)?;
        // SAFETY: the caller's promise.
        unsafe {
            put_if_wanted(base, allocation.region.start);
            put_if_wanted(bytes, allocation.bytes() as usize);
        }
        Ok(())
    })
}

/// The attributes of unified addressing.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerGetAttribute(out: *mut c_void, attribute: u32, address: DevicePtr) -> u32 {
    const HOST: c_uint = 1;
    const DEVICE: c_uint = 2;
    entry(|| {
        let driver = driver()?;
        let objects = driver.objects();
        let memory = driver.memory();
        let allocation = memory.find(address, 1).ok_or(Error::INVALID_VALUE)?;
        let is_host = allocation.is_host();
        let context = objects.contexts.values().find(|it| it.serial == allocation.context);
        // SAFETY: the caller promises room for the type that CUDA's reference gives the attribute.
        unsafe {
            match attribute {
                1 => put(out.cast(), context.map_or(0, |it| it.handle)), // CONTEXT
                2 => put(out.cast(), if is_host { HOST } else { DEVICE }), // MEMORY_TYPE
                3 => put(out.cast(), address),                           // DEVICE_POINTER
                4 if is_host => put(out.cast(), address),                // HOST_POINTER
                6 => put(out.cast::<c_uint>(), 0),                       // SYNC_MEMOPS
                7 => put(out.cast::<c_ulonglong>(), allocation.region.id), // BUFFER_ID
                8 => put(out.cast::<c_uint>(), 0),                       // IS_MANAGED
                9 => put(out.cast::<c_int>(), 0),                        // DEVICE_ORDINAL
                11 => put(out.cast(), allocation.region.start),          // RANGE_START_ADDR
                12 => put(out.cast(), allocation.bytes()),               // RANGE_SIZE
                13 => put(out.cast::<c_uint>(), c_uint::from(!is_going(&allocation.kind))), // MAPPED
                _ => Err(Error::INVALID_VALUE),
            }
        }
    })
}

fn is_going(kind: &Kind) -> bool {
    matches!(kind, Kind::Device { is_going: true, .. })
}
