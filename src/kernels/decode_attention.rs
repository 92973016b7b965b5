use super::{MAX_TOKENS, assert_eights, bytes_of};
use crate::device::{Cost, Device, Grid, Result};
use crate::kernel;
use crate::kernel::{Half, In, Out};
use half::bf16;

kernel! {
    /// Attends from each token of a step to the keys in its window.
    ///
    /// A step of one token may have its key and value in the ring already (`n_staged` 0); the rows of other steps are
    /// staged (`n_staged` is `n_tokens`). The ring has what the tokens see of the positions before.
    pub struct DecodeAttention<'a, W: Half> = { bf16: decode_attention_bf16, f16: decode_attention_f16 } {
        q:          In<'a, bf16>,       // [n_tokens, n_heads, head_dim], turned
        k_ring:     In<'a, bf16>,       // [n_layers, n_slots, n_kv_heads, head_dim]
        v_ring:     In<'a, bf16>,       // [n_layers, n_slots, n_kv_heads, head_dim]
        k_staged:   In<'a, bf16>,       // [n_layers, 8, n_kv_heads, head_dim]
        v_staged:   In<'a, bf16>,       // [n_layers, 8, n_kv_heads, head_dim]
        position:   In<'a, u64>,        // [1], of token 0
        partials:   Out<'a, f32>,       // [n_tokens, n_heads, N_RANGES, head_dim], scratch
        softmaxes:  Out<'a, [f32; 2]>,  // [N_RANGES, n_tokens, n_heads], scratch
        tickets:    Out<'a, u32>,       // [n_heads + n_kv_heads], zeros before and after
        out:        Out<'a, W>,         // [n_tokens, n_heads, head_dim]
        n_tokens:   u32,                // 1 to 8
        n_heads:    u32,
        n_kv_heads: u32,
        head_dim:   u32,                // a multiple of 8, up to 256
        n_slots:    u32,
        window:     u32,                // keys that a token sees, itself included, or NO_WINDOW
        layer:      u32,
        n_staged:   u32,                // 0, or n_tokens
    }
}

/// The window of a token that sees all keys before it.
pub const NO_WINDOW: u32 = u32::MAX;
/// Parts that the keys of a kv head are cut into.
pub const N_PARTS: u32 = 16;
/// Aligned ranges of keys that a row may see, a partial result of each: 16 whole ones may have two ends instead of one.
pub const N_RANGES: u32 = N_PARTS + 1;

/// Query heads of a step's tokens that one kv head serves: the kernel has a bit for every eight.
const MAX_SHARED_ROWS: u32 = 256;

/// The most tokens of a step of a model with so many heads.
pub fn max_step_tokens(n_heads: u32, n_kv_heads: u32) -> u32 {
    MAX_TOKENS.min(MAX_SHARED_ROWS / (n_heads / n_kv_heads))
}

impl<W: Half> DecodeAttention<'_, W> {
    /// A block for each kv head and part of the keys.
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.note(|position| Cost { bytes: self.bytes(position), flops: self.flops(position) });
        self.launch_grid(device, Grid::x(self.n_kv_heads * N_PARTS))
    }

    /// On any grid.
    pub fn launch_grid(&self, device: &Device, grid: Grid) -> Result<()> {
        let Self { n_tokens, n_heads, n_kv_heads, head_dim, n_slots, window, layer, n_staged, .. } = *self;
        assert_eights("head_dim", head_dim);
        assert!(head_dim <= 256, "head_dim is at most 256, not {head_dim}");
        assert!((1..=8).contains(&n_tokens), "a step has 1 to 8 tokens, not {n_tokens}");
        assert!(n_heads.is_multiple_of(n_kv_heads), "{n_heads} query heads cannot share {n_kv_heads} kv heads evenly");
        assert!(window > 0, "a token sees at least itself");
        assert!(
            n_staged == n_tokens || (n_staged == 0 && n_tokens == 1),
            "{n_staged} of {n_tokens} rows are staged: all must be, or none of one"
        );
        assert!(n_slots < 1 << 30, "the kernel counts a row's keys in 30 bits, {n_slots} slots are too many");
        let n_pieces = self.k_ring.len() / 8;
        assert!(
            n_pieces < 1 << 31,
            "the kernel counts 16 bytes of a ring in 31 bits, {n_pieces} times 16 are too many"
        );
        let n_shared_rows = n_tokens * (n_heads / n_kv_heads);
        assert!(
            n_shared_rows <= MAX_SHARED_ROWS,
            "a kv head serves at most {MAX_SHARED_ROWS} rows, {n_shared_rows} are too many"
        );
        self.q.assert_holds([n_tokens, n_heads, head_dim]);
        self.k_ring.assert_rows_of([n_slots, n_kv_heads, head_dim]);
        assert_eq!(self.v_ring.len(), self.k_ring.len());
        self.k_staged.assert_rows_of([8, n_kv_heads, head_dim]);
        assert_eq!(self.v_staged.len(), self.k_staged.len());
        self.k_ring.assert_holds([layer + 1, n_slots, n_kv_heads, head_dim]);
        self.k_staged.assert_holds([layer + 1, 8, n_kv_heads, head_dim]);
        self.position.assert_shape([1]);
        self.partials.assert_holds([n_tokens, n_heads, N_RANGES, head_dim]);
        self.softmaxes.assert_holds([N_RANGES, n_tokens, n_heads]);
        self.tickets.assert_shape([n_heads + n_kv_heads]);
        self.out.assert_holds([n_tokens, n_heads, head_dim]);
        self.launch_on(device, grid)
    }

    /// The queries, the keys and values that some token sees, and the output, with token 0 at `position`.
    pub fn bytes(&self, position: u64) -> u64 {
        let Self { n_tokens, n_heads, n_kv_heads, head_dim, .. } = *self;
        let n_keys = position.min(u64::from(self.window - 1)) + u64::from(n_tokens);
        let rows = [n_tokens, n_heads, head_dim];
        bytes_of::<bf16>(&rows) + bytes_of::<W>(&rows) + n_keys * 2 * bytes_of::<bf16>(&[n_kv_heads, head_dim])
    }

    /// The partial results, stored and loaded: they stay in L2. With token 0 at `position`. None if one block of each
    /// kv head has all keys.
    pub fn scratch_bytes(&self, position: u64) -> u64 {
        let row = bytes_of::<f32>(&[self.head_dim]) + bytes_of::<[f32; 2]>(&[1]);
        let seen = |token: u32| {
            let last = position + u64::from(token);
            (last - last.min(u64::from(self.window - 1)), last)
        };
        let ranges = |(first, last): (u64, u64)| {
            let size = (last - first + 1).next_power_of_two().div_ceil(16).max(64);
            last / size - first / size + 1
        };
        if ranges((seen(0).0, seen(self.n_tokens - 1).1)) == 1 {
            return 0;
        }
        let n_ranges: u64 = (0..self.n_tokens).map(|token| ranges(seen(token))).sum();
        2 * row * u64::from(self.n_heads) * n_ranges
    }

    /// A product and a sum an element of each key and value that a query head sees, with token 0 at `position`.
    pub fn flops(&self, position: u64) -> u64 {
        let n_seen: u64 =
            (0..self.n_tokens).map(|token| (position + u64::from(token) + 1).min(u64::from(self.window))).sum();
        n_seen * 4 * u64::from(self.n_heads) * u64::from(self.head_dim)
    }
}
