//! Planted once, and seen to fail here: equals of the last token that is kept all kept.

#[path = "sample/machine.rs"]
mod machine;
#[path = "sample/oracle.rs"]
mod oracle;
#[path = "sample/records.rs"]
mod records;

use crate::common::*;
use gale::device::Grid;
use gale::ring::Position;
use gale::sampler::{Finished, Limits, Sampling, prompt_counts};
use machine::{Machine, endless};
use oracle::{Choice, adjust, by_likelihood, random_bits};

const INF: f32 = f32::INFINITY;

fn hot() -> Sampling {
    Sampling { temperature: 1.0, ..Sampling::default() }
}

/// Peaked, flat, full of ties, or with some that are no numbers.
fn random_logits(case: &mut Case, n: u32) -> Vec<f32> {
    let (spread, n_values) = (case.pick(&[0.0, 0.1, 3.0, 20.0, 200.0]), case.pick(&[2, 7, 1000, 1 << 20]) as f32);
    let mut logits: Vec<f32> = case.floats([n]).iter().map(|it| (it * n_values).round() / n_values * spread).collect();
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
        top_k: case.pick(&[0, 0, 1, 2, 5, 40, 1500, vocab_size, u32::MAX]),
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
        assert!(
            choice.allows(token, random),
            "{sampling:?}: {token} at position {position}, {:?} kept",
            choice.n_kept()
        );
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

/// Rows as long as those of models that exist, and the longest.
#[test]
fn sample_takes_the_vocabularies_of_models() {
    let device = open();
    for (vocab_size, sampling) in [
        (32000, Sampling { top_p: 0.95, temperature: 0.8, ..hot() }),
        (32768, Sampling { top_k: 50, top_p: 0.9, min_p: 0.01, ..hot() }),
        (49152, Sampling { top_k: 1000, ..hot() }),
        (128256, Sampling { top_p: 0.999, temperature: 2.0, ..hot() }),
        (1 << 18, hot()),
    ] {
        let logits = bell_shaped(vocab_size);
        let mut machine = Machine::new(&device, vocab_size);
        machine.begin(&sampling, &endless(), 0);
        for position in 1..=2 {
            let record = machine.step(&logits);
            check(&sampling, &logits, &[], position, record.token);
        }
    }
}

/// As a model's are: most near 0, few large, none equal.
fn bell_shaped(n: u32) -> Vec<f32> {
    let unit = |token: u32, seed| random_bits(seed, u64::from(token)) as f64 / 2f64.powi(64);
    (0..n).map(|it| (0..8).map(|seed| unit(it, seed)).sum::<f64>() as f32 * 3.0 - 12.0).collect()
}

/// With weights that are powers of two every number is exact here and there: the token at the random share, and no other.
#[test]
fn draws_are_exact() {
    let device = open();
    let logits: Vec<f32> = (0..50).map(|it| -f32::from([0u8, 3, 1, 7, 2][it % 5])).collect();
    let weights: Vec<u128> = logits.iter().map(|it| 1 << (31 + *it as i32)).collect();
    let total: u128 = weights.iter().sum();
    let sampling = Sampling { temperature: std::f32::consts::LOG2_E, seed: 77, ..hot() };
    let mut machine = Machine::new(&device, 50);
    machine.begin(&sampling, &endless(), 0);
    for position in 1..=500 {
        let target = (u128::from(random_bits(77, position)) * total) >> 64;
        let sums = weights.iter().scan(0, |sum, it| {
            *sum += it;
            Some(*sum)
        });
        let want = sums.take_while(|it| *it <= target).count() as u32;
        assert_eq!(machine.step(&logits).token, Some(want), "at position {position}");
    }
}

/// Chi-square over 10,000 positions, at 49 degrees of freedom: 99.9 % of fair draws are below 85.4. They are fixed, so
/// the test always passes or never does.
#[test]
fn frequencies_are_the_probabilities() {
    const N_DRAWS: u64 = 10_000;
    let device = open();
    let logits: Vec<f32> = (0..50).map(|it| ((it * 7) % 50) as f32 * 0.06).collect();
    let mut machine = Machine::new(&device, 50);
    machine.begin(&hot(), &endless(), 0);
    machine.set_best(&logits);
    let (best, on_device) = (machine.best.to_vec().unwrap(), device.upload(&logits).unwrap());
    for _ in 0..N_DRAWS {
        machine.best.copy_from(&best).unwrap();
        machine.launch(&on_device, 0, Grid::x(1));
    }
    let total: f64 = logits.iter().map(|it| f64::from(*it).exp()).sum();
    let counts = machine.counts.to_vec().unwrap();
    assert_eq!(counts.iter().map(|it| u64::from(*it)).sum::<u64>(), N_DRAWS);
    let chi_square: f64 = counts
        .iter()
        .zip(&logits)
        .map(|(&count, logit)| {
            let expected = N_DRAWS as f64 * f64::from(*logit).exp() / total;
            (f64::from(count) - expected).powi(2) / expected
        })
        .sum();
    assert!(chi_square < 85.4, "{chi_square}");
}

/// At a temperature that makes all equally likely, what is drawn over many positions is what the filters leave.
/// No p is a sum of shares, which ex2.approx may miss by a bit.
#[test]
fn filters_leave_what_they_should() {
    let device = open();
    let logits: Vec<f32> = [5, 1, 4, 4, 3, 4, 2, 4].map(|it| it as f32).to_vec();
    let even = Sampling { temperature: f32::MAX, ..hot() };
    for (sampling, want) in [
        (Sampling { top_k: 1, ..even.clone() }, &[0][..]),
        (Sampling { top_k: 3, ..even.clone() }, &[0, 2, 3]),
        (Sampling { top_k: 4, ..even.clone() }, &[0, 2, 3, 5]),
        (Sampling { top_k: 5, ..even.clone() }, &[0, 2, 3, 5, 7]),
        (Sampling { top_p: 0.24, ..even.clone() }, &[0, 2]),
        (Sampling { top_p: 0.26, ..even.clone() }, &[0, 2, 3]),
        (Sampling { top_k: 6, top_p: 0.49, ..even.clone() }, &[0, 2, 3]),
        (Sampling { top_p: 0.65, top_k: 7, ..even.clone() }, &[0, 2, 3, 5, 7]),
        (Sampling { logit_bias: vec![(0, -INF), (1, 2.5), (3, -0.5)], top_k: 3, ..even.clone() }, &[2, 5, 7]),
        (Sampling { min_p: 0.36, ..hot() }, &[0, 2, 3, 5, 7]),
        (Sampling { min_p: 0.37, ..hot() }, &[0]),
    ] {
        let mut machine = Machine::new(&device, 8);
        machine.begin(&sampling, &endless(), 0);
        let mut drawn: Vec<u32> = (0..80).map(|_| machine.step(&logits).token.unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, want, "{sampling:?}");
    }
}

/// Neither the logits, nor the bias, nor the counts are read when the likeliest token is wanted as it is: here nothing was
/// written to them, which the checking emulator would tell.
#[test]
fn greedy_reads_no_logits() {
    for_all(|case| {
        let (vocab_size, grid) = (case.int(1..=3000), case.grid());
        let logits: Vec<f32> = random_logits(case, vocab_size);
        let mut machine = Machine::new(case.device, vocab_size);
        machine.begin(&Sampling::default(), &endless(), 0);
        machine.set_best(&logits);
        machine.launch(&case.alloc([vocab_size]), 0, grid);
        let record = machine.records.poll(Position(1)).unwrap();
        assert_eq!(record.token, by_likelihood(&logits).first().copied());
        assert_eq!((record.logprob, record.top), (None, vec![]));
    });
}

/// Infinities are as likely as they say, and what is no number never is.
#[test]
fn sample_survives_special_values() {
    let device = open();
    let filters = Sampling { top_k: 3, top_p: 0.999, min_p: 0.001, ..hot() };
    let penalties = Sampling { repetition_penalty: 2.0, presence_penalty: 1.0, ..hot() };
    for sampling in [hot(), filters, penalties, Sampling::default()] {
        for (logits, allowed) in [
            (&[f32::NAN, 1.0, -INF, 1.0][..], &[1, 3][..]),
            (&[-INF, -INF, -3.0, -INF], &[2]),
            (&[INF, 1.0, INF, f32::NAN], &[0, 2]),
            (&[-1e30, 3e38, -3e38, -INF], &[1]),
            (&[-0.0, 0.0, f32::NAN], &[0, 1]),
            (&[f32::NAN, -INF, f32::NAN], &[]),
            (&[f32::NAN; 5], &[]),
        ] {
            let mut machine = Machine::new(&device, logits.len() as u32);
            machine.begin(&sampling, &Limits { n_logprobs: 2, ..endless() }, 8);
            let record = machine.step(logits);
            assert_eq!(record.token.is_some(), !allowed.is_empty(), "{sampling:?}, {logits:?}");
            assert!(record.token.is_none_or(|it| allowed.contains(&it)), "{sampling:?}, {logits:?}: {record:?}");
            assert_eq!(record.finished, allowed.is_empty().then_some(Finished::Nothing));
            let top: Vec<u32> = record.top.iter().map(|it| it.token).collect();
            assert_eq!(top, by_likelihood(logits).into_iter().take(2).collect::<Vec<_>>(), "{logits:?}");
        }
    }
}

/// Over the tokens of a sequence: counts grow, and what they take from the logits with them.
#[test]
fn penalties_follow_the_sequence() {
    for_all(|case| {
        let vocab_size = case.pick(&[5, 40, 300]);
        let sampling = Sampling {
            temperature: case.pick(&[0.0, 0.6]),
            repetition_penalty: case.pick(&[1.0, 1.2, 2.0]),
            frequency_penalty: case.pick(&[0.0, 0.3, -0.2]),
            presence_penalty: case.pick(&[0.0, 0.7]),
            ..hot()
        };
        let logits: Vec<f32> = case.floats([vocab_size]).iter().map(|it| it * 3.0).collect();
        let prompt: Vec<u32> = (0..case.int(0..=6)).map(|_| case.int(0..=vocab_size - 1)).collect();
        let mut counts = prompt_counts(&prompt, vocab_size);
        let mut machine = Machine::new(case.device, vocab_size);
        machine.begin(&sampling, &endless(), 0);
        machine.counts.copy_from(&counts).unwrap();
        for position in 1..=20 {
            let token = machine.step(&logits).token;
            check(&sampling, &logits, &counts, position, token);
            counts[token.unwrap() as usize] += 1;
        }
        assert_eq!(machine.counts.to_vec().unwrap(), counts);
    });
}

/// What the formulas give, where every number is exact: 8 / 2, -1 * 2, and 4 / 2 - (2 * 0.25 + 0.5).
#[test]
fn penalties_are_those_of_the_papers() {
    let device = open();
    let sampling = Sampling {
        repetition_penalty: 2.0,
        frequency_penalty: 0.25,
        presence_penalty: 0.5,
        temperature: std::f32::consts::LOG2_E, // weights are powers of two of the logits
        ..hot()
    };
    // In the prompt; in the prompt; generated twice (4 / 2 - (2 * 0.25 + 0.5)); never seen.
    let (logits, counts) = ([8.0, -1.0, 4.0, 0.0], [1 << 31, 1 << 31, 2, 0]);
    let weights = [4.0, -2.0, 1.0, 0.0f64].map(f64::exp2);
    let mut drawn = [0.0; 4];
    for position in 0..2000 {
        let mut machine = Machine::new(&device, 4);
        machine.begin(&sampling, &endless(), position);
        machine.counts.copy_from(&counts).unwrap();
        drawn[machine.step(&logits).token.unwrap() as usize] += 1.0;
    }
    for (drawn, weight) in drawn.iter().zip(weights) {
        let share = weight / weights.iter().sum::<f64>();
        let bound = 5.0 * (2000.0 * share * (1.0 - share)).sqrt();
        assert!((drawn - 2000.0 * share).abs() < bound, "{drawn} of 2000 at a share of {share}");
    }
}

/// The same bits on every grid, and when a graph replays the step.
#[test]
fn grids_and_graphs_choose_the_same() {
    let (device, vocab_size) = (open(), 3003);
    let sampling = Sampling { top_k: 500, top_p: 0.9, min_p: 1e-3, repetition_penalty: 1.1, ..hot() };
    let logits = bell_shaped(vocab_size);
    let on_device = device.upload(&logits).unwrap();
    let limits = Limits { n_logprobs: 7, ..endless() };
    let run = |grid: Option<Grid>| -> Vec<_> {
        let mut machine = Machine::new(&device, vocab_size);
        machine.begin(&sampling, &limits, 3);
        let graph = grid.is_none().then(|| device.capture(|| machine.launcher(&on_device, 0).launch(&device)).unwrap());
        let step = |position| {
            machine.set_best(&logits);
            match (&graph, grid) {
                (Some(graph), _) => graph.launch().unwrap(),
                (None, Some(grid)) => machine.launch(&on_device, 0, grid),
                (None, None) => unreachable!("without a grid there is a graph"),
            }
            device.synchronize().unwrap();
            machine.records.poll(Position(position)).unwrap()
        };
        (4..10).map(step).collect()
    };
    let want = run(Some(Grid::x(1)));
    assert_eq!(run(Some(Grid::x(7))), want);
    assert_eq!(run(Some(Grid::x(132))), want);
    assert_eq!(run(None), want);
}
