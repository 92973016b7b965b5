//! What the tests of decode_attention and prefill_attention share: tokens, what they see, and what they attend to.

use crate::common::oracle::*;
use crate::common::*;
use gale::kernels::{N_PARTS, N_RANGES};
use half::bf16;

pub const N_LAYERS: u32 = 2;

/// Tokens from `position` on, and the keys and values that they see.
#[derive(Clone)]
pub struct Attention {
    pub n_tokens: u32,
    pub n_shared: u32,
    pub n_kv_heads: u32,
    pub head_dim: u32,
    pub n_slots: u32,
    pub window: u32,
    pub layer: u32,
    pub position: u64,
    /// Of the first key that a token sees.
    pub oldest: u64,
    pub q: Vec<bf16>, // [n_tokens, n_heads, head_dim]
    pub k: Vec<bf16>, // [n_keys, n_kv_heads, head_dim]
    pub v: Vec<bf16>, // [n_keys, n_kv_heads, head_dim]
}

impl Attention {
    /// Random heads, queries, keys and values.
    pub fn at(case: &mut Case, position: u64, n_tokens: u32, n_slots: u32, window: u32) -> Attention {
        let is_long = position.min(u64::from(window)) > 1100; // which takes its time
        let n_kv_heads = if is_long { 1 } else { case.int(1..=3) };
        let n_shared = if is_long { case.pick(&[1, 3, 4]) } else { case.pick(&[1, 2, 3, 4, 4, 5, 7, 8]) };
        let head_dim = case.pick(&[64, 64, 64, 128, 128, 128, 128, 8, 24, 72, 80, 96, 136, 200, 256]);
        let oldest = position - position.min(u64::from(window - 1));
        let n_keys = (position - oldest) as u32 + n_tokens;
        let sharpness = case.pick(&[1.0, 6.0]); // scores near each other, or one that dwarfs the rest
        let q = case.floats([n_tokens, n_kv_heads * n_shared, head_dim]);
        Attention {
            n_tokens,
            n_shared,
            n_kv_heads,
            head_dim,
            n_slots,
            window,
            layer: case.int(0..=N_LAYERS - 1),
            position,
            oldest,
            q: q.iter().map(|it| bf16::from_f32(it * sharpness)).collect(),
            k: case.halves([n_keys, n_kv_heads, head_dim]),
            v: case.halves([n_keys, n_kv_heads, head_dim]),
        }
    }

    pub fn n_heads(&self) -> u32 {
        self.n_kv_heads * self.n_shared
    }

    /// The elements of a token's queries.
    pub fn q_dim(&self) -> usize {
        (self.n_heads() * self.head_dim) as usize
    }

    /// The elements of a position's keys.
    pub fn kv_dim(&self) -> usize {
        (self.n_kv_heads * self.head_dim) as usize
    }

    /// The first key that a token sees, and its own.
    pub fn seen(&self, token: u32) -> (u64, u64) {
        let own = self.position + u64::from(token);
        (own - own.min(u64::from(self.window - 1)), own)
    }

    /// One of its tokens by itself.
    pub fn single(&self, token: u32) -> Attention {
        let (first, own) = self.seen(token);
        let rows = |of: &[bf16]| {
            let keys = (first - self.oldest) as usize..(own + 1 - self.oldest) as usize;
            of[keys.start * self.kv_dim()..keys.end * self.kv_dim()].to_vec()
        };
        let q = self.q[token as usize * self.q_dim()..][..self.q_dim()].to_vec();
        Attention { n_tokens: 1, position: own, oldest: first, q, k: rows(&self.k), v: rows(&self.v), ..self.clone() }
    }

    /// Rings with the rows of positions before `end`, and NaN elsewhere.
    pub fn ring(&self, rows: &[bf16], end: u64) -> Vec<bf16> {
        let dim = self.kv_dim();
        let mut ring = vec![bf16::NAN; (N_LAYERS * self.n_slots) as usize * dim];
        for (position, row) in (self.oldest..end).zip(rows.chunks(dim)) {
            let at = u64::from(self.layer * self.n_slots) + position % u64::from(self.n_slots);
            ring[at as usize * dim..][..dim].copy_from_slice(row);
        }
        ring
    }

    /// A key and its value matter to the tokens that see it, and change no bit of the others. `attend` runs the kernel.
    pub fn assert_window_is_exact(&self, case: &mut Case, attend: impl Fn(&Attention, &mut Case) -> Vec<bf16>) {
        let before = attend(self, case);
        assert!(before.iter().all(|it| it.is_finite()), "a slot that no token sees is NaN");

        let token = case.int(0..=self.n_tokens - 1);
        let (first, own) = self.seen(token);
        let key = case.pick(&[first, own]);
        let mut changed = self.clone();
        let row = (key - self.oldest) as usize * self.kv_dim();
        changed.k[row..][..self.kv_dim()].fill(bf16::from_f32(0.5));
        changed.v[row..][..self.kv_dim()].fill(bf16::from_f32(3e4));
        let after = attend(&changed, case);

        for (token, (before, after)) in (0..).zip(before.chunks(self.q_dim()).zip(after.chunks(self.q_dim()))) {
            let (first, own) = self.seen(token);
            if (first..=own).contains(&key) {
                assert_ne!(before, after, "token {token}");
            } else {
                assert_same_bits(after, before);
            }
        }
    }

    pub fn oracle(&self) -> Vec<Exact> {
        let dim = self.head_dim as usize;
        let head = |(i, q): (usize, &[bf16])| {
            let (token, head) = (i as u32 / self.n_heads(), i as u32 % self.n_heads());
            let (first, own) = self.seen(token);
            let rows = |of: &'_ [bf16]| -> Vec<Vec<bf16>> {
                let seen =
                    of.chunks(self.kv_dim()).skip((first - self.oldest) as usize).take((own + 1 - first) as usize);
                seen.map(|row| row[(head / self.n_shared) as usize * dim..][..dim].to_vec()).collect()
            };
            let (keys, values) = (rows(&self.k), rows(&self.v));
            let [keys, values] = [&keys, &values].map(|it| it.iter().map(Vec::as_slice).collect::<Vec<_>>());
            attention(q, &keys, &values, n_roundings(keys.len() as u32))
        };
        self.q.chunks(dim).enumerate().flat_map(head).collect()
    }
}

/// A weight is off by 2^-18, 64 roundings, as the sum of two bf16. A tile of 64 keys is added in eight products, which may
/// truncate, and its weights in 16 sums, two more of four lanes. Then a range's tiles and a row's ranges are brought to
/// one maximum each and added, by an exponential to two ulps, a product and a sum, and it is all divided.
fn n_roundings(n_keys: u32) -> u32 {
    let n_tiles = n_keys.div_ceil(N_PARTS).div_ceil(64) + 1; // of a range
    64 + 8 * 2 + (16 + 2) + (n_tiles + N_RANGES) * (2 + 2) + 1
}
