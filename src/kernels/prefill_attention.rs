use super::{NO_WINDOW, assert_eights, bytes_of};
use crate::device::{Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};
use half::bf16;

kernel! {
    /// Attends from each token of a chunk to the keys in its window.
    ///
    /// The ring has what the tokens see of the positions before the chunk; [`RingWrite`](super::RingWrite) puts the
    /// chunk's own rows there afterwards, in the place of keys that this launch has read.
    pub struct PrefillAttention<'a, W: Half> = { bf16: prefill_attention_bf16, f16: prefill_attention_f16 } {
        q:          In<'a, bf16>,  // [n_tokens, n_heads, head_dim], turned
        k_ring:     In<'a, bf16>,  // [n_layers, n_slots, n_kv_heads, head_dim]
        v_ring:     In<'a, bf16>,  // [n_layers, n_slots, n_kv_heads, head_dim]
        k_chunk:    In<'a, bf16>,  // [n_tokens, n_kv_heads, head_dim]
        v_chunk:    In<'a, bf16>,  // [n_tokens, n_kv_heads, head_dim]
        position:   In<'a, u64>,   // [1], of token 0
        out:        Out<'a, W>,    // [n_tokens, n_heads, head_dim]
        n_tokens:   u32,           // 1 to n_slots
        n_heads:    u32,
        n_kv_heads: u32,
        head_dim:   u32,           // a multiple of 8, up to 256
        n_slots:    u32,
        window:     u32,           // keys that a token sees, itself included, at most n_slots; or NO_WINDOW
        layer:      u32,
    }
}

