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
            run::assert_same_bits(&format!("{} cut at {at}", case.name), &[whole.clone()], &[parts]);
        }
    }
}

/// Far past ten windows, device memory does not move.
#[test]
fn memory_stays_constant_past_ten_windows() {
    let model = golden::dir().join("synth/mis_w8_1layer");
    let mut session = run::session(&model, Options::default());
    session.decode(1).unwrap();
    session.decode(1).unwrap();
    let device = run::device();
    let (allocated, free) = (device.allocated_bytes(), device.memory_info().unwrap().0);
    let window = session.config().window.unwrap();
    let mut token = 1;
    for _ in 0..12 * window {
        session.decode(token).unwrap();
        token = session.greedy().unwrap();
        assert_eq!(device.allocated_bytes(), allocated);
    }
    assert_eq!(device.memory_info().unwrap().0, free);
    assert_eq!(session.position().0, u64::from(12 * window + 2));
}

/// The plan is what the device gives, to the byte.
#[test]
fn the_plan_is_what_is_allocated() {
    for model in golden::models() {
        let device = run::device();
        let (allocated, free) = (device.allocated_bytes(), device.memory_info().unwrap().0);
        let session = run::session(&model, Options::default());
        let planned = session.memory().total_bytes();
        assert_eq!((device.allocated_bytes() - allocated) as u64, planned);
        if device.is_emulator() {
            assert_eq!((free - device.memory_info().unwrap().0) as u64, planned);
        }
    }
}
