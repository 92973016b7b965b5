//! Shared memory of one CTA: what was never written, what races, what `cp.async` is still writing.

use crate::exec::{
    observe::{At, Event, Touch},
    trouble::Outcome,
};

/// The checks of one CTA's shared memory.
#[derive(Debug, Default)]
pub struct SharedChecks {}

impl SharedChecks {
    /// For a CTA of `n_warps` warps and `bytes` bytes of shared memory; `unit_bytes` is the smallest access that the
    /// kernel makes to it.
    pub fn new(_n_warps: u32, _bytes: u32, _unit_bytes: u32) -> SharedChecks {
        SharedChecks {}
    }

    pub fn touch(&mut self, _at: At, _touch: &Touch<u32>) -> Outcome {
        Ok(())
    }

    pub fn copy_issued(&mut self, _at: At, _touch: &Touch<u32>) -> Outcome {
        Ok(())
    }

    pub fn copy_landed(&mut self, _at: At, _touch: &Touch<u32>) -> Outcome {
        Ok(())
    }

    pub fn event(&mut self, _at: At, _event: Event) {}
}
