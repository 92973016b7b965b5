//! Requests that no honest client sends: each is refused as it should be, and the next honest one is answered.

use crate::http::{Client, post_head};
use crate::server::Server;
use serde_json::{Value, json};
use std::io::ErrorKind;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const KEY: &str = "Authorization: Bearer secret\r\n";

/// Bodies of completions, and the field that is to blame.
fn completions() -> Vec<(Value, &'static str)> {
    let base = |name: &str, value: Value| {
        let mut body = json!({ "prompt": "a", "max_tokens": 1 });
        body[name] = value;
        body
    };
    let mut deep = json!(1);
    for _ in 0..50 {
        deep = json!([deep]);
    }
    let every_id = |bias: f64| Value::from_iter((0..600).map(|id| (id.to_string(), json!(bias))));
    let many = |n: usize| Value::from_iter((0..n).map(|i| (i.to_string(), json!(1))));
    vec![
        (base("prompt", Value::Null), "prompt"),
        (base("prompt", json!(7)), "prompt"),
        (base("prompt", json!({})), "prompt"),
        (base("prompt", json!([])), "prompt"),
        (base("prompt", json!([[]])), "prompt"),
        (base("prompt", json!([1, -1])), "prompt"),
        (base("prompt", json!([600])), "prompt"),
        (base("prompt", json!([1.5])), "prompt"),
        (base("prompt", json!([4294967297u64])), "prompt"),
        (base("prompt", json!(["a", [1]])), "prompt"),
        (base("prompt", json!([[1], "a"])), "prompt"),
        (base("prompt", deep), "prompt"),
        (base("prompt", json!(vec![1; 5000])), "prompt"),
        (base("prompt", json!("word ".repeat(100_000))), "prompt"),
        (base("prompt", json!(vec!["a"; 300])), "prompt"),
        (base("max_tokens", json!(-1)), "max_tokens"),
        (base("max_tokens", json!(1e30)), "max_tokens"),
        (base("max_tokens", json!(4294967295u64)), "max_tokens"),
        (base("max_tokens", json!("7")), "max_tokens"),
        (base("n", json!(0)), "n"),
        (base("n", json!(-3)), "n"),
        (base("n", json!(1_000_000_000)), "n"),
        (base("temperature", json!(-0.1)), "temperature"),
        (base("temperature", json!(1e300)), "temperature"),
        (base("temperature", json!("hot")), "temperature"),
        (base("top_p", json!(0)), "top_p"),
        (base("top_p", json!(1.1)), "top_p"),
        (base("top_k", json!(-1)), "top_k"),
        (base("min_p", json!(2)), "min_p"),
        (base("repetition_penalty", json!(0)), "repetition_penalty"),
        (base("frequency_penalty", json!([])), "frequency_penalty"),
        (base("presence_penalty", json!(1e40)), "presence_penalty"),
        (base("seed", json!(1.5)), "seed"),
        (base("seed", json!("x")), "seed"),
        (base("logprobs", json!(21)), "logprobs"),
        (base("logprobs", json!(true)), "logprobs"),
        (base("logit_bias", json!([1])), "logit_bias"),
        (base("logit_bias", json!({ "600": 1 })), "logit_bias"),
        (base("logit_bias", json!({ "x": 1 })), "logit_bias"),
        (base("logit_bias", json!({ "1": "x" })), "logit_bias"),
        (base("logit_bias", json!({ "1": 1e300 })), "logit_bias"),
        (base("logit_bias", json!({ "1": -1e300 })), "logit_bias"),
        // Times the penalty they are -inf, and there is nothing left to choose from.
        (
            json!({ "prompt": Vec::from_iter(0..600), "repetition_penalty": 1e10, "logit_bias": every_id(-3e38) }),
            "logit_bias",
        ),
        (json!({ "prompt": vec![[1]; 256], "max_tokens": 4000, "n": 16 }), "n"),
        (base("logit_bias", many(1025)), "logit_bias"),
        (base("stop", json!("")), "stop"),
        (base("stop", json!([1])), "stop"),
        (base("stop", json!(vec!["x"; 65])), "stop"),
        (base("stop", json!("x".repeat(257))), "stop"),
        (base("stream", json!("yes")), "stream"),
        (base("replay", json!(1)), "replay"),
        (base("stream_options", json!({ "include_usage": true })), "stream_options"),
        (base("echo", json!(1)), "echo"),
        (base("suffix", json!("x")), "suffix"),
        (base("best_of", json!(2)), "best_of"),
        (base("user", json!("me")), "user"),
        (base("grammar", json!("root ::= x")), "grammar"),
        (base("no_such_field", json!(1)), "no_such_field"),
        (base("model", json!(5)), "model"),
    ]
}

