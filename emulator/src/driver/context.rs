//! Contexts: the primary one, created ones, and the stack of each thread.

use super::{
    Handle,
    device::card,
    entry,
    error::{Error, Result},
    objects::{Context, Objects, PRIMARY, with_stack},
    put, put_if_wanted,
    state::driver,
};
use crate::exec::printf;
use std::{
    ffi::{c_int, c_uint, c_ulonglong, c_void},
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

/// `CU_CTX_FLAGS_MASK`.
const FLAGS: c_uint = 0xff;

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: c_int) -> u32 {
    entry(|| {
        card(device)?;
        // SAFETY: the caller's promise. Before the count goes up, so that a failed call holds nothing.
        unsafe { put(context, PRIMARY as Handle) }?;
        let driver = driver()?;
        let mut objects = driver.objects();
        if !objects.contexts.contains_key(&PRIMARY) {
            let flags = objects.primary_flags;
            objects.add_context(&driver.queue, true, flags);
        }
        objects.n_primary_retains += 1;
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> u32 {
    entry(|| {
        card(device)?;
        let mut objects = driver()?.objects();
        let n_retains = objects.n_primary_retains.checked_sub(1).ok_or(Error::INVALID_CONTEXT)?;
        objects.n_primary_retains = n_retains;
        if n_retains == 0 { end_primary(objects) } else { Ok(()) }
    })
}

/// Ends the primary context although it is retained; the next use of it starts anew.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> u32 {
    entry(|| {
        card(device)?;
        let mut objects = driver()?.objects();
        objects.n_primary_retains = 0;
        end_primary(objects)
    })
}

/// Takes it out of the table under the lock that its count was changed under: who retains it next gets a new one.
fn end_primary(mut objects: MutexGuard<Objects>) -> Result {
    let primary = objects.contexts.remove(&PRIMARY);
    drop(objects);
    let driver = driver()?;
    primary.iter().for_each(|context| driver.end_context(context));
    Ok(())
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) -> u32 {
    entry(|| {
        card(device)?;
        check_flags(flags)?;
        let mut objects = driver()?.objects();
        objects.primary_flags = flags;
        if let Some(context) = objects.contexts.get(&PRIMARY) {
            context.flags.store(flags, Relaxed);
        }
        Ok(())
    })
}

fn check_flags(flags: c_uint) -> Result {
    if flags & !FLAGS == 0 { Ok(()) } else { Err(Error::INVALID_VALUE) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v2(context: *mut Handle, flags: c_uint, device: c_int) -> u32 {
    entry(|| {
        card(device)?;
        check_flags(flags)?;
        if context.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        let driver = driver()?;
        let handle = driver.objects().add_context(&driver.queue, false, flags).handle;
        with_stack(|stack| stack.push(handle))?;
        // SAFETY: the caller's promise.
        unsafe { put(context, handle as Handle) }
    })
}

/// Execution affinity (a part of the SMs) is not supported.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v3(
    context: *mut Handle,
    _affinities: *mut c_void,
    n_affinities: c_int,
    flags: c_uint,
    device: c_int,
) -> u32 {
    if n_affinities != 0 {
        return Error::UNSUPPORTED_EXEC_AFFINITY.0;
    }
    // SAFETY: the caller's promise.
    unsafe { cuCtxCreate_v2(context, flags, device) }
}

/// Affinity and sharing with graphics, the only parameters there are, are not supported.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v4(
    context: *mut Handle,
    params: *mut c_void,
    flags: c_uint,
    device: c_int,
) -> u32 {
    if !params.is_null() {
        return Error::NOT_SUPPORTED.0;
    }
    // SAFETY: the caller's promise.
    unsafe { cuCtxCreate_v2(context, flags, device) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxDestroy_v2(context: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().context(context)?;
        if context.handle == PRIMARY {
            return Err(Error::INVALID_CONTEXT);
        }
        with_stack(|stack| stack.pop_if(|top| *top == context.handle))?;
        driver.end_context(&context);
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut Handle) -> u32 {
    entry(|| {
        driver()?;
        let handle = with_stack(|stack| stack.last().copied())?.unwrap_or(0);
        // SAFETY: the caller's promise.
        unsafe { put(context, handle as Handle) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = if context.is_null() { None } else { Some(driver.objects().context(context)?) };
        with_stack(|stack| {
            stack.pop();
            stack.extend(context.map(|it| it.handle));
        })
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxPushCurrent_v2(context: Handle) -> u32 {
    entry(|| {
        let context = driver()?.objects().context(context)?;
        with_stack(|stack| stack.push(context.handle))
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxPopCurrent_v2(context: *mut Handle) -> u32 {
    entry(|| {
        driver()?;
        let handle = with_stack(Vec::pop)?.ok_or(Error::INVALID_CONTEXT)?;
        // SAFETY: the caller's promise.
        unsafe { put_if_wanted(context, handle as Handle) };
        Ok(())
    })
}

/// The current context, working or not.
fn current() -> Result<Arc<Context>> {
    driver()?.objects().current_even_broken()
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> u32 {
    entry(|| {
        current()?;
        // SAFETY: the caller's promise.
        unsafe { put(device, 0) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSynchronize() -> u32 {
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        {
            let mut captures = driver.captures();
            captures.refuse_context(context.serial)?;
            captures.refuse_unsafe()?;
        }
        driver.wait_for_all(Some(context.serial));
        context.check()
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetFlags(flags: *mut c_uint) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(flags, current()?.flags.load(Relaxed)) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetFlags(flags: c_uint) -> u32 {
    entry(|| {
        check_flags(flags)?;
        current()?.flags.store(flags, Relaxed);
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetId(context: Handle, id: *mut c_ulonglong) -> u32 {
    entry(|| {
        let context = if context.is_null() { current()? } else { driver()?.objects().context(context)? };
        // SAFETY: the caller's promise.
        unsafe { put(id, context.serial) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetApiVersion(context: Handle, version: *mut c_uint) -> u32 {
    const API_VERSION: c_uint = 3020;
    entry(|| {
        if context.is_null() {
            current()?
        } else {
            driver()?.objects().context(context)?
        };
        // SAFETY: the caller's promise.
        unsafe { put(version, API_VERSION) }
    })
}

/// `CU_LIMIT_PRINTF_FIFO_SIZE`.
const PRINTF_FIFO_SIZE: u32 = 1;

/// The value a limit has before it is set: stack, printf buffer, heap, depth, launches, L2 fetch, persisting L2.
fn default_limit(limit: u32) -> Result<usize> {
    let values = [1 << 10, printf::DEFAULT_LIMIT, 8 << 20, 2, 2048, 128, 0];
    values.get(limit as usize).copied().ok_or(Error::UNSUPPORTED_LIMIT)
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetLimit(value: *mut usize, limit: u32) -> u32 {
    entry(|| {
        let default = default_limit(limit)?;
        let context = current()?;
        let limits = context.limits.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller's promise.
        unsafe { put(value, limits.get(&limit).copied().unwrap_or(default)) }
    })
}

/// Limits are remembered. That of the printf buffer, which all contexts share, holds for what is printed from now on; the
/// others bound nothing: device code here has no heap, and as much stack as it declares.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetLimit(limit: u32, value: usize) -> u32 {
    entry(|| {
        default_limit(limit)?;
        let context = current()?;
        if limit == PRINTF_FIFO_SIZE {
            printf::set_limit(value);
        }
        context.limits.lock().unwrap_or_else(PoisonError::into_inner).insert(limit, value);
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCacheConfig(config: *mut u32) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(config, current()?.cache_config.load(Relaxed)) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCacheConfig(config: u32) -> u32 {
    const PREFER_EQUAL: u32 = 3;
    entry(|| {
        if config > PREFER_EQUAL {
            return Err(Error::INVALID_VALUE);
        }
        current()?.cache_config.store(config, Relaxed);
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> u32 {
    entry(|| {
        current()?;
        // SAFETY: the caller's promise.
        unsafe {
            put_if_wanted(least, 0);
            put_if_wanted(greatest, super::stream::GREATEST_PRIORITY);
        }
        Ok(())
    })
}
