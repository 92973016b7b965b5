//! Planted once, and seen to fail here: ties at the k-th largest cut by the highest ids.

#[path = "sample/machine.rs"]
mod machine;
#[path = "sample/oracle.rs"]
mod oracle;

use crate::common::*;
use gale::device::Grid;
use gale::ring::Position;
use gale::sampler::{Finished, Limits, Sampling, prompt_counts};
use machine::{Machine, N_RECORDS, endless};
use oracle::{Choice, adjust, by_likelihood, random_bits, weigh};

const INF: f32 = f32::INFINITY;

fn hot() -> Sampling {
    Sampling { temperature: 1.0, ..Sampling::default() }
}

/// Peaked, flat, full of ties, or with some that are no numbers.
fn random_logits(case: &mut Case, n: u32) -> Vec<f32> {
    let (spread, n_values) = (case.pick(&[0.0, 0.1, 3.0, 20.0, 200.0]), case.pick(&[2, 7, 1000, 1 << 20]) as f32);
    let mut logits: Vec<f32> =
        case.floats([n]).iter().map(|it| (it * n_values).round() / n_values * spread).collect();
    for special in [f32::NAN, -INF, INF, -f32::NAN, -0.0] {
        if case.int(0..=4) == 0 {
            for _ in 0..case.int(1..=3) {
                logits[case.int(0..=n - 1) as usize] = special;
            }
        }
    }
    logits
}

/// Every option alone and together with others.
fn random_sampling(case: &mut Case, vocab_size: u32) -> Sampling {
    let mut maybe = |value: f32, off: f32| if case.int(0..=1) == 1 { value } else { off };
    let (top_p, min_p) = (maybe(0.0, 1.0), maybe(0.0, 1.0));
    let (repetition, frequency, presence) = (maybe(1.3, 1.0), maybe(0.4, 0.0), maybe(-0.3, 0.0));
    let n_biases = case.pick(&[0, 0, 1, 5]);
    Sampling {
        temperature: case.pick(&[0.0, 0.01, 0.7, 1.0, 1.5, 100.0, f32::MIN_POSITIVE, f32::MAX]),
        top_k: case.pick(&[0, 0, 1, 2, 5, 40, vocab_size, u32::MAX]),
        top_p: if top_p == 1.0 { 1.0 } else { case.pick(&[1e-20, 0.1, 0.5, 0.9, 0.95, 0.999]) },
        min_p: if min_p == 1.0 { 0.0 } else { case.pick(&[1e-9, 0.05, 0.3, 1.0]) },
        repetition_penalty: repetition,
        frequency_penalty: frequency,
        presence_penalty: presence,
        logit_bias: (0..n_biases)
            .map(|_| (case.int(0..=vocab_size - 1), case.pick(&[-INF, -3.0, 0.5, 100.0])))
            .collect(),
        seed: u64::from(case.int(0..=u32::MAX)) << 20,
    }
}

/// Whether a token may be chosen at `position`; none if nothing may.
#[track_caller]
fn check(sampling: &Sampling, logits: &[f32], counts: &[u32], position: u64, token: Option<u32>) {
    let adjusted = adjust(sampling, logits, counts);
    if sampling.temperature == 0.0 {
        assert_eq!(token, by_likelihood(&adjusted).first().copied(), "{sampling:?}");
        return;
    }
    let choice = Choice::new(sampling, &adjusted);
    assert_eq!(token.is_some(), choice.is_some(), "{sampling:?}");
    if let (Some(token), Some(choice)) = (token, choice) {
        let random = random_bits(sampling.seed, position);
        assert!(choice.allows(token, random), "{sampling:?}: {token} at position {position}, {:?} kept", choice.n_kept());
    }
}

/// The tokens are those of sorting in f64, and the step leaves what the next one needs.
#[test]
fn sample_matches_oracle() {
    for_all(|case| {
        let vocab_size = case.pick(&[1, 2, 31, 33, 128, 129, 1000, 3003, 5000]);
        let (n_rows, grid) = (case.int(1..=3), case.grid());
        let sampling = random_sampling(case, vocab_size);
        let logits: Vec<f32> = (0..n_rows).flat_map(|_| random_logits(case, vocab_size)).collect();
        let row = case.int(0..=n_rows - 1);
        let own = &logits[(row * vocab_size) as usize..][..vocab_size as usize];
        let prompt: Vec<u32> = (0..case.int(1..=9)).map(|_| case.int(0..=vocab_size - 1)).collect();
        let mut counts = prompt_counts(&prompt, vocab_size);
        let mut at = u64::from(case.int(0..=u32::MAX)) << case.pick(&[0, 8]);

        let mut machine = Machine::new(case.device, vocab_size);
        machine.begin(&sampling, &endless(), at);
        machine.counts.copy_from(&counts).unwrap();
        let on_device = case.upload(&logits);
        for _ in 0..3 {
            machine.set_best(&logits);
            let mut best = machine.best.to_vec().unwrap();
            best[..=row as usize].fill(0);
            machine.launch(&on_device, row, grid);
            assert_eq!(machine.best.to_vec().unwrap(), best);
            let chosen_at = at + u64::from(row) + 1;
            let record = machine.records.poll(Position(chosen_at)).unwrap();
            check(&sampling, own, &counts, chosen_at, record.token);
            let stop = machine.stop.to_vec().unwrap()[0];
            let Some(token) = record.token else {
                assert_eq!((record.finished, stop, machine.position()), (Some(Finished::Nothing), 1, at));
                break;
            };
            counts[token as usize] += 1;
            at = chosen_at;
            assert_eq!((record.finished, stop, machine.position()), (None, 0, at));
            assert_eq!(machine.tokens.to_vec().unwrap()[0], token);
            assert_eq!(machine.counts.to_vec().unwrap(), counts);
        }
    });
}
