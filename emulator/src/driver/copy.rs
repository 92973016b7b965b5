//! Copies and memsets.
//!
//! What is deferred, and what is not, is what CUDA's reference promises and no more. A copy between device and pinned
//! memory, and a memset, is deferred. From pageable memory the bytes are taken during the call; a copy to pageable memory
//! is done when the call returns. In a graph pageable memory is used by address, at each launch. The calls without `Async`
//! wait, but for memsets and copies inside the device.

use super::{
    DevicePtr, Handle, entry,
    error::{Error, Result},
    state::{Driver, driver},
    transfer::{Copy, Extent, Fill, Pitch, Place, Side, Source},
    work::Work,
};
use crate::mem::allocations::DEVICE_BASE;
use std::{ffi::c_void, ptr};

/// Up to here pageable bytes are put aside; larger copies are waited for instead of being copied twice.
const STAGE_BYTES: u64 = 1 << 20;

/// The legacy default stream.
pub const LEGACY: Handle = ptr::null_mut();

/// Queues a copy of one row.
///
/// # Safety
/// Where `to` and `from` are pageable addresses, they are valid for writes and reads of `bytes`.
unsafe fn copy(to: (u64, Side), from: (u64, Side), bytes: usize, stream: Handle, waits: bool) -> Result {
    let extent = Extent::row(bytes as u64);
    // SAFETY: the caller's promise.
    unsafe { copy_box((to.0, to.1, Pitch::NONE), (from.0, from.1, Pitch::NONE), extent, stream, waits) }
}

/// Queues a copy, and waits for it if `waits` or if pageable memory needs it.
///
/// # Safety
/// Where `to` and `from` are pageable addresses, they are valid for writes and reads of the rows.
pub unsafe fn copy_box(
    to: (u64, Side, Pitch),
    from: (u64, Side, Pitch),
    extent: Extent,
    stream: Handle,
    waits: bool,
) -> Result {
    let driver = driver()?;
    let stream = driver.stream(stream)?;
    if extent.is_empty() {
        return Ok(());
    }
    if waits {
        driver.refuse_wait(&stream)?;
    }
    let mut copy = driver.check_copy(to, from, extent)?;
    let is_captured = driver.captures().has(stream.id);
    let mut needs_wait = matches!(copy.to, Place::Pageable(_));
    if let Source::Place(Place::Pageable(source)) = copy.from {
        if !needs_wait && extent.bytes()? <= STAGE_BYTES && !is_captured {
            // SAFETY: the caller's promise.
            copy = unsafe { copy.stage(source) }?;
        } else {
            needs_wait = true;
        }
    }
    match driver.submit(&stream, &[], Work::Copy(copy))? {
        Some(ticket) if waits || needs_wait => driver.wait(&stream, ticket),
        _ => Ok(()),
    }
}

impl Driver {
    /// Checks both ends of a copy.
    pub fn check_copy(&self, to: (u64, Side, Pitch), from: (u64, Side, Pitch), extent: Extent) -> Result<Copy> {
        let place = |(at, side, pitch): (u64, Side, Pitch)| self.place(at, extent.span(pitch)?, side);
        let (to_pitch, from_pitch) = (to.2, from.2);
        Ok(Copy { to: place(to)?, to_pitch, from: Source::Place(place(from)?), from_pitch, extent })
    }

    /// Checks the range of a memset.
    pub fn check_fill(&self, fill: &Fill) -> Result {
        self.place(fill.to, fill.extent.span(fill.pitch)?, Side::Device)?;
        let is_aligned = fill.to.is_multiple_of(fill.element)
            && (fill.extent.n_rows == 1 || fill.pitch.row.is_multiple_of(fill.element));
        if is_aligned { Ok(()) } else { Err(Error::INVALID_VALUE) }
    }
}

/// Queues a memset. One of host memory is waited for unless it is asynchronous.
pub fn fill(fill: Fill, stream: Handle, is_async: bool) -> Result {
    let driver = driver()?;
    let stream = driver.stream(stream)?;
    if fill.extent.is_empty() {
        return Ok(());
    }
    if !is_async {
        driver.refuse_wait(&stream)?;
    }
    driver.check_fill(&fill)?;
    match driver.submit(&stream, &[], Work::Fill(fill))? {
        Some(ticket) if fill.to < DEVICE_BASE && !is_async => driver.wait(&stream, ticket),
        _ => Ok(()),
    }
}

/// `count` elements in a row.
fn fill_row(to: DevicePtr, value: u64, element: u64, count: usize, stream: Handle, is_async: bool) -> Result {
    let width = element.checked_mul(count as u64).ok_or(Error::INVALID_VALUE)?;
    fill(Fill { to, value, element, pitch: Pitch::NONE, extent: Extent::row(width) }, stream, is_async)
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
            entry(|| fill_row(to, value.into(), size_of::<$value>() as u64, count, LEGACY, false))
        }

        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name_async(to: DevicePtr, value: $value, count: usize, stream: Handle) -> u32 {
            entry(|| fill_row(to, value.into(), size_of::<$value>() as u64, count, stream, true))
        }
    };
}

memset! { cuMemsetD8_v2 cuMemsetD8Async u8 }
memset! { cuMemsetD16_v2 cuMemsetD16Async u16 }
memset! { cuMemsetD32_v2 cuMemsetD32Async u32 }
