//! Memory pools. They keep account and bound what is in them; all memory comes from one place, and a freed byte goes
//! back there at once, so that a pool never holds more than is used.

use super::{
    DevicePtr, Handle, entry,
    error::{Error, Result},
    memory::allocate_async,
    put,
    state::driver,
};
use std::{
    collections::HashMap,
    ffi::{c_int, c_uint, c_ushort, c_void},
};

/// The handle of the device's default pool.
pub const DEFAULT_POOL: u64 = 0x800;

/// `CUmemLocation`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Location {
    pub kind: c_uint,
    pub id: c_int,
}

/// `CUmemPoolProps`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PoolProps {
    pub allocation_type: c_uint,
    pub handle_types: c_uint,
    pub location: Location,
    pub win32_security: *mut c_void,
    /// The most it may hold, in bytes; 0 for the device's memory.
    pub max_bytes: usize,
    pub usage: c_ushort,
    reserved: [u8; 54],
}

/// `CUmemAccessDesc`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AccessDesc {
    pub location: Location,
    pub flags: c_uint,
}

const ON_DEVICE: c_uint = 1; // CU_MEM_LOCATION_TYPE_DEVICE
const PINNED: c_uint = 1; // CU_MEM_ALLOCATION_TYPE_PINNED
const READ_WRITE: c_uint = 3; // CU_MEM_ACCESS_FLAGS_PROT_READWRITE

/// One pool.
#[derive(Debug)]
pub struct Pool {
    /// The three rules of reuse, which change nothing here, and are remembered.
    reuse: [c_int; 3],
    release_threshold: u64,
    /// The most it may hold, in bytes.
    max_bytes: u64,
    used: u64,
    /// The most that was ever used, since the watermark of reserved and of used memory was reset.
    highest: [u64; 2],
}

impl Pool {
    fn new(max_bytes: u64) -> Self {
        Self { reuse: [1; 3], release_threshold: 0, max_bytes, used: 0, highest: [0; 2] }
    }
}

/// All pools of the device.
#[derive(Debug)]
pub struct Pools {
    by_handle: HashMap<u64, Pool>,
    /// The pool of `cuMemAllocAsync`.
    pub current: u64,
    /// Where each allocation came from, and its bytes.
    owners: HashMap<DevicePtr, (u64, u64)>,
}

impl Default for Pools {
    fn default() -> Self {
        let by_handle = [(DEFAULT_POOL, Pool::new(u64::MAX))].into();
        Self { by_handle, current: DEFAULT_POOL, owners: HashMap::new() }
    }
}

impl Pools {
    fn get(&mut self, handle: u64) -> Result<&mut Pool> {
        self.by_handle.get_mut(&handle).ok_or(Error::INVALID_VALUE)
    }

    /// # Errors
    /// When the pool may not hold so much.
    pub fn check_room(&mut self, handle: u64, bytes: u64) -> Result {
        let pool = self.get(handle)?;
        let fits = pool.used.checked_add(bytes).is_some_and(|used| used <= pool.max_bytes);
        if fits { Ok(()) } else { Err(Error::OUT_OF_MEMORY) }
    }

    /// Notes an allocation. The pool may be gone by now.
    pub fn add(&mut self, handle: u64, address: DevicePtr, bytes: u64) {
        if let Some(pool) = self.by_handle.get_mut(&handle) {
            pool.used += bytes;
            pool.highest.iter_mut().for_each(|it| *it = (*it).max(pool.used));
            self.owners.insert(address, (handle, bytes));
        }
    }

    /// Forgets an allocation that is freed, if it came from a pool.
    pub fn remove(&mut self, address: DevicePtr) {
        if let Some((handle, bytes)) = self.owners.remove(&address)
            && let Some(pool) = self.by_handle.get_mut(&handle)
        {
            pool.used -= bytes;
        }
    }

    /// Forgets what a context took along.
    pub fn retain(&mut self, is_live: impl Fn(DevicePtr) -> bool) {
        let gone: Vec<DevicePtr> = self.owners.keys().copied().filter(|address| !is_live(*address)).collect();
        gone.into_iter().for_each(|address| self.remove(address));
    }

    /// The pool that an allocation came from.
    pub fn owner(&self, address: DevicePtr) -> Option<u64> {
        self.owners.get(&address).map(|it| it.0)
    }
}

/// Runs `body` on a pool that exists.
fn with<T>(pool: Handle, body: impl FnOnce(&mut Pool) -> Result<T>) -> Result<T> {
    body(driver()?.objects().pools.get(pool as u64)?)
}

fn check_location(location: Location) -> Result {
    match location {
        Location { kind: ON_DEVICE, id: 0 } => Ok(()),
        Location { kind: ON_DEVICE, .. } => Err(Error::INVALID_DEVICE),
        _ => Err(Error::NOT_SUPPORTED),
    }
}

/// Pools of device memory that stays in this process.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolCreate(out: *mut Handle, props: *const PoolProps) -> u32 {
    entry(|| {
        let mut objects = driver()?.objects();
        if out.is_null() || props.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not null, so valid, by the caller's promise.
        let PoolProps { allocation_type, handle_types, location, max_bytes, .. } = unsafe { *props };
        if allocation_type != PINNED {
            return Err(Error::INVALID_VALUE);
        }
        check_location(location)?;
        if handle_types != 0 {
            return Err(Error::NOT_SUPPORTED);
        }
        let max_bytes = if max_bytes == 0 { u64::MAX } else { max_bytes as u64 };
        let handle = objects.new_handle();
        objects.pools.by_handle.insert(handle, Pool::new(max_bytes));
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }
    })
}

