//! Planted once, and seen to fail here: a window one too wide.

use crate::common::oracle::{Exact, assert_rounds_to, attention};
use crate::common::*;
use crate::for_both_types;
use gale::device::Grid;
use gale::kernels::{Attention, NO_WINDOW, RingWrite};
use half::bf16;

/// The sizes of one layer's attention.
#[derive(Clone, Copy)]
struct Layer {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    n_slots: u32,
    window: u32,
}

/// Queries, keys and values of the positions from `first` on.
struct Sequence {
    layer: Layer,
    first: u64,
    n_tokens: u32,
    q: Vec<bf16>, // [n_tokens, n_heads, head_dim]
    k: Vec<bf16>, // [n_tokens, n_kv_heads, head_dim]
    v: Vec<bf16>, // [n_tokens, n_kv_heads, head_dim]
}

impl Layer {
    /// With a ring of `n_slots` or a bit more, and a window that fits.
    fn random(case: &mut Case, n_slots: u32) -> Layer {
        let n_kv_heads = case.int(1..=3);
        Layer {
            n_heads: n_kv_heads * case.int(1..=4),
            n_kv_heads,
            head_dim: 8 * case.pick(&[1, 2, 3, 4, 8, 8, 10, 16, 16, 20, 32]),
            n_slots: n_slots + case.int(0..=3),
            window: n_slots,
        }
    }

    fn q_dim(self) -> usize {
        (self.n_heads * self.head_dim) as usize
    }

    fn kv_dim(self) -> usize {
        (self.n_kv_heads * self.head_dim) as usize
    }
}

impl Sequence {
    fn random(case: &mut Case, layer: Layer, first: u64, n_tokens: u32) -> Sequence {
        let Layer { n_heads, n_kv_heads, head_dim, .. } = layer;
        let sharpness = case.pick(&[1.0, 6.0]); // scores near each other, or one that dwarfs the rest
        let q = case.floats([n_tokens, n_heads, head_dim]).iter().map(|it| bf16::from_f32(it * sharpness)).collect();
        let k = case.halves([n_tokens, n_kv_heads, head_dim]);
        let v = case.halves([n_tokens, n_kv_heads, head_dim]);
        Sequence { layer, first, n_tokens, q, k, v }
    }

    /// What each token attends to when they come in chunks of these sizes, each written to the ring after it was
    /// used. Slots that nothing was written to yet hold NaN.
    fn run<W: Weight>(&self, case: &Case, grid: Option<Grid>, chunks: &[u32]) -> Vec<W> {
        let Layer { n_heads, n_kv_heads, head_dim, n_slots, window } = self.layer;
        let nan = vec![bf16::NAN; count([n_slots, n_kv_heads, head_dim])];
        let (mut k_ring, mut v_ring) = (case.upload(&nan), case.upload(&nan));
        let (mut all, mut done) = (Vec::new(), 0);
        for &n_tokens in chunks {
            let rows = |of: &[bf16], dim: usize| case.upload(&of[done as usize * dim..][..n_tokens as usize * dim]);
            let k_chunk = rows(&self.k, self.layer.kv_dim());
            let v_chunk = rows(&self.v, self.layer.kv_dim());
            let position = case.upload(&[self.first + u64::from(done)]);
            let mut out = case.alloc::<W, _>([n_tokens, n_heads, head_dim]);
            let attention = Attention {
                q: &rows(&self.q, self.layer.q_dim()),
                k_ring: &k_ring,
                v_ring: &v_ring,
                k_chunk: &k_chunk,
                v_chunk: &v_chunk,
                position: &position,
                out: &mut out,
                n_tokens,
                n_heads,
                n_kv_heads,
                head_dim,
                n_slots,
                window,
            };
            match grid {
                Some(grid) => attention.launch_grid(case.device, grid).unwrap(),
                None => attention.launch(case.device).unwrap(),
            }
            all.extend(out.to_vec().unwrap());
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
            }
            .launch(case.device)
            .unwrap();
            done += n_tokens;
        }
        assert_eq!(done, self.n_tokens);
        all
    }

    /// Cuts the tokens into chunks that fit the ring.
    fn random_chunks(&self, case: &mut Case) -> Vec<u32> {
        let (mut left, mut chunks) = (self.n_tokens, Vec::new());
        let most = case.pick(&[1, 3, 8, self.layer.n_slots]).min(self.layer.n_slots);
        while left > 0 {
            let n_tokens = case.int(1..=most.min(left));
            chunks.push(n_tokens);
            left -= n_tokens;
        }
        chunks
    }

    /// The keys (or values) of one kv head that a token sees.
    fn seen<'a>(&self, of: &'a [bf16], token: u32, kv_head: u32) -> Vec<&'a [bf16]> {
        let head_dim = self.layer.head_dim as usize;
        let first = (token + 1).saturating_sub(self.layer.window);
        let rows = of.chunks(self.layer.kv_dim()).skip(first as usize).take((token + 1 - first) as usize);
        rows.map(|row| &row[kv_head as usize * head_dim..][..head_dim]).collect()
    }

    fn oracle(&self) -> Vec<Exact> {
        let Layer { n_heads, head_dim, n_kv_heads, .. } = self.layer;
        let head = |(i, q): (usize, &[bf16])| {
            let (token, head) = (i as u32 / n_heads, i as u32 % n_heads);
            let kv_head = head * n_kv_heads / n_heads;
            let (keys, values) = (self.seen(&self.k, token, kv_head), self.seen(&self.v, token, kv_head));
            attention(q, &keys, &values, n_roundings(head_dim, keys.len() as u32))
        };
        self.q.chunks(head_dim as usize).enumerate().flat_map(head).collect()
    }
}

