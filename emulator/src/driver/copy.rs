//! Copies and memsets.
//!
//! What is deferred, and what is not, is what CUDA's reference promises and no more. A copy between device and pinned
//! memory, and a memset, is deferred. From pageable memory the bytes are taken during the call; a copy to pageable memory
//! is done when the call returns. In a graph pageable memory is used by address, at each launch. The calls without `Async` wait, but for memsets and copies inside the device.

use super::{
    DevicePtr, Handle, entry,
    error::{Error, Result},
    state::{Driver, driver},
    work::{Place, Source, Work},
};
use crate::mem::allocations::DEVICE_BASE;
use std::{ffi::c_void, ptr, slice};

/// Up to here pageable bytes are put aside; larger copies are waited for instead of being copied twice.
const STAGE_BYTES: u64 = 1 << 20;

/// The legacy default stream.
const LEGACY: Handle = ptr::null_mut();

/// What an address is for a copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Has to be a device address: device, pinned or registered memory.
    Device,
    Any,
}

impl Driver {
    /// Finds out what `address` is.
    fn place(&self, address: u64, bytes: u64, side: Side) -> Result<Place> {
        let memory = self.memory();
        if memory.find(address, bytes).is_some() {
            return Ok(Place::Mapped(address));
        }
        // Null, no host address, or the range starts in an allocation and runs over its end.
        let is_wrong = address == 0 || address >= DEVICE_BASE || memory.find(address, 1).is_some();
        if is_wrong || side == Side::Device { Err(Error::INVALID_VALUE) } else { Ok(Place::Pageable(address)) }
    }
}

/// Queues a copy, and waits for it if `waits` or if pageable memory needs it.
///
/// # Safety
/// Where `to` and `from` are pageable addresses, they are valid for writes and reads of `bytes`.
unsafe fn copy(to: (u64, Side), from: (u64, Side), bytes: usize, stream: Handle, waits: bool) -> Result {
    let driver = driver()?;
    let stream = driver.objects().stream(&driver.queue, stream)?;
    if bytes == 0 {
        return Ok(());
    }
    let bytes = bytes as u64;
    if waits {
        driver.refuse_wait(&stream)?;
    }
    let to = driver.place(to.0, bytes, to.1)?;
    let from = driver.place(from.0, bytes, from.1)?;
    let is_captured = driver.captures().has(stream.id);
    let (from, needs_wait) = match (to, from) {
        (Place::Mapped(_), Place::Pageable(source)) if bytes <= STAGE_BYTES && !is_captured => {
            // SAFETY: the caller's promise.
            let staged = unsafe { slice::from_raw_parts(source as *const u8, bytes as usize) };
            (Source::Staged(staged.into()), false)
        }
        _ => (Source::Place(from), matches!(to, Place::Pageable(_)) || matches!(from, Place::Pageable(_))),
    };
    match driver.submit(&stream, &[], Work::Copy { to, from, bytes })? {
        Some(ticket) if waits || needs_wait => driver.wait(&stream, ticket),
        _ => Ok(()),
    }
}

/// Queues a memset. One of host memory is waited for unless it is asynchronous.
fn fill(to: DevicePtr, value: u32, width: u64, count: usize, stream: Handle, is_async: bool) -> Result {
    let driver = driver()?;
    let stream = driver.objects().stream(&driver.queue, stream)?;
    let count = count as u64;
    let bytes = width.checked_mul(count).ok_or(Error::INVALID_VALUE)?;
    if bytes == 0 {
        return Ok(());
    }
    if !is_async {
        driver.refuse_wait(&stream)?;
    }
    driver.place(to, bytes, Side::Device)?;
    if !to.is_multiple_of(width) {
        return Err(Error::INVALID_VALUE);
    }
    let is_host = to < DEVICE_BASE;
    match driver.submit(&stream, &[], Work::Fill { to, value, width, count })? {
        Some(ticket) if is_host && !is_async => driver.wait(&stream, ticket),
        _ => Ok(()),
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: DevicePtr, from: *const c_void, bytes: usize) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy((to, Side::Device), (from as u64, Side::Any), bytes, LEGACY, true) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: DevicePtr, from: *const c_void, bytes: usize, stream: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy((to, Side::Device), (from as u64, Side::Any), bytes, stream, false) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: DevicePtr, bytes: usize) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy((to as u64, Side::Any), (from, Side::Device), bytes, LEGACY, true) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: DevicePtr, bytes: usize, stream: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy((to as u64, Side::Any), (from, Side::Device), bytes, stream, false) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoD_v2(to: DevicePtr, from: DevicePtr, bytes: usize) -> u32 {
    // SAFETY: neither side may be pageable.
    entry(|| unsafe { copy((to, Side::Device), (from, Side::Device), bytes, LEGACY, false) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: DevicePtr, from: DevicePtr, bytes: usize, stream: Handle) -> u32 {
    // SAFETY: neither side may be pageable.
    entry(|| unsafe { copy((to, Side::Device), (from, Side::Device), bytes, stream, false) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy(to: DevicePtr, from: DevicePtr, bytes: usize) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy((to, Side::Any), (from, Side::Any), bytes, LEGACY, true) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyAsync(to: DevicePtr, from: DevicePtr, bytes: usize, stream: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy((to, Side::Any), (from, Side::Any), bytes, stream, false) })
}

/// All contexts share one device and one address space.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyPeer(
    to: DevicePtr,
    to_context: Handle,
    from: DevicePtr,
    from_context: Handle,
    bytes: usize,
) -> u32 {
    // SAFETY: neither side may be pageable.
    unsafe { cuMemcpyPeerAsync(to, to_context, from, from_context, bytes, LEGACY) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyPeerAsync(
    to: DevicePtr,
    to_context: Handle,
    from: DevicePtr,
    from_context: Handle,
    bytes: usize,
    stream: Handle,
) -> u32 {
    entry(|| {
        for context in [to_context, from_context] {
            driver()?.objects().context(context)?.check()?;
        }
        // SAFETY: neither side may be pageable.
        unsafe { copy((to, Side::Device), (from, Side::Device), bytes, stream, false) }
    })
}

macro_rules! memset {
    ($name:ident $name_async:ident $value:ty) => {
        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(to: DevicePtr, value: $value, count: usize) -> u32 {
            entry(|| fill(to, value.into(), size_of::<$value>() as u64, count, LEGACY, false))
        }

        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name_async(to: DevicePtr, value: $value, count: usize, stream: Handle) -> u32 {
            entry(|| fill(to, value.into(), size_of::<$value>() as u64, count, stream, true))
        }
    };
}

memset! { cuMemsetD8_v2 cuMemsetD8Async u8 }
memset! { cuMemsetD16_v2 cuMemsetD16Async u16 }
memset! { cuMemsetD32_v2 cuMemsetD32Async u32 }
