//! The objects of OpenAI's API, key by key.

use crate::http::Stream;
use crate::server::Server;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// Takes what differs from answer to answer out of an object, after a look at it.
#[track_caller]
fn without_identity(mut object: Value, prefix: &str) -> Value {
    let fields = object.as_object_mut().unwrap();
    let id = fields.remove("id").unwrap();
    assert!(id.as_str().unwrap().starts_with(prefix), "{id}");
    assert!(fields.remove("created").unwrap().as_u64().unwrap() > 1_700_000_000);
    assert!(fields.remove("system_fingerprint").unwrap().is_string());
    object
}

fn usage(n_prompt: u64, n_completion: u64) -> Value {
    json!({
        "prompt_tokens": n_prompt,
        "completion_tokens": n_completion,
        "total_tokens": n_prompt + n_completion,
        "prompt_tokens_details": { "cached_tokens": 0 },
    })
}

#[test]
fn a_whole_completion() {
    let server = Server::start(&[]);
    let request =
        json!({ "model": "tiny", "prompt": [1, 75, 104], "max_tokens": 4, "temperature": 0, "ignore_eos": true });
    let answer = without_identity(server.completion(&request), "cmpl-");
    let text = answer["choices"][0]["text"].clone();
    assert!(text.is_string());
    let choice = json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": "length" });
    let object = "text_completion";
    assert_eq!(answer, json!({ "object": object, "model": "tiny", "choices": [choice], "usage": usage(3, 4) }));
}

#[test]
fn a_whole_chat() {
    let server = Server::start(&[]);
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    let n_prompt = server.post("/tokenize", &json!({ "messages": messages })).expect_ok()["count"].as_u64().unwrap();
    let request = json!({ "messages": messages, "max_tokens": 4, "temperature": 0, "ignore_eos": true });
    let answer = without_identity(server.chat(&request), "chatcmpl-");
    let message = json!({
        "role": "assistant", "content": answer["choices"][0]["message"]["content"], "refusal": null,
    });
    assert!(message["content"].is_string());
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": "length" });
    let object = "chat.completion";
    assert_eq!(answer, json!({ "object": object, "model": "tiny", "choices": [choice], "usage": usage(n_prompt, 4) }));
}

#[test]
fn a_stream_of_a_chat() {
    let server = Server::start(&[]);
    for include_usage in [false, true] {
        let request = json!({
            "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 3, "temperature": 0, "ignore_eos": true,
            "stream": true, "stream_options": { "include_usage": include_usage },
        });
        let stream = Stream::post(server.client(), CHAT, &request);
        assert!(stream.is_done);
        let ids: Vec<&Value> = stream.objects.iter().map(|it| &it["id"]).collect();
        assert!(ids.iter().all(|id| *id == ids[0]));
        let mut objects: Vec<Value> =
            stream.objects.iter().map(|it| without_identity(it.clone(), "chatcmpl-")).collect();
        let head = json!({ "object": "chat.completion.chunk", "model": "tiny" });
        if include_usage {
            let mut last = objects.pop().unwrap();
            let usage = last.as_object_mut().unwrap().remove("usage").unwrap();
            assert_eq!(usage["completion_tokens"], 3);
            let mut want = head.clone();
            want["choices"] = json!([]);
            assert_eq!(last, want);
        }
        let n = objects.len();
        for (i, object) in objects.iter().enumerate() {
            let choice = match i {
                0 => json!({ "delta": { "role": "assistant", "content": "" }, "finish_reason": null }),
                _ if i == n - 1 => json!({ "delta": {}, "finish_reason": "length" }),
                _ => {
                    let content = &object["choices"][0]["delta"]["content"];
                    assert!(content.as_str().is_some_and(|it| !it.is_empty()), "{object}");
                    json!({ "delta": { "content": content }, "finish_reason": null })
                }
            };
            let mut want = head.clone();
            want["choices"] = json!([choice]);
            want["choices"][0]["index"] = 0.into();
            want["choices"][0]["logprobs"] = Value::Null;
            if include_usage {
                want["usage"] = Value::Null;
            }
            assert_eq!(object, &want);
        }
    }
}

