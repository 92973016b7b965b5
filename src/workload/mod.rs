//! Kernels by themselves: buffers for any shape, launches on them, and how long each takes. `gale bench --kernel` and
//! `cargo bench` are made of this.
//!
//! Weights and caches are cold: there are so many sets of them that none is in L2 when its turn comes again. What the
//! kernel before has just written is not, here as in a step: the vectors of a few tokens stay in L2.

mod attention;
mod chunk;
mod cublas;
mod memory;
mod products;
mod sizes;
mod stopwatch;
mod tokens;

pub use cublas::by_cublas;
pub use memory::noise_bytes;
pub use sizes::{Size, Sizes};
pub use stopwatch::{HeadStart, Stopwatch, percentile};

use crate::device::{Buffer, Cost, Device, Element, Result};
use crate::error::{self, Error};
use crate::kernels::{MAX_TOKENS, Noise, n_tiled};
use half::bf16;
use sizes::Kind;

/// A kernel that can be measured alone.
pub struct Kernel {
    pub name: &'static str,
    kind: Kind,
    /// Tokens of a launch.
    max_m: u32,
    prepare: fn(&Device, Sizes) -> Result<Work>,
}

/// Of the norms.
const EPS: f32 = 1e-5;
/// The most tokens that a chunk may have here.
const MAX_CHUNK: u32 = 4096;

/// All there are, each under its name in kernels/.
pub const KERNELS: [Kernel; 19] = [
    Kernel { name: "copy", kind: Kind::Matrix, max_m: 1, prepare: memory::copy },
    Kernel { name: "read", kind: Kind::Matrix, max_m: 1, prepare: memory::read },
    Kernel { name: "noise", kind: Kind::Matrix, max_m: 1, prepare: memory::noise },
    Kernel { name: "tile", kind: Kind::Matrix, max_m: 1, prepare: memory::tile },
    Kernel { name: "embed", kind: Kind::Table, max_m: MAX_CHUNK, prepare: tokens::embed },
    Kernel { name: "qkv", kind: Kind::Heads, max_m: MAX_TOKENS, prepare: products::qkv },
    Kernel { name: "decode_attention", kind: Kind::Attention, max_m: MAX_TOKENS, prepare: attention::decode_attention },
    Kernel { name: "residual", kind: Kind::Product, max_m: MAX_TOKENS, prepare: products::residual },
    Kernel { name: "gate_up", kind: Kind::Product, max_m: MAX_TOKENS, prepare: products::gate_up },
    Kernel { name: "lm_head", kind: Kind::Product, max_m: MAX_TOKENS, prepare: products::lm_head },
    Kernel { name: "sample", kind: Kind::Logits, max_m: 1, prepare: tokens::sample },
    Kernel { name: "commit", kind: Kind::Cache, max_m: MAX_TOKENS, prepare: attention::commit },
    Kernel { name: "advance", kind: Kind::Position, max_m: 1, prepare: tokens::advance },
    Kernel { name: "norm", kind: Kind::Vectors, max_m: MAX_CHUNK, prepare: tokens::norm },
    Kernel { name: "prefill_qkv", kind: Kind::Heads, max_m: MAX_CHUNK, prepare: chunk::prefill_qkv },
    Kernel {
        name: "prefill_attention",
        kind: Kind::Attention,
        max_m: MAX_CHUNK,
        prepare: attention::prefill_attention,
    },
    Kernel { name: "ring_write", kind: Kind::Cache, max_m: MAX_CHUNK, prepare: attention::ring_write },
    Kernel { name: "prefill_residual", kind: Kind::Product, max_m: MAX_CHUNK, prepare: chunk::prefill_residual },
    Kernel { name: "prefill_gate_up", kind: Kind::Product, max_m: MAX_CHUNK, prepare: chunk::prefill_gate_up },
];

