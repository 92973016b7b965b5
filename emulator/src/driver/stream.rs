//! Streams.

use super::{
    Handle, entry,
    error::{Error, Result},
    objects::{Recorded, Stream},
    put,
    queue::Kind,
    state::{Driver, driver},
    work::{HostFunction, Work},
};
use std::{
    ffi::{c_int, c_uint, c_void},
    sync::Arc,
};

/// Priorities go from 0 (least) down to this. They are remembered; one piece of work runs at a time anyway.
pub const GREATEST_PRIORITY: c_int = -5;

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: c_uint = 1;

/// A `CUstreamAttrValue`: the union of its kinds.
pub type AttributeValue = [u64; 8];

impl Driver {
    /// The stream behind a handle.
    pub fn stream(&self, handle: Handle) -> Result<Stream> {
        self.objects().stream(&self.queue, handle)
    }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(out: *mut Handle, flags: c_uint) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuStreamCreateWithPriority(out, flags, 0) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreateWithPriority(out: *mut Handle, flags: c_uint, priority: c_int) -> u32 {
    entry(|| {
        let driver = driver()?;
        let mut objects = driver.objects();
        let context = objects.current()?;
        if out.is_null() || flags > NON_BLOCKING {
            return Err(Error::INVALID_VALUE);
        }
        let kind = if flags == NON_BLOCKING { Kind::NonBlocking } else { Kind::Blocking };
        let id = driver.queue.open(context.serial, kind);
        let handle = objects.new_handle();
        let priority = priority.clamp(GREATEST_PRIORITY, 0);
        objects.streams.insert(handle, Arc::new(Stream { context, id, flags, priority, attributes: Arc::default() }));
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }
    })
}

/// Returns at once; the stream's work will still be done.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.objects().streams.remove(&(stream as u64)).ok_or(Error::INVALID_HANDLE)?;
        driver.captures().forget(stream.id);
        driver.queue.close(stream.id);
        stream.context.check()
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        driver.refuse_wait(&stream)?;
        driver.wait(&stream, driver.queue.last(stream.id))
    })
}

/// Lets the worker start, and says whether there is nothing left to do.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamQuery(stream: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        driver.refuse_wait(&stream)?;
        if driver.queue.is_done(driver.queue.last(stream.id)) {
            return stream.context.check();
        }
        driver.queue.hurry();
        Err(Error::NOT_READY)
    })
}

/// Waiting for an event that was never recorded does nothing. While a graph is captured, waiting is an edge in it.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint) -> u32 {
    /// `CU_EVENT_WAIT_EXTERNAL`: in a capture, a node that waits for the event at each launch of the graph.
    const EXTERNAL: c_uint = 1;
    entry(|| {
        let driver = driver()?;
        let event = driver.objects().event(event)?;
        let stream = driver.stream(stream)?;
        if flags & !EXTERNAL != 0 {
            return Err(Error::INVALID_VALUE);
        }
        if flags == EXTERNAL && driver.captures().has(stream.id) {
            return driver.submit(&stream, &[], Work::WaitFor(event)).map(drop);
        }
        let last = event.record().last.clone();
        let is_captured = driver.captures().wait(&stream, &last)?;
        if let (false, Recorded::Queued(ticket)) = (is_captured, last)
            && !driver.queue.is_done(ticket)
        {
            driver.enqueue(&stream, &[ticket], Work::Join)?;
        }
        Ok(())
    })
}

/// # Safety
/// As CUDA's; the function may be called on any thread, and must not unwind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchHostFunc(
    stream: Handle,
    function: Option<HostFunction>,
    argument: *mut c_void,
) -> u32 {
    entry(|| {
        let driver = driver()?;
        let stream = driver.stream(stream)?;
        let function = function.ok_or(Error::INVALID_VALUE)?;
        driver.submit(&stream, &[], Work::Call { function, argument: argument as usize })?;
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetPriority(stream: Handle, priority: *mut c_int) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(priority, driver()?.stream(stream)?.priority) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetFlags(stream: Handle, flags: *mut c_uint) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(flags, driver()?.stream(stream)?.flags) })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCtx(stream: Handle, context: *mut Handle) -> u32 {
    // SAFETY: the caller's promise.
    entry(|| unsafe { put(context, driver()?.stream(stream)?.context.handle as Handle) })
}
