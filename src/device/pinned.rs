//! Host memory that the device writes directly.

use super::buffer::{HostAddress, Memory};
use super::error::reason;
use super::{Buffer, Device, DeviceError, Element, Result};
use cudarc::driver::{result, sys};

/// Memory of the host that kernels reach as a buffer, so that the host can read their results without a copy.
///
/// It is not write-combined, which would make it slow to read.
#[derive(Debug)]
pub struct PinnedBuffer<T> {
    buffer: Buffer<T>,
    host: HostAddress,
}

impl Device {
    /// `len` zeros in host memory, within the device's reach.
    pub fn alloc_pinned<T: Element>(&self, len: usize) -> Result<PinnedBuffer<T>> {
        let bytes = len * size_of::<T>();
        assert!(bytes > 0, "a pinned buffer holds something");
        let failed = || move |error| DeviceError::Pinned { bytes, reason: reason(error) };
        self.bind()?;
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: the memory is undefined until it is zeroed here, before anyone sees it.
        let host: *mut u8 = unsafe { result::malloc_host(bytes, flags) }.map_err(failed())?.cast();
        // SAFETY: the driver gave `bytes` bytes at `host`.
        unsafe { host.write_bytes(0, bytes) };
        let mut address = 0;
        // SAFETY: `host` is memory that was allocated with DEVICEMAP.
        let code = unsafe { sys::cuMemHostGetDevicePointer_v2(&mut address, host.cast(), 0) };
        let host = HostAddress(host);
        let buffer = Buffer::new(Memory { device: self.clone(), address, bytes, host: Some(host) });
        code.result().map_err(failed())?;
        Ok(PinnedBuffer { buffer, host })
    }
}

impl<T: Element> PinnedBuffer<T> {
    /// The device's view.
    pub fn buffer(&self) -> &Buffer<T> {
        &self.buffer
    }

    /// The device's view, to write to.
    pub fn buffer_mut(&mut self) -> &mut Buffer<T> {
        &mut self.buffer
    }

    /// The element as it is now. A kernel may be writing it: synchronise first, or poll for a value.
    #[track_caller]
    pub fn read(&self, index: usize) -> T {
        // SAFETY: the element lies in the buffer (asserted). The device may write it at any time, hence volatile.
        unsafe { self.element(index).read_volatile() }
    }

    /// Replaces an element at once, not in the stream's order: no running kernel may be using it.
    #[track_caller]
    pub fn write(&mut self, index: usize, value: T) {
        // SAFETY: the element lies in the buffer (asserted).
        unsafe { self.element(index).write_volatile(value) }
    }

    /// Where the host sees element 0.
    pub(super) fn host(&self) -> *mut T {
        self.host.0.cast()
    }

    #[track_caller]
    fn element(&self, index: usize) -> *mut T {
        assert!(index < self.buffer.len(), "element {index} of {}", self.buffer.len());
        self.host().wrapping_add(index)
    }
}
