//! The same question has the same answer, whoever asks and however.

use crate::http::Stream;
use crate::server::{MODEL, Model, Server, gale};
use serde_json::{Value, json};
use std::thread;

const COMPLETIONS: &str = "/v1/completions";

fn generated(args: &[&str]) -> String {
    let output = gale(&[&["generate", "-m", MODEL.dir()], args].concat()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

fn text(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap()
}

#[test]
fn greedy_answers_are_those_of_the_command_line() {
    let server = Server::start(&[]);
    for prompt in ["Hello", "The capital of France is", "日本"] {
        let answer = server.completion(&json!({ "prompt": prompt, "max_tokens": 24, "temperature": 0 }));
        assert_eq!(text(&answer), generated(&["-p", prompt, "-n", "24", "--greedy"]));
        let messages = json!([{ "role": "system", "content": "Be." }, { "role": "user", "content": prompt }]);
        let answer = server.chat(&json!({ "messages": messages, "max_tokens": 24, "temperature": 0 }));
        let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
        let want = generated(&["--chat", "--system", "Be.", "-p", prompt, "-n", "24", "--greedy"]);
        assert_eq!(content, want);
    }
}

#[test]
fn sampled_answers_are_those_of_the_command_line() {
    let server = Server::start(&[]);
    let request = json!({ "prompt": "Hello", "max_tokens": 24, "seed": 7, "temperature": 0.9, "top_k": 200, "top_p": 0.9,
        "min_p": 0.001, "repetition_penalty": 1.2, "frequency_penalty": 0.7, "presence_penalty": -0.4,
        "logit_bias": { "300": 4.5, "301": 4 }, "ignore_eos": true });
    let want = generated(&[
        "-p",
        "Hello",
        "-n",
        "24",
        "--seed",
        "7",
        "--temperature",
        "0.9",
        "--top-k",
        "200",
        "--top-p",
        "0.9",
        "--min-p",
        "0.001",
        "--repetition-penalty",
        "1.2",
        "--frequency-penalty",
        "0.7",
        "--presence-penalty",
        "-0.4",
        "--logit-bias",
        "300=4.5",
        "--logit-bias",
        "301=4",
        "--ignore-eos",
    ]);
    assert_eq!(text(&server.completion(&request)), want);
    for option in ["frequency_penalty", "presence_penalty", "logit_bias"] {
        let mut without = request.clone();
        without.as_object_mut().unwrap().remove(option);
        assert_ne!(text(&server.completion(&without)), want, "{option} has an effect here");
    }
}

/// Streamed or not, alone or in a queue of others, in another process.
#[test]
fn the_same_seed_gives_the_same_answer() {
    let server = Server::start(&[]);
    let request = json!({ "prompt": "Hello", "max_tokens": 20, "seed": 11, "ignore_eos": true });
    let alone = server.completion(&request);
    let mut streamed = request.clone();
    streamed["stream"] = true.into();
    thread::scope(|scope| {
        for seed in 0..4 {
            let other = json!({ "prompt": [1, 80 + seed], "max_tokens": 7, "seed": seed });
            scope.spawn({
                let server = &server;
                move || server.completion(&other)
            });
        }
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(text(&server.completion(&request)), text(&alone)));
            scope.spawn(|| assert_eq!(Stream::post(server.client(), COMPLETIONS, &streamed).text(0), text(&alone)));
        }
    });
    let elsewhere = Server::start(&["--chunk", "3", "--no-graph"]).completion(&request);
    assert_eq!(text(&elsewhere), text(&alone));
    assert_eq!(elsewhere["system_fingerprint"], alone["system_fingerprint"]);
}

#[test]
fn another_seed_gives_another_answer_and_none_is_random() {
    let server = Server::start(&[]);
    let ask = |seed: Value| {
        let answer =
            server.completion(&json!({ "prompt": "Hello", "max_tokens": 20, "seed": seed, "ignore_eos": true }));
        text(&answer).to_owned()
    };
    assert_ne!(ask(json!(1)), ask(json!(2)));
    assert_ne!(ask(Value::Null), ask(Value::Null));
    assert_eq!(ask(json!(-1)), ask(json!(u64::MAX)));
}

/// Answer k has the seed of the request and k.
#[test]
fn several_answers_are_those_of_several_requests() {
    let server = Server::start(&[]);
    let ask = |prompt: Value, seed: u64, n: u64| {
        server.completion(&json!({ "prompt": prompt, "max_tokens": 9, "seed": seed, "n": n, "ignore_eos": true }))
    };
    let (a, b) = (json!([1, 75]), json!([1, 90, 91]));
    let all = ask(json!([a, b]), 40, 3);
    let choices = all["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|it| it["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    for (i, choice) in choices.iter().enumerate() {
        let prompt = if i < 3 { &a } else { &b };
        assert_eq!(choice["text"], text(&ask(prompt.clone(), 40 + i as u64 % 3, 1)));
    }
    assert_eq!(all["usage"]["prompt_tokens"], 5);
    assert_eq!(all["usage"]["completion_tokens"], 54);
}

/// A single weight that is looked at, another template, or another card, is another fingerprint.
#[test]
fn fingerprints_tell_models_and_cards_apart() {
    let fingerprint = |dir: &str, card: &str| {
        let server = Server::of(dir, &[], &[("CUDA_EMULATOR_GPU", card)]);
        server.completion(&json!({ "prompt": "a", "max_tokens": 1 }))["system_fingerprint"].clone()
    };
    let changed = Model::new("mis_nowin_v5_gqa8");
    let file = std::path::Path::new(changed.dir()).join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
    let asked = Model::new("mis_nowin_v5_gqa8");
    std::fs::write(std::path::Path::new(asked.dir()).join("chat_template.jinja"), "{{ messages[0].content }}").unwrap();
    let first = fingerprint(MODEL.dir(), "h100");
    assert_eq!(fingerprint(MODEL.dir(), "h100"), first);
    assert_ne!(fingerprint(changed.dir(), "h100"), first);
    assert_ne!(fingerprint(asked.dir(), "h100"), first);
    assert_ne!(fingerprint(MODEL.dir(), "a100"), first);
}

#[test]
fn probabilities_are_those_of_the_command_line() {
    let server = Server::start(&[]);
    let request = json!({ "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 9, "temperature": 0, "logprobs": true,
        "top_logprobs": 3, "ignore_eos": true });
    let answer = server.chat(&request);
    let args = ["--chat", "-p", "Hi", "-n", "9", "--greedy", "--logprobs", "3", "--ignore-eos"];
    let printed = generated(&args);
    let lines: Vec<Value> = printed.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!((lines.len(), tokens.len()), (9, 9));
    for (line, token) in lines.iter().zip(tokens) {
        assert_eq!(line["logprob"], token["logprob"]);
        let logprobs = |it: &Value| -> Vec<Value> {
            it["top_logprobs"].as_array().unwrap().iter().map(|it| it["logprob"].clone()).collect()
        };
        assert_eq!((logprobs(line).len(), logprobs(line)), (3, logprobs(token)));
        assert_eq!(line["id"], line["top_logprobs"][0]["id"], "greedy takes the likeliest");
        assert!(line["token"].is_string());
    }
    let ends = generated(&["-p", "Hi", "--greedy", "--logit-bias", "2=1000", "--logprobs", "0"]);
    let end: Value = serde_json::from_str(&ends).unwrap();
    assert_eq!((&end["id"], &end["top_logprobs"]), (&json!(2), &json!([])), "the end has a line");
}
