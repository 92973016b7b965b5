//! The tiny random models: logits at every length with every chunking, and greedy tokens.

use crate::{
    golden::{self, Limits},
    run,
};
use gale::session::Options;

const LIMITS: Limits = Limits { abs: 0.5, mean_kl: 0.01, margin: 0.5 };

/// Logits stay near the golden ones, nearer than Hugging Face's own bf16 where that can be told, and have the same bits
/// for every chunk size.
#[test]
fn logits_match_the_goldens_in_every_chunking() {
    for model in golden::models() {
        let mut session = run::session(&model, Options::default());
        for case in golden::cases(&model) {
            let positions = case.first_position..case.first_position + case.logits.len();
            let got = run::score(&mut session, &case.ids, positions.clone());
            let error = golden::judge(&case.name, &got, &case.logits, LIMITS);
            let (ours, theirs) = (error.mean_kl, case.bf16_mean_kl);
            println!(
                "{:32} {:5} tokens  max abs {:.4}  KL {ours:.2e}  HF bf16 {theirs:.2e}",
                case.name,
                case.ids.len(),
                error.max_abs
            );
            if case.ids.len() >= 32 {
                assert!(ours <= theirs, "{}: mean KL {ours:e} is worse than Hugging Face's bf16 {theirs:e}", case.name);
            }
            for chunk in run::chunks(session.config(), case.ids.len()) {
                let mut other = run::session(&model, run::with_chunk(chunk));
                let again = run::score(&mut other, &case.ids, positions.clone());
                run::assert_same_bits(&format!("{}, chunk {chunk}", case.name), &got, &again);
            }
        }
    }
}

/// The decode path, one token at a time, stays as near.
#[test]
fn decoding_one_by_one_matches_the_goldens() {
    for model in golden::models() {
        let mut session = run::session(&model, Options::default());
        for case in golden::cases(&model) {
            let positions = case.first_position..case.first_position + case.logits.len();
            let got = run::decode_one_by_one(&mut session, &case.ids, positions);
            golden::judge(&case.name, &got, &case.logits, LIMITS);
        }
    }
}

/// Greedy text leaves the golden one at near-ties only.
#[test]
fn greedy_tokens_match_the_goldens() {
    for model in golden::models() {
        let mut session = run::session(&model, Options::default());
        for case in golden::cases(&model).iter().filter(|it| !it.greedy.is_empty()) {
            let got = run::generate(&mut session, &case.ids, case.greedy.len());
            golden::judge_greedy(&case.name, &got, &case.greedy, &case.margins, LIMITS);
        }
    }
}
