//! Many clients, and clients that leave or dawdle.

use crate::http::{Client, Stream};
use crate::server::Server;
use serde_json::{Value, json};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const COMPLETIONS: &str = "/v1/completions";
const WAITING: &str = "vllm:num_requests_waiting";
const RUNNING: &str = "vllm:num_requests_running";
const CANCELLED: &str = "gale:requests_cancelled_total";

/// It goes on until its client leaves.
fn long() -> Value {
    json!({ "prompt": "a", "max_tokens": 4000, "ignore_eos": true, "stream": true, "seed": 1 })
}

/// Waits for the first token of a long answer.
fn begin_long(server: &Server) -> Client {
    let mut client = server.client();
    client.send_json(COMPLETIONS, &long());
    assert_eq!(client.head().unwrap().0, 200);
    client.chunk().unwrap().unwrap();
    client
}

/// 50 clients, of which half hang up: before their turn, while they stream, or before they read a byte.
fn crowd(server: &Server, round: u64) {
    thread::scope(|scope| {
        for i in 0..50 {
            scope.spawn(move || {
                let stream = i % 4 < 2;
                let leaves = i % 2 == 1;
                let n = if leaves { 3000 } else { 4 };
                let request = json!({ "prompt": [1, 80 + i], "max_tokens": n, "ignore_eos": true, "seed": round + i,
                    "stream": stream });
                let mut client = server.client();
                client.send_json(COMPLETIONS, &request);
                if !leaves {
                    match stream {
                        true => {
                            assert_eq!(client.head().unwrap().0, 200);
                            assert!(Stream::read(&mut client).is_done);
                        }
                        false => assert_eq!(client.answer().unwrap().expect_ok()["usage"]["completion_tokens"], 4),
                    }
                } else if i % 3 == 0 && stream {
                    let _ = client.head().unwrap();
                    let _ = client.chunk().unwrap();
                } else {
                    thread::sleep(Duration::from_millis(7 * i));
                }
            });
        }
    });
    server.wait_for_metric(WAITING, |n| n == 0.0);
    server.wait_for_metric(RUNNING, |n| n == 0.0);
}

#[test]
fn a_crowd_of_which_half_hang_up_leaves_nothing_behind() {
    let server = Server::start(&[]);
    let allocated = || server.metric("gale:device_allocated_bytes", "");
    let before = allocated();
    crowd(&server, 0);
    let resident = server.resident_bytes();
    for round in 1..4 {
        crowd(&server, 100 * round);
    }
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 4 << 20, "{grown} bytes more after 150 requests more");
    assert_eq!(allocated(), before, "a request allocates no device memory");
    // A request whose client has left before the server could read it leaves no trace.
    let n_cancelled = server.metric(CANCELLED, "");
    assert!((90.0..=100.0).contains(&n_cancelled), "{n_cancelled} of 100 were seen to leave");
    let line = server.metric("vllm:request_success_total", "length");
    assert_eq!(line, 100.0);
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let server = Server::start(&["--queue", "2"]);
    let running = begin_long(&server);
    let short = json!({ "prompt": "a", "max_tokens": 2, "ignore_eos": true });
    let mut waiting: Vec<Client> = (0..2).map(|_| server.client()).collect();
    for client in &mut waiting {
        client.send_json(COMPLETIONS, &short);
    }
    server.wait_for_metric(WAITING, |n| n == 2.0);
    let refused = server.post(COMPLETIONS, &short);
    refused.expect_error(429);
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    // Who leaves the queue makes room in it.
    drop(waiting.pop());
    server.wait_for_metric(WAITING, |n| n == 1.0);
    let mut late = server.client();
    late.send_json(COMPLETIONS, &short);
    server.wait_for_metric(WAITING, |n| n == 2.0);
    drop(running);
    late.answer().unwrap().expect_ok();
    waiting[0].answer().unwrap().expect_ok();
    assert_eq!(server.metric("gale:requests_rejected_total", ""), 1.0);
}

