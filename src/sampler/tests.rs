use super::*;

const N_DRAWS: u64 = 100_000;

fn sampling() -> Sampling {
    Sampling { temperature: 1.0, ..Sampling::default() }
}

fn sample(sampling: Sampling, logits: &[f32], history: &[u32], position: u64) -> u32 {
    Sampler::new(sampling).unwrap().sample(&mut logits.to_vec(), history, Position(position)).unwrap()
}

/// Logits whose softmax is `shares`, up to a factor.
fn logits_of(shares: &[f64]) -> Vec<f32> {
    shares.iter().map(|share| share.ln() as f32 + 3.0).collect()
}

/// Draws at many positions and compares the frequency of each id with its exact probability. Five standard
/// deviations; the draws are fixed, so the test either always passes or never does.
#[track_caller]
fn check(sampling: Sampling, logits: &[f32], history: &[u32], expected: &[f64]) {
    let mut sampler = Sampler::new(sampling).unwrap();
    let mut counts = vec![0u64; logits.len()];
    for position in 0..N_DRAWS {
        counts[sampler.sample(&mut logits.to_vec(), history, Position(position)).unwrap() as usize] += 1;
    }
    let n_draws = N_DRAWS as f64;
    for (id, (&count, &p)) in counts.iter().zip(expected).enumerate() {
        let bound = 5.0 * (n_draws * p * (1.0 - p)).sqrt();
        let error = (count as f64 - n_draws * p).abs();
        assert!(error <= bound, "id {id}: drawn {count} times, expected {} ± {bound:.0}", n_draws * p);
    }
}

const SHARES: [f64; 5] = [0.15, 0.4, 0.05, 0.3, 0.1];

#[test]
fn without_filters_the_frequencies_are_the_softmax() {
    check(sampling(), &logits_of(&SHARES), &[], &SHARES);
    check(Sampling { seed: 0xDEAD_BEEF_0000_0001, ..sampling() }, &logits_of(&SHARES), &[], &SHARES);
}

#[test]
fn temperature_divides_the_logits() {
    let expected = |temperature: f64| {
        let powers = SHARES.map(|share| share.powf(1.0 / temperature));
        powers.map(|power| power / powers.iter().sum::<f64>())
    };
    for temperature in [0.5, 2.0] {
        let sampling = Sampling { temperature, ..sampling() };
        check(sampling, &logits_of(&SHARES), &[], &expected(temperature.into()));
    }
}

#[test]
fn top_k_keeps_the_k_likeliest() {
    let logits = logits_of(&SHARES);
    let top_k = |top_k| Sampling { top_k, ..sampling() };
    check(top_k(1), &logits, &[], &[0.0, 1.0, 0.0, 0.0, 0.0]);
    check(top_k(2), &logits, &[], &[0.0, 0.4 / 0.7, 0.0, 0.3 / 0.7, 0.0]);
    for all in [0, 5, 6, u32::MAX] {
        check(top_k(all), &logits, &[], &SHARES);
    }
    check(top_k(2), &[1.0; 4], &[], &[0.5, 0.5, 0.0, 0.0]); // ties: the lower ids
}

#[test]
fn top_p_keeps_the_fewest_that_reach_p() {
    let logits = logits_of(&SHARES);
    let top_p = |top_p| Sampling { top_p, ..sampling() };
    check(top_p(0.001), &logits, &[], &[0.0, 1.0, 0.0, 0.0, 0.0]);
    check(top_p(0.39), &logits, &[], &[0.0, 1.0, 0.0, 0.0, 0.0]);
    check(top_p(0.41), &logits, &[], &[0.0, 0.4 / 0.7, 0.0, 0.3 / 0.7, 0.0]);
    check(top_p(0.71), &logits, &[], &[0.15 / 0.85, 0.4 / 0.85, 0.0, 0.3 / 0.85, 0.0]);
    check(top_p(1.0), &logits, &[], &SHARES);
    // 0.5 of four equal ones is reached exactly by two.
    check(top_p(0.5), &[1.0; 4], &[], &[0.5, 0.5, 0.0, 0.0]);
}

#[test]
fn min_p_keeps_those_near_the_likeliest() {
    let logits = logits_of(&SHARES);
    let min_p = |min_p| Sampling { min_p, ..sampling() };
    check(min_p(0.3), &logits, &[], &[0.15 / 0.85, 0.4 / 0.85, 0.0, 0.3 / 0.85, 0.0]);
    check(min_p(1.0), &logits, &[], &[0.0, 1.0, 0.0, 0.0, 0.0]);
    check(min_p(0.0), &logits, &[], &SHARES);
}

