//! Every launch by itself: how long it took on a GPU, or what the emulator counted, beside what it needs at the least.

use super::{Counters, Device, Event, Result};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// What a launch needs at the least: each input read once, each output written once, and the formula's arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cost {
    pub bytes: u64,
    pub flops: u64,
}

/// One launch.
#[derive(Clone, Debug)]
pub struct Launched {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Unless its launcher said nothing.
    pub cost: Option<Cost>,
    /// Its `mma` instructions, where its launcher knows them to be more than its FLOPs ask for.
    pub mma: Option<u64>,
    /// On a GPU: between an event before it and one after it, which lie about a microsecond farther apart than it takes.
    pub time: Option<Duration>,
    /// On the emulator.
    pub counters: Option<Counters>,
}

/// What is known while work is traced.
pub(super) struct Trace {
    /// Of the step's first token, on which the cost of attention depends.
    position: u64,
    /// Of the launch that comes next.
    cost: Option<Cost>,
    mma: Option<u64>,
    /// Without their times, which their events tell once all is done.
    launches: Vec<(Launched, Option<(Event, Event)>)>,
}

impl Device {
    /// Does `work`, and says of each launch in it what it needed and took, or of one that is captured what it will need.
    /// `position` is that of the first token of the step that `work` takes. On the emulator each launch is waited for, and
    /// the process's counters are reset.
    ///
    /// # Errors
    /// Those of `work`, and the driver's.
    pub fn trace<E: From<super::DeviceError>>(
        &self,
        position: u64,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Vec<Launched>, E> {
        let was = self.tracing().replace(Trace { position, cost: None, mma: None, launches: vec![] });
        assert!(was.is_none(), "a trace within a trace");
        let done = work();
        let trace = self.tracing().take().expect("nobody else takes it");
        done?;
        self.synchronize()?;
        let launched = |(it, events): (Launched, Option<(Event, Event)>)| -> Result<Launched> {
            let ms = events.map(|(before, after)| before.elapsed_ms(&after)).transpose()?;
            Ok(Launched { time: ms.map(|ms| Duration::from_secs_f32(ms.max(0.0) / 1e3)), ..it })
        };
        Ok(trace.launches.into_iter().map(launched).collect::<Result<_>>()?)
    }

    /// If work is being traced: what the next launch needs, with the step's first token at the position that `cost` gets.
    pub fn note(&self, cost: impl FnOnce(u64) -> Cost) {
        if let Some(trace) = &mut *self.tracing() {
            trace.cost = Some(cost(trace.position));
        }
    }

    /// The same, of a kernel whose `mma` do more than its formula asks for: how many the next launch does.
    pub fn note_mma(&self, mma: impl FnOnce(u64) -> u64) {
        if let Some(trace) = &mut *self.tracing() {
            trace.mma = Some(mma(trace.position));
        }
    }

    /// Does a launch, and traces it if work is being traced.
    pub(super) fn traced(&self, kernel: &'static str, launch: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.tracing().is_none() {
            return launch();
        }
        let runs = !self.is_capturing();
        if runs {
            self.reset_counters()?;
        }
        let before = if runs && !self.is_emulator() { Some(self.record()?) } else { None };
        launch()?;
        let events = before.map(|before| Ok((before, self.record()?))).transpose()?;
        let counters = if runs { self.counters(kernel)? } else { None };
        if let Some(trace) = &mut *self.tracing() {
            let (cost, mma) = (trace.cost.take(), trace.mma.take());
            trace.launches.push((Launched { kernel, cost, mma, time: None, counters }, events));
        }
        Ok(())
    }

    fn tracing(&self) -> MutexGuard<'_, Option<Trace>> {
        self.0.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
