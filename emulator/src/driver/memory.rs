//! Device memory.

use super::{
    DevicePtr, Handle, entry,
    error::{Error, Result},
    graph_memory::GraphMemory,
    managed::is_managed,
    put, put_if_wanted,
    state::{Driver, driver},
    work::Work,
};
use crate::mem::allocations::{NotAllocated, OutOfMemory};
use std::sync::Arc;

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
        let is_managed = driver.memory().find(address, 1).is_some_and(is_managed);
        if driver.graph_memory().contains(&address) {
            return context.check();
        }
        if is_managed {
            driver.memory().unpin(address, false)?;
        } else {
            let mut objects = driver.objects();
            driver.memory().free(address)?;
            objects.pools.remove(address);
        }
        context.check()
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(out: *mut DevicePtr, bytes: usize, stream: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { allocate_async(out, bytes, None, stream) })
}

/// Allocates from a pool, or from the current one. The memory is there at once; no bytes are null. In a capture it is
/// the graph's.
///
/// # Safety
/// `out` is null or valid for a write.
pub unsafe fn allocate_async(out: *mut DevicePtr, bytes: usize, pool: Option<u64>, stream: Handle) -> Result {
    let driver = driver()?;
    let stream = driver.stream(stream)?;
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    let bytes = bytes as u64;
    let pool = {
        let pools = &mut driver.objects().pools;
        let pool = pool.unwrap_or(pools.current);
        pools.check_room(pool, bytes)?;
        pool
    };
    let is_captured = driver.captures().has(stream.id);
    let address = if bytes == 0 {
        0
    } else if is_captured {
        let memory = GraphMemory::new(driver, bytes, stream.context.serial)?;
        let address = memory.address();
        driver.submit(&stream, &[], Work::Allocate(Arc::new(memory)))?;
        address
    } else {
        let address = driver.allocate(bytes, stream.context.serial)?;
        driver.objects().pools.add(pool, address, bytes);
        address
    };
    // SAFETY: the caller's promise.
    unsafe { put(out, address) }
}

/// The memory counts as free at once, and is out of bounds when the stream gets here. That of a graph stays.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeAsync(address: DevicePtr, stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        if address == 0 {
            return Ok(());
        }
        if driver.graph_memory().contains(&address) {
            return driver.submit(&stream, &[], Work::FreeInGraph(address)).map(drop);
        }
        driver.captures().refuse(&stream, Error::INVALID_VALUE)?;
        let id = {
            let mut objects = driver.objects();
            let id = driver.memory().begin_free(address)?;
            objects.pools.remove(address);
            id
        };
        driver.enqueue(&stream, &[], Work::Free(id))?;
        Ok(())
    })
}
