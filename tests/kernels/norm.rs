use super::chunk::{CHUNKS, normed};
use super::product::{DIMS, EPS, Stream};
use crate::common::oracle::{assert_rounds_to, rms_norm};
use crate::common::*;
use crate::for_both_types;

/// The scale's roundings: each square and their sum, the mean, eps, a root, and twice more. Half of those of the sum
/// count, for the root.
fn matches_oracle<W: Weight>(case: &mut Case) {
    let (n_tokens, dim) = (case.pick(&CHUNKS), case.pick(&DIMS));
    let stream = Stream::<W>::random(case, n_tokens, dim);

    let h = normed(case, &stream).to_vec().unwrap();

    let want: Vec<_> = stream.x.chunks(dim as usize).flat_map(|x| rms_norm(x, stream.norm(), EPS)).collect();
    assert_rounds_to(&h, &want, dim.div_ceil(32) + 24);
}

#[test]
fn norm_matches_oracle() {
    for_both_types!(matches_oracle);
}
