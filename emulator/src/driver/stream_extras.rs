//! What streams have beyond order: ids, attributes, callbacks, and words that they write.

use super::{
    DevicePtr, Handle, entry,
    error::{Error, Result},
    put, put_if_wanted,
    state::driver,
    stream::AttributeValue,
    transfer::{Extent, Fill, Pitch},
    work::{StreamCallback, Work},
};
use std::{
    ffi::{c_int, c_uint, c_ulonglong, c_void},
    sync::PoisonError,
};

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetId(stream: Handle, id: *mut c_ulonglong) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(id, driver()?.stream(stream)?.id.number()) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetDevice(stream: Handle, device: *mut c_int) -> u32 {
    entry(|| {
        driver()?.stream(stream)?;
        // SAFETY: the caller's promise.
        unsafe { put(device, 0) }
    })
}

/// No stream is in a green context.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCtx_v2(stream: Handle, context: *mut Handle, green: *mut Handle) -> u32 {
    entry(|| {
        let stream = driver()?.stream(stream)?;
        // SAFETY: the caller's promise.
        unsafe {
            put_if_wanted(green, std::ptr::null_mut());
            put(context, stream.context.handle as Handle)
        }
    })
}

/// Like a host function, and told the stream and that all went well: after a fault it is not called.
///
/// # Safety
/// As CUDA's; the function may be called on any thread, and must not unwind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamAddCallback(
    stream: Handle,
    function: Option<StreamCallback>,
    argument: *mut c_void,
    flags: c_uint,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        let it = driver.stream(stream)?;
        let function = function.filter(|_| flags == 0).ok_or(Error::INVALID_VALUE)?;
        driver.captures().refuse(&it, Error::STREAM_CAPTURE_UNSUPPORTED)?;
        let work = Work::Callback { function, stream: stream as usize, argument: argument as usize };
        driver.enqueue(&it, &[], work).map(drop)
    })
}

const PRIORITY: u32 = 8;

/// ACCESS_POLICY_WINDOW, SYNCHRONIZATION_POLICY, PRIORITY, MEM_SYNC_DOMAIN_MAP, MEM_SYNC_DOMAIN: hints, and kept.
fn check_attribute(attribute: u32) -> Result {
    if matches!(attribute, 1 | 3 | PRIORITY | 9 | 10) { Ok(()) } else { Err(Error::INVALID_VALUE) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSetAttribute(stream: Handle, attribute: u32, value: *const AttributeValue) -> u32 {
    entry(|| {
        let stream = driver()?.stream(stream)?;
        check_attribute(attribute)?;
        // The priority is that of its creation.
        if value.is_null() || attribute == PRIORITY {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not null, so valid, by the caller's promise.
        let value = unsafe { *value };
        stream.attributes.lock().unwrap_or_else(PoisonError::into_inner).insert(attribute, value);
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetAttribute(stream: Handle, attribute: u32, value: *mut AttributeValue) -> u32 {
    entry(|| {
        let stream = driver()?.stream(stream)?;
        check_attribute(attribute)?;
        let known = stream.attributes.lock().unwrap_or_else(PoisonError::into_inner).get(&attribute).copied();
        let answer = match attribute {
            PRIORITY => [u64::from(stream.priority as u32), 0, 0, 0, 0, 0, 0, 0],
            _ => known.unwrap_or_default(),
        };
        // SAFETY: the caller's promise.
        unsafe { put(value, answer) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCopyAttributes(to: Handle, from: Handle) -> u32 {
    entry(|| {
        let (to, from) = (driver()?.stream(to)?, driver()?.stream(from)?);
        let copy = from.attributes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        *to.attributes.lock().unwrap_or_else(PoisonError::into_inner) = copy;
        Ok(())
    })
}

/// Writes a word behind the stream's work.
fn write_value(stream: Handle, to: DevicePtr, value: u64, bytes: u64, flags: c_uint) -> Result {
    const NO_MEMORY_BARRIER: c_uint = 1;
    let driver = driver()?;
    let stream = driver.stream(stream)?;
    if flags & !NO_MEMORY_BARRIER != 0 {
        return Err(Error::INVALID_VALUE);
    }
    let fill = Fill { to, value, element: bytes, pitch: Pitch::NONE, extent: Extent::row(bytes) };
    driver.check_fill(&fill)?;
    driver.captures().refuse(&stream, Error::NOT_SUPPORTED)?;
    driver.enqueue(&stream, &[], Work::Fill(fill)).map(drop)
}

/// Nodes of a graph that write a word are not supported.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWriteValue32_v2(stream: Handle, to: DevicePtr, value: u32, flags: c_uint) -> u32 {
    entry(|| write_value(stream, to, value.into(), 4, flags))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWriteValue64_v2(stream: Handle, to: DevicePtr, value: u64, flags: c_uint) -> u32 {
    entry(|| write_value(stream, to, value, 8, flags))
}
