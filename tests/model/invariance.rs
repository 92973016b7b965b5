//! The same bits however a sequence is run.

use crate::{golden, run};
use gale::{
    ring::Position,
    sampler::{Limits, Sampling},
    session::{Options, Session},
};
use std::{ops::ControlFlow, path::Path};

/// The decode path gives the bits of prefill, with the graph and without it, at every position of every case.
#[test]
fn decode_prefill_and_graph_give_the_same_bits() {
    for model in golden::models() {
        let mut session = run::session(&model, Options::default());
        let mut without_graph = run::session(&model, Options { graph: false, ..Options::default() });
        for case in golden::cases(&model) {
            let positions = case.first_position..case.first_position + case.logits.len();
            let prefilled = run::score(&mut session, &case.ids, positions.clone());
            let decoded = run::decode_one_by_one(&mut session, &case.ids, positions.clone());
            run::assert_same_bits(&format!("{}, decoded", case.name), &prefilled, &decoded);
            let launched = run::decode_one_by_one(&mut without_graph, &case.ids, positions);
            run::assert_same_bits(&format!("{}, without a graph", case.name), &prefilled, &launched);
        }
    }
}

/// A prompt continued in a second call, and a session used before, give the bits of a fresh run.
#[test]
fn continuing_and_using_again_change_nothing() {
    for model in golden::models() {
        let mut session = run::session(&model, run::with_chunk(5));
        let cases = golden::cases(&model);
        let case = cases.iter().find(|it| it.ids.len() >= 29).unwrap();
        let go_on = &mut |_| ControlFlow::Continue(());
        session.prefill(&case.ids, go_on).unwrap();
        let whole = session.logits().unwrap();
        for at in [1, 8, 17] {
            session.reset().unwrap();
            session.prefill(&case.ids[..at], go_on).unwrap();
            session.prefill(&case.ids[at..], go_on).unwrap();
            let parts = session.logits().unwrap();
            run::assert_same_bits(&format!("{} cut at {at}", case.name), std::slice::from_ref(&whole), &[parts]);
        }
    }
}

/// Tokens tried together have the bits of one-by-one decoding, and whatever number of them stays, so has what comes after:
/// in an empty ring, across its end, and in one that has been full many times.
#[test]
fn decoding_many_gives_the_bits_of_decoding_one_by_one() {
    for model in golden::models() {
        let (mut many, mut one) = (run::session(&model, Options::default()), run::session(&model, Options::default()));
        let ids = longest(&model);
        let n_slots = one.config().window.unwrap_or(64) as usize;
        for first in [0, n_slots - 3, n_slots, 5 * n_slots + 1] {
            start(&mut one, &ids[..first]);
            let max = one.max_decode();
            let mut want = vec![];
            for &id in &ids[first..first + max + 2] {
                one.decode(id).unwrap();
                want.push(one.logits().unwrap());
            }
            for n_accepted in 0..=max {
                start(&mut many, &ids[..first]);
                many.decode_many(&ids[first..first + max]).unwrap();
                let tried: Vec<_> = (0..max).map(|token| many.logits_of(token).unwrap()).collect();
                run::assert_same_bits(&format!("{} at {first}", model.display()), &want[..max], &tried);
                many.commit(n_accepted).unwrap();
                let next = first + n_accepted;
                assert_eq!(many.position(), Position(next as u64));
                for (id, want) in ids[next..next + 2].iter().zip(&want[n_accepted..]) {
                    many.decode(*id).unwrap();
                    let what = format!("{} at {first}, after {n_accepted} of {max}", model.display());
                    run::assert_same_bits(&what, std::slice::from_ref(want), &[many.logits().unwrap()]);
                }
            }
        }
    }
}

/// A session that holds these.
fn start(session: &mut Session, ids: &[u32]) {
    session.reset().unwrap();
    if !ids.is_empty() {
        session.prefill(ids, &mut |_| ControlFlow::Continue(())).unwrap();
    }
}

/// The ids of a model's longest case.
fn longest(model: &Path) -> Vec<u32> {
    golden::cases(model).into_iter().map(|it| it.ids).max_by_key(Vec::len).unwrap()
}

/// What the device chooses by itself, a token ahead of the host, is what it chooses when the host gives it every token,
/// with the graph and without, in a fresh session and in one used before.
#[test]
fn tokens_are_chosen_alike_however_they_are_read() {
    let hot = Sampling { temperature: 1.5, seed: 7, repetition_penalty: 1.2, ..Sampling::default() };
    for model in golden::models() {
        let prompt = &longest(&model)[..9];
        for sampling in [Sampling::default(), hot.clone()] {
            let mut fed = run::session(&model, Options::default());
            fed.begin(&sampling, &Limits::endless(), prompt).unwrap();
            start(&mut fed, prompt);
            let mut want = vec![fed.choice().unwrap()];
            while want.len() < 20 {
                fed.decode(want[want.len() - 1]).unwrap();
                want.push(fed.choice().unwrap());
            }
            for graph in [true, false] {
                let mut session = run::session(&model, Options { graph, ..Options::default() });
                session.begin(&sampling, &Limits::endless(), prompt).unwrap();
                for n in [20, 1, 20] {
                    start(&mut session, prompt);
                    let tokens: Vec<u32> = (0..n).map(|_| session.next_token().unwrap().token.unwrap()).collect();
                    assert_eq!(tokens, want[..n], "{}, graph {graph}", model.display());
                    start(&mut session, &[3; 9]); // leaves another token at the position after the prompt
                    assert_ne!(session.next_token().unwrap().token, Some(want[0]));
                    if sampling.has_penalties() {
                        break; // it has counted the other token
                    }
                }
            }
        }
    }
}