/// What was allocated from it lives on.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolDestroy(pool: Handle) -> u32 {
    entry(|| {
        let pools = &mut driver()?.objects().pools;
        let handle = pool as u64;
        if handle == DEFAULT_POOL {
            return Err(Error::INVALID_VALUE);
        }
        pools.by_handle.remove(&handle).ok_or(Error::INVALID_VALUE)?;
        pools.owners.retain(|_, owner| owner.0 != handle);
        if pools.current == handle {
            pools.current = DEFAULT_POOL;
        }
        Ok(())
    })
}

/// `CUmemPool_attribute`.
const REUSE_FIRST: u32 = 1;
const REUSE_LAST: u32 = 3;
const RELEASE_THRESHOLD: u32 = 4;
const RESERVED_CURRENT: u32 = 5;
const RESERVED_HIGH: u32 = 6;
const USED_CURRENT: u32 = 7;
const USED_HIGH: u32 = 8;

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolGetAttribute(pool: Handle, attribute: u32, out: *mut c_void) -> u32 {
    entry(|| {
        with(pool, |pool| {
            let value = match attribute {
                REUSE_FIRST..=REUSE_LAST => {
                    // SAFETY: the caller promises room for an int.
                    return unsafe { put(out.cast::<c_int>(), pool.reuse[(attribute - REUSE_FIRST) as usize]) };
                }
                RELEASE_THRESHOLD => pool.release_threshold,
                RESERVED_CURRENT | USED_CURRENT => pool.used,
                RESERVED_HIGH => pool.highest[0],
                USED_HIGH => pool.highest[1],
                _ => return Err(Error::INVALID_VALUE),
            };
            // SAFETY: the caller promises room for 64 bits.
            unsafe { put(out.cast::<u64>(), value) }
        })
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolSetAttribute(pool: Handle, attribute: u32, value: *mut c_void) -> u32 {
    entry(|| {
        if value.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        with(pool, |pool| {
            // SAFETY: not null, so what the attribute asks for, by the caller's promise.
            let (int, long) = (|| unsafe { value.cast::<c_int>().read() }, || unsafe { value.cast::<u64>().read() });
            match attribute {
                REUSE_FIRST..=REUSE_LAST => pool.reuse[(attribute - REUSE_FIRST) as usize] = int(),
                RELEASE_THRESHOLD => pool.release_threshold = long(),
                // A watermark can only be put back.
                RESERVED_HIGH if long() == 0 => pool.highest[0] = pool.used,
                USED_HIGH if long() == 0 => pool.highest[1] = pool.used,
                _ => return Err(Error::INVALID_VALUE),
            }
            Ok(())
        })
    })
}

/// There is nothing to trim: freed memory does not stay in a pool.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolTrimTo(pool: Handle, _min_bytes_to_keep: usize) -> u32 {
    entry(|| with(pool, |_| Ok(())))
}

/// The device has access to its own pools, and there is no other.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolSetAccess(pool: Handle, accesses: *const AccessDesc, n: usize) -> u32 {
    entry(|| {
        with(pool, |_| Ok(()))?;
        if accesses.is_null() && n > 0 {
            return Err(Error::INVALID_VALUE);
        }
        (0..n).try_for_each(|i| {
            // SAFETY: the caller promises `n` of them.
            let AccessDesc { location, flags } = unsafe { *accesses.add(i) };
            check_location(location)?;
            if flags == READ_WRITE { Ok(()) } else { Err(Error::INVALID_VALUE) }
        })
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolGetAccess(flags: *mut c_uint, pool: Handle, location: *const Location) -> u32 {
    entry(|| {
        with(pool, |_| Ok(()))?;
        if location.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not null, so valid, by the caller's promise.
        check_location(unsafe { *location })?;
        // SAFETY: the caller's promise.
        unsafe { put(flags, READ_WRITE) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetDefaultMemPool(out: *mut Handle, device: c_int) -> u32 {
    entry(|| {
        super::device::card(device)?;
        // SAFETY: the caller's promise.
        unsafe { put(out, DEFAULT_POOL as Handle) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetMemPool(out: *mut Handle, device: c_int) -> u32 {
    entry(|| {
        super::device::card(device)?;
        // SAFETY: the caller's promise.
        unsafe { put(out, driver()?.objects().pools.current as Handle) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceSetMemPool(device: c_int, pool: Handle) -> u32 {
    entry(|| {
        super::device::card(device)?;
        let pools = &mut driver()?.objects().pools;
        pools.get(pool as u64)?;
        pools.current = pool as u64;
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocFromPoolAsync(
    out: *mut DevicePtr,
    bytes: usize,
    pool: Handle,
    stream: Handle,
) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { allocate_async(out, bytes, Some(pool as u64), stream) })
}

// The layouts of `cuda.h`.
const _: () = assert!(size_of::<PoolProps>() == 88 && size_of::<AccessDesc>() == 12);
