//! Points in the device's stream of work, and the time between them.

use super::{Device, DeviceError, Result};
use cudarc::driver::{CudaEvent, sys};

/// The moment at which the device gets past the work that was asked for before.
pub struct Event(CudaEvent);

impl Device {
    /// Marks this point in the stream of work.
    pub fn record(&self) -> Result<Event> {
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT; // with timing
        let event = self.0.stream.record_event(Some(flags)).map_err(DeviceError::call("recording an event"))?;
        Ok(Event(event))
    }
}

impl Event {
    /// Waits until the device has got here.
    pub fn wait(&self) -> Result<()> {
        self.0.synchronize().map_err(DeviceError::call("waiting for an event"))
    }

    /// Milliseconds from here to `later`, once the device has got there.
    pub fn elapsed_ms(&self, later: &Event) -> Result<f32> {
        self.0.elapsed_ms(&later.0).map_err(DeviceError::call("timing"))
    }
}
