//! Memory on the device.

use super::{Device, DeviceError, Result};
use bytemuck::Pod;
use cudarc::driver::{result, sys};
use half::{bf16, f16};
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// What a buffer holds: plain bits with the same layout here and in CUDA.
pub trait Element: Pod + Send + Sync {
    /// The type's name in kernels/*.cu.
    const C_TYPE: &'static str;
}

macro_rules! elements {
    ($($element:ty: $c_type:literal,)*) => {$(
        impl Element for $element {
            const C_TYPE: &'static str = $c_type;
        }
    )*};
}

elements! {
    bf16: "bf16",
    f16: "f16",
    f32: "float",
    [f32; 2]: "float2",
    u8: "uint8_t",
    u32: "uint32_t",
    u64: "uint64_t",
    i32: "int32_t",
}

/// One allocation, freed when the last buffer and graph that use it are gone.
#[derive(Debug)]
pub(super) struct Memory {
    pub device: Device,
    pub address: u64,
    pub bytes: usize,
    /// Where the host sees it, if it is the host's.
    pub host: Option<HostAddress>,
}

/// The address of pinned host memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostAddress(pub *mut u8);

// SAFETY: an address; what is behind it is shared with the device anyway, and read and written as such.
unsafe impl Send for HostAddress {}
// SAFETY: as above.
unsafe impl Sync for HostAddress {}

impl Drop for Memory {
    /// Waits for the stream, which may still use the memory. An error is the fault of earlier work, whose
    /// own calls report it.
    fn drop(&mut self) {
        let _ = self.device.synchronize();
        // SAFETY: the memory is of the allocator that frees it, nobody else holds it, and the stream is done.
        let _ = unsafe {
            match self.host {
                Some(host) => result::free_host(host.0.cast()),
                None => result::free_sync(self.address),
            }
        };
        if self.host.is_none() {
            self.device.count_freed(self.bytes);
        }
    }
}

/// `len` elements on the device. Work on buffers runs in the order in which it is asked for.
#[derive(Debug)]
pub struct Buffer<T> {
    pub(super) memory: Arc<Memory>,
    /// Of element 0, in bytes from the memory's start; not 0 in a [`Rows`] only.
    pub(super) start: usize,
    len: usize,
    element: PhantomData<T>,
}

/// Some rows of a buffer, to read: what [`Buffer::rows`] gives.
#[derive(Debug)]
pub struct Rows<'a, T> {
    buffer: Buffer<T>,
    of: PhantomData<&'a Buffer<T>>,
}

impl<T> Deref for Rows<'_, T> {
    type Target = Buffer<T>;

    fn deref(&self) -> &Buffer<T> {
        &self.buffer
    }
}

impl Device {
    /// Memory for a tensor of this shape. What it holds is undefined until it is written.
    pub fn alloc<T: Element>(&self, shape: &[usize]) -> Result<Buffer<T>> {
        let bytes = shape.iter().product::<usize>() * size_of::<T>();
        assert!(bytes > 0, "a buffer holds something, its shape is {shape:?}");
        self.bind()?;
        // SAFETY: the memory is undefined, and `Element` is `Pod`: any bits are a value.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|error| self.out_of_memory(bytes, error))?;
        self.count_allocated(bytes);
        Ok(Buffer::new(Memory { device: self.clone(), address, bytes, host: None }))
    }

    /// A tensor of zeros.
    pub fn zeroed<T: Element>(&self, shape: &[usize]) -> Result<Buffer<T>> {
        let mut buffer = self.alloc(shape)?;
        buffer.fill_zero()?;
        Ok(buffer)
    }

    /// A copy of `host` on the device.
    pub fn upload<T: Element>(&self, host: &[T]) -> Result<Buffer<T>> {
        let mut buffer = self.alloc(&[host.len()])?;
        buffer.copy_from(host)?;
        Ok(buffer)
    }

    fn out_of_memory(&self, requested: usize, error: cudarc::driver::DriverError) -> DeviceError {
        match (error.0, self.memory_info()) {
            (sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY, Ok((free, total))) => {
                DeviceError::OutOfMemory { requested, free, total }
            }
            _ => DeviceError::call(format!("allocating {requested} bytes"))(error),
        }
    }
}

impl<T: Element> Buffer<T> {
    pub(super) fn new(memory: Memory) -> Buffer<T> {
        let len = memory.bytes / size_of::<T>();
        Buffer { memory: Arc::new(memory), start: 0, len, element: PhantomData }
    }

