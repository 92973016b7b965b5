//! Entry points that CUDA does not have, for tools and tests. They are described in [`super`]. In C:
//!
//! ```c
//! struct cuda_emulator_class_count { uint64_t warp_instructions, lane_instructions; };
//!
//! struct cuda_emulator_counters {  // meanings: `perf::Counts`
//!     uint64_t launches;
//!     uint64_t warp_instructions, lane_instructions;
//!     uint64_t global_load_sectors, global_load_sectors_ideal, global_load_bytes;
//!     uint64_t global_store_sectors, global_store_sectors_ideal, global_store_bytes;
//!     uint64_t shared_wavefronts, shared_wavefronts_ideal;
//!     uint64_t global_atomics, shared_atomics, atomic_lanes_per_address_max;
//!     uint64_t dram_read_bytes, dram_write_bytes, host_read_bytes, host_write_bytes;
//!     struct cuda_emulator_class_count by_class[32];  // names: cuda_emulator_class_name
//! };
//!
//! struct cuda_emulator_line {
//!     const char* kernel;
//!     const char* file;   // null when the PTX has no .loc; `line` is a line of the PTX then
//!     uint32_t line;      // of the code itself, where it was inlined too
//!     uint32_t ptx_line;  // the first
//!     struct cuda_emulator_counters counters;  // launches: those of the kernel
//! };
//!
//! typedef void cuda_emulator_line_fn(void* user, const struct cuda_emulator_line* line, size_t bytes);
//! ```
//!
//! New counters are appended. A caller says how many bytes its struct has and gets those; what the library does not know
//! is zero. A line's size comes with it, and its pointers are valid during the call.

use super::{
    entry,
    error::{Error, Result},
    name,
    profile::{Line, LineId},
    state::{self, driver},
    work,
};
use crate::perf::{ClassCount, Counters, Counts, class::Class, l2::L2};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr,
};

/// `struct cuda_emulator_counters`: totals over launches.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub n_launches: u64,
    pub counters: Counters,
}

/// `struct cuda_emulator_line`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LineTotals {
    pub kernel: *const c_char,
    pub file: *const c_char,
    pub line: u32,
    pub ptx_line: u32,
    pub totals: Totals,
}

/// `cuda_emulator_line_fn`.
pub type LineFunction = unsafe extern "C" fn(*mut c_void, *const LineTotals, usize);

// What the C declarations above say.
const _: () = assert!(size_of::<Counts>() == 17 * 8 && size_of::<ClassCount>() == 16);
const _: () = assert!(size_of::<Totals>() == (1 + 17 + 64) * 8 && size_of::<LineTotals>() == 24 + size_of::<Totals>());

/// The build id, as a C string.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_emulator_build_id() -> *const c_char {
    const ID: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CUDA_EMULATOR_BUILD_ID"), "\0").as_bytes()) {
        Ok(id) => id,
        Err(_) => panic!("the id is a hexadecimal number"),
    };
    ID.as_ptr()
}

/// Before `cuInit`: an environment without `CUDA_EMULATOR_MODE` means `check`, and no longer `fast`. Afterwards it is
/// `CUDA_ERROR_ILLEGAL_STATE`.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_emulator_check_by_default() -> u32 {
    entry(state::check_by_default)
}

/// Counts from the next launch on, or no longer.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_emulator_count(is_on: c_int) -> u32 {
    entry(|| {
        driver()?.profile.count(is_on != 0);
        Ok(())
    })
}

/// From the next launch on, DRAM bytes are what moves between memory and an L2 of the card's size, empty now, that stays
/// as launches leave it; or, at first and with 0, they are those of an L2 that is empty before each launch.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_emulator_keep_l2(is_kept: c_int) -> u32 {
    entry(|| {
        let driver = driver()?;
        driver.wait_for_all(None);
        driver.profile.keep_l2((is_kept != 0).then(|| L2::new(driver.settings.card.l2_bytes.into())));
        Ok(())
    })
}

/// `CUDA_ERROR_NOT_FOUND` when the kernel was not launched.
///
/// # Safety
/// `kernel` is null or a C string, `out` null or valid for a write of `bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuda_emulator_counters(kernel: *const c_char, bytes: usize, out: *mut Totals) -> u32 {
    entry(|| {
        let driver = driver()?;
        // SAFETY: the caller's promise.
        let kernel = unsafe { kernel_name(kernel) }?;
        if out.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        driver.wait_for_all(None);
        let (n_launches, counters) = driver.profile.total(kernel).ok_or(Error::NOT_FOUND)?;
        let totals = Totals { n_launches, counters };
        let known = bytes.min(size_of::<Totals>());
        // SAFETY: the caller's promise; `Totals` has at least `known` bytes, none of them padding.
        unsafe {
            ptr::write_bytes(out.cast::<u8>(), 0, bytes);
            ptr::copy_nonoverlapping(ptr::from_ref(&totals).cast::<u8>(), out.cast(), known);
        }
        Ok(())
    })
}

/// Waits for all work, then calls `each` for every source line of a kernel, or (null) of all, by kernel, file and line.
/// `CUDA_ERROR_NOT_FOUND` when the kernel was not launched.
///
/// # Safety
/// `kernel` is null or a C string; `each` may be called with `user` on this thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuda_emulator_lines(
    kernel: *const c_char,
    each: Option<LineFunction>,
    user: *mut c_void,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        // SAFETY: the caller's promise.
        let wanted = unsafe { kernel_name(kernel) }?;
        let each = each.ok_or(Error::INVALID_VALUE)?;
        driver.wait_for_all(None);
        // `each` may call the emulator, so nothing is held while it runs.
        let lines: Vec<(String, u64, LineId, Line)> = {
            let kernels = driver.profile.kernels();
            if wanted.is_some_and(|it| !kernels.contains_key(it)) {
                return Err(Error::NOT_FOUND);
            }
            let kernels = kernels.iter().filter(|(name, _)| wanted.is_none_or(|it| it == *name));
            let lines = kernels.flat_map(|(name, total)| {
                total.lines().iter().map(|(id, line)| (name.clone(), total.n_launches, id.clone(), *line))
            });
            lines.collect()
        };
        for (kernel, n_launches, LineId { file, line }, Line { ptx_line, counters }) in lines {
            // No name has a NUL: they come from PTX, which was a C string.
            let c_string = |text: &str| CString::new(text).unwrap_or_default();
            let (kernel, file) = (c_string(&kernel), file.map(|it| c_string(&it)));
            let totals = LineTotals {
                kernel: kernel.as_ptr(),
                file: file.as_ref().map_or(ptr::null(), |it| it.as_ptr()),
                line,
                ptx_line,
                totals: Totals { n_launches, counters },
            };
            // SAFETY: the caller's promise.
            unsafe { each(user, &totals, size_of::<LineTotals>()) };
        }
        Ok(())
    })
}

/// The name of a class of instructions; null when there are no more.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_emulator_class_name(index: usize) -> *const c_char {
    match Class::ALL.get(index) {
        Some(class) => class.c_name().as_ptr(),
        None => ptr::null(),
    }
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

/// The name of one kernel, or `None` for all.
///
/// # Safety
/// `kernel` is null or a C string that lives for `'a`.
unsafe fn kernel_name<'a>(kernel: *const c_char) -> Result<Option<&'a str>> {
    // SAFETY: the caller's promise.
    if kernel.is_null() { Ok(None) } else { unsafe { name(kernel) }.map(Some) }
}
