//! Planted once, each seen to fail here: a window longer by one at either end, the ring written before attention, the
//! chunk's rows read from the ring, positions of 32 bits, slots that do not wrap, tiles aligned to the window's first
//! key, keys that no row sees loaded instead of zeros, a mask or a tile left out where it just begins to count, maxima
//! that rise without rescaling, weights rounded to one bf16, ranges of a size of their own, and, in check mode, a missing
//! barrier and a wait for one group of copies too few.

use crate::common::oracle::*;
use crate::common::*;
use crate::for_both_types;
use gale::kernels::{DecodeAttention, N_PARTS, N_RANGES, NO_WINDOW, PrefillAttention, RingWrite};
use half::bf16;
use std::ops::Range;

const N_LAYERS: u32 = 2;

/// Tokens from `position` on, and the keys and values that they see.
#[derive(Clone)]
struct Prompt {
    n_tokens: u32,
    n_shared: u32,
    n_kv_heads: u32,
    head_dim: u32,
    n_slots: u32,
    window: u32,
    layer: u32,
    position: u64,
    /// Of the first key that a token sees.
    oldest: u64,
    q: Vec<bf16>, // [n_tokens, n_heads, head_dim]
    k: Vec<bf16>, // [n_keys, n_kv_heads, head_dim]
    v: Vec<bf16>, // [n_keys, n_kv_heads, head_dim]
}

impl Prompt {
    /// Any shape, mostly that of models: before, at and past the ends of tiles, windows and rings.
    fn random(case: &mut Case) -> Prompt {
        let n_slots = case.pick(&[100, 100, 192, 192, 192, 4096]);
        let most = if n_slots == 4096 { 40 } else { n_slots };
        let n_tokens = case.pick(&[1, 2, 17, 31, 32, 33, 63, 64, 65, most, most]).min(most);
        if case.int(0..=3) == 0 {
            let last = n_slots - n_tokens;
            let position = case.pick(&[0, 0, 62, 63, 64, last, last]).min(last);
            return Prompt::at(case, position.into(), n_tokens, n_slots, NO_WINDOW);
        }
        let window = n_slots - case.pick(&[0, 0, 0, 1, 37]);
        let lap = u64::from(n_slots) * u64::from(case.int(1..=9));
        let near = lap + u64::from(case.int(0..=n_slots));
        let position = case.pick(&[0, 0, 1, 62, 63, 64, 65, near, near, near, (1 << 32) - 3, near << 34]);
        Prompt::at(case, position, n_tokens, n_slots, window)
    }

