use super::{assert_eights, bytes_of};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{In, Out};
use half::bf16;

kernel! {
    /// Puts the keys and values of a chunk into the ring of one layer.
    pub struct RingWrite<'a> = ring_write {
        k_chunk:    In<'a, bf16>,   // [n_tokens, n_kv_heads, head_dim]
        v_chunk:    In<'a, bf16>,   // [n_tokens, n_kv_heads, head_dim]
        position:   In<'a, u64>,    // [1], of token 0
        k_ring:     Out<'a, bf16>,  // [n_layers, n_slots, n_kv_heads, head_dim]
        v_ring:     Out<'a, bf16>,  // [n_layers, n_slots, n_kv_heads, head_dim]
        n_tokens:   u32,            // at most n_slots
        n_kv_heads: u32,
        head_dim:   u32,            // a multiple of 8
        n_slots:    u32,
        layer:      u32,
    }
}

impl RingWrite<'_> {
    /// A thread for 16 bytes of both.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, Grid::x((self.n_tokens * self.n_kv_heads * self.head_dim / 8).div_ceil(256)))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_kv_heads, head_dim, n_slots, layer, .. } = *self;
        assert_eights("head_dim", head_dim);
        assert!((1..=n_slots).contains(&n_tokens), "{n_tokens} rows would overwrite each other in {n_slots} slots");
        assert!(n_slots < 1 << 30, "the kernel counts slots in 31 bits, {n_slots} are too many");
        let n_pieces = u64::from(n_tokens) * u64::from(n_kv_heads * head_dim / 8);
        assert!(n_pieces < 1 << 31, "the kernel counts 16 bytes in 31 bits, {n_pieces} are too many");
        self.k_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.v_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.position.assert_shape([1]);
        self.k_ring.assert_rows_of([n_slots, n_kv_heads, head_dim]);
        self.k_ring.assert_holds([layer + 1, n_slots, n_kv_heads, head_dim]);
        assert_eq!(self.v_ring.len(), self.k_ring.len());
        self.launch_on(device, grid)
    }

    /// Keys and values, read and written.
    pub fn bytes(&self) -> u64 {
        4 * bytes_of::<bf16>(&[self.n_tokens, self.n_kv_heads, self.head_dim])
    }

    /// None: it copies.
    pub fn flops(&self) -> u64 {
        0
    }
}
