//! Entry points that CUDA does not have, for tools and tests. They are described in [`super`].

use super::{entry, error::Error, name, profile, put, state::driver, work};
use crate::perf::Counters;
use std::ffi::{CStr, c_char};

/// `struct cuda_emulator_counters`: totals over launches.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub n_launches: u64,
    pub warp_instructions: u64,
    pub lane_instructions: u64,
    pub global_sectors: u64,
    pub global_sectors_ideal: u64,
    pub global_bytes: u64,
}

impl From<profile::Total> for Totals {
    fn from(profile::Total { n_launches, counters }: profile::Total) -> Self {
        let Counters { warp_instructions, lane_instructions, global_sectors, global_sectors_ideal, global_bytes } =
            counters;
        Self { n_launches, warp_instructions, lane_instructions, global_sectors, global_sectors_ideal, global_bytes }
    }
}

/// The build id, as a C string.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_emulator_build_id() -> *const c_char {
    const ID: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CUDA_EMULATOR_BUILD_ID"), "\0").as_bytes()) {
        Ok(id) => id,
        Err(_) => panic!("the id is a hexadecimal number"),
    };
    ID.as_ptr()
}

/// `CUDA_ERROR_NOT_FOUND` when the kernel was not launched.
///
/// # Safety
/// `kernel` is null or a C string, `out` null or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuda_emulator_counters(kernel: *const c_char, out: *mut Totals) -> u32 {
    entry(|| {
        let driver = driver()?;
        // SAFETY: the caller's promise.
        let kernel = if kernel.is_null() { None } else { Some(unsafe { name(kernel) }?) };
        driver.wait_for_all(None);
        let total = driver.profile.total(kernel).ok_or(Error::NOT_FOUND)?;
        // SAFETY: the caller's promise.
        unsafe { put(out, total.into()) }
    })
}

/// Waits for all work, then sets all totals to zero.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_emulator_reset_counters() -> u32 {
    entry(|| {
        let driver = driver()?;
        driver.wait_for_all(None);
        driver.profile.reset();
        Ok(())
    })
}

/// The report of the last fault in the process, or null.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_emulator_last_fault() -> *const c_char {
    work::last_fault()
}
