//! Text that arrives bit by bit.

use crate::http::Stream;
use crate::server::{Model, Server};
use arbtest::arbtest;
use serde_json::{Value, json};
use std::fs;

const COMPLETIONS: &str = "/v1/completions";

/// The model, with tokens for some words, an emoji and half of one, and Korean.
fn with_words() -> Model {
    let model = Model::new("mis_nowin_v5_gqa8");
    let path = std::path::Path::new(model.dir()).join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    for (id, word) in (300..).zip(["▁Hello", "▁world", "▁caf", "é", "▁▁", "!", "😀", "한국", "▁어", "STOP", "ST"])
    {
        assert!(vocab.remove(&format!("<t{id}>")).is_some());
        vocab.insert(word.into(), id.into());
    }
    fs::write(path, json.to_string()).unwrap();
    model
}

/// Whatever a text is made of, the pieces of its stream make it.
#[test]
fn pieces_make_the_text() {
    let model = with_words();
    let server = Server::of(model.dir(), &[], &[]);
    let parts = ["Hello", " ", "한국어", "😀", "🇰🇷", "é", "e\u{301}", "\n", "\t", "👩‍👩‍👧", "x", "日本", "\u{FFFD}", "!"];
    arbtest(|random| {
        let text: String = (0..random.int_in_range(1..=12)?).map(|_| *random.choose(&parts).unwrap()).collect();
        let ids = server.post("/tokenize", &json!({ "prompt": text })).expect_ok()["tokens"].clone();
        let request = json!({ "prompt": ids, "max_tokens": 0, "echo": true, "stream": true });
        assert_eq!(Stream::post(server.client(), COMPLETIONS, &request).text(0), text);
        Ok(())
    })
    .budget_ms(3000);
}

/// Among tokens that are words, characters and bytes of characters, in whatever order they are drawn.
#[test]
fn a_stream_is_what_the_whole_would_be() {
    let model = with_words();
    let server = Server::of(model.dir(), &[], &[]);
    // 😀 is F0 9F 98 80, 한 is ED 95 9C; byte b is token b + 3.
    let favoured = [0xF0, 0x9F, 0x98, 0x80, 0xED, 0x95, 0x9C].map(|byte: u32| byte + 3).into_iter().chain(300..311);
    let bias: serde_json::Map<String, Value> = favoured.map(|id| (id.to_string(), json!(40))).collect();
    let mut n_broken = 0;
    for seed in 0..20 {
        let mut request =
            json!({ "prompt": "a", "max_tokens": 30, "seed": seed, "temperature": 5, "logit_bias": bias });
        let whole = server.completion(&request)["choices"][0]["text"].as_str().unwrap().to_owned();
        request["stream"] = true.into();
        let stream = Stream::post(server.client(), COMPLETIONS, &request);
        assert_eq!(stream.text(0), whole);
        n_broken += usize::from(whole.contains('\u{FFFD}'));
    }
    assert!(n_broken > 0, "no text had part of a character");
}

#[test]
fn a_stop_string_ends_the_text_and_is_not_in_it() {
    let model = with_words();
    let server = Server::of(model.dir(), &[], &[]);
    let whole = |request: &Value| server.completion(request)["choices"][0].clone();
    // One token alone is drawn: the text is known.
    let free = json!({ "prompt": "a", "max_tokens": 12, "logit_bias": { "300": 1000 }, "temperature": 0 });
    assert_eq!(whole(&free)["text"], " Hello".repeat(12));
    for (stop, want, reason, n_tokens) in [
        (json!("lo Hel"), " Hel", "stop", 2),
        (json!([" Hello Hello Hello Hello"]), "", "stop", 4),
        (json!(["nothing", "o H"]), " Hell", "stop", 2),
        (json!(["Hello!", "Hello Helicopter"]), &*" Hello".repeat(12), "length", 12),
        (json!(vec!["o"; 40]), " Hell", "stop", 1),
        (json!([]), &*" Hello".repeat(12), "length", 12),
    ] {
        let mut request = free.clone();
        request["stop"] = stop.clone();
        let choice = whole(&request);
        assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(want), &json!(reason)), "{stop}");
        request["stream"] = true.into();
        request["stream_options"] = json!({ "include_usage": true });
        let stream = Stream::post(server.client(), COMPLETIONS, &request);
        assert_eq!(stream.text(0), want, "{stop}");
        let usage = &stream.objects.last().unwrap()["usage"];
        assert_eq!(usage["completion_tokens"], n_tokens, "{stop}");
        // The next request is not touched by the step that ran on.
        assert_eq!(whole(&free)["text"], " Hello".repeat(12));
    }
}

/// It is cut where it is complete, so a character that a limit breaks is told as broken.
#[test]
fn a_character_that_is_not_finished_is_told_as_such() {
    let model = with_words();
    let server = Server::of(model.dir(), &[], &[]);
    let request =
        json!({ "prompt": "a", "max_tokens": 2, "logit_bias": { "243": 1000 }, "temperature": 0, "stream": true });
    let stream = Stream::post(server.client(), COMPLETIONS, &request);
    assert_eq!(stream.text(0), "\u{FFFD}\u{FFFD}");
}

/// Tokens come one by one, and not when all are there.
#[test]
fn a_token_is_sent_when_it_is_known() {
    let server = Server::start(&[]);
    let request = json!({ "prompt": "a", "max_tokens": 40, "temperature": 0, "ignore_eos": true, "stream": true,
        "logit_bias": { "300": 1000 } });
    let stream = Stream::post(server.client(), COMPLETIONS, &request);
    assert_eq!(stream.objects.len(), 41);
    let gaps: Vec<_> = stream.times.windows(2).map(|it| it[1] - it[0]).collect();
    let total = *stream.times.last().unwrap() - stream.times[0];
    let longest = gaps.iter().max().unwrap();
    assert!(*longest < total / 2, "{longest:?} of {total:?}");
}
