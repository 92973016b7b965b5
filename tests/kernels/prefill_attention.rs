//! Planted once, each seen to fail here: a window longer by one at either end, the ring written before attention, the
//! chunk's rows read from the ring, positions of 32 bits, slots that do not wrap, tiles aligned to the window's first
//! key, keys that no row sees loaded instead of zeros, a mask or a tile left out where it just begins to count, maxima
//! that rise without rescaling, weights rounded to one bf16, ranges of a size of their own, a share of the keys that is
//! not added, and, in check mode, a missing barrier and a wait for one group of copies too few.

use super::attention::Attention;
use super::decode_attention::Own;
use crate::common::oracle::*;
use crate::common::*;
use crate::for_both_types;
use gale::kernels::{NO_WINDOW, PrefillAttention, RingWrite, attention_states_shape, attention_tickets_shape};
use half::bf16;
use std::ops::Range;

impl Attention {
    /// Any shape, mostly that of models: before, at and past the ends of tiles, windows and rings.
    fn random_prompt(case: &mut Case) -> Attention {
        let n_slots = case.pick(&[100, 100, 192, 192, 192, 4096]);
        let most = if n_slots == 4096 { 40 } else { n_slots };
        let n_tokens = case.pick(&[1, 2, 17, 31, 32, 33, 63, 64, 65, most, most]).min(most);
        if case.int(0..=3) == 0 {
            let last = n_slots - n_tokens;
            let position = case.pick(&[0, 0, 62, 63, 64, last, last]).min(last);
            return Attention::at(case, position.into(), n_tokens, n_slots, NO_WINDOW);
        }
        let window = n_slots - case.pick(&[0, 0, 0, 1, 37]);
        let lap = u64::from(n_slots) * u64::from(case.int(1..=9));
        let near = lap + u64::from(case.int(0..=n_slots));
        let position = case.pick(&[0, 0, 1, 62, 63, 64, 65, near, near, near, (1 << 32) - 3, near << 34]);
        Attention::at(case, position, n_tokens, n_slots, window)
    }

    /// Rows of some tokens, and NaN behind them.
    fn rows(&self, of: &[bf16], dim: usize, first: u64, tokens: &Range<u32>) -> Vec<bf16> {
        let at = (self.position - first) as usize;
        let rows = &of[(at + tokens.start as usize) * dim..(at + tokens.end as usize) * dim];
        [rows, &vec![bf16::NAN; 3 * dim]].concat()
    }

    /// What the tokens attend to, if they come in chunks of these sizes, each on its own grid.
    fn prefill<W: Weight>(&self, case: &mut Case, sizes: &[u32]) -> Vec<W> {
        let Attention { n_kv_heads, head_dim, n_slots, window, layer, .. } = *self;
        let [mut k_ring, mut v_ring] = [&self.k, &self.v].map(|it| case.upload(&self.ring(it, self.position)));
        let mut first = 0;
        let mut all = vec![];
        for &n_tokens in sizes {
            let tokens = first..first + n_tokens;
            let q = case.upload(&self.rows(&self.q, self.q_dim(), self.position, &tokens));
            let [k, v] = [&self.k, &self.v].map(|it| self.rows(it, self.kv_dim(), self.oldest, &tokens));
            let (k_chunk, v_chunk) = (case.upload(&k), case.upload(&v));
            let position = case.upload(&[self.position + u64::from(first)]);
            let mut out = case.alloc::<W, _>([n_tokens, self.n_heads(), head_dim]);
            let tickets = attention_tickets_shape(n_tokens, self.n_heads(), n_kv_heads);
            let mut tickets = case.upload(&vec![0; count(tickets)]);
            let grid = case.grid();
            PrefillAttention {
                q: &q,
                k_ring: &k_ring,
                v_ring: &v_ring,
                k_chunk: &k_chunk,
                v_chunk: &v_chunk,
                position: &position,
                out: &mut out,
                states: &mut case.alloc(attention_states_shape(n_tokens, self.n_heads(), n_kv_heads, head_dim)),
                tickets: &mut tickets,
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
            assert!(tickets.to_vec().unwrap().iter().all(|&it| it == 0), "tickets are left");
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
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let prompt = Attention::random_prompt(case);
    let out: Vec<W> = prompt.prefill(case, &[prompt.n_tokens]);
    assert_rounds_to(&out, &prompt.oracle(), 1);
}

/// One chunk or several, on any grids.
fn ignores_chunks<W: Weight>(case: &mut Case) {
    let prompt = Attention::random_prompt(case);
    let sizes = prompt.cut(case);
    let whole: Vec<W> = prompt.prefill(case, &[prompt.n_tokens]);
    assert!(whole.iter().all(|it| it.f64().is_finite()), "a slot that no token sees is NaN");
    assert_same_bits(&prompt.prefill::<W>(case, &sizes), &whole);
}

/// A token has the bits that decoding gives it.
fn is_as_decoded<W: Weight>(case: &mut Case) {
    let prompt = Attention::random_prompt(case);
    let out: Vec<W> = prompt.prefill(case, &[prompt.n_tokens]);
    for _ in 0..5 {
        let token = case.int(0..=prompt.n_tokens - 1);
        let row = &out[token as usize * prompt.q_dim()..][..prompt.q_dim()];
        assert_same_bits(row, &prompt.single(token).decode::<W>(case, None, Own::Ring));
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
        let prompt = Attention::at(case, position, 8, 3100, window);
        let out: Vec<bf16> = prompt.prefill(case, &[8]);
        for (token, row) in (0..).zip(out.chunks(prompt.q_dim())) {
            assert_same_bits(row, &prompt.single(token).decode::<bf16>(case, None, Own::Ring));
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
        let prompt = Attention::at(case, position, n_tokens, n_slots, window);
        prompt.assert_window_is_exact(case, |prompt, case| prompt.prefill(case, &[n_tokens]));
    });
}