#[test]
fn filters_apply_in_the_documented_order() {
    // top_k leaves 0.4 and 0.3, of which 0.4 alone is 0.571: with top_p 0.55 it is alone, were top_p first it would not be.
    let both = Sampling { top_k: 2, top_p: 0.55, ..sampling() };
    check(both, &logits_of(&SHARES), &[], &[0.0, 1.0, 0.0, 0.0, 0.0]);
    // At temperature 0.5 the shares are squared and 0.16 is 0.55 of all: temperature comes before top_p.
    let hot = Sampling { temperature: 0.5, top_p: 0.54, ..sampling() };
    check(hot, &logits_of(&SHARES), &[], &[0.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn repetition_penalty_divides_positive_and_multiplies_negative_logits_once() {
    let logits = [2.0, -1.0, 1.0, 0.5];
    let penalized = [1.0f64, -2.0, 1.0, 0.5].map(f64::exp);
    let expected = penalized.map(|weight| weight / penalized.iter().sum::<f64>());
    check(Sampling { repetition_penalty: 2.0, ..sampling() }, &logits, &[0, 1, 0, 0], &expected);
    let greedy = Sampling { repetition_penalty: 2.5, ..Sampling::default() };
    assert_eq!(sample(greedy, &logits, &[], 0), 0);
    assert_eq!(sample(greedy, &logits, &[0], 0), 2);
}

#[test]
fn greedy_takes_the_largest_and_the_lowest_id_among_equals() {
    const INF: f32 = f32::INFINITY;
    for (logits, expected) in [
        (&[1.0, 3.0, 3.0, 2.0][..], 1),
        (&[f32::NAN, -5.0, f32::NAN], 1),
        (&[-INF, -INF, -1e30], 2),
        (&[1.0, INF, INF], 1),
        (&[0.0, -0.0], 0),
        (&[-0.0, 0.0], 0),
    ] {
        assert_eq!(sample(Sampling::default(), logits, &[], 7), expected, "{logits:?}");
        assert_eq!(argmax(logits), Some(expected));
    }
}

#[test]
fn nan_and_infinite_logits_are_survived() {
    const INF: f32 = f32::INFINITY;
    let filters = Sampling { top_k: 3, top_p: 0.999, min_p: 0.001, ..sampling() };
    for sampling in [sampling(), filters] {
        check(sampling.clone(), &[f32::NAN, 1.0, -INF, 1.0], &[], &[0.0, 0.5, 0.0, 0.5]);
        check(sampling.clone(), &[-INF, -INF, -3.0, -INF], &[], &[0.0, 0.0, 1.0, 0.0]);
        check(sampling.clone(), &[INF, 1.0, INF, f32::NAN], &[], &[0.5, 0.0, 0.5, 0.0]);
        for hopeless in [&[f32::NAN, -INF][..], &[-INF; 3], &[]] {
            let error =
                Sampler::new(sampling.clone()).unwrap().sample(&mut hopeless.to_vec(), &[], Position(9)).unwrap_err();
            let said = error.to_string();
            assert!(said.contains("position 9") && said.contains(&format!("{} logits", hopeless.len())), "{said}");
        }
    }
}

#[test]
fn extreme_temperatures_are_survived() {
    let logits = [1.0, 2.0, -3e38, 3e38];
    assert_eq!(sample(Sampling { temperature: f32::MIN_POSITIVE, ..sampling() }, &logits, &[], 0), 3);
    check(Sampling { temperature: f32::MAX, ..sampling() }, &[1.0, 2.0, 3.0, 4.0], &[], &[0.25; 4]);
}

#[test]
fn a_draw_depends_on_seed_and_position_alone() {
    let logits = logits_of(&[0.01; 100]);
    let mut used = Sampler::new(sampling()).unwrap();
    for position in 0..20 {
        let fresh = sample(sampling(), &logits, &[], position);
        assert_eq!(used.sample(&mut logits.clone(), &[1, 2, 3], Position(position)).unwrap(), fresh);
    }
    let drawn = |seed, position| sample(Sampling { seed, ..sampling() }, &logits, &[], position);
    let row = |seed| (0..50).map(|position| drawn(seed, position)).collect::<Vec<_>>();
    assert_ne!(row(0), row(1));
    assert_ne!(row(0), row(1 << 63));
    assert!((0..50).any(|position| drawn(0, position) != drawn(0, 0)));
}

#[test]
fn options_out_of_range_are_named() {
    let bad = [
        (Sampling { temperature: -0.5, ..sampling() }, "temperature: expected", "found -0.5"),
        (Sampling { temperature: f32::INFINITY, ..sampling() }, "temperature: expected", "found inf"),
        (Sampling { top_p: 0.0, ..sampling() }, "top_p: expected", "found 0"),
        (Sampling { top_p: f32::NAN, ..sampling() }, "top_p: expected", "found NaN"),
        (Sampling { min_p: 1.5, ..sampling() }, "min_p: expected", "found 1.5"),
        (Sampling { repetition_penalty: 0.0, ..sampling() }, "repetition_penalty: expected", "found 0"),
        (Sampling { frequency_penalty: f32::NAN, ..sampling() }, "frequency_penalty: expected", "found NaN"),
        (Sampling { presence_penalty: f32::INFINITY, ..sampling() }, "presence_penalty: expected", "found inf"),
        (Sampling { logit_bias: vec![(3, f32::INFINITY)], ..sampling() }, "logit_bias: expected", "found inf"),
    ];
    for (sampling, option, found) in bad {
        let said = sampling.validate().expect_err(option).to_string();
        assert!(said.contains(option) && said.contains(found), "{said}");
    }
    assert!(Sampling::default().is_argmax() && !sampling().is_argmax());
    assert!(!Sampling { repetition_penalty: 1.1, ..Sampling::default() }.is_argmax());
}
