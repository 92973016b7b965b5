//! Attention of one layer, chunk by chunk, as a prompt goes through it.

use std::time::Duration;

use gale::device::{Buffer, Device, Event, Result};
use gale::kernels::{Advance, PrefillAttention, RingWrite, attention_states_shape, attention_tickets_shape};
use gale::workload::HeadStart;
use half::bf16;

/// Of Mistral 7B.
pub const N_HEADS: u32 = 32;
pub const N_KV_HEADS: u32 = 8;
pub const HEAD_DIM: u32 = 128;
/// Tokens that go through the layer at once.
pub const CHUNK: u32 = 4096;

const KERNEL: &str = "prefill_attention_bf16";

/// Of a key and a value of all kv heads.
pub fn bytes_of_position() -> u64 {
    u64::from(2 * N_KV_HEADS * HEAD_DIM) * size_of::<bf16>() as u64
}

/// Buffers for some kv heads, and all queries of theirs.
pub struct Layer<'a> {
    device: &'a Device,
    n_kv_heads: u32,
    n_slots: u32,
    window: u32,
    q: Buffer<bf16>,          // [CHUNK, n_heads, HEAD_DIM]
    chunk: [Buffer<bf16>; 2], // [CHUNK, n_kv_heads, HEAD_DIM], keys and values
    rings: [Buffer<bf16>; 2], // [n_slots, n_kv_heads, HEAD_DIM]
    position: Buffer<u64>,    // [1]
    out: Buffer<bf16>,        // [CHUNK, n_heads, HEAD_DIM]
    states: Buffer<f32>,      // attention_states_shape
    tickets: Buffer<u32>,     // attention_tickets_shape
}

