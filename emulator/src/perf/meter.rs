//! Counts what a worker's warps do.

use super::Counters;
use crate::exec::observe::{At, Places, Touch};

/// The counts of one worker.
#[derive(Debug, Default)]
pub struct Meter {
    pub counters: Counters,
}

impl Meter {
    pub fn global(&mut self, _at: At, touch: &Touch<u64>) {
        let bytes = u64::from(touch.bytes);
        match touch.places {
            Places::Row(base) => self.counters.count_contiguous(base, 32 * bytes),
            Places::Same(address) => self.counters.count_contiguous(address, bytes),
            Places::Each(_) => {
                let mut addresses: Vec<u64> = touch.each().map(|it| it.1).collect();
                self.counters.count_scattered(&mut addresses, bytes);
            }
        }
    }

    pub fn shared(&mut self, _at: At, _touch: &Touch<u32>) {}
}
