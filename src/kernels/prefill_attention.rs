use super::{N_PARTS, N_RANGES, NO_WINDOW, assert_eights, bytes_of};
use crate::device::{Cost, Device, Grid, Result};
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
        states:     Out<'a, f32>,  // attention_states_shape, scratch
        tickets:    Out<'a, u32>,  // attention_tickets_shape, zeros before and after
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
    /// A block for each tile of rows; where blocks may share a tile's keys, as many as run at once, each with shares in
    /// turn.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|position| Cost { bytes: self.bytes(position), flops: self.flops(position) });
        device.note_mma(|position| self.mma(position));
        let n_parts = self.n_tiles() * self.n_kv_heads;
        let n_blocks = if self.may_share() { (n_parts * MAX_SHARES).min(device.n_multiprocessors()) } else { n_parts };
        self.launch_grid(device, Grid::x(n_blocks))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
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
        self.states.assert_holds(attention_states_shape(n_tokens, n_heads, n_kv_heads, head_dim));
        self.tickets.assert_holds(attention_tickets_shape(n_tokens, n_heads, n_kv_heads));
        self.launch_on(device, grid.shared(self.tiling().shared_bytes()))
    }

    /// Tiles of rows of a kv head.
    fn n_tiles(&self) -> u32 {
        n_tiles(self.n_tokens, self.n_heads, self.n_kv_heads)
    }

    /// Whether blocks share the keys of a tile of rows, if there are enough of them.
    fn may_share(&self) -> bool {
        self.tiling().n_dims <= 128 && self.n_tiles() <= SHARED_TILES
    }

    /// The rows of each tile, and the blocks that share its keys, with token 0 at `position`: one for each range of keys, if
    /// all rows have ranges of one size, and that is more than a tile of keys.
    fn tiles(&self, position: u64) -> impl Iterator<Item = (u32, u64)> {
        let n_rows = self.n_tokens * (self.n_heads / self.n_kv_heads);
        let rows = (0..n_rows).step_by(N_ROWS as usize).map(move |first| (n_rows - first).min(N_ROWS));
        rows.zip(self.tokens_by(N_ROWS).map(move |(first, last)| {
            let log2 = |token: u32| range_log2((position + u64::from(token)).min(u64::from(self.window - 1)));
            let (size, of_last) = (log2(first), log2(last));
            if !self.may_share() || size != of_last || 1 << size == N_KEYS {
                return 1;
            }
            let (first, last) = self.seen(position, (first, last));
            (last >> size) - (first >> size) + 1
        }))
    }

    /// What blocks that share keys leave for each other, with token 0 at `position`: written once, and read once.
    pub fn states_bytes(&self, position: u64) -> u64 {
        let shared = self.tiles(position).filter(|(_, n_shares)| *n_shares > 1);
        let n_warps: u64 =
            shared.map(|(n_rows, n_shares)| u64::from(n_rows.div_ceil(N_ROWS / N_WARPS)) * n_shares).sum();
        n_warps * u64::from(self.n_kv_heads) * bytes_of::<f32>(&[self.tiling().n_value_dims / 8 + 1, 4 * 32])
    }

    fn tiling(&self) -> Tiling {
        Tiling::new(self.head_dim)
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
    pub fn mma(&self, position: u64) -> u64 {
        let n_tiles: u64 = self
            .tokens_by(N_ROWS / N_WARPS)
            .map(|tokens| self.seen(position, tokens))
            .map(|(first, last)| last / u64::from(N_KEYS) - first / u64::from(N_KEYS) + 1)
            .sum();
        u64::from(self.n_kv_heads) * n_tiles * self.tiling().tile_mma()
    }

    /// What the blocks load: their queries, once each the keys and values that some row of theirs sees, and what they
    /// leave for each other. What several blocks load comes from L2.
    pub fn loaded_bytes(&self, position: u64) -> u64 {
        let n_keys: u64 = self
            .tokens_by(N_ROWS)
            .map(|tokens| self.seen(position, tokens))
            .map(|(first, last)| last - first + 1)
            .sum();
        let n_rows: u64 = self.tiles(position).map(|(n_rows, n_shares)| u64::from(n_rows) * n_shares).sum();
        (n_rows + 2 * n_keys) * bytes_of::<bf16>(&[self.n_kv_heads, self.head_dim]) + self.states_bytes(position)
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

/// The logarithm of the size of the ranges of a row that sees some keys before its own: kernels/softmax.cuh.
fn range_log2(n_before: u64) -> u32 {
    (n_before.checked_ilog2().map_or(0, |it| it + 1)).saturating_sub(N_PARTS.ilog2()).max(N_KEYS.ilog2())
}

/// Tiles of rows of a kv head.
fn n_tiles(n_tokens: u32, n_heads: u32, n_kv_heads: u32) -> u32 {
    (n_tokens * (n_heads / n_kv_heads)).div_ceil(N_ROWS)
}

/// What blocks that share keys leave for each other: of each tile of rows and kv head, and each share, so many times four
/// numbers of each thread.
pub fn attention_states_shape(n_tokens: u32, n_heads: u32, n_kv_heads: u32, head_dim: u32) -> [u32; 4] {
    let n_parts = n_tiles(n_tokens, n_heads, n_kv_heads).min(SHARED_TILES) * n_kv_heads;
    [n_parts, MAX_SHARES, Tiling::new(head_dim).n_value_dims / 8 + 1, 4 * 32 * N_WARPS]
}

/// A ticket for each tile of rows and kv head.
pub fn attention_tickets_shape(n_tokens: u32, n_heads: u32, n_kv_heads: u32) -> [u32; 2] {
    [n_tiles(n_tokens, n_heads, n_kv_heads).min(SHARED_TILES), n_kv_heads]
}

/// Of rows of a kv head, the most whose keys blocks share.
const SHARED_TILES: u32 = 4;
/// Of a tile: the ranges of a row, and one more, since the last row is up to a range behind the first.
const MAX_SHARES: u32 = N_RANGES + 1;
/// Of a block.
const N_WARPS: u32 = 8;
/// Query heads of tokens that a block has.
const N_ROWS: u32 = 16 * N_WARPS;
/// Of a tile.
const N_KEYS: u32 = 64;

/// kernels/prefill_attention.cu, Shape.
#[derive(Clone, Copy)]
struct Tiling {
    n_dims: u32,
    /// That values are added at, in one pass over the keys.
    n_value_dims: u32,
    n_buffers: u32,
}

impl Tiling {
    fn new(head_dim: u32) -> Tiling {
        let n_dims = head_dim.next_power_of_two().max(64);
        Tiling { n_dims, n_value_dims: n_dims.min(128), n_buffers: if n_dims > 128 { 2 } else { 4 } }
    }

    /// A warp's products of its queries with a tile's keys, in each pass, and of the weights, twice, with its values.
    fn tile_mma(self) -> u64 {
        let n_passes = self.n_dims / self.n_value_dims;
        u64::from((n_passes + 2) * (self.n_dims / 16) * (N_KEYS / 8))
    }

    /// Queries, and the parts of tiles on their way.
    fn shared_bytes(self) -> u32 {
        (N_ROWS * self.n_dims + self.n_buffers * N_KEYS * self.n_value_dims) * size_of::<bf16>() as u32
    }
}
