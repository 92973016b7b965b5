//! Planted once, each seen to fail here: a segment that ends one group late, and one that is left out where blocks share
//! a part.

use super::chunk::{CHUNKS, rows, steps};
use super::product::{DIMS, n_roundings, squares, upload_tiles};
use crate::common::oracle::{Exact, assert_rounds_to, exactly, matvec};
use crate::common::*;
use crate::for_both_types;
use gale::device::{Buffer, Grid};
use gale::kernels::{PrefillResidual, Residual, part_tickets_shape, segment_sums_shape};

/// A product that is to be added.
struct Product<W> {
    weight: Vec<W>, // [n_out, n_in]
    h: Vec<W>,      // [n_tokens, n_in]
    x: Vec<f32>,    // [n_tokens, n_out]
    n_tokens: u32,
    n_in: u32,
    n_out: u32,
    grid: Grid,
}

/// n_in, n_out, tokens and blocks of which four share each part, of 64 x 64, 128 x 64, 128 x 128 and 256 x 128, as they do
/// in large models.
const SHARED: [[u32; 4]; 4] = [[4096, 256, 40, 16], [6144, 256, 40, 8], [8192, 256, 100, 8], [12288, 256, 100, 4]];

impl<W: Weight> Product<W> {
    fn random(case: &mut Case, n_out: u32) -> Product<W> {
        let random = [case.pick(&DIMS), n_out, case.pick(&CHUNKS), case.int(1..=40)];
        let [n_in, n_out, n_tokens, n_blocks] = if case.int(0..=5) == 0 { case.pick(&SHARED) } else { random };
        let (weight, h) = (case.halves([n_out, n_in]), case.halves([n_tokens, n_in]));
        Product { weight, h, x: case.floats([n_tokens, n_out]), n_tokens, n_in, n_out, grid: Grid::x(n_blocks) }
    }

    /// x + weight h, and the squares of it.
    fn run(&self, case: &mut Case) -> (Vec<f32>, Vec<f32>) {
        let Self { n_tokens, n_in, n_out, .. } = *self;
        let (weight, h) = (upload_tiles(case, &self.weight, n_in, 0), case.upload(&self.h));
        let (mut x, mut squares) = (case.upload(&self.x), case.alloc([n_tokens, n_out.div_ceil(16)]));
        let part_tickets = part_tickets_shape(n_tokens, n_out);
        let mut part_tickets = case.upload(&vec![0; count(part_tickets)]);
        PrefillResidual {
            weight: &weight,
            h: &h,
            x: &mut x,
            squares: &mut squares,
            segment_sums: &mut case.alloc(segment_sums_shape(n_tokens, n_out)),
            part_tickets: &mut part_tickets,
            n_tokens,
            n_in,
            n_out,
        }
        .launch_grid(case.device, self.grid)
        .unwrap();
        assert!(part_tickets.to_vec().unwrap().iter().all(|&it| it == 0), "tickets are left");
        (x.to_vec().unwrap(), squares.to_vec().unwrap())
    }

    /// The same by steps of decoding.
    fn decode(&self, case: &mut Case) -> (Vec<f32>, Vec<f32>) {
        let Self { n_in, n_out, .. } = *self;
        let weight: Buffer<W> = upload_tiles(case, &self.weight, n_in, 0);
        let (mut all_x, mut all_squares) = (vec![], vec![]);
        for step in steps(self.n_tokens) {
            let n_tokens = step.end - step.start;
            let h = case.upload(rows(&self.h, step.clone(), n_in));
            let mut x = case.upload(rows(&self.x, step, n_out));
            let mut squares = case.alloc([n_tokens, n_out.div_ceil(16)]);
            let grid = case.grid();
            Residual { weight: &weight, h: &h, x: &mut x, squares: &mut squares, n_tokens, n_in, n_out }
                .launch_grid(case.device, grid)
                .unwrap();
            all_x.extend(x.to_vec().unwrap());
            all_squares.extend(squares.to_vec().unwrap());
        }
        (all_x, all_squares)
    }
}

fn matches_oracle<W: Weight>(case: &mut Case) {
    let n_out = case.int(1..=150);
    let it = Product::<W>::random(case, n_out);

    let (x, got_squares) = it.run(case);

    let products = it.h.chunks(it.n_in as usize).flat_map(|h| matvec(&it.weight, h));
    let add = |(sum, before): (Exact, &f32)| Exact {
        value: sum.value + f64::from(*before),
        magnitude: sum.magnitude + f64::from(before.abs()),
    };
    assert_rounds_to(&x, &products.zip(&it.x).map(add).collect::<Vec<_>>(), n_roundings(it.n_in) + 1);
    let want: Vec<Exact> = squares(&x, it.n_out).iter().map(|&it| exactly(it.into())).collect();
    assert_rounds_to(&got_squares, &want, 20);
}

fn has_the_bits_of_decoding<W: Weight>(case: &mut Case) {
    let n_out = case.int(1..=300);
    let it = Product::<W>::random(case, n_out);
    let ((x, squares), (decoded_x, decoded_squares)) = (it.run(case), it.decode(case));
    assert_same_bits(&x, &decoded_x);
    assert_same_bits(&squares, &decoded_squares);
}

#[test]
fn prefill_residual_matches_oracle() {
    for_both_types!(matches_oracle);
}

#[test]
fn prefill_residual_has_the_bits_of_decoding() {
    for_both_types!(has_the_bits_of_decoding);
}