impl Kernel {
    /// # Errors
    /// A name that none has; the error lists those there are.
    pub fn find(name: &str) -> error::Result<&'static Kernel> {
        static ALL: [Kernel; KERNELS.len()] = KERNELS;
        ALL.iter().find(|it| it.name == name).ok_or_else(|| Error::Option {
            option: "--kernel",
            expected: format!("one of {}", KERNELS.each_ref().map(|it| it.name).join(", ")),
            found: format!("{name:?}"),
        })
    }

    /// Makes its buffers.
    ///
    /// # Errors
    /// Sizes that it does not take, too little memory.
    pub fn prepare(&self, device: &Device, sizes: &Sizes) -> error::Result<Work> {
        self.check(sizes)?;
        let mut work = (self.prepare)(device, *sizes)?;
        work.position = sizes.depth.into();
        Ok(work)
    }
}

/// A kernel's buffers, and a launch on one set of them.
pub struct Work {
    launch: Launch,
    n_sets: usize,
    /// The set whose turn it is.
    next: usize,
    /// Of the first token, on which the cost of attention depends.
    position: u64,
}

type Launch = Box<dyn FnMut(&Device, usize) -> Result<()>>;

impl Work {
    fn new(n_sets: usize, launch: impl FnMut(&Device, usize) -> Result<()> + 'static) -> Work {
        Work { launch: Box::new(launch), n_sets, next: 0, position: 0 }
    }

    /// On the next set.
    pub fn launch(&mut self, device: &Device) -> Result<()> {
        let set = self.next;
        self.next = (set + 1) % self.n_sets;
        (self.launch)(device, set)
    }

    /// Launches it on each set, which warms up everything but the caches.
    pub fn warm_up(&mut self, device: &Device) -> Result<()> {
        (0..self.n_sets).try_for_each(|_| self.launch(device))
    }

    /// What a launch needs at the least: its launcher's own count.
    pub fn cost(&mut self, device: &Device) -> Result<Cost> {
        let launched = device.trace(self.position, || self.launch(device))?;
        Ok(launched[0].cost.expect("who launches it says what it needs"))
    }
}

/// As many sets as it takes that none is in a cache when its turn comes; `bytes` is what a launch touches of one.
fn cold<T>(device: &Device, bytes: usize, make: impl Fn() -> Result<T>) -> Result<Vec<T>> {
    /// More than twice what any L2 cache holds.
    const COLD_BYTES: usize = 256 << 20;
    /// Sets below 64 KiB stay warm: what takes so little waits for other things than memory.
    const MAX_SETS: usize = 4096;
    let n_sets = if device.is_emulator() { 1 } else { (COLD_BYTES / bytes + 2).min(MAX_SETS) };
    (0..n_sets).map(|_| make()).collect()
}

/// The same weight as often as it takes to have it cold.
fn weights(device: &Device, n_out: u32, n_in: u32) -> Result<Vec<Buffer<bf16>>> {
    let n_elements = n_tiled([n_out, n_in]) as usize;
    cold(device, n_elements * size_of::<bf16>(), || {
        let mut tiles = device.alloc(&[n_elements])?;
        Noise { tiles: &mut tiles, n_out, n_in, pair_distance: 0, seed: 1 }.launch(device)?;
        Ok(tiles)
    })
}

/// What a kernel reads, of this shape: never zeros, on which a card takes less power and runs faster.
fn inputs(device: &Device, shape: &[u32]) -> Result<Buffer<bf16>> {
    device.upload(&numbers(shape).map(bf16::from_f32).collect::<Vec<_>>())
}

/// From -1 to 1.
fn numbers(shape: &[u32]) -> impl Iterator<Item = f32> + use<> {
    let n: usize = shape.iter().map(|&it| it as usize).product();
    (0..n).map(|i| (i % 17) as f32 / 8.0 - 1.0)
}

/// Where a kernel writes.
fn output<T: Element>(device: &Device, shape: &[u32]) -> Result<Buffer<T>> {
    device.zeroed(&shape.iter().map(|&it| it as usize).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::prototypes::MODULES;
    use std::collections::BTreeSet;

    #[test]
    fn every_kernel_can_be_measured() {
        let names: BTreeSet<_> = KERNELS.iter().map(|it| it.name).collect();
        assert_eq!(names, MODULES.iter().map(|it| it.name).collect());
    }
}
