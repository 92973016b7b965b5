//! Every byte of device memory, before anything is loaded: the runtime allocates exactly these buffers.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::{Config, WeightType};
use crate::kernels::{
    MAX_TOKENS, N_RANGES, SAMPLE_PARAMS, attention_states_shape, attention_tickets_shape, n_tiled, part_tickets_shape,
    segment_sums_shape, squares_shape,
};
use crate::weights::names;

/// What the user can choose, and memory depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// [`crate::ring::Ring::n_slots`].
    pub n_slots: u32,
    /// The most tokens of a prompt that go through the model at once.
    pub max_chunk: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Weights,
    Cache,
    Scratch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Bf16,
    F16,
    F32,
    F32x2,
    U32,
    U64,
}

/// One buffer on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBuffer {
    pub group: Group,
    pub name: String,
    pub element: Element,
    /// Dense, slowest axis first; but matrices of weights lie in tiles, padded.
    pub shape: Vec<usize>,
}

/// The buffers in the order of allocation.
///
/// Weights are those of [`names::tensors`]. The cache:
///
/// ```text
///   k_ring   [n_layers, n_slots, n_kv_heads, head_dim]  bf16   turned keys
///   v_ring   [n_layers, n_slots, n_kv_heads, head_dim]  bf16
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    buffers: Vec<PlannedBuffer>,
}

impl Plan {
    pub fn new(config: &Config, weight_type: WeightType, sizes: Sizes) -> Self {
        let mut plan = Self { buffers: vec![] };
        plan.add_weights(config, weight_type.into());
        plan.add_cache(config, sizes.n_slots);
        plan.add_scratch(config, weight_type.into(), sizes);
        plan
    }

    pub fn buffers(&self) -> &[PlannedBuffer] {
        &self.buffers
    }

    /// The buffer of that name, which has to be one of the plan's.
    pub fn buffer(&self, name: &str) -> &PlannedBuffer {
        let found = self.buffers.iter().find(|buffer| buffer.name == name);
        found.unwrap_or_else(|| panic!("no buffer {name} in the plan"))
    }

    /// The slots of the ring.
    pub fn n_slots(&self) -> u32 {
        self.buffer("k_ring").shape[1] as u32
    }

    /// The buffers that hold the model's weights.
    pub fn weights(&self) -> impl Iterator<Item = &PlannedBuffer> {
        self.buffers.iter().filter(|buffer| buffer.group == Group::Weights)
    }

    pub fn group_bytes(&self, group: Group) -> u64 {
        self.buffers.iter().filter(|buffer| buffer.group == group).map(PlannedBuffer::bytes).sum()
    }

    pub fn total_bytes(&self) -> u64 {
        self.buffers.iter().map(PlannedBuffer::bytes).sum()
    }

    fn add(&mut self, group: Group, name: impl Into<String>, element: Element, shape: &[u32]) {
        let shape = shape.iter().map(|&n| n as usize).collect();
        self.buffers.push(PlannedBuffer { group, name: name.into(), element, shape });
    }

    /// Tensors that share a buffer are its rows, one after the other.
    fn add_weights(&mut self, config: &Config, element: Element) {
        for tensor in names::tensors(config) {
            match self.buffers.last_mut() {
                Some(buffer) if buffer.name == tensor.buffer => buffer.shape[0] += tensor.shape[0],
                _ => {
                    let names::TensorSpec { buffer: name, shape, .. } = tensor;
                    self.buffers.push(PlannedBuffer { group: Group::Weights, name, element, shape });
                }
            }
        }
    }

    fn add_cache(&mut self, config: &Config, n_slots: u32) {
        for ring in ["k_ring", "v_ring"] {
            let shape = [config.n_layers, n_slots, config.n_kv_heads, config.head_dim];
            self.add(Group::Cache, ring, Element::Bf16, &shape);
        }
    }