fn chats() -> Vec<(Value, &'static str)> {
    let messages = |value: Value| json!({ "messages": value, "max_tokens": 1 });
    let with = |name: &str, value: Value| {
        let mut body = messages(json!([{ "role": "user", "content": "a" }]));
        body[name] = value;
        body
    };
    vec![
        (messages(json!([])), "messages"),
        (messages(json!("Hi")), "messages"),
        (messages(json!(["Hi"])), "messages[0]"),
        (messages(json!([{}])), "messages[0].role"),
        (messages(json!([{ "role": "user" }])), "messages[0].content"),
        (messages(json!([{ "role": "user", "content": 7 }])), "messages[0].content"),
        (messages(json!([{ "role": "wizard", "content": "a" }])), "messages[0].role"),
        (messages(json!([{ "role": "tool", "content": "a" }])), "messages[0].role"),
        (messages(json!([{ "role": "user", "content": [{ "type": "image_url" }] }])), "messages[0].content[0].type"),
        (messages(json!([{ "role": "user", "content": "a", "name": "x" }])), "messages[0].name"),
        (messages(json!([{ "role": "user", "content": "a" }, { "role": "system", "content": "b" }])), "messages"),
        (messages(json!(vec![json!({ "role": "user", "content": "a" }); 1025])), "messages"),
        (with("tools", json!([{ "type": "function" }])), "tools"),
        (with("response_format", json!({ "type": "json_object" })), "response_format"),
        (with("chat_template", json!("{{ 1 }}")), "chat_template"),
        (with("top_logprobs", json!(3)), "top_logprobs"),
        (with("max_completion_tokens", json!(2)), "max_tokens"),
        (with("logprobs", json!(2)), "logprobs"),
    ]
}

/// Raw bytes after a `POST` with a key, and the status they get.
fn bodies() -> Vec<(Vec<u8>, u16)> {
    let nested = format!("{{\"prompt\": {}", "[".repeat(100_000));
    vec![
        (b"".to_vec(), 400),
        (b"{".to_vec(), 400),
        (b"null".to_vec(), 400),
        (b"[]".to_vec(), 400),
        (b"\"text\"".to_vec(), 400),
        (b"{\"prompt\": \"a\",}".to_vec(), 400),
        (b"{\"prompt\": \"\xff\xfe\"}".to_vec(), 400),
        (b"\xef\xbb\xbf{\"prompt\": \"a\"}".to_vec(), 400),
        (b"{\"prompt\": \"\\ud800\"}".to_vec(), 400),
        (b"{\"prompt\": \"a\", \"temperature\": NaN}".to_vec(), 400),
        (b"{\"prompt\": \"a\", \"temperature\": 1e999}".to_vec(), 400),
        (vec![0; 1000], 400),
        (nested.into_bytes(), 400),
        (vec![b' '; (4 << 20) + 1], 413),
    ]
}

/// Whole requests, in bytes.
fn requests() -> Vec<(Vec<u8>, u16)> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{KEY}\r\n").into_bytes();
    let with_headers = |headers: &str| {
        let body = r#"{"prompt":"a","max_tokens":1}"#;
        let length = body.len();
        let text = format!(
            "POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
        );
        text.into_bytes()
    };
    let json = format!("Content-Type: application/json\r\n{KEY}");
    let flood: String = (0..150).map(|i| format!("X-{i}: 1\r\n")).collect();
    let big_flood: String = (0..5000).map(|i| format!("X-{i}: 1\r\n")).collect();
    vec![
        (get("/"), 404),
        (get("/v1/../../etc/passwd"), 404),
        (get("/v1/models/../../secret"), 404),
        (get("/%2e%2e/%2e%2e/etc/passwd"), 404),
        (get("/v1/models/%00"), 404),
        (get("/v1/models/%ff%fe"), 400),
        (get(&format!("/{}", "a".repeat(20_000))), 404),
        (get(COMPLETIONS), 405),
        (get("/tokenize"), 405),
        (format!("DELETE /v1/models HTTP/1.1\r\nHost: x\r\n{KEY}\r\n").into_bytes(), 405),
        (with_headers("Content-Type: application/json\r\n"), 401),
        (with_headers("Content-Type: application/json\r\nAuthorization: Bearer wrong!\r\n"), 401),
        (with_headers("Content-Type: application/json\r\nAuthorization: Bearer secret2\r\n"), 401),
        (with_headers("Content-Type: application/json\r\nAuthorization: Basic secret\r\n"), 401),
        (with_headers(KEY), 415),
        (with_headers(&format!("Content-Type: text/plain\r\n{KEY}")), 415),
        (with_headers(&format!("{flood}{json}")), 431),
        (with_headers(&format!("{big_flood}{json}")), 431),
        (with_headers(&format!("X: {}\r\n{json}", "a".repeat(100_000))), 431),
        (with_headers(&format!("Content-Length: 5\r\n{json}")), 400),
        (with_headers(&format!("Bad Header: 1\r\n{json}")), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n".to_vec(), 400),
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (
            format!("POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{json}\r\nzz\r\n")
                .into_bytes(),
            400,
        ),
    ]
}

