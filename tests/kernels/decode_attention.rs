//! Planted once, each seen to fail here: a window longer by one at either end, staged rows read from the ring, ranges
//! aligned to the window's first key, an item's second range left out or not loaded, tickets that are not reset or are
//! one too many or too few, a block that leaves an item too early, weights rounded to one bf16.

use crate::common::oracle::*;
use crate::common::*;
use crate::for_both_types;
use gale::device::Grid;
use gale::kernels::{DecodeAttention, N_PARTS, N_RANGES, NO_WINDOW};
use half::bf16;

const N_LAYERS: u32 = 2;

/// A step of some tokens, and the keys and values that they see.
#[derive(Clone)]
struct Step {
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

/// Where the row of a step of one token is.
#[derive(Clone, Copy, PartialEq)]
enum Own {
    Ring,
    Staging,
}

impl Step {
    /// Any shape, mostly that of models: before, at and past the ends of ranges, windows and rings.
    fn random(case: &mut Case) -> Step {
        let n_slots = case.pick(&[100, 192, 192, 1024, 1040, 4096]);
        let n_tokens = case.int(1..=8);
        if case.int(0..=3) == 0 {
            let last = n_slots - n_tokens;
            let position = case.pick(&[0, 62, 63, 64, last, last]).min(last);
            return Step::at(case, position.into(), n_tokens, n_slots, NO_WINDOW);
        }
        let window = n_slots - case.pick(&[0, 0, 0, 1, 37]);
        let lap = u64::from(n_slots) * u64::from(case.int(1..=9));
        let near = lap + u64::from(case.int(0..=n_slots));
        let position = case.pick(&[0, 62, 63, 64, 1020, 1023, 1024, near, near, near, (1 << 32) - 3, near << 34]);
        Step::at(case, position, n_tokens, n_slots, window)
    }

