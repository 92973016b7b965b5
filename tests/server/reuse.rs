//! What the cache holds of a prompt is not computed again, and no answer shows it.

use crate::server::{Model, Server};
use serde_json::{Value, json};

const COMPLETIONS: &str = "/v1/completions";

/// The text of an answer with the logprobs of its tokens, and how many tokens of the prompt were in the cache.
fn answer(server: &Server, prompt: &[u32]) -> (Value, u64) {
    let request = json!({
        "prompt": [prompt], "max_tokens": 6, "temperature": 1.3, "seed": 11, "ignore_eos": true, "logprobs": 2,
    });
    let answer = server.post(COMPLETIONS, &request).expect_ok();
    let n_cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    (answer["choices"][0].clone(), n_cached)
}

/// Each answer is that of a server which never had another request.
#[test]
fn answers_are_the_same_from_the_cache() {
    for (model, n_cached) in [("mis_nowin_v5_gqa8", [0, 25, 29, 20, 0]), ("mis_w16_gqa2_hd128", [0; 5])] {
        let model = Model::new(model);
        let used = Server::of(model.dir(), &[], &[]);
        let ids: Vec<u32> = (0..30).map(|i| 3 + i * 7 % 250).collect();
        let edited: Vec<u32> = ids[..20].iter().chain(&[9, 9, 9]).copied().collect();
        let others = [5, 6, 7];
        let prompts = [&ids[..25], &ids[..30], &ids[..30], &edited[..], &others[..]];
        for (prompt, want_cached) in prompts.into_iter().zip(n_cached) {
            let (got, n_cached) = answer(&used, prompt);
            let (want, none) = answer(&Server::of(model.dir(), &[], &[]), prompt);
            assert_eq!((got, n_cached, none), (want, want_cached, 0));
        }
        assert_eq!(used.metric("vllm:prefix_cache_hits_total", ""), n_cached.iter().sum::<u64>() as f64);
    }
}

/// Nobody learns how the request before began, where that is not wanted; several answers to a prompt still share it.
#[test]
fn reuse_can_be_switched_off() {
    let server = Server::start(&["--no-prefix-reuse"]);
    let prompt: Vec<u32> = (0..30).map(|i| 3 + i * 7 % 250).collect();
    let first = answer(&server, &prompt);
    assert_eq!(answer(&server, &prompt), first);
    assert_eq!(first.1, 0);
    let twice = server.completion(&json!({ "prompt": [prompt, prompt], "max_tokens": 1 }));
    assert_eq!(twice["usage"]["prompt_tokens_details"]["cached_tokens"], 29, "within a request there is no stranger");
}
