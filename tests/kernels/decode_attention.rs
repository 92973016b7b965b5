//! Planted once, each seen to fail here: a window longer by one at either end, staged rows read from the ring, ranges
//! aligned to the window's first key, an item's second range left out or not loaded, tickets that are not reset or are
//! one too many or too few, a block that leaves an item too early, weights rounded to one bf16.

use super::attention::{Attention, N_LAYERS};
use crate::common::oracle::*;
use crate::common::*;
use crate::for_both_types;
use gale::device::Grid;
use gale::kernels::{DecodeAttention, N_RANGES, NO_WINDOW};
use half::bf16;

/// Where the row of a step of one token is.
#[derive(Clone, Copy, PartialEq)]
pub enum Own {
    Ring,
    Staging,
}

impl Attention {
    /// Any shape, mostly that of models: before, at and past the ends of ranges, windows and rings.
    fn random_step(case: &mut Case) -> Attention {
        let n_slots = case.pick(&[100, 192, 192, 1024, 1040, 4096]);
        let n_tokens = case.int(1..=8);
        if case.int(0..=3) == 0 {
            let last = n_slots - n_tokens;
            let position = case.pick(&[0, 62, 63, 64, last, last]).min(last);
            return Attention::at(case, position.into(), n_tokens, n_slots, NO_WINDOW);
        }
        let window = n_slots - case.pick(&[0, 0, 0, 1, 37]);
        let lap = u64::from(n_slots) * u64::from(case.int(1..=9));
        let near = lap + u64::from(case.int(0..=n_slots));
        let position = case.pick(&[0, 62, 63, 64, 1020, 1023, 1024, near, near, near, (1 << 32) - 3, near << 34]);
        Attention::at(case, position, n_tokens, n_slots, window)
    }

    /// Rings and staging with these rows, and NaN where no token sees what is there.
    fn cache(&self, rows: &[bf16], own: Own) -> [Vec<bf16>; 2] {
        let dim = self.kv_dim();
        let end = self.position + if own == Own::Ring { u64::from(self.n_tokens) } else { 0 };
        let mut staged = vec![bf16::NAN; (N_LAYERS * 8) as usize * dim];
        if own == Own::Staging {
            let rows = &rows[(self.position - self.oldest) as usize * dim..];
            staged[(self.layer * 8) as usize * dim..][..rows.len()].copy_from_slice(rows);
        }
        [self.ring(rows, end), staged]
    }

    /// What the tokens attend to in a step. Leaves no ticket behind.
    pub fn decode<W: Weight>(&self, case: &Case, grid: Option<Grid>, own: Own) -> Vec<W> {
        let Attention { n_tokens, n_kv_heads, head_dim, n_slots, window, layer, .. } = *self;
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
    fn decode_one_by_one<W: Weight>(&self, case: &Case) -> Vec<W> {
        (0..self.n_tokens).flat_map(|token| self.single(token).decode::<W>(case, None, Own::Ring)).collect()
    }
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let step = Attention::random_step(case);
    let grid = case.grid();
    let own = if step.n_tokens == 1 { case.pick(&[Own::Ring, Own::Staging]) } else { Own::Staging };

    let out: Vec<W> = step.decode(case, Some(grid), own);

    assert_rounds_to(&out, &step.oracle(), 1);
}

/// A row has the bits that it has in a step of its own, from the ring or from staging, on every grid.
fn ignores_other_rows<W: Weight>(case: &mut Case) {
    let step = Attention::random_step(case);
    let grid = case.grid();
    let together: Vec<W> = step.decode(case, Some(grid), Own::Staging);

    assert_same_bits(&together, &step.decode_one_by_one(case));
    let last = step.single(step.n_tokens - 1);
    assert_same_bits(&last.decode::<W>(case, Some(grid), Own::Staging), &together[together.len() - step.q_dim()..]);
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
        let step = Attention::at(case, position, 8, 2100, window);
        assert_same_bits(&step.decode::<bf16>(case, None, Own::Staging), &step.decode_one_by_one(case));
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
        let step = Attention::at(case, position, n_tokens, n_slots, window);
        step.assert_window_is_exact(case, |step, case| step.decode(case, None, Own::Staging));
    });
}