    /// Random heads, queries, keys and values.
    fn at(case: &mut Case, position: u64, n_tokens: u32, n_slots: u32, window: u32) -> Prompt {
        let is_long = position.min(u64::from(window)) > 1000; // which takes its time
        let n_kv_heads = if is_long { 1 } else { case.int(1..=3) };
        let n_shared = if is_long { case.pick(&[1, 3, 4]) } else { case.pick(&[1, 2, 3, 4, 4, 5, 7, 8]) };
        let head_dim = case.pick(&[64, 64, 64, 128, 128, 128, 128, 8, 24, 72, 80, 96, 136, 200, 256]);
        let oldest = position - position.min(u64::from(window - 1));
        let n_keys = (position - oldest) as u32 + n_tokens;
        let sharpness = case.pick(&[1.0, 6.0]); // scores near each other, or one that dwarfs the rest
        let q = case.floats([n_tokens, n_kv_heads * n_shared, head_dim]);
        Prompt {
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

    fn n_heads(&self) -> u32 {
        self.n_kv_heads * self.n_shared
    }

    /// The elements of a token's queries.
    fn q_dim(&self) -> usize {
        (self.n_heads() * self.head_dim) as usize
    }

    /// The elements of a position's keys.
    fn kv_dim(&self) -> usize {
        (self.n_kv_heads * self.head_dim) as usize
    }

    /// The first key that a token sees, and its own.
    fn seen(&self, token: u32) -> (u64, u64) {
        let own = self.position + u64::from(token);
        (own - own.min(u64::from(self.window - 1)), own)
    }

    /// Of the first token's keys and values, those before its own, in rings that are NaN elsewhere.
    fn ring(&self, rows: &[bf16]) -> Vec<bf16> {
        let dim = self.kv_dim();
        let mut ring = vec![bf16::NAN; N_LAYERS as usize * self.n_slots as usize * dim];
        for (position, row) in (self.oldest..self.position).zip(rows.chunks(dim)) {
            let at = u64::from(self.layer * self.n_slots) + position % u64::from(self.n_slots);
            ring[at as usize * dim..][..dim].copy_from_slice(row);
        }
        ring
    }

    /// What one token attends to when it is decoded, its row in the ring.
    fn decode<W: Weight>(&self, case: &Case, token: u32) -> Vec<W> {
        let Prompt { n_kv_heads, head_dim, n_slots, window, layer, .. } = *self;
        let (n_heads, dim, (first, own)) = (self.n_heads(), self.kv_dim(), self.seen(token));
        let [k_ring, v_ring] = [&self.k, &self.v].map(|rows| {
            let mut ring = vec![bf16::NAN; N_LAYERS as usize * n_slots as usize * dim];
            for position in first..=own {
                let row = &rows[(position - self.oldest) as usize * dim..][..dim];
                let at = u64::from(layer * n_slots) + position % u64::from(n_slots);
                ring[at as usize * dim..][..dim].copy_from_slice(row);
            }
            case.upload(&ring)
        });
        let staged = case.alloc([N_LAYERS, 8, n_kv_heads, head_dim]);
        let mut out = case.alloc::<W, _>([1, n_heads, head_dim]);
        DecodeAttention {
            q: &case.upload(&self.q[token as usize * self.q_dim()..][..self.q_dim()]),
            k_ring: &k_ring,
            v_ring: &v_ring,
            k_staged: &staged,
            v_staged: &staged,
            position: &case.upload(&[own]),
            partials: &mut case.alloc([1, n_heads, N_RANGES, head_dim]),
            softmaxes: &mut case.alloc([N_RANGES, 1, n_heads]),
            tickets: &mut case.upload(&vec![0; (n_heads + n_kv_heads) as usize]),
            out: &mut out,
            n_tokens: 1,
            n_heads,
            n_kv_heads,
            head_dim,
            n_slots,
            window,
            layer,
            n_staged: 0,
        }
        .launch(case.device)
        .unwrap();
        out.to_vec().unwrap()
    }

    /// Rows of some tokens, and NaN behind them.
    fn rows(&self, of: &[bf16], dim: usize, first: u64, tokens: &Range<u32>) -> Vec<bf16> {
        let at = (self.position - first) as usize;
        let rows = &of[(at + tokens.start as usize) * dim..(at + tokens.end as usize) * dim];
        [rows, &vec![bf16::NAN; 3 * dim]].concat()
    }

    /// What the tokens attend to, if they come in chunks of these sizes, each on its own grid.
    fn run<W: Weight>(&self, case: &mut Case, sizes: &[u32]) -> Vec<W> {
        let Prompt { n_kv_heads, head_dim, n_slots, window, layer, .. } = *self;
        let [mut k_ring, mut v_ring] = [&self.k, &self.v].map(|it| case.upload(&self.ring(it)));
        let mut first = 0;
        let mut all = vec![];
        for &n_tokens in sizes {
            let tokens = first..first + n_tokens;
            let q = case.upload(&self.rows(&self.q, self.q_dim(), self.position, &tokens));
            let [k, v] = [&self.k, &self.v].map(|it| self.rows(it, self.kv_dim(), self.oldest, &tokens));
            let (k_chunk, v_chunk) = (case.upload(&k), case.upload(&v));
            let position = case.upload(&[self.position + u64::from(first)]);
            let mut out = case.alloc::<W, _>([n_tokens, self.n_heads(), head_dim]);
            let grid = case.grid();
            PrefillAttention {
                q: &q,
                k_ring: &k_ring,
                v_ring: &v_ring,
                k_chunk: &k_chunk,
                v_chunk: &v_chunk,
                position: &position,
                out: &mut out,
                n_tokens,
                n_heads: self.n_heads(),
                n_kv_heads,
                head_dim,
                n_slots,
                window,
                layer,
            }
            .launch_grid(case.device, grid)
            .unwrap();
            RingWrite {
                k_chunk: &k_chunk,
                v_chunk: &v_chunk,
                position: &position,
                k_ring: &mut k_ring,
                v_ring: &mut v_ring,
                n_tokens,
                n_kv_heads,
                head_dim,
                n_slots,
                layer,
            }
            .launch(case.device)
            .unwrap();
            all.extend(out.to_vec().unwrap());
            first = tokens.end;
        }
        assert_eq!(first, self.n_tokens);
        all
    }

    /// Some sizes of chunks that make up the prompt.
    fn cut(&self, case: &mut Case) -> Vec<u32> {
        let most = case.pick(&[1, 8, 33, 64, self.n_tokens]).max(self.n_tokens / 12); // for a dozen launches or two
        let mut left = self.n_tokens;
        let mut sizes = vec![];
        while left > 0 {
            sizes.push(case.int(most.div_ceil(2)..=most).min(left));
            left -= sizes[sizes.len() - 1];
        }
        sizes
    }

    fn oracle(&self) -> Vec<Exact> {
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

/// As in decode_attention, whose order this is.
fn n_roundings(n_keys: u32) -> u32 {
    let n_tiles = n_keys.div_ceil(N_PARTS).div_ceil(64) + 1; // of a range
    64 + 8 * 2 + (16 + 2) + (n_tiles + N_RANGES) * (2 + 2) + 1
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let prompt = Prompt::random(case);
    let out: Vec<W> = prompt.run(case, &[prompt.n_tokens]);
    assert_rounds_to(&out, &prompt.oracle(), 1);
}

/// One chunk or several, on any grids.
fn ignores_chunks<W: Weight>(case: &mut Case) {
    let prompt = Prompt::random(case);
    let sizes = prompt.cut(case);
    let whole: Vec<W> = prompt.run(case, &[prompt.n_tokens]);
    assert!(whole.iter().all(|it| it.f64().is_finite()), "a slot that no token sees is NaN");
    assert_same_bits(&prompt.run::<W>(case, &sizes), &whole);
}

/// A token has the bits that decoding gives it.
fn is_as_decoded<W: Weight>(case: &mut Case) {
    let prompt = Prompt::random(case);
    let out: Vec<W> = prompt.run(case, &[prompt.n_tokens]);
    for _ in 0..5 {
        let token = case.int(0..=prompt.n_tokens - 1);
        let row = &out[token as usize * prompt.q_dim()..][..prompt.q_dim()];
        assert_same_bits(row, &prompt.decode::<W>(case, token));
    }
}

#[test]
fn prefill_attention_gives_the_bits_of_decode_attention() {
    for_both_types!(is_as_decoded);
}

/// The same where ranges have several tiles, and their sizes change from one row to the next.
#[test]
fn prefill_attention_has_the_ranges_of_decode_attention() {
    for_all(|case| {
        let position = case.pick(&[1024, 1024, 2048, 3000]) - u64::from(case.int(1..=7));
        let window = case.pick(&[2100, 3100, NO_WINDOW]);
        let prompt = Prompt::at(case, position, 8, 3100, window);
        let out: Vec<bf16> = prompt.run(case, &[8]);
        for (token, row) in (0..).zip(out.chunks(prompt.q_dim())) {
            assert_same_bits(row, &prompt.decode::<bf16>(case, token));
        }
    });
}

#[test]
fn prefill_attention_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn prefill_attention_ignores_chunks() {
    for_both_types!(ignores_chunks);
}

/// A key and its value matter to the tokens that see it, and change no bit of the others.
#[test]
fn prefill_attention_window_is_exact() {
    for_all(|case| {
        let window = case.pick(&[1, 2, 8, 16, 31, 32, 63, 64, 65, 100, 128, 129]);
        let n_slots = window.max(70) + case.pick(&[0, 1, 8]);
        let position = u64::from(window) * u64::from(case.int(0..=3)) + u64::from(case.int(0..=70));
        let n_tokens = case.int(1..=70);
        let prompt = Prompt::at(case, position, n_tokens, n_slots, window);
        let before: Vec<bf16> = prompt.run(case, &[n_tokens]);

        let token = case.int(0..=n_tokens - 1);
        let (first, own) = prompt.seen(token);
        let key = case.pick(&[first, own]);
        let mut changed = prompt.clone();
        let row = (key - prompt.oldest) as usize * prompt.kv_dim();
        changed.k[row..][..prompt.kv_dim()].fill(bf16::from_f32(0.5));
        changed.v[row..][..prompt.kv_dim()].fill(bf16::from_f32(3e4));
        let after: Vec<bf16> = changed.run(case, &[n_tokens]);

        for (token, (before, after)) in (0..).zip(before.chunks(prompt.q_dim()).zip(after.chunks(prompt.q_dim()))) {
            let (first, own) = prompt.seen(token);
            if (first..=own).contains(&key) {
                assert_ne!(before, after, "token {token}");
            } else {
                assert_same_bits(after, before);
            }
        }
    });
}