/// While tokens come, streamed or not; while a prompt is read; and while one is scored.
#[test]
fn a_client_that_leaves_frees_the_device() {
    let server = Server::start(&["--chunk", "8"]);
    let mut whole = long();
    whole["stream"] = false.into();
    let prompt: Vec<u32> = (0..4000).map(|i| i % 600).collect();
    let reading = json!({ "prompt": prompt, "max_tokens": 1 });
    let scoring = json!({ "prompt": prompt, "max_tokens": 1, "echo": true, "logprobs": 1 });
    for (i, request) in [long(), whole, reading, scoring].into_iter().enumerate() {
        let mut client = server.client();
        client.send_json(COMPLETIONS, &request);
        server.wait_for_metric(RUNNING, |n| n == 1.0);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(server.metric(RUNNING, ""), 1.0, "request {i} takes long");
        let left = Instant::now();
        drop(client);
        server.wait_for_metric(RUNNING, |n| n == 0.0);
        assert!(left.elapsed() < Duration::from_secs(2), "request {i} went on for {:?}", left.elapsed());
        assert_eq!(server.metric(CANCELLED, ""), i as f64 + 1.0);
    }
}

/// The device does not wait for who reads slowly, nor do others: more is due than the system's buffers hold.
#[test]
fn a_slow_reader_keeps_nobody_waiting() {
    let server = Server::start(&[]);
    let (mut slow, due) = begin_large(&server);
    server.completion(&json!({ "prompt": "b", "max_tokens": 3, "ignore_eos": true }));
    let n_finished = server.metric("vllm:request_success_total", "length") as usize;
    assert_eq!(n_finished, N_PROMPTS * N + 1, "both are through");
    let stream = Stream::read(&mut slow);
    assert!(stream.is_done);
    let texts = stream.objects.iter().map(|it| it["choices"][0]["text"].as_str().unwrap().len());
    assert_eq!(texts.sum::<usize>(), due);
}

/// Who reads nothing at all is not waited for either.
#[test]
fn what_nobody_reads_is_given_up() {
    let server = Server::start(&["--timeout", "1"]);
    let (mut dead, due) = begin_large(&server);
    server.wait_for_metric(RUNNING, |n| n == 0.0);
    thread::sleep(Duration::from_secs(2));
    let mut n_read = 0;
    let end = loop {
        match dead.chunk() {
            Ok(Some(chunk)) => n_read += chunk.len(),
            other => break other,
        }
    };
    assert!(end.is_err() && n_read < due, "{n_read} of {due} bytes, and then {end:?}");
    server.completion(&json!({ "prompt": "b", "max_tokens": 1 }));
}

const N_PROMPTS: usize = 150;
const N: usize = 2;
const N_TOKENS: usize = 4000; // each of them <t300>

/// The head of an answer that is more than the system's buffers hold, and the bytes of its text.
fn begin_large(server: &Server) -> (Client, usize) {
    let due = N_PROMPTS * N * N_TOKENS * "<t300>".len();
    // That of the receiver does not grow while nothing is read.
    let room = buffer_sizes("tcp_wmem")[2] + buffer_sizes("tcp_rmem")[1];
    assert!(due > room, "{due} bytes fit into {room}");
    let prompts = vec![vec![300; N_TOKENS]; N_PROMPTS];
    let request = json!({ "prompt": prompts, "max_tokens": 0, "echo": true, "n": N, "stream": true });
    let mut client = server.client();
    client.send_json(COMPLETIONS, &request);
    assert_eq!(client.head().unwrap().0, 200);
    (client, due)
}

/// What the system gives a connection for its bytes: at the least, at first, at the most.
fn buffer_sizes(name: &str) -> [usize; 3] {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
    let sizes: Vec<usize> = text.split_whitespace().map(|it| it.parse().unwrap()).collect();
    sizes.try_into().unwrap()
}
