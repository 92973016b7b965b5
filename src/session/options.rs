//! What a user can choose when a model is loaded.

use crate::{
    config::Config,
    error::{Error, Result},
    plan::Sizes,
    ring::Ring,
};

/// Tokens of a prompt that go through the model at once, unless the window or the context is smaller. At 512, multiplying
/// takes several times as long as reading the weights, by the card's data sheet; more would take memory, and longer until
/// somebody hears of progress. Not measured on a card.
const DEFAULT_CHUNK: u32 = 512;
/// What the attention kernels count, see their launchers: slots in 30 bits, and 16 bytes of all layers' keys in 31.
const MAX_SLOTS: u32 = (1 << 30) - 1;
const MAX_RING_ELEMENTS: u64 = (1 << 34) - 1;
/// Kernels count a chunk's elements in 32 bits.
const MAX_CHUNK: u32 = 1 << 16;

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
        let slot_elements = u64::from(config.n_layers) * u64::from(config.kv_dim());
        let max_slots = u64::from(MAX_SLOTS).min(MAX_RING_ELEMENTS / slot_elements) as u32;
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
        if max_chunk == 0 || max_chunk > n_slots.min(MAX_CHUNK) {
            let what = if n_slots < MAX_CHUNK { "the slots of the cache" } else { "which is what kernels can count" };
            return Err(Error::Option {
                option: "--chunk",
                expected: format!("1 to {}, {what}", n_slots.min(MAX_CHUNK)),
                found: max_chunk.to_string(),
            });
        }
        Ok((ring, Sizes { n_slots, max_chunk }))
    }
}
