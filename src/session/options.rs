//! What a user can choose when a model is loaded.

use crate::{
    config::Config,
    error::{Error, Result},
    plan::Sizes,
    ring::Ring,
};

/// Tokens of a prompt that go through the model at once, unless the window or the context is smaller. At 512 the tiles of
/// every product fill whole waves of an H100, and reading all weights takes a quarter of the time that multiplying does;
/// more would take memory, and longer until somebody hears of progress.
const DEFAULT_CHUNK: u32 = 512;
/// What the attention kernels count in 32 bits, see their launchers: slots, and elements of a layer's keys.
const MAX_SLOTS: u32 = (1 << 30) - 1;
const MAX_RING_ELEMENTS: u64 = 1 << 32;

/// What the user can choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Tokens of a prompt that go through the model at once; at most the window.
    pub chunk: Option<u32>,
    /// Slots of the cache of a model without a window; the longest the model was trained for, unless given.
    pub context: Option<u32>,
    /// Replay the decode step as one CUDA graph.
    pub graph: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { chunk: None, context: None, graph: true }
    }
}

impl Options {
    /// The cache and the scratch that these options ask for.
    pub(super) fn sizes(&self, config: &Config) -> Result<(Ring, Sizes)> {
        if let (Some(window), Some(context)) = (config.window, self.context) {
            return Err(Error::Option {
                option: "--ctx",
                expected: format!("no value, as the model has a sliding window of {window} and no end"),
                found: context.to_string(),
            });
        }
        let context = self.context.unwrap_or(config.max_position);
        let max_slots = MAX_SLOTS.min((MAX_RING_ELEMENTS / u64::from(config.kv_dim())) as u32);
        if config.window.unwrap_or(context) > max_slots {
            return Err(Error::Option {
                option: "--ctx",
                expected: format!("at most {max_slots}, which is what the attention kernel can count"),
                found: config.window.unwrap_or(context).to_string(),
            });
        }
        let ring = Ring::new(config.window, context);
        let n_slots = ring.n_slots();
        let max_chunk = self.chunk.unwrap_or(DEFAULT_CHUNK.min(n_slots));
        if max_chunk == 0 || max_chunk > n_slots {
            return Err(Error::Option {
                option: "--chunk",
                expected: format!("1 to {n_slots}, the slots of the cache"),
                found: max_chunk.to_string(),
            });
        }
        Ok((ring, Sizes { n_slots, max_chunk }))
    }
}
