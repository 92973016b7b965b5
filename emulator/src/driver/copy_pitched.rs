//! Copies and memsets of rows and slices: `cuMemcpy2D`, `cuMemcpy3D`, `cuMemsetD2D`. Arrays are not supported.

use super::{
    DevicePtr, Handle,
    copy::{LEGACY, copy_box, fill},
    entry,
    error::{Error, Result},
    put, put_if_wanted,
    state::driver,
    transfer::{Extent, Fill, Pitch, Side},
};
use std::{
    ffi::{c_uint, c_void},
    ptr,
};

/// One end in `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct End2D {
    pub x_bytes: usize,
    pub y: usize,
    /// `CUmemorytype`.
    pub memory_type: c_uint,
    pub host: *mut c_void,
    pub device: DevicePtr,
    pub array: Handle,
    pub pitch: usize,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Copy2D {
    pub from: End2D,
    pub to: End2D,
    pub width_bytes: usize,
    pub height: usize,
}

/// One end in `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct End3D {
    pub x_bytes: usize,
    pub y: usize,
    pub z: usize,
    pub level: usize,
    /// `CUmemorytype`.
    pub memory_type: c_uint,
    pub host: *mut c_void,
    pub device: DevicePtr,
    pub array: Handle,
    /// Reserved; of a copy between devices, the context.
    pub context: Handle,
    pub pitch: usize,
    /// Rows in a slice.
    pub height: usize,
}

/// `CUDA_MEMCPY3D`, and `CUDA_MEMCPY3D_PEER`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Copy3D {
    pub from: End3D,
    pub to: End3D,
    pub width_bytes: usize,
    pub height: usize,
    pub depth: usize,
}

/// `CUmemorytype`.
const HOST: c_uint = 1;
const DEVICE: c_uint = 2;
const ARRAY: c_uint = 3;
const UNIFIED: c_uint = 4;

/// An end of a copy: its first byte, what it has to be, and how its rows lie.
type End = (u64, Side, Pitch);

impl End3D {
    fn place(&self, extent: Extent) -> Result<End> {
        let (base, side) = match self.memory_type {
            HOST => (self.host as u64, Side::Any),
            DEVICE => (self.device, Side::Device),
            UNIFIED => (self.device, Side::Any),
            ARRAY => return Err(Error::NOT_SUPPORTED),
            _ => return Err(Error::INVALID_VALUE),
        };
        // Without a pitch the rows follow each other, without a height the slices.
        let row = if self.pitch == 0 { extent.width } else { self.pitch as u64 };
        let n_rows = if self.height == 0 { extent.n_rows } else { self.height as u64 };
        let slice = row.checked_mul(n_rows).ok_or(Error::INVALID_VALUE)?;
        let offset = |index: usize, pitch: u64| (index as u64).checked_mul(pitch);
        let start = offset(self.y, row)
            .zip(offset(self.z, slice))
            .and_then(|(y, z)| base.checked_add(y)?.checked_add(z)?.checked_add(self.x_bytes as u64));
        Ok((start.ok_or(Error::INVALID_VALUE)?, side, Pitch { row, slice }))
    }
}

impl Copy3D {
    pub fn extent(&self) -> Extent {
        Extent { width: self.width_bytes as u64, n_rows: self.height as u64, n_slices: self.depth as u64 }
    }

    /// (to, from)
    pub fn ends(&self) -> Result<(End, End)> {
        let extent = self.extent();
        Ok((self.to.place(extent)?, self.from.place(extent)?))
    }
}

impl From<End2D> for End3D {
    fn from(End2D { x_bytes, y, memory_type, host, device, array, pitch }: End2D) -> Self {
        let context = ptr::null_mut();
        Self { x_bytes, y, z: 0, level: 0, memory_type, host, device, array, context, pitch, height: 0 }
    }
}

impl From<Copy2D> for Copy3D {
    fn from(Copy2D { from, to, width_bytes, height }: Copy2D) -> Self {
        Self { from: from.into(), to: to.into(), width_bytes, height, depth: 1 }
    }
}