/// A group of lanes adds four keys a round and rescales once, by an exponential to two ulps; then the groups and the
/// eight warps are brought to one maximum each and added, and divided.
fn n_roundings(head_dim: u32, n_keys: u32) -> u32 {
    let n_groups = 32 / (head_dim / 8).next_power_of_two();
    let n_rounds = n_keys.div_ceil(8 * n_groups * 4) + 1;
    (4 + 6) * n_rounds + (6 + 5) + (6 + 8) + 1
}

/// Positions before, at and past the first wraps of the ring, cut into chunks.
fn matches_oracle<W: Weight>(case: &mut Case) {
    let n_slots = case.pick(&[1, 2, 7, 16, 33, 64, 130]);
    let layer = Layer::random(case, n_slots);
    let n_tokens = case.int(1..=2 * n_slots + 5);
    let sequence = Sequence::random(case, layer, 0, n_tokens);
    let (grid, chunks) = (case.grid(), sequence.random_chunks(case));

    let out: Vec<W> = sequence.run(case, Some(grid), &chunks);

    assert_rounds_to(&out, &sequence.oracle(), 1);
}

/// Without a window a token sees all before it, as long as the ring has slots for them.
fn sees_everything_without_a_window<W: Weight>(case: &mut Case) {
    let n_tokens = case.int(1..=90);
    let layer = Layer { window: NO_WINDOW, ..Layer::random(case, n_tokens) };
    let sequence = Sequence::random(case, layer, 0, n_tokens);
    let chunks = sequence.random_chunks(case);

    let out: Vec<W> = sequence.run(case, None, &chunks);

    assert_rounds_to(&out, &sequence.oracle(), 1);
}

/// However the tokens are cut, and at whatever position the sequence is.
fn ignores_chunks_and_grid<W: Weight>(case: &mut Case) {
    let n_slots = case.pick(&[1, 5, 16, 40, 129]);
    let layer = Layer::random(case, n_slots);
    let n_tokens = case.int(1..=2 * n_slots + 9);
    let sequence = Sequence::random(case, layer, 0, n_tokens);
    let (chunks, grid) = (sequence.random_chunks(case), case.grid());

    let one_by_one: Vec<W> = sequence.run(case, None, &vec![1; n_tokens as usize]);

    let in_chunks: Vec<W> = sequence.run(case, Some(grid), &chunks);
    assert_same_bits(&in_chunks, &one_by_one);
}

#[test]
fn attention_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn attention_sees_everything_without_a_window() {
    for_both_types!(sees_everything_without_a_window);
}

#[test]
fn attention_ignores_chunks_and_grid() {
    for_both_types!(ignores_chunks_and_grid);
}

/// A token sees the key `window - 1` before it, to the last bit not the one `window` before it, and itself.
#[test]
fn attention_window_is_exact() {
    for_all(|case| {
        let window = case.pick(&[1, 2, 8, 31, 64, 100]);
        let layer = Layer::random(case, window);
        let n_tokens = window + case.int(1..=20);
        let mut sequence = Sequence::random(case, layer, 0, n_tokens);
        let chunks = sequence.random_chunks(case);
        let last = |case: &Case, it: &Sequence| -> Vec<bf16> {
            let mut out = it.run(case, None, &chunks);
            out.split_off(out.len() - layer.q_dim())
        };
        let before = last(case, &sequence);
        let mut change = |case: &Case, back: u32| {
            let row = (n_tokens - 1 - back) as usize * layer.kv_dim();
            let of = [&mut sequence.k, &mut sequence.v].map(|it| it[row..][..layer.kv_dim()].to_vec());
            sequence.k[row..][..layer.kv_dim()].fill(bf16::from_f32(0.5));
            sequence.v[row..][..layer.kv_dim()].fill(bf16::from_f32(300.0));
            let out = last(case, &sequence);
            sequence.k[row..][..layer.kv_dim()].copy_from_slice(&of[0]);
            sequence.v[row..][..layer.kv_dim()].copy_from_slice(&of[1]);
            out
        };
        assert_same_bits(&change(case, window), &before);
        assert_ne!(change(case, window - 1), before);
        assert_ne!(change(case, 0), before);
    });
}

/// A sequence that begins far from zero, at a multiple of the ring and of every tile, has the bits that it has at
/// zero, once the window has left its beginning behind.
#[test]
fn attention_works_at_any_position() {
    for_all(|case| {
        let window = case.pick(&[4, 12, 31, 48]);
        let layer = Layer { n_slots: window, ..Layer::random(case, window) };
        let near = Sequence::random(case, layer, 0, 3 * window);
        let first = 1024 * u64::from(window) * 5_000_000_007; // no multiple of the ring if cut to 32 bits
        let far = Sequence { first, q: near.q.clone(), k: near.k.clone(), v: near.v.clone(), ..near };

        // The first chunk fills the ring. Far from zero it sees what is not there: NaN.
        let settled =
            |it: &Sequence| it.run::<bf16>(case, None, &[window; 3]).split_off(window as usize * layer.q_dim());
        assert_same_bits(&settled(&far), &settled(&near));
    });
}
