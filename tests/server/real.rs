//! Clients that people use. `scripts/get-clients` fetches the Python package openai; without it there is nothing to try,
//! which is an error with `REQUIRE_CLIENTS=1`, as in `make test`.

use crate::server::{MODEL, Server, gale};
use serde_json::json;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn the_openai_package_finds_what_it_expects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".clients/bin/python");
    if !python.exists() {
        let is_required = env::var_os("REQUIRE_CLIENTS").is_some_and(|it| it == "1");
        assert!(!is_required, "REQUIRE_CLIENTS=1, and there is no {}: run scripts/get-clients", python.display());
        eprintln!("not tried: there is no {}; scripts/get-clients makes it", python.display());
        return;
    }
    let server = Server::start(&["--api-key", "secret", "--served-model-name", "org/tiny"]);
    let script = root.join("tests/server/openai_client.py");
    let saved = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(python);
    let output = command.arg(script).arg(server.port.to_string()).arg(saved.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"all is well\n");
    let replayed = gale(&["replay", "-m", MODEL.dir(), saved.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(replayed.stdout, b"identical, 6 tokens\n", "{replayed:?}");
}

/// `curl -N` prints each token when it comes; killed half-way, it frees the device.
#[test]
fn curl_prints_tokens_as_they_come() {
    let server = Server::of(MODEL.dir(), &[], &[]);
    let url = format!("http://127.0.0.1:{}/v1/completions", server.port);
    let request = |n: u32| json!({ "prompt": "a", "max_tokens": n, "stream": true, "ignore_eos": true }).to_string();
    let curl = |n: u32| {
        let mut command = Command::new("curl");
        command.args(["-sN", &url, "-H", "Content-Type: application/json", "-d", &request(n)]);
        command.stdout(Stdio::piped());
        command
    };
    let output = curl(5).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("data: {") && text.ends_with("\n\ndata: [DONE]\n\n"), "{text}");
    let mut endless = curl(4000).spawn().unwrap();
    let lines = BufReader::new(endless.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let tokens: Vec<String> = lines.filter(|line| !line.is_empty()).take(3).collect();
    assert!(tokens.iter().all(|line| line.starts_with("data: {")), "{tokens:?}");
    assert_eq!(server.metric("vllm:num_requests_running", ""), 1.0, "there are tokens, and more to come");
    endless.kill().unwrap();
    endless.wait().unwrap();
    let killed = Instant::now();
    server.wait_for_metric("vllm:num_requests_running", |n| n == 0.0);
    assert!(killed.elapsed() < Duration::from_secs(2));
}