fn post(server: &Server, path: &str, body: &[u8]) -> Client {
    let mut client = server.client();
    let head = post_head(path, body.len()).replace("Host: test\r\n", &format!("Host: test\r\n{KEY}"));
    let _ = client.send(&[head.as_bytes(), body].concat());
    client
}

fn expect_alive(server: &Server) {
    let honest = json!({ "prompt": "a", "max_tokens": 1 }).to_string();
    post(server, COMPLETIONS, honest.as_bytes()).answer().unwrap().expect_ok();
}

#[test]
fn what_is_wrong_is_refused_with_its_name() {
    let server = Server::start(&["--api-key", "secret", "--timeout", "1"]);
    let mut n = 0;
    for (path, cases) in [(COMPLETIONS, completions()), (CHAT, chats())] {
        for (body, param) in cases {
            let answer = post(&server, path, body.to_string().as_bytes()).answer().unwrap();
            let short: String = body.to_string().chars().take(200).collect();
            assert_eq!(answer.status, 400, "{short}: {}", answer.text());
            assert_eq!(answer.expect_error(400)["param"], param, "{short}: {}", answer.text());
            n += 1;
        }
        expect_alive(&server);
    }
    let late_system = json!([{ "role": "user", "content": "a" }, { "role": "system", "content": "b" }]);
    let late_system = json!({ "messages": late_system }).to_string();
    let error = post(&server, CHAT, late_system.as_bytes()).answer().unwrap().expect_error(400);
    assert_eq!(error["message"], "messages: chat template: the system speaks first", "no path of the server");
    for (body, status) in bodies() {
        post(&server, COMPLETIONS, &body).answer().unwrap().expect_error(status);
        n += 1;
    }
    expect_alive(&server);
    for (bytes, status) in requests() {
        let mut client = server.client();
        let _ = client.send(&bytes); // it may be refused half-way
        let answer = client.answer();
        let short: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {short:?}"));
        assert_eq!(answer.status, status, "{short:?}: {}", answer.text());
        answer.expect_error(status);
        n += 1;
    }
    expect_alive(&server);
    assert!(n >= 100, "{n}");
    let unknown = json!({ "model": "gpt-4", "prompt": "a" }).to_string();
    let error = post(&server, COMPLETIONS, unknown.as_bytes()).answer().unwrap().expect_error(404);
    assert_eq!((&error["code"], &error["param"]), (&json!("model_not_found"), &json!("model")));
}

/// Heads and bodies that never end do not keep a connection for ever; those that break off trouble nobody.
#[test]
fn half_a_request_is_waited_for_and_no_longer() {
    let server = Server::start(&["--api-key", "secret", "--timeout", "1"]);
    let mut half_body = server.client();
    let head = post_head(COMPLETIONS, 100).replace("Host: test\r\n", &format!("Host: test\r\n{KEY}"));
    half_body.send(format!("{head}{{\"prompt\"").as_bytes()).unwrap();
    half_body.answer().unwrap().expect_error(408);
    let mut half_head = server.client();
    half_head.send(b"POST /v1/completions HTTP/1.1\r\nHost:").unwrap();
    let error = half_head.answer().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
    let mut other_protocol = server.client();
    other_protocol.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    other_protocol.answer().unwrap_err();
    for cut in [1, 20, 60, head.len(), head.len() + 4] {
        let mut client = server.client();
        client.send(&format!("{head}{{\"prompt\"").as_bytes()[..cut]).unwrap();
    }
    expect_alive(&server);
}

/// The health of a server is nobody's secret, all else is.
#[test]
fn only_health_needs_no_key() {
    let server = Server::start(&["--api-key", "secret"]);
    server.get("/health").expect_ok();
    for path in ["/v1/models", "/metrics", "/nowhere", "/tokenize"] {
        server.get(path).expect_error(401);
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let mut client = server.client();
        let head = format!("GET /v1/models HTTP/1.1\r\nHost: test\r\nAuthorization: {scheme} secret\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        client.answer().unwrap().expect_ok();
    }
}
