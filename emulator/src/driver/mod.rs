//! The C entry points of `libcuda`, over streams, memory and modules.
//!
//! Every symbol that `cuda.h` declares (as cudarc knows it) is exported. What is not implemented is listed in
//! [`unsupported`] and returns `CUDA_ERROR_NOT_SUPPORTED`. It presents a driver for CUDA 13.0 and one device. Handles are
//! numbers, not pointers: a handle that is wrong or stale is an error, never a crash.
//!
//! Beyond CUDA there are entry points for tools and tests. Their structs are in [`tools`], with their C declarations.
//!
//! - `const char* cuda_emulator_build_id(void)`: [`BUILD_ID`](crate::BUILD_ID) of the library.
//! - `CUresult cuda_emulator_check_by_default(void)`: before `cuInit`, that `CUDA_EMULATOR_MODE` is `check` unless it is
//!   set; `CUDA_ERROR_ILLEGAL_STATE` afterwards. For tests of kernels, whose process cannot set it for itself.
//! - `CUresult cuda_emulator_count(int is_on)`: counts from the next launch on, or no longer. In `check` and `stress` mode
//!   and with `CUDA_EMULATOR_PROFILE` everything is counted from the beginning; otherwise launches and instructions are.
//! - `CUresult cuda_emulator_keep_l2(int is_kept)`: from the next launch on, DRAM bytes are what moves between memory and
//!   an L2 of the card's size ([`l2`](crate::perf::l2)), empty now, that stays as launches leave it; with 0, as before,
//!   they are those of an L2 that is empty before each launch and holds everything. Kept, it takes launches one thread.
//! - `CUresult cuda_emulator_counters(const char* kernel, size_t bytes, struct cuda_emulator_counters* out)`: waits for all
//!   work, then writes the totals since the last reset, of one kernel or (null) of all.
//! - `CUresult cuda_emulator_lines(const char* kernel, cuda_emulator_line_fn* each, void* user)`: the same by source line.
//! - `const char* cuda_emulator_class_name(size_t index)`: of a class of instructions, or null when there are no more.
//! - `CUresult cuda_emulator_reset_counters(void)`: waits for all work and sets the totals to zero.
//! - `const char* cuda_emulator_last_fault(void)`: the report of the last fault in the process, or null. It is
//!   valid until 64 others have followed.
//!
//! Device memory: `total` is the card's, or three quarters of the machine's if that is less, and `free` is `total` less the
//! bytes that are allocated, without rounding. Addresses are multiples of 256, with at least 4 KiB of guard behind each
//! allocation. With `CUDA_EMULATOR_MODE=check` and `stress` freed addresses are not used again until 4096 others were
//! freed, or there are no others.
//!
//! Faults of device code are sticky, as on a GPU: they are reported on stderr, and every later call in the context returns
//! the code, until the context is destroyed (or the primary one reset or released).
//!
//! With `CUDA_EMULATOR_MODE=check` and `stress` the end of a context lists the allocations that were not freed. A launch
//! that is refused says on stderr what was expected and what was found, in every mode.
//!
//! Not modelled: a second device; the time that copies and pinned memory take; two pieces of work at once, in one context or
//! in several (a kernel that waits for another stream's kernel waits for ever); textures, surfaces, arrays, clusters,
//! sharing with other processes, virtual memory management, conditional nodes, `cuStreamWaitValue`, linking of several
//! inputs. Memory that a graph allocates is there for as long as the graph is, also after its free node.
//!
//! Locks: an entry point may hold the table of objects and take one of the others (memory, captures, queue, counters), and
//! holds nothing else while it takes the table; the lock of an executable graph or an event comes before those of captures and
//! queue, that of the graphs' addresses after all. Nobody holds a lock of these while work runs or while waiting for
//! work, so that queueing never waits for a kernel.
//!
//! In this module a `# Safety` section that says "as CUDA's" means: pointers are null or valid for what CUDA's reference
//! says the call reads and writes there.
#![allow(unsafe_code)]

/// A line on stderr. Unlike `eprintln!` it does not panic when nobody listens.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "cuda-emulator: {}", format_args!($($argument)*));
    }};
}

pub mod error;
pub mod queue;
pub mod state;
pub mod objects;
pub mod transfer;
pub mod work;
pub mod profile;
pub mod report;
pub mod device;
pub mod context;
pub mod memory;
pub mod pointer;
pub mod pool;
pub mod managed;
pub mod graph_memory;
pub mod host_memory;
pub mod copy;
pub mod copy_pitched;
pub mod ptx_header;
pub mod fatbin;
pub mod jit;
pub mod module;
pub mod library;
pub mod link;
pub mod function;
pub mod launch;
pub mod stream;
pub mod stream_extras;
pub mod event;
pub mod capture;
pub mod graph;
pub mod proc_address;
pub mod unsupported;
pub mod tools;

use error::{Error, Result};
use std::{
    ffi::{CStr, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A `CUcontext`, `CUstream`, `CUevent`, `CUmodule`, `CUfunction`, `CUgraph` or `CUgraphExec`: a number that looks like a
/// pointer.
pub type Handle = *mut c_void;

/// A `CUdeviceptr`.
pub type DevicePtr = u64;

/// Runs an entry point: errors and panics become codes, and calls out of a host function are refused, as CUDA does.
fn entry(body: impl FnOnce() -> Result) -> u32 {
    if work::is_in_host_function() {
        return Error::NOT_PERMITTED.0;
    }
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(Error(code))) => code,
        Err(_) => {
            say!("the panic above is a bug of the emulator; the call returns CUDA_ERROR_UNKNOWN");
            Error::UNKNOWN.0
        }
    }
}

/// Writes a result where the caller wants it.
///
/// # Safety
/// `out` is null or valid for a write.
unsafe fn put<T>(out: *mut T, value: T) -> Result {
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: not null, so valid, by the caller's promise.
    unsafe { out.write(value) };
    Ok(())
}

/// Writes a result if the caller wants it.
///
/// # Safety
/// `out` is null or valid for a write.
unsafe fn put_if_wanted<T>(out: *mut T, value: T) {
    // SAFETY: the caller's promise.
    let _ = unsafe { put(out, value) };
}

/// A name given by the caller.
///
/// # Safety
/// `text` is null or a C string that lives for `'a`.
unsafe fn name<'a>(text: *const c_char) -> Result<&'a str> {
    if text.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: not null, so a C string, by the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Error::INVALID_VALUE)
}