    /// Random heads, queries, keys and values.
    fn at(case: &mut Case, position: u64, n_tokens: u32, n_slots: u32, window: u32) -> Step {
        let is_long = position.min(u64::from(window)) > 1100; // which takes its time
        let n_kv_heads = if is_long { 1 } else { case.int(1..=3) };
        let n_shared = if is_long { case.pick(&[1, 3, 4]) } else { case.pick(&[1, 2, 3, 4, 4, 5, 7, 8]) };
        let head_dim = case.pick(&[64, 64, 64, 128, 128, 128, 128, 8, 24, 72, 80, 96, 136, 200, 256]);
        let oldest = position - position.min(u64::from(window - 1));
        let n_keys = (position - oldest) as u32 + n_tokens;
        let sharpness = case.pick(&[1.0, 6.0]); // scores near each other, or one that dwarfs the rest
        let q = case.floats([n_tokens, n_kv_heads * n_shared, head_dim]);
        Step {
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

    /// One of its tokens, as a step.
    fn single(&self, token: u32) -> Step {
        let (first, own) = self.seen(token);
        let rows = |of: &[bf16]| {
            let keys = (first - self.oldest) as usize..(own + 1 - self.oldest) as usize;
            of[keys.start * self.kv_dim()..keys.end * self.kv_dim()].to_vec()
        };
        let q = self.q[token as usize * self.q_dim()..][..self.q_dim()].to_vec();
        Step { n_tokens: 1, position: own, oldest: first, q, k: rows(&self.k), v: rows(&self.v), ..self.clone() }
    }

    /// Rings and staging with these rows, and NaN where no token sees what is there.
    fn cache(&self, rows: &[bf16], own: Own) -> [Vec<bf16>; 2] {
        let dim = self.kv_dim();
        let [mut ring, mut staged] = [self.n_slots, 8].map(|it| vec![bf16::NAN; N_LAYERS as usize * it as usize * dim]);
        for (position, row) in (self.oldest..).zip(rows.chunks(dim)) {
            let (to, at) = if own == Own::Staging && position >= self.position {
                (&mut staged, u64::from(self.layer * 8) + position - self.position)
            } else {
                (&mut ring, u64::from(self.layer * self.n_slots) + position % u64::from(self.n_slots))
            };
            to[at as usize * dim..][..dim].copy_from_slice(row);
        }
        [ring, staged]
    }

    /// What the tokens attend to. Leaves no ticket behind.
    fn run<W: Weight>(&self, case: &Case, grid: Option<Grid>, own: Own) -> Vec<W> {
        let Step { n_tokens, n_kv_heads, head_dim, n_slots, window, layer, .. } = *self;
        let n_heads = self.n_heads();
        let [k_ring, k_staged] = self.cache(&self.k, own).map(|it| case.upload(&it));
        let [v_ring, v_staged] = self.cache(&self.v, own).map(|it| case.upload(&it));
        let mut partials = case.alloc([n_tokens, n_heads, N_RANGES, head_dim]);
        let mut softmaxes = case.alloc([N_RANGES, n_tokens, n_heads]);
        let mut tickets = case.upload(&vec![0; (n_heads + n_kv_heads) as usize]);
        let mut out = case.alloc::<W, _>([n_tokens, n_heads, head_dim]);
        let attention = DecodeAttention {
            q: &case.upload(&self.q),
            k_ring: &k_ring,
            v_ring: &v_ring,
            k_staged: &k_staged,
            v_staged: &v_staged,
            position: &case.upload(&[self.position]),
            partials: &mut partials,
            softmaxes: &mut softmaxes,
            tickets: &mut tickets,
            out: &mut out,
            n_tokens,
            n_heads,
            n_kv_heads,
            head_dim,
            n_slots,
            window,
            layer,
            n_staged: if own == Own::Staging { n_tokens } else { 0 },
        };
        match grid {
            Some(grid) => attention.launch_grid(case.device, grid).unwrap(),
            None => attention.launch(case.device).unwrap(),
        }
        assert!(tickets.to_vec().unwrap().iter().all(|&it| it == 0), "tickets are left");
        out.to_vec().unwrap()
    }

    /// Each token by itself, its row in the ring as plain decoding has it.
    fn run_one_by_one<W: Weight>(&self, case: &Case) -> Vec<W> {
        (0..self.n_tokens).flat_map(|token| self.single(token).run::<W>(case, None, Own::Ring)).collect()
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

/// A weight is off by 2^-18, 64 roundings, as the sum of two bf16. A tile of 64 keys is added in eight products, which may
/// truncate, and its weights in 16 sums, two more of four lanes. Then a range's tiles and a row's ranges are brought to
/// one maximum each and added, by an exponential to two ulps, a product and a sum, and it is all divided.
fn n_roundings(n_keys: u32) -> u32 {
    let n_tiles = n_keys.div_ceil(N_PARTS).div_ceil(64) + 1; // of a range
    64 + 8 * 2 + (16 + 2) + (n_tiles + N_RANGES) * (2 + 2) + 1
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let step = Step::random(case);
    let grid = case.grid();
    let own = if step.n_tokens == 1 { case.pick(&[Own::Ring, Own::Staging]) } else { Own::Staging };

    let out: Vec<W> = step.run(case, Some(grid), own);

    assert_rounds_to(&out, &step.oracle(), 1);
}

/// A row has the bits that it has in a step of its own, from the ring or from staging, on every grid.
fn ignores_other_rows<W: Weight>(case: &mut Case) {
    let step = Step::random(case);
    let grid = case.grid();
    let together: Vec<W> = step.run(case, Some(grid), Own::Staging);

    assert_same_bits(&together, &step.run_one_by_one(case));
    let last = step.single(step.n_tokens - 1);
    assert_same_bits(&last.run::<W>(case, Some(grid), Own::Staging), &together[together.len() - step.q_dim()..]);
}

#[test]
fn decode_attention_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn decode_attention_ignores_other_rows() {
    for_both_types!(ignores_other_rows);
}

/// Tokens that see more than 16 ranges of one size follow tokens that do not.
#[test]
fn decode_attention_ignores_other_sizes_of_ranges() {
    for_all(|case| {
        let position = case.pick(&[1024, 1024, 2048]) - u64::from(case.int(1..=7));
        let window = case.pick(&[2100, NO_WINDOW]);
        let step = Step::at(case, position, 8, 2100, window);
        assert_same_bits(&step.run::<bf16>(case, None, Own::Staging), &step.run_one_by_one(case));
    });
}

/// A key and its value matter to the tokens that see it, and change no bit of the others.
#[test]
fn decode_attention_window_is_exact() {
    for_all(|case| {
        let window = case.pick(&[1, 2, 8, 63, 64, 65, 100, 1023, 1024, 1025]);
        let n_slots = window + case.pick(&[0, 1, 8]);
        let position = u64::from(window) * u64::from(case.int(1..=3)) + u64::from(case.int(0..=70));
        let n_tokens = case.int(1..=8);
        let step = Step::at(case, position, n_tokens, n_slots, window);
        let before: Vec<bf16> = step.run(case, None, Own::Staging);
        assert!(before.iter().all(|it| it.is_finite()), "a slot that no token sees is NaN");

        let token = case.int(0..=n_tokens - 1);
        let (first, own) = step.seen(token);
        let key = case.pick(&[first, own]);
        let mut changed = step.clone();
        let row = (key - step.oldest) as usize * step.kv_dim();
        changed.k[row..][..step.kv_dim()].fill(bf16::from_f32(0.5));
        changed.v[row..][..step.kv_dim()].fill(bf16::from_f32(3e4));
        let after: Vec<bf16> = changed.run(case, None, Own::Staging);

        for (token, (before, after)) in (0..).zip(before.chunks(step.q_dim()).zip(after.chunks(step.q_dim()))) {
            let (first, own) = step.seen(token);
            if (first..=own).contains(&key) {
                assert_ne!(before, after, "token {token}");
            } else {
                assert_same_bits(after, before);
            }
        }
    });
}
