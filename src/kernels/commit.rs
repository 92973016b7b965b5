use super::{assert_eights, bytes_of};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{In, Out};
use half::bf16;

kernel! {
    /// Puts the first rows of a step, of every layer, from staging into the ring.
    pub struct Commit<'a> = commit {
        k_staged:   In<'a, bf16>,   // [n_layers, 8, n_kv_heads, head_dim]
        v_staged:   In<'a, bf16>,   // [n_layers, 8, n_kv_heads, head_dim]
        position:   In<'a, u64>,    // [1], of row 0
        k_ring:     Out<'a, bf16>,  // [n_layers, n_slots, n_kv_heads, head_dim]
        v_ring:     Out<'a, bf16>,  // [n_layers, n_slots, n_kv_heads, head_dim]
        n_tokens:   u32,            // rows that are kept, at most 8 and n_slots
        n_layers:   u32,
        n_kv_heads: u32,
        head_dim:   u32,
        n_slots:    u32,
    }
}

impl Commit<'_> {
    /// One block a row.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|_| Cost { bytes: self.bytes(), flops: self.flops() });
        self.launch_grid(device, Grid::x(self.n_layers * self.n_tokens))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_layers, n_kv_heads, head_dim, n_slots, .. } = *self;
        assert_eights("head_dim", head_dim);
        assert!((1..=8).contains(&n_tokens), "a step has 1 to 8 rows, not {n_tokens}");
        assert!(n_tokens <= n_slots, "{n_tokens} rows would overwrite each other in {n_slots} slots");
        self.k_staged.assert_shape([n_layers, 8, n_kv_heads, head_dim]);
        self.v_staged.assert_shape([n_layers, 8, n_kv_heads, head_dim]);
        self.position.assert_shape([1]);
        self.k_ring.assert_shape([n_layers, n_slots, n_kv_heads, head_dim]);
        self.v_ring.assert_shape([n_layers, n_slots, n_kv_heads, head_dim]);
        self.launch_on(device, grid)
    }

    /// Keys and values, read and written.
    pub fn bytes(&self) -> u64 {
        4 * bytes_of::<bf16>(&[self.n_layers, self.n_tokens, self.n_kv_heads, self.head_dim])
    }

    /// None: it copies.
    pub fn flops(&self) -> u64 {
        0
    }
}
