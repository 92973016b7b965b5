//! Attributes of kernels, and how many blocks of one fit an SM.
//!
//! Registers per thread are decided by ptxas, which the emulator does not have: `NUM_REGS` is 0 and occupancy counts
//! threads and shared memory alone, so that a GPU may hold fewer blocks.

use super::{
    Handle, entry,
    error::{Error, Result},
    objects::Function,
    put, put_if_wanted,
    state::driver,
};
use crate::settings::card::Card;
use std::{
    ffi::{c_char, c_int, c_uint},
    sync::{Arc, atomic::Ordering::Relaxed},
};

const MAX_DYNAMIC_SHARED_SIZE_BYTES: u32 = 8;
const PREFERRED_SHARED_MEMORY_CARVEOUT: u32 = 9;

fn function(handle: Handle) -> Result<Arc<Function>> {
    driver()?.objects().function(handle)
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(value: *mut c_int, attribute: u32, function: Handle) -> u32 {
    entry(|| {
        let function = self::function(function)?;
        let (major, minor) = driver()?.settings.card.compute_capability;
        let kernel = &function.kernel;
        let answer = match attribute {
            0 => kernel.max_threads,         // MAX_THREADS_PER_BLOCK
            1 => kernel.static_shared_bytes, // SHARED_SIZE_BYTES
            2 => kernel.const_bytes,         // CONST_SIZE_BYTES
            3 => kernel.local_bytes,         // LOCAL_SIZE_BYTES
            4 => 0,                          // NUM_REGS
            5 => function.ptx_version,       // PTX_VERSION
            6 => 10 * major + minor,         // BINARY_VERSION
            7 => 0,                          // CACHE_MODE_CA
            MAX_DYNAMIC_SHARED_SIZE_BYTES => function.max_dynamic_shared.load(Relaxed),
            PREFERRED_SHARED_MEMORY_CARVEOUT => function.carveout.load(Relaxed) as u32,
            10..=15 => 0, // clusters
            _ => return Err(Error::INVALID_VALUE),
        };
        // SAFETY: the caller's promise.
        unsafe { put(value, answer as c_int) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(function: Handle, attribute: u32, value: c_int) -> u32 {
    entry(|| {
        let function = self::function(function)?;
        match attribute {
            MAX_DYNAMIC_SHARED_SIZE_BYTES => {
                let bytes = u32::try_from(value).map_err(|_| Error::INVALID_VALUE)?;
                let limit = driver()?.settings.card.shared_bytes_per_block_optin;
                if bytes > limit.saturating_sub(function.kernel.static_shared_bytes) {
                    return Err(Error::INVALID_VALUE);
                }
                function.max_dynamic_shared.store(bytes, Relaxed);
                Ok(())
            }
            PREFERRED_SHARED_MEMORY_CARVEOUT if (-1..=100).contains(&value) => {
                function.carveout.store(value, Relaxed);
                Ok(())
            }
            _ => Err(Error::INVALID_VALUE),
        }
    })
}

/// A hint without effect: nothing is timed.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetCacheConfig(function: Handle, config: u32) -> u32 {
    const PREFER_EQUAL: u32 = 3;
    entry(|| {
        self::function(function)?;
        if config <= PREFER_EQUAL { Ok(()) } else { Err(Error::INVALID_VALUE) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetModule(module: *mut Handle, function: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(module, self::function(function)?.module as Handle) })
}

/// The name lives as long as the module.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetName(out: *mut *const c_char, function: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(out, self::function(function)?.name.as_ptr()) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetParamInfo(
    function: Handle,
    index: usize,
    offset: *mut usize,
    bytes: *mut usize,
) -> u32 {
    entry(|| {
        let function = self::function(function)?;
        let param = *function.kernel.params.get(index).ok_or(Error::INVALID_VALUE)?;
        // SAFETY: the caller's promise.
        unsafe {
            put(offset, param.0 as usize)?;
            put_if_wanted(bytes, param.1 as usize);
        }
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetParamCount(function: Handle, count: *mut usize) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(count, self::function(function)?.kernel.params.len()) })
}

/// All functions are loaded with their module.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncLoad(function: Handle) -> u32 {
    entry(|| self::function(function).map(drop))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncIsLoaded(state: *mut u32, function: Handle) -> u32 {
    const LOADED: u32 = 1;
    entry(|| {
        self::function(function)?;
        // SAFETY: the caller's promise.
        unsafe { put(state, LOADED) }
    })
}

/// A hint without effect, as on all cards since compute capability 5.0.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetSharedMemConfig(function: Handle, config: u32) -> u32 {
    const EIGHT_BYTE_BANKS: u32 = 2;
    entry(|| {
        self::function(function)?;
        if config <= EIGHT_BYTE_BANKS { Ok(()) } else { Err(Error::INVALID_VALUE) }
    })
}

/// What a kernel asks of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    pub max_threads: u32,
    pub req_ntid: Option<[u32; 3]>,
    pub static_shared_bytes: u32,
    pub max_dynamic_shared_bytes: u32,
}

impl Function {
    pub fn needs(&self) -> Needs {
        Needs {
            max_threads: self.kernel.max_threads,
            req_ntid: self.kernel.req_ntid,
            static_shared_bytes: self.kernel.static_shared_bytes,
            max_dynamic_shared_bytes: self.max_dynamic_shared.load(Relaxed),
        }
    }
}

impl Needs {
    /// How many blocks an SM of the card holds.
    pub fn max_resident_blocks(&self, card: &Card, n_threads: u32, dynamic_shared_bytes: u32) -> u32 {
        let shared_bytes = self.static_shared_bytes.saturating_add(dynamic_shared_bytes);
        let fits = n_threads <= self.max_threads && shared_bytes <= card.shared_bytes_per_block_optin;
        if fits { card.max_resident_blocks(n_threads, shared_bytes) } else { 0 }
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    n_blocks: *mut c_int,
    function: Handle,
    block_size: c_int,
    dynamic_shared_bytes: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n_blocks, function, block_size, dynamic_shared_bytes, 0)
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    n_blocks: *mut c_int,
    function: Handle,
    block_size: c_int,
    dynamic_shared_bytes: usize,
    flags: c_uint,
) -> u32 {
    entry(|| {
        let function = self::function(function)?;
        let n_threads = u32::try_from(block_size).ok().filter(|n| *n > 0).ok_or(Error::INVALID_VALUE)?;
        check_flags(flags)?;
        let shared_bytes = u32::try_from(dynamic_shared_bytes).unwrap_or(u32::MAX);
        let n = function.needs().max_resident_blocks(driver()?.settings.card, n_threads, shared_bytes);
        // SAFETY: the caller's promise.
        unsafe { put(n_blocks, n as c_int) }
    })
}

/// `CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE` changes nothing on the cards there are.
fn check_flags(flags: c_uint) -> Result {
    const DISABLE_CACHING_OVERRIDE: c_uint = 1;
    if flags & !DISABLE_CACHING_OVERRIDE == 0 { Ok(()) } else { Err(Error::INVALID_VALUE) }
}

/// `CUoccupancyB2DSize`: the dynamic shared memory of a block size.
type SharedOfBlock = unsafe extern "C" fn(c_int) -> usize;

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSize(
    min_grid_size: *mut c_int,
    block_size: *mut c_int,
    function: Handle,
    shared_of_block: Option<SharedOfBlock>,
    dynamic_shared_bytes: usize,
    limit: c_int,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        cuOccupancyMaxPotentialBlockSizeWithFlags(
            min_grid_size,
            block_size,
            function,
            shared_of_block,
            dynamic_shared_bytes,
            limit,
            0,
        )
    }
}

/// The block size that keeps most threads on an SM, the largest if there are several.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    min_grid_size: *mut c_int,
    block_size: *mut c_int,
    function: Handle,
    shared_of_block: Option<SharedOfBlock>,
    dynamic_shared_bytes: usize,
    limit: c_int,
    flags: c_uint,
) -> u32 {
    entry(|| {
        let function = self::function(function)?;
        check_flags(flags)?;
        let card = driver()?.settings.card;
        let limit = u32::try_from(limit).map_err(|_| Error::INVALID_VALUE)?;
        let largest = if limit == 0 { function.kernel.max_threads } else { limit.min(function.kernel.max_threads) };
        let sizes = (1..=largest / Card::WARP).map(|n_warps| n_warps * Card::WARP);
        let best = sizes.map(|n_threads| {
            // SAFETY: the caller promises a function that can be called with any block size.
            let bytes = shared_of_block.map_or(dynamic_shared_bytes, |of| unsafe { of(n_threads as c_int) });
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let n_blocks = function.needs().max_resident_blocks(card, n_threads, bytes);
            (n_blocks * n_threads, n_threads, n_blocks)
        });
        let (_, n_threads, n_blocks) = best.max().ok_or(Error::INVALID_VALUE)?;
        // SAFETY: the caller's promise.
        unsafe {
            put(min_grid_size, (n_blocks * card.n_sms) as c_int)?;
            put(block_size, n_threads as c_int)
        }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
    out: *mut usize,
    function: Handle,
    n_blocks: c_int,
    block_size: c_int,
) -> u32 {
    entry(|| {
        let function = self::function(function)?;
        let card = driver()?.settings.card;
        let positive = |n: c_int| u32::try_from(n).ok().filter(|n| *n > 0).ok_or(Error::INVALID_VALUE);
        let (n_blocks, n_threads) = (positive(n_blocks)?, positive(block_size)?);
        if function.needs().max_resident_blocks(card, n_threads, 0) < n_blocks {
            return Err(Error::INVALID_VALUE);
        }
        let share = card.shared_bytes_per_sm / n_blocks - Card::SHARED_BYTES_RESERVED;
        let bytes = share.min(card.shared_bytes_per_block_optin) - function.kernel.static_shared_bytes;
        // SAFETY: the caller's promise.
        unsafe { put(out, bytes as usize) }
    })
}
