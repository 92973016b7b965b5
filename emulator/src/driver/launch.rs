//! Kernel launches: what the card would refuse is refused here.

use super::{
    Handle, entry,
    error::Error,
    function::Needs,
    objects::{Context, Function},
    ptx_header::Refusal,
    state::{Driver, driver},
    work::{Launch, Work},
};
use crate::{sched::Shape, settings::card::Card};
use std::{
    ffi::{c_uint, c_void},
    ptr, slice,
    sync::Arc,
};

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Debug)]
pub struct LaunchConfig {
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared_bytes: c_uint,
    pub stream: Handle,
    pub attributes: *const LaunchAttribute,
    pub n_attributes: c_uint,
}

/// `CUlaunchAttribute`: the union `value` begins with what the emulator reads of it.
#[repr(C)]
#[derive(Debug)]
pub struct LaunchAttribute {
    pub id: u32,
    pad: u32,
    pub value: [u32; 16],
}

/// Where a launch's arguments are.
#[derive(Clone, Copy)]
pub struct Arguments {
    /// One pointer for each parameter, or null.
    pub params: *mut *mut c_void,
    /// The whole parameter block, described by a list of `CU_LAUNCH_PARAM_*`, or null.
    pub extra: *mut *mut c_void,
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: Handle,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> u32 {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let shape = Shape { grid, block, dynamic_shared_bytes: shared_bytes };
    // SAFETY: the caller's promise.
    entry(|| unsafe { launch(function, shape, stream, Arguments { params, extra }, false) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchCooperativeKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: Handle,
    params: *mut *mut c_void,
) -> u32 {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let shape = Shape { grid, block, dynamic_shared_bytes: shared_bytes };
    let arguments = Arguments { params, extra: ptr::null_mut() };
    // SAFETY: the caller's promise.
    entry(|| unsafe { launch(function, shape, stream, arguments, true) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernelEx(
    config: *const LaunchConfig,
    function: Handle,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> u32 {
    entry(|| {
        if config.is_null() {
            return Err(Error::INVALID_VALUE);
        }
        // SAFETY: not null, so a config, by the caller's promise.
        let &LaunchConfig { grid, block, shared_bytes, stream, attributes, n_attributes } = unsafe { &*config };
        let attributes = match (attributes.is_null(), n_attributes) {
            (_, 0) => &[],
            (true, _) => return Err(Error::INVALID_VALUE),
            // SAFETY: the caller's promise.
            (false, n) => unsafe { slice::from_raw_parts(attributes, n as usize) },
        };
        let mut is_cooperative = false;
        for attribute in attributes {
            is_cooperative |= read_attribute(attribute)?;
        }
        let shape = Shape { grid, block, dynamic_shared_bytes: shared_bytes };
        // SAFETY: the caller's promise.
        unsafe { launch(function, shape, stream, Arguments { params, extra }, is_cooperative) }
    })
}

/// Whether the attribute makes the launch cooperative.
///
/// # Errors
/// When it asks for something that is not there.
fn read_attribute(attribute: &LaunchAttribute) -> Result<bool, Error> {
    match attribute.id {
        2 => Ok(attribute.value[0] != 0), // COOPERATIVE
        // CLUSTER_DIMENSION, PREFERRED_CLUSTER_DIMENSION: a cluster of one block is no cluster.
        4 | 11 if attribute.value[..3] == [1, 1, 1] => Ok(false),
        // IGNORE, and hints that change no result: ACCESS_POLICY_WINDOW, SYNCHRONIZATION_POLICY,
        // CLUSTER_SCHEDULING_POLICY_PREFERENCE, PRIORITY, MEM_SYNC_DOMAIN_MAP, MEM_SYNC_DOMAIN,
        // PREFERRED_SHARED_MEMORY_CARVEOUT. PROGRAMMATIC_STREAM_SERIALIZATION allows an overlap and promises none.
        0 | 1 | 3 | 5 | 6 | 8 | 9 | 10 | 14 => Ok(false),
        id => {
            say!("launch attribute {id} is not supported");
            Err(Error::NOT_SUPPORTED)
        }
    }
}

/// # Safety
/// The arguments are null or what CUDA's reference says, for the parameters of `function`.
unsafe fn launch(
    function: Handle,
    shape: Shape,
    stream: Handle,
    arguments: Arguments,
    is_cooperative: bool,
) -> Result<(), Error> {
    let driver = driver()?;
    let stream = driver.stream(stream)?;
    let function = driver.function(function, &stream.context)?;
    // SAFETY: the caller's promise.
    let launch = unsafe { prepare(&function, shape, arguments, is_cooperative) }?;
    driver.submit(&stream, &[], Work::Launch(launch)).map(drop)
}

impl Driver {
    /// The function behind a handle, in this context.
    pub fn function(&self, handle: Handle, context: &Arc<Context>) -> Result<Arc<Function>, Error> {
        let found = self.objects().function(handle);
        match found {
            Ok(function) if Arc::ptr_eq(&function.context, context) => Ok(function),
            Ok(function) => {
                say!(
                    "launch of {} refused: it was loaded in another context than that of the stream",
                    function.kernel.name
                );
                Err(Error::INVALID_HANDLE)
            }
            Err(Error::INVALID_HANDLE) if self.objects().kernel(handle).is_ok() => {
                Ok(self.kernel_function(handle, context)?.1)
            }
            Err(error) => {
                if error == Error::INVALID_HANDLE {
                    say!("launch refused: {handle:?} is no function (null, unloaded, or of another kind)");
                }
                Err(error)
            }
        }
    }
}

/// A launch that the card would take, with its parameters.
///
/// # Safety
/// As [`launch`].
pub unsafe fn prepare(
    function: &Function,
    shape: Shape,
    arguments: Arguments,
    is_cooperative: bool,
) -> Result<Launch, Error> {
    let refuse = |(error, why): Refusal| {
        say!("launch of {} refused: {why}", function.kernel.name);
        error
    };
    check(driver()?.settings.card, &function.needs(), shape, is_cooperative).map_err(refuse)?;
    // SAFETY: the caller's promise.
    let params = unsafe { copy_params(&function.kernel.params, function.kernel.param_bytes, arguments) };
    let params = params.map_err(refuse)?;
    Ok(Launch { kernel: Arc::clone(&function.kernel), shape, params, is_cooperative })
}

/// Whether the card runs a kernel in this shape.
fn check(card: &Card, needs: &Needs, shape: Shape, is_cooperative: bool) -> Result<(), Refusal> {
    let Shape { grid, block, dynamic_shared_bytes } = shape;
    let refuse = |error, why| Err((error, why));
    for (what, dims, max) in [("grid", grid, Card::MAX_GRID), ("block", block, Card::MAX_BLOCK)] {
        if !dims.iter().zip(max).all(|(dim, max)| (1..=max).contains(dim)) {
            return refuse(Error::INVALID_VALUE, format!("the {what} is {dims:?}, expected 1 to {max:?}"));
        }
    }
    let n_threads = block.iter().product::<u32>();
    let max_threads = Card::MAX_THREADS_PER_BLOCK.min(needs.max_threads);
    if n_threads > max_threads {
        let why = format!("the block {block:?} has {n_threads} threads, expected at most {max_threads}");
        return refuse(Error::INVALID_VALUE, why);
    }
    if let Some(required) = needs.req_ntid.filter(|required| *required != block) {
        return refuse(Error::INVALID_VALUE, format!("the block is {block:?}, the kernel requires {required:?}"));
    }
    let Needs { static_shared_bytes, max_dynamic_shared_bytes, .. } = *needs;
    if dynamic_shared_bytes > max_dynamic_shared_bytes {
        let why = format!(
            "{dynamic_shared_bytes} bytes of dynamic shared memory, expected at most {max_dynamic_shared_bytes}: raise \
             CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES with cuFuncSetAttribute"
        );
        return refuse(Error::INVALID_VALUE, why);
    }
    let n_resident = needs.max_resident_blocks(card, n_threads, dynamic_shared_bytes);
    if n_resident == 0 {
        let (shared, most) = (static_shared_bytes + dynamic_shared_bytes, card.shared_bytes_per_block_optin);
        let why = format!("no SM holds a block with {shared} bytes of shared memory, expected at most {most}");
        return refuse(Error::LAUNCH_OUT_OF_RESOURCES, why);
    }
    let n_blocks: u64 = grid.iter().map(|dim| u64::from(*dim)).product();
    let n_most = u64::from(n_resident * card.n_sms);
    if is_cooperative && n_blocks > n_most {
        let why = format!("{n_blocks} blocks of a cooperative grid, of which the card holds {n_most} at once");
        return refuse(Error::COOPERATIVE_LAUNCH_TOO_LARGE, why);
    }
    Ok(())
}

/// Takes the parameters during the call. `layout` is (offset, bytes) of each in a block of `block_bytes`.
///
/// # Safety
/// As for [`launch`].
unsafe fn copy_params(
    layout: &[(u32, u32)],
    block_bytes: u32,
    Arguments { params, extra }: Arguments,
) -> Result<Box<[u8]>, Refusal> {
    /// A struct of all parameters may be longer than they are, because of its alignment.
    const MOST_ALIGNMENT: u32 = 16;
    let refuse = |why: String| Err((Error::INVALID_VALUE, why));
    let mut block = vec![0; block_bytes as usize].into_boxed_slice();
    if !extra.is_null() {
        if !params.is_null() {
            return refuse("the parameters are given both one by one and as a block".to_owned());
        }
        // SAFETY: the caller's promise.
        let given = unsafe { extra_params(extra) }.map_err(|error| (error, "a list that is not right".to_owned()))?;
        let fits = block.len()..=block_bytes.next_multiple_of(MOST_ALIGNMENT) as usize;
        if !fits.contains(&given.len()) {
            return refuse(format!("{} bytes of parameters, expected {block_bytes}", given.len()));
        }
        let n = block.len();
        block.copy_from_slice(&given[..n]);
        return Ok(block);
    }
    if params.is_null() && !layout.is_empty() {
        return refuse(format!("no parameters, expected {}", layout.len()));
    }
    for (i, &(offset, bytes)) in layout.iter().enumerate() {
        // SAFETY: the caller promises one pointer for each parameter, each null or valid for reads of its bytes.
        let argument = unsafe {
            let pointer = *params.add(i);
            if pointer.is_null() {
                return refuse(format!("the pointer to parameter {i} is null"));
            }
            slice::from_raw_parts(pointer.cast::<u8>(), bytes as usize)
        };
        block[offset as usize..][..bytes as usize].copy_from_slice(argument);
    }
    Ok(block)
}

/// The parameter block that a list of `CU_LAUNCH_PARAM_*` describes.
///
/// # Safety
/// `extra` is such a list.
unsafe fn extra_params<'a>(extra: *mut *mut c_void) -> Result<&'a [u8], Error> {
    const END: usize = 0;
    const BUFFER_POINTER: usize = 1;
    const BUFFER_SIZE: usize = 2;
    let (mut buffer, mut bytes) = (ptr::null::<u8>(), 0);
    for i in (0..).step_by(2) {
        // SAFETY: the list goes on up to END, and what follows a name is its value.
        unsafe {
            match *extra.add(i) as usize {
                END => break,
                BUFFER_POINTER => buffer = (*extra.add(i + 1)).cast(),
                BUFFER_SIZE => {
                    let size = (*extra.add(i + 1)).cast::<usize>();
                    bytes = *size.as_ref().ok_or(Error::INVALID_VALUE)?;
                }
                _ => return Err(Error::INVALID_VALUE),
            }
        }
    }
    if buffer.is_null() {
        return if bytes == 0 { Ok(&[]) } else { Err(Error::INVALID_VALUE) };
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { slice::from_raw_parts(buffer, bytes) })
}

// The layouts of `cuda.h`, where the attribute's union is 64 bytes long and aligned to 8.
const _: () = assert!(size_of::<LaunchConfig>() == 56 && size_of::<LaunchAttribute>() == 72);

#[cfg(test)]
mod tests;