    /// What flows from kernel to kernel, for a chunk, or a step of MAX_TOKENS tokens; decoding uses the first row.
    fn add_scratch(&mut self, config: &Config, weight: Element, sizes: Sizes) {
        use Element::{Bf16, F32, F32x2, U32, U64};
        let Config { dim, hidden_dim, head_dim, n_layers, n_heads, n_kv_heads, vocab_size, .. } = *config;
        let mut add = |name: &str, element, shape: &[u32]| self.add(Group::Scratch, name, element, shape);

        let n_rows = sizes.max_chunk.max(MAX_TOKENS);
        add("tokens", U32, &[n_rows]);
        add("position", U64, &[1]);
        add("rope_turns", U64, &[head_dim / 2]); // of each pair per position, as a fraction of 2^64
        add("x", F32, &[n_rows, dim]); // the residual stream
        add("squares", F32, &squares_shape(n_rows, dim)); // sums of them, for the norms
        add("h", weight, &[n_rows, dim]); // x after a norm
        add("q", Bf16, &[n_rows, n_heads, head_dim]);
        for chunk in ["k_chunk", "v_chunk"] {
            add(chunk, Bf16, &[n_rows, n_kv_heads, head_dim]); // of the layer at hand, until it is in the ring
        }
        for staged in ["k_staged", "v_staged"] {
            add(staged, Bf16, &[n_layers, MAX_TOKENS, n_kv_heads, head_dim]); // until it is known which tokens stay
        }
        add("attended", weight, &[n_rows, n_heads, head_dim]);
        add("partials", F32, &[MAX_TOKENS, n_heads, N_RANGES, head_dim]); // of attention over ranges of the keys
        add("softmaxes", F32x2, &[N_RANGES, MAX_TOKENS, n_heads]);
        add("tickets", U32, &[n_heads + n_kv_heads]);
        // Of blocks that share keys in attention of a short chunk.
        add("states", F32, &attention_states_shape(n_rows, n_heads, n_kv_heads, head_dim));
        add("tile_tickets", U32, &attention_tickets_shape(n_rows, n_heads, n_kv_heads));
        add("segment_sums", F32, &segment_sums_shape(n_rows, dim)); // of O and down, where blocks share columns
        add("part_tickets", U32, &part_tickets_shape(n_rows, dim));
        add("act", weight, &[n_rows, hidden_dim]);
        add("logits", F32, &[MAX_TOKENS, vocab_size]);
        add("best", U64, &[MAX_TOKENS]); // code of each row's best token
        add("params", U32, &[SAMPLE_PARAMS]); // how the next token is chosen
        add("bias", F32, &[vocab_size]);
        add("scores", F32, &[vocab_size]); // logits with bias and penalties
        add("counts", U32, &[vocab_size]); // how often each token occurred
        add("stop", U32, &[1]);
    }

    /// The buffers of a group by their name without the layer, in the order of first appearance.
    fn kinds(&self, group: Group) -> Vec<(&str, Vec<&PlannedBuffer>)> {
        let mut kinds: Vec<(&str, Vec<&PlannedBuffer>)> = vec![];
        let mut place_of = BTreeMap::new();
        for buffer in self.buffers.iter().filter(|buffer| buffer.group == group) {
            let kind = buffer.name.rsplit('.').next().expect("a split has a last part");
            let place = *place_of.entry(kind).or_insert(kinds.len());
            if place == kinds.len() {
                kinds.push((kind, vec![]));
            }
            kinds[place].1.push(buffer);
        }
        kinds
    }
}

impl PlannedBuffer {
    pub fn n_elements(&self) -> usize {
        match (self.group, &self.shape[..]) {
            (Group::Weights, &[n_out, n_in]) => n_tiled([n_out as u32, n_in as u32]) as usize,
            _ => self.shape.iter().product(),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.n_elements() as u64 * self.element.bytes()
    }
}

impl Element {
    pub fn bytes(self) -> u64 {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 | Self::U32 => 4,
            Self::F32x2 | Self::U64 => 8,
        }
    }
}

impl From<WeightType> for Element {
    fn from(weight_type: WeightType) -> Self {
        match weight_type {
            WeightType::Bf16 => Self::Bf16,
            WeightType::F16 => Self::F16,
        }
    }
}

/// A table with one line for each kind of buffer, its layers taken together.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for group in [Group::Weights, Group::Cache, Group::Scratch] {
            let title = format!("{group:?}").to_lowercase();
            writeln!(f, "{title:<55} {:>12}", Bytes(self.group_bytes(group)).to_string())?;
            for (kind, of_kind) in self.kinds(group) {
                let count = if of_kind.len() == 1 { String::new() } else { format!("{} x ", of_kind.len()) };
                let shape =
                    format!("{count}{:?} {}", of_kind[0].shape, format!("{:?}", of_kind[0].element).to_lowercase());
                let bytes = Bytes(of_kind.iter().map(|buffer| buffer.bytes()).sum());
                writeln!(f, "  {kind:<18} {shape:<34} {:>12}", bytes.to_string())?;
            }
        }
        let total = self.total_bytes();
        write!(f, "{:<55} {:>12}   {total} bytes", "total", Bytes(total).to_string())
    }
}

/// Bytes for people: three digits and a binary unit.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit) {
            Some((name, unit)) => write!(f, "{:.2} {name}", self.0 as f64 / *unit as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests;