impl<W: Half> PrefillAttention<'_, W> {
    /// A block for each tile of rows.
    pub fn launch(&self, device: &Device) -> Result<()> {
        let tiling = self.tiling(self.height(device));
        self.launch_tiling(device, Grid::x(self.n_items(tiling)), tiling)
    }

    /// On any grid, with either height of tiles.
    pub fn launch_grid(&self, device: &Device, grid: Grid, height: Height) -> Result<()> {
        self.launch_tiling(device, grid, self.tiling(height))
    }

    /// Low tiles if high ones are too few for all multiprocessors.
    pub fn height(&self, device: &Device) -> Height {
        let is_enough = self.n_items(self.tiling(Height::High)) >= device.n_multiprocessors();
        if is_enough { Height::High } else { Height::Low }
    }

    fn launch_tiling(&self, device: &Device, grid: Grid, tiling: Tiling) -> Result<()> {
        let Self { n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer, .. } = *self;
        assert_eights("head_dim", head_dim);
        assert!(head_dim <= 256, "head_dim is at most 256, not {head_dim}");
        assert!(n_heads.is_multiple_of(n_kv_heads), "{n_heads} query heads cannot share {n_kv_heads} kv heads evenly");
        assert!((1..=n_slots).contains(&n_tokens), "{n_tokens} tokens are none, or more than {n_slots} slots hold");
        assert!(window > 0, "a token sees at least itself");
        assert!(window <= n_slots || window == NO_WINDOW, "{n_slots} slots do not hold a window of {window}");
        assert!(n_slots < 1 << 30, "the kernel counts slots in 31 bits, {n_slots} are too many");
        let n_rows = u64::from(n_tokens) * u64::from(n_heads);
        assert!(n_rows < 1 << 31, "the kernel counts rows in 31 bits, {n_rows} are too many");
        self.q.assert_holds([n_tokens, n_heads, head_dim]);
        self.k_ring.assert_rows_of([n_slots, n_kv_heads, head_dim]);
        self.k_ring.assert_holds([layer + 1, n_slots, n_kv_heads, head_dim]);
        assert_eq!(self.v_ring.len(), self.k_ring.len());
        self.k_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.v_chunk.assert_holds([n_tokens, n_kv_heads, head_dim]);
        self.position.assert_shape([1]);
        self.out.assert_holds([n_tokens, n_heads, head_dim]);
        self.launch_on(device, grid.shared(tiling.shared_bytes()))
    }

    fn tiling(&self, height: Height) -> Tiling {
        Tiling::new(self.head_dim, height)
    }

    /// Tiles of rows, of all kv heads.
    fn n_items(&self, tiling: Tiling) -> u32 {
        (self.n_tokens * (self.n_heads / self.n_kv_heads)).div_ceil(tiling.n_rows) * self.n_kv_heads
    }

    /// The queries, the keys and values that some token sees, and the output, with token 0 at `position`.
    pub fn bytes(&self, position: u64) -> u64 {
        let Self { n_tokens, n_heads, n_kv_heads, head_dim, .. } = *self;
        let n_keys = position.min(u64::from(self.window - 1)) + u64::from(n_tokens);
        let rows = [n_tokens, n_heads, head_dim];
        bytes_of::<bf16>(&rows) + bytes_of::<W>(&rows) + n_keys * 2 * bytes_of::<bf16>(&[n_kv_heads, head_dim])
    }

    /// A product and a sum an element of each key and value that a query head sees, with token 0 at `position`.
    pub fn flops(&self, position: u64) -> u64 {
        let n_seen: u64 =
            (0..self.n_tokens).map(|token| (position + u64::from(token) + 1).min(u64::from(self.window))).sum();
        n_seen * 4 * u64::from(self.n_heads) * u64::from(self.head_dim)
    }

    /// The `mma` instructions of all warps: a warp passes over tiles of which its rows see nothing.
    pub fn mma(&self, position: u64, height: Height) -> u64 {
        let it = self.tiling(height);
        let n_tiles: u64 = self
            .tokens_by(it.n_rows / N_WARPS)
            .map(|tokens| self.seen(position, tokens))
            .map(|(first, last)| last / u64::from(it.n_keys) - first / u64::from(it.n_keys) + 1)
            .sum();
        u64::from(self.n_kv_heads) * n_tiles * it.tile_mma()
    }

    /// What the blocks load: their queries, and once each the keys and values that some row of theirs sees. What several
    /// blocks load comes from L2.
    pub fn loaded_bytes(&self, position: u64, height: Height) -> u64 {
        let n_rows = self.tiling(height).n_rows;
        let n_keys: u64 = self
            .tokens_by(n_rows)
            .map(|tokens| self.seen(position, tokens))
            .map(|(first, last)| last - first + 1)
            .sum();
        let key_bytes = 2 * bytes_of::<bf16>(&[self.n_kv_heads, self.head_dim]);
        bytes_of::<bf16>(&[self.n_tokens, self.n_heads, self.head_dim]) + n_keys * key_bytes
    }

    /// The first key, and the last, that one of some tokens sees.
    fn seen(&self, position: u64, (first, last): (u32, u32)) -> (u64, u64) {
        let own = position + u64::from(first);
        (own - own.min(u64::from(self.window - 1)), position + u64::from(last))
    }

    /// The tokens, first and last, of every so many rows of a kv head.
    fn tokens_by(&self, n_rows: u32) -> impl Iterator<Item = (u32, u32)> {
        let n_shared = self.n_heads / self.n_kv_heads;
        let last_row = self.n_tokens * n_shared - 1;
        (0..=last_row / n_rows).map(move |i| {
            let first = i * n_rows;
            (first / n_shared, last_row.min(first + n_rows - 1) / n_shared)
        })
    }
}

/// How many rows, query heads of tokens, a block has: for heads of up to 128 dims, 128 or 256. High tiles read shared
/// memory less often. The result is the same, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Height {
    Low,
    High,
}

/// Of a block.
const N_WARPS: u32 = 8;

/// kernels/prefill_attention.cu, Shape.
#[derive(Clone, Copy)]
struct Tiling {
    n_dims: u32,
    n_rows: u32,
    n_keys: u32,
    n_buffers: u32,
}

impl Tiling {
    fn new(head_dim: u32, height: Height) -> Tiling {
        let (n_dims, n_keys) = match head_dim {
            129.. => (256, 16),
            65.. => (128, 32),
            _ => (64, 64),
        };
        let is_high = height == Height::High && n_dims <= 128;
        let n_rows = if is_high { 256 } else { 128 };
        let n_buffers = match (n_dims, is_high) {
            (256, _) | (128, true) => 2,
            (128, false) => 3,
            _ => 4,
        };
        Tiling { n_dims, n_rows, n_keys, n_buffers }
    }

    /// A warp's products of its queries with a tile's keys, and of the weights, twice, with its values.
    fn tile_mma(self) -> u64 {
        3 * u64::from(self.n_rows / N_WARPS / 16 * (self.n_dims / 16) * (self.n_keys / 8))
    }

    /// Queries, and keys and values of the tiles on their way.
    fn shared_bytes(self) -> u32 {
        (self.n_rows + self.n_buffers * 2 * self.n_keys) * self.n_dims * size_of::<bf16>() as u32
    }
}
