//! Initialisation, and what a program can ask of the device.

use super::{
    entry,
    error::{Error, Result},
    name, put, put_if_wanted,
    state::{self, driver},
};
use crate::settings::card::Card;
use std::ffi::{c_char, c_int, c_uint};

/// CUDA 13.0, the first that takes PTX 9.0.
pub const DRIVER_VERSION: c_int = 13_000;

/// The only device.
const DEVICE: c_int = 0;

/// A `CUuuid`.
pub type Uuid = [u8; 16];

/// The card, if `device` is one.
pub fn card(device: c_int) -> Result<&'static Card> {
    let card = driver()?.settings.card;
    if device == DEVICE { Ok(card) } else { Err(Error::INVALID_DEVICE) }
}

/// Reads the settings and makes the driver.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: c_uint) -> u32 {
    entry(|| if flags == 0 { state::init() } else { Err(Error::INVALID_VALUE) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(version, DRIVER_VERSION) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    entry(|| {
        card(ordinal)?;
        // SAFETY: the caller's promise.
        unsafe { put(device, DEVICE) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> u32 {
    entry(|| {
        driver()?;
        // SAFETY: the caller's promise.
        unsafe { put(count, 1) }
    })
}

/// Copies text with its NUL into a buffer of `len` bytes, cut off where that ends.
///
/// # Safety
/// `out` is null or valid for writes of `len` bytes.
unsafe fn put_text(out: *mut c_char, len: c_int, text: &str) -> Result {
    let len = usize::try_from(len).unwrap_or(0);
    if out.is_null() || len == 0 {
        return Err(Error::INVALID_VALUE);
    }
    let n = text.len().min(len - 1);
    // SAFETY: `n + 1 <= len` bytes are valid for writes.
    unsafe {
        out.copy_from_nonoverlapping(text.as_ptr().cast(), n);
        out.add(n).write(0);
    }
    Ok(())
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(out: *mut c_char, len: c_int, device: c_int) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put_text(out, len, card(device)?.name) })
}

/// Where the device would sit on a PCI bus.
const PCI_BUS_ID: &str = "0000:00:00.0";

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetPCIBusId(out: *mut c_char, len: c_int, device: c_int) -> u32 {
    entry(|| {
        card(device)?;
        // SAFETY: the caller's promise.
        unsafe { put_text(out, len, PCI_BUS_ID) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetByPCIBusId(device: *mut c_int, id: *const c_char) -> u32 {
    entry(|| {
        driver()?;
        // SAFETY: the caller's promise.
        if unsafe { name(id) }? != PCI_BUS_ID {
            return Err(Error::INVALID_DEVICE);
        }
        // SAFETY: the caller's promise.
        unsafe { put(device, DEVICE) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid(uuid: *mut Uuid, device: c_int) -> u32 {
    entry(|| {
        let mut bytes = *b"CUDA emulator   ";
        let key = card(device)?.key.as_bytes();
        let n = key.len().min(3);
        bytes[13..][..n].copy_from_slice(&key[..n]);
        // SAFETY: the caller's promise.
        unsafe { put(uuid, bytes) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: *mut Uuid, device: c_int) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuDeviceGetUuid(uuid, device) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> u32 {
    entry(|| {
        card(device)?;
        let (_, total) = driver()?.memory().info();
        // SAFETY: the caller's promise.
        unsafe { put(bytes, total as usize) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) -> u32 {
    entry(|| {
        let capability = card(device)?.compute_capability;
        // SAFETY: the caller's promise.
        unsafe {
            put(major, capability.0 as c_int)?;
            put(minor, capability.1 as c_int)
        }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceCanAccessPeer(can: *mut c_int, device: c_int, peer: c_int) -> u32 {
    entry(|| {
        card(device)?;
        card(peer)?;
        // SAFETY: the caller's promise.
        unsafe { put(can, 0) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: u32, device: c_int) -> u32 {
    entry(|| {
        let answer = self::attribute(card(device)?, attribute).ok_or(Error::INVALID_VALUE)?;
        // SAFETY: the caller's promise.
        unsafe { put(value, answer) }
    })
}

/// The value of a `CUdevice_attribute`. Textures, surfaces, clusters and sharing with other processes or
/// drivers are absent, and 0.
fn attribute(card: &Card, attribute: u32) -> Option<c_int> {
    const LAST: u32 = 161;
    let value = match attribute {
        1 => Card::MAX_THREADS_PER_BLOCK,
        2..=4 => Card::MAX_BLOCK[attribute as usize - 2],
        5..=7 => Card::MAX_GRID[attribute as usize - 5],
        8 => Card::SHARED_BYTES_PER_BLOCK,
        9 => 64 << 10,                             // TOTAL_CONSTANT_MEMORY
        10 => Card::WARP,                          // WARP_SIZE
        11 => 0x7fff_ffff,                         // MAX_PITCH
        12 | 82 => Card::N_REGISTERS,              // MAX_REGISTERS_PER_BLOCK, _PER_MULTIPROCESSOR
        13 => card.clock_khz,                      // CLOCK_RATE
        14 | 30 => 512,                            // TEXTURE_ALIGNMENT, SURFACE_ALIGNMENT
        15 | 19 | 31 | 41 => 1, // GPU_OVERLAP, CAN_MAP_HOST_MEMORY, CONCURRENT_KERNELS, UNIFIED_ADDRESSING
        16 => card.n_sms,       // MULTIPROCESSOR_COUNT
        36 => card.memory_clock_khz, // MEMORY_CLOCK_RATE
        37 => card.memory_bus_bits, // GLOBAL_MEMORY_BUS_WIDTH
        38 => card.l2_bytes,    // L2_CACHE_SIZE
        39 => card.max_threads_per_sm, // MAX_THREADS_PER_MULTIPROCESSOR
        40 => 3,                // ASYNC_ENGINE_COUNT
        51 => 32,               // TEXTURE_PITCH_ALIGNMENT
        75 => card.compute_capability.0, // COMPUTE_CAPABILITY_MAJOR
        76 => card.compute_capability.1, // COMPUTE_CAPABILITY_MINOR
        78..=80 => 1,           // STREAM_PRIORITIES, GLOBAL_L1_CACHE, LOCAL_L1_CACHE
        81 => card.shared_bytes_per_sm, // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        83 | 89 => 1,           // MANAGED_MEMORY, CONCURRENT_MANAGED_ACCESS
        87 if card.compute_capability.1 == 0 => 2, // SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO
        87 => 64,
        90 | 91 => 1, // COMPUTE_PREEMPTION, CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM
        95 => 1,      // COOPERATIVE_LAUNCH
        97 => card.shared_bytes_per_block_optin, // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        99 => 1,      // HOST_REGISTER_SUPPORTED
        106 => card.max_blocks_per_sm, // MAX_BLOCKS_PER_MULTIPROCESSOR
        111 => Card::SHARED_BYTES_RESERVED, // RESERVED_SHARED_MEMORY_PER_BLOCK
        115 => 1,     // MEMORY_POOLS: cuMemAllocAsync and cuMemFreeAsync, out of one pool
        id if (1..=LAST).contains(&id) => 0,
        _ => return None,
    };
    Some(value as c_int)
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetLoadingMode(mode: *mut c_uint) -> u32 {
    const EAGER: c_uint = 1;
    entry(|| {
        driver()?;
        // SAFETY: the caller's promise.
        unsafe { put(mode, EAGER) }
    })
}

/// Nothing is profiled between these: the counters run always.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuProfilerStart() -> u32 {
    entry(|| driver().map(drop))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuProfilerStop() -> u32 {
    entry(|| driver().map(drop))
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut c_uint, active: *mut c_int) -> u32 {
    entry(|| {
        card(device)?;
        let objects = driver()?.objects();
        // SAFETY: the caller's promise.
        unsafe {
            put_if_wanted(flags, objects.primary_flags);
            put_if_wanted(active, c_int::from(objects.n_primary_retains > 0));
        }
        Ok(())
    })
}
