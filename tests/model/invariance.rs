//! The same bits however a sequence is run.

use crate::{golden, run};
use gale::session::Options;
use std::ops::ControlFlow;

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