/// # Safety
/// `params` is null or valid for a read, and what it describes as host memory is valid.
unsafe fn copy<T: Copy + Into<Copy3D>>(params: *const T, stream: Handle, waits: bool) -> Result {
    if params.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: not null, so valid, by the caller's promise.
    let params: Copy3D = unsafe { *params }.into();
    let (to, from) = params.ends()?;
    // SAFETY: the caller's promise.
    unsafe { copy_box(to, from, params.extent(), stream, waits) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2D_v2(params: *const Copy2D) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy(params, LEGACY, true) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2DUnaligned_v2(params: *const Copy2D) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy(params, LEGACY, true) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2DAsync_v2(params: *const Copy2D, stream: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy(params, stream, false) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy3D_v2(params: *const Copy3D) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy(params, LEGACY, true) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy3DAsync_v2(params: *const Copy3D, stream: Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { copy(params, stream, false) })
}

macro_rules! memset {
    ($name:ident $name_async:ident $value:ty) => {
        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(to: DevicePtr, pitch: usize, value: $value, width: usize, height: usize) -> u32 {
            entry(|| fill_rows(to, pitch, value.into(), size_of::<$value>(), (width, height), LEGACY, false))
        }

        /// # Safety
        /// As CUDA's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name_async(
            to: DevicePtr,
            pitch: usize,
            value: $value,
            width: usize,
            height: usize,
            stream: Handle,
        ) -> u32 {
            entry(|| fill_rows(to, pitch, value.into(), size_of::<$value>(), (width, height), stream, true))
        }
    };
}

memset! { cuMemsetD2D8_v2 cuMemsetD2D8Async u8 }
memset! { cuMemsetD2D16_v2 cuMemsetD2D16Async u16 }
memset! { cuMemsetD2D32_v2 cuMemsetD2D32Async u32 }

/// A memset of `height` rows of `width` elements.
///
/// # Errors
/// When the rows have more bytes than addresses.
pub fn rows_of(
    to: DevicePtr,
    pitch: usize,
    value: u64,
    element: usize,
    (width, height): (usize, usize),
) -> Result<Fill> {
    let width = width.checked_mul(element).ok_or(Error::INVALID_VALUE)? as u64;
    let extent = Extent { width, n_rows: height as u64, n_slices: 1 };
    Ok(Fill { to, value, element: element as u64, pitch: Pitch { row: pitch as u64, slice: 0 }, extent })
}

fn fill_rows(
    to: DevicePtr,
    pitch: usize,
    value: u64,
    element: usize,
    shape: (usize, usize),
    stream: Handle,
    is_async: bool,
) -> Result {
    fill(rows_of(to, pitch, value, element, shape)?, stream, is_async)
}

/// Rows lie 512 bytes apart, or a multiple of that.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocPitch_v2(
    out: *mut DevicePtr,
    pitch: *mut usize,
    width_bytes: usize,
    height: usize,
    element_bytes: c_uint,
) -> u32 {
    const ALIGNMENT: usize = 512;
    entry(|| {
        let driver = driver()?;
        let context = driver.objects().current()?;
        let is_right = matches!(element_bytes, 4 | 8 | 16) && width_bytes > 0 && height > 0;
        if out.is_null() || pitch.is_null() || !is_right {
            return Err(Error::INVALID_VALUE);
        }
        driver.captures().refuse_unsafe()?;
        let row = width_bytes.checked_next_multiple_of(ALIGNMENT).ok_or(Error::OUT_OF_MEMORY)?;
        let bytes = row.checked_mul(height).ok_or(Error::OUT_OF_MEMORY)?;
        let address = driver.allocate(bytes as u64, context.serial)?;
        // SAFETY: the caller's promise.
        unsafe {
            put_if_wanted(pitch, row);
            put(out, address)
        }
    })
}

// The layouts of `cuda.h`.
const _: () = assert!(size_of::<Copy2D>() == 128 && size_of::<Copy3D>() == 200);
