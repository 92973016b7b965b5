//! What ends a server, and how.

use crate::http::{Client, Stream};
use crate::server::{MODEL, Model, Server, gale};
use serde_json::json;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const COMPLETIONS: &str = "/v1/completions";

/// The card breaks down in the middle of an answer, while another request waits.
#[test]
fn a_broken_device_ends_the_server() {
    for stream in [false, true] {
        // A token is some 13 launches of this model.
        let server = Server::of(MODEL.dir(), &[], &[("CUDA_EMULATOR_FAIL_LAUNCH", "3000")]);
        server.get("/health").expect_ok();
        let request = json!({ "prompt": "a", "max_tokens": 4000, "ignore_eos": true, "stream": stream });
        let mut client = server.client();
        client.send_json(COMPLETIONS, &request);
        server.wait_for_metric("vllm:num_requests_running", |n| n == 1.0);
        let mut waiting = server.client();
        waiting.send_json(COMPLETIONS, &json!({ "prompt": "b", "max_tokens": 1 }));
        if stream {
            assert_eq!(client.head().unwrap().0, 200);
            let stream = Stream::read(&mut client);
            assert!(!stream.is_done && stream.objects.len() > 10);
            let last = stream.objects.last().unwrap();
            assert_eq!(last["error"]["type"], "server_error", "{last}");
        } else {
            let error = client.answer().unwrap().expect_error(500);
            assert!(error["message"].as_str().unwrap().contains("CUDA_ERROR_ECC_UNCORRECTABLE"), "{error}");
        }
        waiting.answer().unwrap().expect_error(500);
        server.get("/health").expect_error(503);
        server.post(COMPLETIONS, &json!({ "prompt": "c" })).expect_error(503);
        server.wait_for("CUDA_EMULATOR_FAIL_LAUNCH");
        let line = server.wait_for("error: ");
        assert!(line.contains("ECC"), "{line}");
        assert_eq!(server.end(), 1);
    }
}

#[test]
fn a_signal_lets_what_runs_finish() {
    for signal in ["TERM", "INT"] {
        let server = Server::start(&[]);
        let mut running = begin(&server, 60);
        let mut waiting = server.client();
        waiting.send_json(COMPLETIONS, &json!({ "prompt": "b", "max_tokens": 1 }));
        server.wait_for_metric("vllm:num_requests_waiting", |n| n == 1.0);
        server.signal(signal);
        waiting.answer().unwrap().expect_error(503);
        let stream = Stream::read(&mut running);
        assert!(stream.is_done);
        assert_eq!(stream.objects.last().unwrap()["choices"][0]["finish_reason"], "length");
        assert_eq!(server.end(), 0);
    }
}

#[test]
fn what_does_not_finish_in_time_is_given_up() {
    let server = Server::start(&["--grace", "0"]);
    let mut running = begin(&server, 4000);
    server.signal("TERM");
    let stream = Stream::read(&mut running);
    assert!(!stream.is_done);
    assert_eq!(stream.objects.last().unwrap()["error"]["type"], "unavailable_error");
    assert_eq!(server.end(), 0);
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let server = Server::start(&["--grace", "3600"]);
    let _running = begin(&server, 4000);
    server.signal("INT");
    server.wait_for("ending; what runs");
    let before = Instant::now();
    server.signal("INT");
    assert_eq!(server.end(), 130);
    assert!(before.elapsed() < Duration::from_secs(5));
}

/// A stream whose first token is there.
fn begin(server: &Server, n: u32) -> Client {
    let mut client = server.client();
    client.send_json(COMPLETIONS, &json!({ "prompt": "a", "max_tokens": n, "ignore_eos": true, "stream": true }));
    assert_eq!(client.head().unwrap().0, 200);
    client
}

/// Ready is ready: until then there are no models and no answers, and health says so.
#[test]
fn a_server_that_loads_is_not_ready() {
    let server = Server::spawn(MODEL.dir(), &[], &[("CUDA_EMULATOR_MODE", "check")]);
    let early = server.get("/health");
    if early.status == 503 {
        let error = early.expect_error(503);
        assert!(error["message"].as_str().unwrap().contains("loaded"), "{error}");
    }
    assert_eq!(early.status, 503, "the emulator's checks make loading slow enough to see this");
    server.get("/v1/models").expect_error(503);
    server.post(COMPLETIONS, &json!({ "prompt": "a" })).expect_error(503);
    server.wait_for("ready after ");
    server.get("/health").expect_ok();
    server.get("/v1/models").expect_ok();
}

/// Nobody waits for a model that nobody will ask. It loads quickly, so the signal may have to be sent again to another one.
#[test]
fn a_signal_ends_a_server_that_loads() {
    for signal in ["TERM", "INT"] {
        let is_caught = || {
            let server = Server::spawn(MODEL.dir(), &[], &[("CUDA_EMULATOR_MODE", "check")]);
            server.get("/health"); // so it listens to signals
            server.signal(signal);
            server.wait_for("ending; ");
            let log = server.log.clone();
            assert_eq!(server.end(), 0);
            let log = log.lock().unwrap();
            let has = |words: &str| log.iter().any(|line| line.contains(words));
            assert_ne!(has("the model was still being loaded"), has("what runs may finish"), "{log:?}");
            has("the model was still being loaded")
        };
        assert!((0..10).any(|_| is_caught()), "SIG{signal} always came too late");
    }
}

#[test]
fn what_cannot_be_served_is_one_line_and_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let no_tokenizer = Model::new("mis_nowin_v5_gqa8");
    std::fs::remove_file(std::path::Path::new(no_tokenizer.dir()).join("tokenizer.json")).unwrap();
    for (dir, args, words) in [
        (MODEL.dir(), vec!["--port", &port], "cannot listen on 127.0.0.1"),
        (MODEL.dir(), vec!["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (MODEL.dir(), vec!["--port", "0", "--ctx", "0x"], "--ctx"),
        (MODEL.dir(), vec!["--port", "0", "--chunk", "99999"], "--chunk"),
        (no_tokenizer.dir(), vec!["--port", "0"], "tokenizer.json"),
        ("/nowhere", vec!["--port", "0"], "/nowhere"),
    ] {
        let output = gale(&[&["serve", "-m", dir], &args[..]].concat()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let want = if args.contains(&"0x") { 2 } else { 1 };
        assert_eq!(output.status.code(), Some(want), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

/// A model without a chat format writes on, and says what it does not do.
#[test]
fn a_model_without_chats_takes_completions() {
    let model = Model::new("mis_w8_1layer");
    std::fs::remove_file(std::path::Path::new(model.dir()).join("tokenizer_config.json")).unwrap();
    let server = Server::of(model.dir(), &[], &[]);
    server.completion(&json!({ "prompt": "a", "max_tokens": 40, "ignore_eos": true })); // beyond its window of 8
    let chat = json!({ "messages": [{ "role": "user", "content": "a" }] });
    let error = server.post("/v1/chat/completions", &chat).expect_error(400);
    assert!(error["message"].as_str().unwrap().contains("no chat format"), "{error}");
    assert!(server.get("/v1/models").expect_ok()["data"][0]["max_model_len"].is_null());
}
