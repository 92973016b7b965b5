//! The device: a GPU behind NVIDIA's driver, or the emulator behind the same functions.
//!
//! The only module that names cudarc and, with `weights.rs` (which maps files), the only one with `unsafe`. All
//! work of a [`Device`] runs on one stream, in the order in which it is asked for; a copy to or from the host
//! returns when it is done, everything else may still be running.
#![allow(unsafe_code)]

mod choice;
mod library;
mod context;
mod modules;
mod buffer;
mod pinned;
mod staging;
mod launch;
mod graph;
mod event;
mod counters;
mod trace;
mod nvml;
mod cublas;
mod profiler;
mod embedded;
mod error;

pub use buffer::{Buffer, Element, Rows};
pub use choice::DeviceChoice;
pub use counters::{Class, Counters, Counts};
pub use cublas::Cublas;
pub use embedded::{Module, Param, Pass, Prototype, prototypes};
pub use error::{DeviceError, Result};
pub use event::Event;
pub use graph::Graph;
pub use launch::{Arg, Grid, KernelArg};
pub use nvml::{Monitor, Reading};
pub use pinned::PinnedBuffer;
pub use profiler::Profiler;
pub use staging::Staging;
pub use trace::{Cost, Launched};

use buffer::Memory;
use context::Context;
use cudarc::driver::{CudaStream, result, sys};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A device and one stream of work on it. Cheap to clone; clones share the stream.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    context: &'static Context,
    stream: Arc<CudaStream>,
    allocated_bytes: AtomicUsize,
    /// While a graph is being captured, the memory that its work uses.
    captured: Mutex<Option<Vec<Arc<Memory>>>>,
    /// While launches are being traced, what is known of them.
    trace: Mutex<Option<trace::Trace>>,
}

impl Device {
    /// Opens the device that `choice` asks for, and begins to load the kernels.
    ///
    /// A process has one choice: opening it again gives another stream of work on the same device, opening
    /// another is an error.
    pub fn open(choice: DeviceChoice) -> Result<Device> {
        Device::of(Context::of_process(choice, false)?)
    }

    /// The same for tests of kernels: the emulator also finds races and reads of what nobody wrote, unless
    /// `CUDA_EMULATOR_MODE` says otherwise. What opens the device first in a process decides.
    pub fn open_checked(choice: DeviceChoice) -> Result<Device> {
        Device::of(Context::of_process(choice, true)?)
    }

    fn of(context: &'static Context) -> Result<Device> {
        let stream = context.cuda.new_stream().map_err(DeviceError::call("creating a stream"))?;
        Ok(Device(Arc::new(Inner {
            context,
            stream,
            allocated_bytes: AtomicUsize::new(0),
            captured: Mutex::new(None),
            trace: Mutex::new(None),
        })))
    }

    /// Its name as the driver gives it.
    pub fn name(&self) -> &str {
        &self.0.context.name
    }

    /// Whether it is the emulator.
    pub fn is_emulator(&self) -> bool {
        self.0.context.is_emulator
    }

    /// Its compute capability, (9, 0) for H100.
    pub fn compute_capability(&self) -> (u32, u32) {
        self.0.context.compute_capability
    }

    /// The CUDA version that the driver is for, (13, 0) for CUDA 13.0.
    pub fn driver_version(&self) -> (u32, u32) {
        self.0.context.driver_version
    }

    /// How many multiprocessors it has.
    pub fn n_multiprocessors(&self) -> u32 {
        self.0.context.n_multiprocessors
    }

    /// Bytes of shared memory that a block may have, at most.
    pub fn max_shared_bytes(&self) -> u32 {
        self.0.context.shared_limit
    }

    /// Free and total bytes of device memory.
    pub fn memory_info(&self) -> Result<(usize, usize)> {
        self.bind()?;
        result::mem_get_info().map_err(DeviceError::call("asking for free memory"))
    }

    /// Bytes of device memory that the live buffers of this device asked for.
    pub fn allocated_bytes(&self) -> usize {
        self.0.allocated_bytes.load(Ordering::Relaxed)
    }

    /// Waits until all work is done. A fault of a kernel that ran before comes out here.
    pub fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream is ours and lives as long as the device.
        unsafe { result::stream::synchronize(self.stream()) }.map_err(DeviceError::call("waiting for the device"))
    }

    /// Whether all work is done, without waiting for it. A fault of a kernel that ran before comes out here.
    pub fn is_done(&self) -> Result<bool> {
        self.bind()?;
        // SAFETY: the stream is ours and lives as long as the device.
        match unsafe { sys::cuStreamQuery(self.stream()) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            code => code.result().map(|()| true).map_err(DeviceError::call("asking whether the device is done")),
        }
    }

    /// How long opening the device took, which a process does once; without the kernels.
    pub fn opened_in(&self) -> Duration {
        self.0.context.opened_in
    }

    /// Waits until every kernel is loaded, so that no launch will. The time is what loading took in all, whether or not
    /// somebody waited.
    pub fn load_kernels(&self) -> Result<Duration> {
        self.bind()?;
        self.0.context.modules.load_all()
    }

    /// Makes the context current on this thread, as every driver call expects.
    fn bind(&self) -> Result<()> {
        self.0.context.cuda.bind_to_thread().map_err(DeviceError::call("making the device current"))
    }

    fn stream(&self) -> sys::CUstream {
        self.0.stream.cu_stream()
    }

    fn function(&self, kernel: &Prototype) -> Result<sys::CUfunction> {
        self.0.context.modules.function(kernel)
    }

    /// If a graph is being captured, lets it own memory that its work uses.
    fn keep(&self, memory: &Arc<Memory>) {
        let mut captured = self.0.captured.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &mut *captured
            && !kept.iter().any(|it| Arc::ptr_eq(it, memory))
        {
            kept.push(memory.clone());
        }
    }

    fn count_allocated(&self, bytes: usize) {
        self.0.allocated_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn count_freed(&self, bytes: usize) {
        self.0.allocated_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.context.modules.stop();
    }
}

/// Two devices are equal if their work is ordered: if they are clones.
impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Device({})", self.name())
    }
}