impl<'a> Layer<'a> {
    /// All kv heads on a GPU, and one in the emulator.
    pub fn new(device: &'a Device, window: u32, n_slots: u32) -> Result<Layer<'a>> {
        let n_kv_heads = if device.is_emulator() { 1 } else { N_KV_HEADS };
        let n_heads = n_kv_heads * (N_HEADS / N_KV_HEADS);
        let noise = |seed, n_heads: u32| device.upload(&noise(seed, (CHUNK * n_heads * HEAD_DIM) as usize));
        let ring = || device.zeroed(&[n_slots, n_kv_heads, HEAD_DIM].map(|it| it as usize));
        Ok(Layer {
            device,
            n_kv_heads,
            n_slots,
            window,
            q: noise(1, n_heads)?,
            chunk: [noise(2, n_kv_heads)?, noise(3, n_kv_heads)?],
            rings: [ring()?, ring()?],
            position: device.zeroed(&[1])?,
            out: device.zeroed(&[CHUNK, n_heads, HEAD_DIM].map(|it| it as usize))?,
            states: device
                .alloc(&attention_states_shape(CHUNK, n_heads, n_kv_heads, HEAD_DIM).map(|it| it as usize))?,
            tickets: device.zeroed(&attention_tickets_shape(CHUNK, n_heads, n_kv_heads).map(|it| it as usize))?,
        })
    }

    /// How long attention of a prompt takes on the device: of some runs, shortest first, after one that is not counted and
    /// fills the ring. All chunks are asked for while the device is busy, so that none waits for the host.
    pub fn time(&mut self, n_tokens: u32, n_runs: u32) -> Result<Vec<Duration>> {
        let device = self.device;
        let mut head_start = HeadStart::new(device)?;
        let mut times = vec![];
        for run in 0..=n_runs {
            self.position.copy_from(&[0])?;
            head_start.give(device)?;
            let events = chunks(n_tokens).map(|(_, n_chunk)| self.run(n_chunk)).collect::<Result<Vec<_>>>()?;
            device.synchronize()?;
            let ms = events.iter().map(|(before, after)| before.elapsed_ms(after)).sum::<Result<f32>>()?;
            if run > 0 {
                times.push(Duration::from_secs_f32(ms.max(0.0) / 1e3));
            }
        }
        times.sort();
        Ok(times)
    }

    /// The next chunk of a prompt, between two events, and what comes after it.
    fn run(&mut self, n_tokens: u32) -> Result<(Event, Event)> {
        let device = self.device;
        let before = device.record()?;
        self.attention(n_tokens).launch(device)?;
        let after = device.record()?;
        self.write_ring(n_tokens)?;
        Advance { position: &mut self.position, n_tokens }.launch(device)?;
        Ok((before, after))
    }

    /// Lets the emulator count the last tokens of a prompt, as one chunk, and holds the launcher to it.
    pub fn count(&mut self, n_tokens: u32, n_counted: u32) -> Result<()> {
        let position = u64::from(n_tokens - n_counted);
        let device = self.device;
        self.position.copy_from(&[position])?;
        device.reset_counters()?;
        let it = self.attention(n_counted);
        it.launch(device)?;
        let counters = device.counters(KERNEL)?.expect("it was launched on the emulator");
        let counted = (counters.mma(), 32 * counters.counts.global_load_sectors);
        let (mma, loaded_bytes) = (it.mma(position), it.loaded_bytes(position));
        assert_eq!(counted.0, mma, "mma of {n_counted} tokens at {position}: the launcher is wrong");
        let extra = counted.1 - loaded_bytes; // the position, that every warp reads
        assert!(extra as f64 <= 0.01 * loaded_bytes as f64, "{counted:?}, and the launcher says {loaded_bytes} bytes");
        Ok(())
    }

    /// `mma` instructions and loaded bytes of a prompt, for all kv heads: heads are alike.
    pub fn computed(&mut self, n_tokens: u32) -> Result<(u64, u64)> {
        let n_alike = u64::from(N_KV_HEADS / self.n_kv_heads);
        let (mut mma, mut loaded_bytes) = (0, 0);
        for (position, n_chunk) in chunks(n_tokens) {
            let it = self.attention(n_chunk);
            mma += n_alike * it.mma(position);
            loaded_bytes += n_alike * it.loaded_bytes(position);
        }
        Ok((mma, loaded_bytes))
    }

    fn attention(&mut self, n_tokens: u32) -> PrefillAttention<'_, bf16> {
        PrefillAttention {
            q: &self.q,
            k_ring: &self.rings[0],
            v_ring: &self.rings[1],
            k_chunk: &self.chunk[0],
            v_chunk: &self.chunk[1],
            position: &self.position,
            out: &mut self.out,
            states: &mut self.states,
            tickets: &mut self.tickets,
            n_tokens,
            n_heads: self.n_kv_heads * (N_HEADS / N_KV_HEADS),
            n_kv_heads: self.n_kv_heads,
            head_dim: HEAD_DIM,
            n_slots: self.n_slots,
            window: self.window,
            layer: 0,
        }
    }

    fn write_ring(&mut self, n_tokens: u32) -> Result<()> {
        let [k_ring, v_ring] = &mut self.rings;
        RingWrite {
            k_chunk: &self.chunk[0],
            v_chunk: &self.chunk[1],
            position: &self.position,
            k_ring,
            v_ring,
            n_tokens,
            n_kv_heads: self.n_kv_heads,
            head_dim: HEAD_DIM,
            n_slots: self.n_slots,
            layer: 0,
        }
        .launch(self.device)
    }
}

/// First position and tokens of each chunk of a prompt.
fn chunks(n_tokens: u32) -> impl Iterator<Item = (u64, u32)> {
    (0..n_tokens).step_by(CHUNK as usize).map(move |first| (first.into(), CHUNK.min(n_tokens - first)))
}

/// Numbers from -1 to 1 in no order: a card takes less power, and so runs faster, on zeros.
fn noise(seed: u32, n: usize) -> Vec<bf16> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bf16::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    std::iter::repeat_with(next).take(n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gale::device::DeviceChoice;

    /// Each run goes through the whole prompt, from its beginning.
    #[test]
    fn every_run_is_timed() {
        let device = Device::open(DeviceChoice::Emulator).unwrap();
        let mut layer = Layer::new(&device, 16, 64).unwrap();
        let times = layer.time(40, 3).unwrap();
        assert!(times.len() == 3 && times.is_sorted() && times[0] > Duration::ZERO, "{times:?}");
        assert_eq!(layer.position.to_vec().unwrap(), [40]);
    }
}
