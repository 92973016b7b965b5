//! Pinned memory that the host and the device take in turns.

use super::{Buffer, Device, Element, Event, PinnedBuffer, Result};
use std::slice;
use std::time::Duration;

/// Memory of the host that the host fills and kernels read, across the bus, in turns.
pub struct Staging<T> {
    pinned: PinnedBuffer<T>,
    /// Around the work that last read it, if that may still be running.
    reading: Option<(Event, Event)>,
    busy: Duration,
}

impl Device {
    /// `len` elements to be filled by the host and read by kernels.
    pub fn alloc_staging<T: Element>(&self, len: usize) -> Result<Staging<T>> {
        Ok(Staging { pinned: self.alloc_pinned(len)?, reading: None, busy: Duration::ZERO })
    }
}

impl<T: Element> Staging<T> {
    /// The number of elements.
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.pinned.buffer().len()
    }

    /// The elements, to be filled. Waits until the device has read what they were.
    pub fn fill(&mut self) -> Result<&mut [T]> {
        self.wait()?;
        // SAFETY: these are the elements of the buffer, zeroed when it was allocated. The host sees them through this
        // borrow alone. Kernels get them in `read_by` alone, where they are behind `&`, and the last of those is over.
        Ok(unsafe { slice::from_raw_parts_mut(self.pinned.host(), self.len()) })
    }

    /// Starts what reads the elements on the device: the launches of `work`, which nobody may capture.
    pub fn read_by(&mut self, device: &Device, work: impl FnOnce(&Buffer<T>) -> Result<()>) -> Result<()> {
        self.wait()?;
        let before = device.record()?;
        let started = work(self.pinned.buffer());
        // Even if some of the work failed: what was started still reads. Where no event can be recorded, nothing runs.
        self.reading = Some((before, device.record()?));
        started
    }

    /// How long the device has read, once it has read all.
    pub fn busy(&mut self) -> Result<Duration> {
        self.wait()?;
        Ok(self.busy)
    }

    fn wait(&mut self) -> Result<()> {
        if let Some((before, after)) = &self.reading {
            after.wait()?;
            self.busy += Duration::from_secs_f32(before.elapsed_ms(after)?.max(0.0) / 1e3);
            self.reading = None;
        }
        Ok(())
    }
}