    /// Rows `range` of the tensor, each of `row_len` elements.
    #[track_caller]
    pub fn rows(&self, range: Range<usize>, row_len: usize) -> Rows<'_, T> {
        let (first, end) = (range.start * row_len, range.end * row_len);
        assert!(first < end && end <= self.len, "rows {range:?} of {row_len} elements are not in {}", self.len);
        let start = self.start + first * size_of::<T>();
        let buffer = Buffer { memory: self.memory.clone(), start, len: end - first, element: PhantomData };
        Rows { buffer, of: PhantomData }
    }

    /// The same memory, byte by byte.
    pub fn into_bytes(self) -> Buffer<u8> {
        Buffer { start: self.start, len: self.bytes(), memory: self.memory, element: PhantomData }
    }

    /// Where the device sees element 0.
    pub(super) fn address(&self) -> u64 {
        self.memory.address + self.start as u64
    }

    /// The number of elements.
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// Panics unless the buffer holds exactly a tensor of this shape.
    #[track_caller]
    pub fn assert_shape<const N: usize>(&self, shape: [u32; N]) {
        assert_eq!(self.len, count(shape), "a buffer of {} elements is not of shape {shape:?}", self.len);
    }

    /// Panics unless a tensor of this shape fits in the buffer.
    #[track_caller]
    pub fn assert_holds<const N: usize>(&self, shape: [u32; N]) {
        assert!(self.len >= count(shape), "a buffer of {} elements cannot hold shape {shape:?}", self.len);
    }

    /// Panics unless the buffer holds one row of this shape, or several.
    #[track_caller]
    pub fn assert_rows_of<const N: usize>(&self, shape: [u32; N]) {
        let is_rows = self.len.is_multiple_of(count(shape));
        assert!(is_rows, "a buffer of {} elements does not hold rows of shape {shape:?}", self.len);
    }

    /// Replaces all elements.
    pub fn copy_from(&mut self, host: &[T]) -> Result<()> {
        assert_eq!(host.len(), self.len, "the copy must fill the buffer");
        self.copy_from_at(0, host)
    }

    /// Replaces the elements from `offset` on. Returns when the copy is done.
    pub fn copy_from_at(&mut self, offset: usize, host: &[T]) -> Result<()> {
        let device = &self.memory.device;
        let address = self.address_of(offset, host.len());
        device.bind()?;
        // SAFETY: the range lies in this buffer (asserted), and `host` lives until the stream has been waited for.
        unsafe { result::memcpy_htod_async(address, host, device.stream()) }
            .map_err(|error| DeviceError::call(format!("copying {} bytes to the device", size_of_val(host)))(error))?;
        device.synchronize()
    }

    /// All elements, once everything that was asked for before is done.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let mut host = vec![T::zeroed(); self.len];
        self.read_into(0, &mut host)?;
        Ok(host)
    }

    /// The elements from `offset` on, as many as `host` holds.
    pub fn read_into(&self, offset: usize, host: &mut [T]) -> Result<()> {
        let device = &self.memory.device;
        let address = self.address_of(offset, host.len());
        device.bind()?;
        // SAFETY: the range lies in this buffer (asserted), and `host` lives until the stream has been waited for.
        unsafe { result::memcpy_dtoh_async(host, address, device.stream()) }.map_err(|error| {
            DeviceError::call(format!("copying {} bytes from the device", size_of_val(host)))(error)
        })?;
        device.synchronize()
    }

    /// Zeroes all elements.
    pub fn fill_zero(&mut self) -> Result<()> {
        let (device, bytes) = (&self.memory.device, self.bytes());
        device.keep(&self.memory);
        device.bind()?;
        // SAFETY: these are the bytes of this buffer, and zeros are a value of every `Element`.
        unsafe { result::memset_d8_async(self.address(), 0, bytes, device.stream()) }
            .map_err(|error| DeviceError::call(format!("zeroing {bytes} bytes"))(error))
    }

    #[track_caller]
    fn address_of(&self, offset: usize, len: usize) -> u64 {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|it| it <= self.len), "{len} elements from {offset} on are not in {}", self.len);
        self.address() + (offset * size_of::<T>()) as u64
    }
}

fn count<const N: usize>(shape: [u32; N]) -> usize {
    shape.iter().map(|&it| it as usize).product()
}
