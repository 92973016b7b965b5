//! Events. Their times are those of this machine: they say how long the emulation took, nothing about a GPU.

use super::{
    Handle, entry,
    error::{Error, Result},
    objects::{Event, Recorded},
    put,
    queue::Ticket,
    state::{Driver, driver},
    work::Work,
};
use crate::exec::printf;
use std::{
    ffi::c_uint,
    sync::Arc,
    time::{Duration, Instant},
};

/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: c_uint = 2;

/// Blocking, without timing, for other processes.
const FLAGS: c_uint = 7;
const INTERPROCESS: c_uint = 4;

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(out: *mut Handle, flags: c_uint) -> u32 {
    entry(|| {
        let mut objects = driver()?.objects();
        let context = objects.current()?;
        if out.is_null() || flags & !FLAGS != 0 {
            return Err(Error::INVALID_VALUE);
        }
        if flags & INTERPROCESS != 0 {
            return Err(Error::NOT_SUPPORTED);
        }
        let handle = objects.new_handle();
        objects.events.insert(handle, Arc::new(Event::new(context, flags)));
        // SAFETY: the caller's promise.
        unsafe { put(out, handle as Handle) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: Handle) -> u32 {
    entry(|| {
        let event = driver()?.objects().events.remove(&(event as u64)).ok_or(Error::INVALID_HANDLE)?;
        event.context.check()
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuEventRecordWithFlags(event, stream, 0) }
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecordWithFlags(event: Handle, stream: Handle, flags: c_uint) -> u32 {
    /// `CU_EVENT_RECORD_EXTERNAL`: in a capture, a node that records the event at each launch of the graph.
    const EXTERNAL: c_uint = 1;
    entry(|| {
        let driver = driver()?;
        let event = driver.objects().event(event)?;
        let stream = driver.stream(stream)?;
        if flags & !EXTERNAL != 0 {
            return Err(Error::INVALID_VALUE);
        }
        if !Arc::ptr_eq(&event.context, &stream.context) {
            return Err(Error::INVALID_HANDLE);
        }
        if flags == EXTERNAL && driver.captures().has(stream.id) {
            return driver.submit(&stream, &[], Work::Record(event)).map(drop);
        }
        let mark = driver.captures().mark(&stream)?;
        // Held until the ticket is there, so that the work cannot set the time of a record that is not made yet.
        let mut record = event.record();
        let generation = record.generation + 1;
        let last = match mark {
            Some(mark) => mark,
            None => {
                let stamp = Work::Stamp { event: Arc::clone(&event), generation };
                Recorded::Queued(driver.enqueue(&stream, &[], stamp)?)
            }
        };
        (record.generation, record.last, record.time) = (generation, last, None);
        Ok(())
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let event = driver.objects().event(event)?;
        if let Some(ticket) = waitable(driver, &event)? {
            driver.queue.wait(ticket);
            printf::flush();
        }
        event.context.check()
    })
}

/// Lets the worker start, and says whether the event has happened. One that was never recorded has.
///
/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventQuery(event: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let event = driver.objects().event(event)?;
        if waitable(driver, &event)?.is_none_or(|ticket| driver.queue.is_done(ticket)) {
            return event.context.check();
        }
        driver.queue.hurry();
        Err(Error::NOT_READY)
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) -> u32 {
    entry(|| {
        let driver = driver()?;
        let (start, end) = {
            let objects = driver.objects();
            (objects.event(start)?, objects.event(end)?)
        };
        let (start, end) = (time(&start)?, time(&end)?);
        let (Some(start), Some(end)) = (start, end) else {
            driver.queue.hurry();
            return Err(Error::NOT_READY);
        };
        let ms = |duration: Duration| duration.as_secs_f32() * 1e3;
        let elapsed = end.checked_duration_since(start).map_or_else(|| -ms(start - end), ms);
        // SAFETY: the caller's promise.
        unsafe { put(milliseconds, elapsed) }
    })
}

/// # Safety
/// As CUDA's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: Handle, end: Handle) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { cuEventElapsedTime(milliseconds, start, end) }
}

/// The work that an event stands for, if it was recorded.
///
/// # Errors
/// When that is captured, or a capture forbids waiting to the calling thread.
fn waitable(driver: &Driver, event: &Event) -> Result<Option<Ticket>> {
    let last = event.record().last.clone();
    let mut captures = driver.captures();
    captures.refuse_event(&last)?;
    captures.refuse_unsafe()?;
    Ok(if let Recorded::Queued(ticket) = last { Some(ticket) } else { None })
}

/// When an event happened, if it has.
///
/// # Errors
/// When it never will have a time.
fn time(event: &Event) -> Result<Option<Instant>> {
    let record = event.record();
    match record.last {
        Recorded::Captured { .. } => Err(Error::CAPTURED_EVENT),
        Recorded::Queued(_) if event.flags & DISABLE_TIMING == 0 => Ok(record.time),
        _ => Err(Error::INVALID_HANDLE),
    }
}
