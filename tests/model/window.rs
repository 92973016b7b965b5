//! Which keys a position sees, end to end.

use crate::{
    golden::{self, ids},
    run,
};
use gale::session::Options;

/// Changing a token inside the window moves the last logits; one position further back, it changes no bit.
#[test]
fn a_token_leaves_the_window_after_exactly_w_positions() {
    let model = golden::dir().join("synth/mis_w8_1layer");
    let probe = golden::json(&model.join("mask_probe.json"));
    let mut session = run::session(&model, Options::default());
    let mut last = |ids: &[u32]| run::score(&mut session, ids, ids.len() - 1..ids.len()).remove(0);
    let base = last(&ids(&probe["base_ids"]));
    let golden_base = golden::numbers(&probe["base_last_logits"]);
    assert!(base.iter().zip(&golden_base).all(|(a, b)| (f64::from(*a) - b).abs() < 0.5));
    let (mut n_moved, mut n_unmoved) = (0, 0);
    for case in probe["probes"].as_array().unwrap() {
        let distance = &case["distance"];
        let row = last(&ids(&case["perturbed_ids"]));
        let change = row.iter().zip(&base).map(|(a, b)| f64::from(a - b).abs()).fold(0.0, f64::max);
        if case["must_change"].as_bool().unwrap() {
            let golden_change = case["max_abs_change"].as_f64().unwrap();
            assert!((change - golden_change).abs() < 0.5, "{distance} back: {change} for {golden_change}");
            n_moved += 1;
        } else {
            assert_eq!(change, 0.0, "{distance} back is outside the window");
            n_unmoved += 1;
        }
    }
    assert!(n_moved > 0 && n_unmoved > 0);
}
