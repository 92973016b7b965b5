//! What is known about a pointer.

use super::{
    DevicePtr, entry,
    error::{Error, Result},
    managed::is_managed,
    put, put_if_wanted,
    state::{Driver, driver},
};
use crate::mem::allocations::Kind;
use std::ffi::{c_uint, c_void};

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

/// The value of an attribute, in the size that `cuda.h` gives it.
#[derive(Clone, Copy)]
enum Value {
    Bool(bool),
    Int(u32),
    Long(u64),
}

impl Value {
    /// # Safety
    /// `out` is null or valid for a write of the value.
    unsafe fn put(self, out: *mut c_void) -> Result {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Value::Bool(value) => put(out.cast::<bool>(), value),
                Value::Int(value) => put(out.cast::<u32>(), value),
                Value::Long(value) => put(out.cast::<u64>(), value),
            }
        }
    }

    /// What stands for "nothing is known".
    fn none(self) -> Self {
        match self {
            Value::Bool(_) => Value::Bool(false),
            Value::Int(_) => Value::Int(0),
            Value::Long(_) => Value::Long(0),
        }
    }
}

const HOST_POINTER: u32 = 4;
const DEVICE_ORDINAL: u32 = 9;

impl Driver {
    /// The `CUpointer_attribute` of an address; the second part is false when nothing is known of the address.
    fn pointer_attribute(&self, attribute: u32, address: DevicePtr) -> Result<(Value, bool)> {
        const HOST: c_uint = 1;
        const DEVICE: c_uint = 2;
        const READ_WRITE: u64 = 3;
        let objects = self.objects();
        let memory = self.memory();
        let found = memory.find(address, 1);
        let is_host = found.is_some_and(|it| it.is_host());
        let is_managed = found.is_some_and(is_managed);
        let is_going = found.is_some_and(|it| matches!(it.kind, Kind::Device { is_going: true, .. }));
        let context = found.and_then(|it| objects.contexts.values().find(|context| context.serial == it.context));
        let value = match attribute {
            1 => Value::Long(context.map_or(0, |it| it.handle)), // CONTEXT
            2 => Value::Int(if is_host && !is_managed { HOST } else { DEVICE }), // MEMORY_TYPE
            3 => Value::Long(address),                           // DEVICE_POINTER
            HOST_POINTER => Value::Long(if is_host { address } else { 0 }),
            6 => Value::Bool(false),                                      // SYNC_MEMOPS
            7 => Value::Long(found.map_or(0, |it| it.region.id)),         // BUFFER_ID
            8 => Value::Bool(is_managed),                                 // IS_MANAGED
            DEVICE_ORDINAL => Value::Int(0),                              // DEVICE_ORDINAL
            10 | 15 => Value::Bool(false), // IS_LEGACY_IPC_CAPABLE, IS_GPU_DIRECT_RDMA_CAPABLE
            11 => Value::Long(found.map_or(0, |it| it.region.start)), // RANGE_START_ADDR
            12 => Value::Long(found.map_or(0, |it| it.bytes())), // RANGE_SIZE
            13 => Value::Bool(found.is_some() && !is_going), // MAPPED
            14 => Value::Long(0),          // ALLOWED_HANDLE_TYPES
            16 => Value::Long(READ_WRITE), // ACCESS_FLAGS
            17 => Value::Long(objects.pools.owner(address).unwrap_or(0)), // MEMPOOL_HANDLE
            _ => return Err(Error::INVALID_VALUE),
        };
        Ok((value, found.is_some()))
    }
}

/// The attributes of unified addressing.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerGetAttribute(out: *mut c_void, attribute: u32, address: DevicePtr) -> u32 {
    entry(|| {
        let (value, is_known) = driver()?.pointer_attribute(attribute, address)?;
        // Device memory has no pointer for the host.
        let has_none = attribute == HOST_POINTER && matches!(value, Value::Long(0));
        if !is_known || has_none {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: the caller promises room for the type that CUDA's reference gives the attribute.
        unsafe { value.put(out) }
    })
}

/// An address of which nothing is known has attributes that are all zero, and -2 for a device.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerGetAttributes(
    n: c_uint,
    attributes: *const u32,
    out: *mut *mut c_void,
    address: DevicePtr,
) -> u32 {
    const NO_DEVICE: u32 = -2_i32 as u32;
    entry(|| {
        let driver = driver()?;
        if n == 0 || attributes.is_null() || out.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        (0..n as usize).try_for_each(|i| {
            // SAFETY: the caller promises `n` of both.
            let (attribute, out) = unsafe { (*attributes.add(i), *out.add(i)) };
            let value = match driver.pointer_attribute(attribute, address)? {
                (value, true) => value,
                (_, false) if attribute == DEVICE_ORDINAL => Value::Int(NO_DEVICE),
                (value, false) => value.none(),
            };
            // SAFETY: the caller promises room for the type that CUDA's reference gives the attribute.
            unsafe { value.put(out) }
        })
    })
}

/// The only attribute that can be set asks that copies of the memory are synchronous, which is not supported.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerSetAttribute(value: *const c_void, attribute: u32, address: DevicePtr) -> u32 {
    const SYNC_MEMOPS: u32 = 6;
    entry(|| {
        let driver = driver()?;
        if value.is_null() || attribute != SYNC_MEMOPS || driver.memory().find(address, 1).is_none() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not null, so an int, by the caller's promise.
        if unsafe { value.cast::<u32>().read() } == 0 { Ok(()) } else { Err(Error::NOT_SUPPORTED) }
    })
}
