//! Runs of a session.

use gale::{
    config::Config,
    device::Device,
    session::{Options, Session},
    weights::Weights,
};
use std::{
    ops::{ControlFlow, Range},
    path::Path,
};

/// The device of these tests, see tests/common.
pub fn device() -> Device {
    crate::common::open()
}

/// A session on a model directory.
pub fn session(model: &Path, options: Options) -> Session {
    let config = Config::load(model).unwrap();
    let weights = Weights::open(model, &config).unwrap();
    Session::load(&device(), config, &weights, options, &mut |_, _| {}).unwrap()
}

pub fn with_chunk(chunk: u32) -> Options {
    Options { chunk: Some(chunk), ..Options::default() }
}

/// The logits of the given positions of a sequence that is scored from its beginning.
pub fn score(session: &mut Session, ids: &[u32], positions: Range<usize>) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    let keep = &mut |row: &[f32]| {
        rows.push(row.to_vec());
        Ok(())
    };
    session.score(ids, ids.len() - positions.start, keep).unwrap();
    rows.truncate(positions.len());
    rows
}

/// The logits of the given positions when tokens go through the decode path one by one.
pub fn decode_one_by_one(session: &mut Session, ids: &[u32], positions: Range<usize>) -> Vec<Vec<f32>> {
    session.reset().unwrap();
    let mut rows = Vec::new();
    for (position, &id) in ids.iter().enumerate() {
        session.decode(id).unwrap();
        if positions.contains(&position) {
            rows.push(session.logits().unwrap());
        }
    }
    rows
}

/// `n` greedy tokens after a prompt.
pub fn generate(session: &mut Session, prompt: &[u32], n: usize) -> Vec<u32> {
    session.reset().unwrap();
    session.prefill(prompt, &mut |_| ControlFlow::Continue(())).unwrap();
    let mut tokens = Vec::new();
    while tokens.len() < n {
        let token = session.choice().unwrap();
        tokens.push(token);
        if tokens.len() < n {
            session.decode(token).unwrap();
        }
    }
    tokens
}

/// Equal bits, and where they first differ.
#[track_caller]
pub fn assert_same_bits(what: &str, a: &[Vec<f32>], b: &[Vec<f32>]) {
    assert_eq!(a.len(), b.len(), "{what}: rows");
    for (row, (a, b)) in a.iter().zip(b).enumerate() {
        let differs = (0..a.len()).find(|&it| a[it].to_bits() != b[it].to_bits());
        if let Some(at) = differs {
            panic!("{what}: row {row}, logit {at}: {} and {}", a[at], b[at]);
        }
    }
}

/// Chunk sizes worth trying for a sequence. One token at a time is the decode path, which has tests of its own, so long
/// sequences leave it out.
pub fn chunks(config: &Config, n_tokens: usize) -> Vec<u32> {
    let mut chunks = match config.window {
        Some(window) if window <= 512 => vec![1, 3, window - 1, window],
        Some(_) => vec![1, 3, 100, 512],
        None => vec![1, 3, 7, 64, 1030],
    };
    chunks.retain(|&it| it > if n_tokens > 300 { 3 } else { 0 });
    chunks
}
