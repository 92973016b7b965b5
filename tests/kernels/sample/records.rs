//! What a step leaves for the host, and how a sequence ends.

use super::machine::{Machine, N_RECORDS, endless};
use super::oracle::{by_likelihood, weigh};
use super::{bell_shaped, check, hot, random_logits, random_sampling};
use crate::common::*;
use gale::device::Grid;
use gale::ring::Position;
use gale::sampler::{Finished, Limits, Sampling};

/// The logarithms of the model's own probabilities, whatever the options, from the likeliest on.
#[test]
fn logprobs_match_oracle() {
    for_all(|case| {
        let vocab_size = case.pick(&[1, 3, 19, 20, 21, 200, 1001, 4000]);
        let n_logprobs = case.int(1..=20);
        let sampling = random_sampling(case, vocab_size);
        let logits = random_logits(case, vocab_size);
        let mut machine = Machine::new(case.device, vocab_size);
        machine.begin(&sampling, &Limits { n_logprobs, ..endless() }, 5);
        let record = machine.step(&logits);
        check(&sampling, &logits, &[], 6, record.token);

        let order = by_likelihood(&logits);
        let top: Vec<u32> = record.top.iter().map(|it| it.token).collect();
        assert_eq!(top, order[..order.len().min(n_logprobs as usize)]);
        let Some(&first) = order.first() else { return };
        let max = logits[first as usize];
        let weights = order.iter().map(|&it| weigh(logits[it as usize], max, 1.0));
        let (total, off) = weights.fold((0.0, 0.0), |(total, off), it| (total + it.0, off + it.1));
        let hold = |token: u32, logprob: f64| {
            let logit = logits[token as usize];
            let want = if logit == max { 0.0 } else { f64::from(logit) - f64::from(max) } - f64::ln(total);
            let is_near = (logprob - want).abs() <= off / total + 1e-12 * (1.0 + want.abs());
            assert!(is_near || logprob == want, "{token}: {logprob}, want {want}");
        };
        record.top.iter().for_each(|it| hold(it.token, it.logprob));
        if let Some(token) = record.token {
            hold(token, record.logprob.unwrap());
        }
    });
}

/// A token that ends the sequence, or the last position, stops it: further steps change nothing, until a request begins.
#[test]
fn a_stopped_sequence_stays_as_it_is() {
    let device = open();
    let logits = [0.0, 9.0, 1.0, -2.0];
    let eos = Limits { eos_ids: vec![3, 1], end: Position(20), ..endless() };
    let ignored = Limits { ignore_eos: true, ..eos.clone() };
    let mut machine = Machine::new(&device, 4);
    for (limits, from, n_steps, finished) in
        [(&eos, 6, 1, Finished::Eos), (&ignored, 16, 3, Finished::End), (&eos, 18, 1, Finished::Eos)]
    {
        machine.begin(&Sampling::default(), limits, from);
        for n in 1..=n_steps {
            let record = machine.step(&logits);
            assert_eq!((record.token, record.finished), (Some(1), (n == n_steps).then_some(finished)));
        }
        let state = |it: &Machine| {
            let records: Vec<_> = (1..30).filter_map(|at| it.records.poll(Position(at))).collect();
            (
                it.position(),
                it.stop.to_vec().unwrap(),
                it.counts.to_vec().unwrap(),
                it.tokens.to_vec().unwrap(),
                records,
            )
        };
        let stopped = state(&machine);
        assert_eq!((stopped.0, &stopped.1[..]), (from + n_steps, &[1][..]));
        for other in [[5.0, 0.0, 0.0, 0.0], [f32::NAN; 4]] {
            machine.set_best(&other);
            machine.launch(&device.upload(&other).unwrap(), 0, Grid::x(2));
            assert_eq!(state(&machine), stopped);
            assert_eq!(machine.best.to_vec().unwrap(), [0; 8]);
            assert_eq!(machine.records.poll(Position(from + n_steps + 1)), None);
        }
    }
}

/// The host sees a record whole, or not at all, while steps run.
#[test]
fn records_are_whole_when_they_are_seen() {
    let (device, vocab_size) = (open(), 700);
    let limits = Limits { n_logprobs: 20, ..endless() };
    let logits = bell_shaped(vocab_size);
    let mut machine = Machine::new(&device, vocab_size);
    machine.begin(&hot(), &limits, 0);
    let want: Vec<_> = (0..40).map(|_| machine.step(&logits)).collect();

    machine.begin(&hot(), &limits, 0);
    let on_device = device.upload(&logits).unwrap();
    machine.set_best(&logits);
    let best = machine.best.to_vec().unwrap();
    for (position, want) in (1..).zip(&want) {
        machine.best.copy_from(&best).unwrap();
        machine.launch(&on_device, 0, Grid::x(1));
        let seen = loop {
            match machine.records.poll(Position(position)) {
                Some(record) => break record,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(seen, *want);
        assert_eq!(machine.records.poll(Position(position + u64::from(N_RECORDS))), None);
    }
}

/// What a request may ask for.
#[test]
fn parameters_out_of_range_are_named() {
    let said = |limits: Limits| hot().params(&limits).unwrap_err().to_string();
    assert_eq!(said(Limits { n_logprobs: 21, ..endless() }), "n_logprobs: expected at most 20, found 21");
    assert_eq!(said(Limits { eos_ids: vec![2; 17], ..endless() }), "eos_token_id: expected at most 16, found 17");
    let said = Sampling { logit_bias: vec![(9, 1.0)], ..hot() }.bias_row(9).unwrap_err().to_string();
    assert_eq!(said, "logit_bias: expected tokens below 9, the size of the vocabulary, found 9");
}