#[test]
fn a_stream_of_completions() {
    let server = Server::start(&[]);
    let request = json!({ "prompt": "Hi", "max_tokens": 3, "n": 2, "seed": 5, "stream": true, "ignore_eos": true });
    let stream = Stream::post(server.client(), COMPLETIONS, &request);
    assert!(stream.is_done);
    let mut reasons = vec![];
    for object in &stream.objects {
        let object = without_identity(object.clone(), "cmpl-");
        let choice = &object["choices"][0];
        let [index, text, reason] = ["index", "text", "finish_reason"].map(|key| choice[key].clone());
        let want = json!({ "index": index, "text": text, "logprobs": null, "finish_reason": reason });
        assert_eq!(object, json!({ "object": "text_completion", "model": "tiny", "choices": [want] }));
        if !reason.is_null() {
            reasons.push((index, reason));
        }
    }
    assert_eq!(reasons, [(json!(0), json!("length")), (json!(1), json!("length"))]);
}

#[test]
fn models_health_and_tokens() {
    let server = Server::start(&["--served-model-name", "tiny", "org/tiny"]);
    let health = server.get("/health");
    assert_eq!(health.expect_ok(), json!({ "status": "ok" }));
    let models = server.get("/v1/models").expect_ok();
    assert_eq!(models["object"], "list");
    let model = |id: &str| {
        json!({ "id": id, "object": "model", "created": models["data"][0]["created"], "owned_by": "gale", "root": "tiny",
                "parent": null, "max_model_len": 4096 })
    };
    assert_eq!(models["data"], json!([model("tiny"), model("org/tiny")]));
    assert_eq!(server.get("/v1/models/org/tiny").expect_ok(), model("org/tiny"));
    server.get("/v1/models/other").expect_error(404);
    let named = server.completion(&json!({ "model": "org/tiny", "prompt": "a", "max_tokens": 1 }));
    assert_eq!(named["model"], "org/tiny");

    let tokens = server.post("/tokenize", &json!({ "prompt": "Hé", "return_token_strs": true })).expect_ok();
    let strs = json!(["<s>", "▁", "<0x48>", "<0xC3>", "<0xA9>"]);
    assert_eq!((&tokens["count"], &tokens["token_strs"], &tokens["max_model_len"]), (&json!(5), &strs, &json!(4096)));
    let text =
        server.post("/detokenize", &json!({ "tokens": tokens["tokens"], "skip_special_tokens": true })).expect_ok();
    assert_eq!(text, json!({ "prompt": "Hé" }));
    let info = server.get("/tokenizer_info").expect_ok();
    assert_eq!(info, json!({ "bos_token": "<s>", "eos_token": "</s>", "vocab_size": 600 }));
}

/// Of every histogram the count is right, and buckets begin where a GPU needs them.
#[test]
fn metrics_count() {
    let server = Server::start(&[]);
    server.completion(&json!({ "prompt": [1, 75], "max_tokens": 5, "ignore_eos": true }));
    server.completion(&json!({ "prompt": [[1, 75], [1, 76]], "max_tokens": 3, "ignore_eos": true }));
    for (name, label, want) in [
        ("vllm:prompt_tokens_total", "", 6.0),
        ("vllm:generation_tokens_total", "", 11.0),
        ("vllm:request_success_total", "length", 3.0),
        ("vllm:time_to_first_token_seconds_count", "", 2.0),
        ("vllm:inter_token_latency_seconds_count", "", 8.0),
        ("vllm:e2e_request_latency_seconds_count", "", 2.0),
        ("vllm:request_prompt_tokens_sum", "", 6.0),
        ("vllm:num_requests_running", "", 0.0),
        ("vllm:num_requests_waiting", "", 0.0),
    ] {
        assert_eq!(server.metric(name, label), want, "{name}");
    }
    let text = server.get("/metrics").text();
    assert!(text.contains(r#"vllm:inter_token_latency_seconds_bucket{model_name="tiny",le="0.001"}"#), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.ends_with('}') && value.parse::<f64>().is_ok(), "{line}");
    }
    let startup = server.metric("gale:startup_seconds", "");
    assert!(startup > 0.0 && startup < 120.0, "{startup}");
}
