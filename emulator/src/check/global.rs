//! Global memory: what was never written, what races, what is read past a cache that does not see it.

use crate::exec::{
    observe::{At, Event, Touch},
    trouble::Outcome,
};

/// The checks of one launch's global memory.
#[derive(Debug, Default)]
pub struct GlobalChecks {}

impl GlobalChecks {
    pub fn touch(&mut self, _at: At, _touch: &Touch<u64>) -> Outcome {
        Ok(())
    }

    pub fn event(&mut self, _at: At, _event: Event) {}
}
