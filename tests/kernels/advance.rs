//! Planted once, and seen to fail here: every block adds.

use crate::common::*;
use gale::kernels::Advance;

#[test]
fn advance_adds_once() {
    for_all(|case| {
        let (before, n_tokens, grid) = (case.pick(&[0, 7, u64::from(u32::MAX)]), case.int(1..=512), case.grid());
        let mut position = case.upload(&[before]);
        Advance { position: &mut position, n_tokens }.launch_grid(case.device, grid).unwrap();
        assert_eq!(position.to_vec().unwrap(), [before + u64::from(n_tokens)]);
    });
}
