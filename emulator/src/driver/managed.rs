//! Managed memory: pinned host memory, which device code and the host use under one address. Nothing migrates, so advice
//! and prefetches change nothing; the host may touch it at any time, as on a card with `CONCURRENT_MANAGED_ACCESS`.

use super::{
    DevicePtr, Handle, entry,
    error::{Error, Result},
    pool::Location,
    put,
    state::driver,
    work::Work,
};
use crate::mem::allocations::{Allocation, Kind};
use std::ffi::{c_int, c_uint, c_void};

/// Marks managed memory among the flags of pinned memory. No flag of `cuMemHostAlloc` has this bit.
pub const MANAGED: u32 = 1 << 31;

pub fn is_managed(allocation: &Allocation) -> bool {
    matches!(allocation.kind, Kind::Pinned { flags, .. } if flags & MANAGED != 0)
}

/// `CU_MEM_ATTACH_*`: to all streams, to the host, to one stream.
const GLOBAL: c_uint = 1;
const HOST: c_uint = 2;
const SINGLE: c_uint = 4;

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocManaged(out: *mut DevicePtr, bytes: usize, flags: c_uint) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        if out.is_null() || bytes == 0 || !matches!(flags, GLOBAL | HOST) {
            return Err(Error::INVALID_VALUE);
        }
        driver.captures().refuse_unsafe()?;
        let address = driver.memory().pin(bytes as u64, MANAGED, context.serial)?;
        // SAFETY: the caller's promise.
        unsafe { put(out, address) }
    })
}

/// # Errors
/// When the range is not managed memory.
fn check(address: DevicePtr, bytes: u64) -> Result {
    let driver = driver()?;
    driver.objects().current()?;
    let memory = driver.memory();
    let is_right = bytes > 0 && memory.find(address, bytes).is_some_and(is_managed);
    if is_right { Ok(()) } else { Err(Error::INVALID_VALUE) }
}

/// Streams see all managed memory, whatever it is attached to. The call is work of the stream, and nothing is done.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamAttachMemAsync(
    stream: Handle,
    address: DevicePtr,
    bytes: usize,
    flags: c_uint,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        // No length stands for the whole allocation.
        check(address, (bytes as u64).max(1))?;
        if !matches!(flags, GLOBAL | HOST | SINGLE) {
            return Err(Error::INVALID_VALUE);
        }
        driver.captures().refuse(&stream, Error::STREAM_CAPTURE_UNSUPPORTED)?;
        driver.enqueue(&stream, &[], Work::Join).map(drop)
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAdvise(address: DevicePtr, bytes: usize, advice: u32, _device: c_int) -> u32 {
    entry(|| advise(address, bytes, advice))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAdvise_v2(address: DevicePtr, bytes: usize, advice: u32, _location: Location) -> u32 {
    entry(|| advise(address, bytes, advice))
}

fn advise(address: DevicePtr, bytes: usize, advice: u32) -> Result {
    const LAST: u32 = 6; // CU_MEM_ADVISE_UNSET_ACCESSED_BY
    check(address, bytes as u64)?;
    if (1..=LAST).contains(&advice) { Ok(()) } else { Err(Error::INVALID_VALUE) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPrefetchAsync(address: DevicePtr, bytes: usize, _device: c_int, stream: Handle) -> u32 {
    entry(|| prefetch(address, bytes, stream))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPrefetchAsync_v2(
    address: DevicePtr,
    bytes: usize,
    _location: Location,
    flags: c_uint,
    stream: Handle,
) -> u32 {
    entry(|| if flags == 0 { prefetch(address, bytes, stream) } else { Err(Error::INVALID_VALUE) })
}

fn prefetch(address: DevicePtr, bytes: usize, stream: Handle) -> Result {
    let driver = driver()?;
    let stream = driver.stream(stream)?;
    check(address, bytes as u64)?;
    driver.captures().refuse(&stream, Error::STREAM_CAPTURE_UNSUPPORTED)?;
    driver.enqueue(&stream, &[], Work::Join).map(drop)
}

/// What was advised or prefetched is not kept: every range answers as one of which nothing was said.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemRangeGetAttribute(
    out: *mut c_void,
    out_bytes: usize,
    attribute: u32,
    address: DevicePtr,
    bytes: usize,
) -> u32 {
    const READ_MOSTLY: u32 = 1;
    const ACCESSED_BY: u32 = 3;
    const NO_DEVICE: c_int = -2;
    entry(|| {
        check(address, bytes as u64)?;
        let value = match attribute {
            READ_MOSTLY => 0,
            2 | ACCESSED_BY | 4 => NO_DEVICE, // PREFERRED_LOCATION, ACCESSED_BY, LAST_PREFETCH_LOCATION
            _ => return Err(Error::INVALID_VALUE),
        };
        let n = out_bytes / size_of::<c_int>();
        let fits = out_bytes.is_multiple_of(size_of::<c_int>()) && (n == 1 || (n > 1 && attribute == ACCESSED_BY));
        if out.is_null() || !fits {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller promises `out_bytes` of room.
        (0..n).for_each(|i| unsafe { out.cast::<c_int>().add(i).write(value) });
        Ok(())
    })
}
