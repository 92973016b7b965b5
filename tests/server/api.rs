//! docs/api.md, row by row: every path and field is tried, and there are no others.

use crate::http::Stream;
use crate::server::Server;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// The first cells of the tables, and under which heading they stand.
fn rows() -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).unwrap();
    let mut heading = "";
    let mut rows = vec![];
    for line in text.lines() {
        if let Some(it) = line.strip_prefix("## ") {
            heading = it.trim_matches('`');
        } else if let Some(row) = line.strip_prefix("| `") {
            rows.push((heading.to_owned(), row.split('`').next().unwrap().to_owned()));
        }
    }
    rows
}

fn fields_of(path: &str) -> Vec<String> {
    let heading = format!("POST {path}");
    rows().into_iter().filter(|it| it.0 == heading).map(|it| it.1).collect()
}

/// The names under "Refused".
fn refused() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).unwrap();
    let (_, section) = text.split_once("## Refused\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    section.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A path that takes prompts, and a request that the fields are added to: greedy, of 8 tokens.
struct Tried<'a> {
    server: &'a Server,
    path: &'a str,
}

impl Tried<'_> {
    fn request(&self, fields: Value) -> Value {
        let mut request = match self.path {
            CHAT => json!({ "messages": [{ "role": "user", "content": "Hi" }] }),
            _ => json!({ "prompt": "Hi" }),
        };
        let defaults = json!({ "max_tokens": 8, "temperature": 0 });
        for fields in [defaults, fields] {
            request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        request
    }

    fn ask(&self, fields: Value) -> Value {
        self.server.post(self.path, &self.request(fields)).expect_ok()
    }

    fn text(&self, fields: Value) -> String {
        let choice = &self.ask(fields)["choices"][0];
        choice["text"].as_str().or(choice["message"]["content"].as_str()).unwrap().to_owned()
    }

    fn n_tokens(&self, fields: Value) -> u64 {
        self.ask(fields)["usage"]["completion_tokens"].as_u64().unwrap()
    }

    fn n_prompt(&self, fields: Value) -> u64 {
        self.ask(fields)["usage"]["prompt_tokens"].as_u64().unwrap()
    }

    /// How often the token of which nothing keeps it, but penalties, is generated.
    fn n_favourites(&self, fields: Value) -> usize {
        let mut fields = fields;
        fields["logit_bias"] = json!({ "300": 1000 });
        self.text(fields).matches("<t300>").count()
    }

    /// Fails unless the field has the effect that its row tells.
    fn try_field(&self, field: &str) {
        let greedy = || self.text(json!({}));
        let hot = |field: &str, value: Value| {
            let mut fields = json!({ "temperature": 2, "seed": 3 });
            fields[field] = value;
            self.text(fields)
        };
        match field {
            "messages" => {
                let longer = json!([{ "role": "system", "content": "Be." }, { "role": "user", "content": "Hi" }]);
                assert!(self.n_prompt(json!({ "messages": longer })) > self.n_prompt(json!({})));
                let parts = json!([{ "role": "user", "content": [{ "type": "text", "text": "Hi" }] }]);
                assert_eq!(self.text(json!({ "messages": parts })), greedy());
            }
            "safe_prompt" => assert!(self.n_prompt(json!({ "safe_prompt": true })) > self.n_prompt(json!({})) + 50),
            "continue_final_message" => {
                let messages = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }]);
                let n = |it: bool| self.n_prompt(json!({ "messages": messages, "continue_final_message": it }));
                assert!(n(true) < n(false));
            }
            "prompt" => {
                assert_eq!(self.n_prompt(json!({ "prompt": [5, 6, 7] })), 3);
                assert_eq!(self.n_prompt(json!({ "prompt": [[5, 6, 7], [8]] })), 4);
                assert_eq!(self.ask(json!({ "prompt": ["Hi", "a"] }))["choices"].as_array().unwrap().len(), 2);
            }
            "echo" => assert_eq!(self.text(json!({ "echo": true })), format!("Hi{}", greedy())),
            "model" => {
                assert_eq!(self.ask(json!({ "model": "other" }))["model"], "other");
                self.server.post(self.path, &self.request(json!({ "model": "third" }))).expect_error(404);
            }
            "max_tokens" => assert_eq!(self.n_tokens(json!({ "max_tokens": 5, "ignore_eos": true })), 5),
            "max_completion_tokens" => {
                let fields = json!({ "max_tokens": null, "max_completion_tokens": 5, "ignore_eos": true });
                assert_eq!(self.n_tokens(fields), 5);
            }
            "temperature" => {
                assert_eq!(self.text(json!({ "seed": 1 })), self.text(json!({ "seed": 2 })));
                assert_ne!(self.text(json!({ "temperature": 2, "seed": 1 })), greedy());
            }
            "top_k" => assert_eq!(hot("top_k", json!(1)), greedy()),
            "top_p" => assert_eq!(hot("top_p", json!(1e-6)), greedy()),
            "min_p" => assert_eq!(hot("min_p", json!(1)), greedy()),
            "logit_bias" => assert_eq!(self.n_favourites(json!({})), 8),
            "repetition_penalty" => assert_eq!(self.n_favourites(json!({ "repetition_penalty": 1e6 })), 1),
            "frequency_penalty" => assert_eq!(self.n_favourites(json!({ "frequency_penalty": 600 })), 2),
            "presence_penalty" => {
                assert_eq!(self.n_favourites(json!({ "presence_penalty": 600 })), 8);
                assert_eq!(self.n_favourites(json!({ "presence_penalty": 1200 })), 1);
            }
            "seed" => {
                let text = |seed: u64| self.text(json!({ "temperature": 1, "seed": seed, "ignore_eos": true }));
                assert_eq!(text(4), text(4));
                assert_ne!(text(4), text(5));
            }
            "n" => assert_eq!(self.ask(json!({ "n": 3 }))["choices"].as_array().unwrap().len(), 3),
            "stop" => {
                let fields = json!({ "logit_bias": { "300": 1000 }, "stop": ["0><t"] });
                assert_eq!(self.text(fields), "<t30");
            }
            "ignore_eos" => {
                let n = |it: bool| self.n_tokens(json!({ "logit_bias": { "2": 1000 }, "ignore_eos": it }));
                assert_eq!((n(false), n(true)), (1, 8));
            }
            "stream" => {
                let request = self.request(json!({ "stream": true }));
                assert_eq!(Stream::post(self.server.client(), self.path, &request).text(0), greedy());
            }
            "stream_options" => {
                let fields = json!({ "stream": true, "stream_options": { "include_usage": true }, "ignore_eos": true });
                let stream = Stream::post(self.server.client(), self.path, &self.request(fields));
                assert_eq!(stream.objects.last().unwrap()["usage"]["completion_tokens"], 8);
            }
            "replay" => {
                let answer = self.ask(json!({ "replay": true }));
                let tokens = answer["replay"]["tokens"][0].as_array().unwrap();
                assert_eq!(answer["usage"]["completion_tokens"], tokens.len());
            }
            "logprobs" if self.path == CHAT => {
                let logprobs = &self.ask(json!({ "logprobs": true, "ignore_eos": true }))["choices"][0]["logprobs"];
                assert_eq!(logprobs["content"].as_array().unwrap().len(), 8);
            }
            "logprobs" => {
                let logprobs = &self.ask(json!({ "logprobs": 2, "ignore_eos": true }))["choices"][0]["logprobs"];
                assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 8);
            }
            "top_logprobs" => {
                let logprobs = &self.ask(json!({ "logprobs": true, "top_logprobs": 4 }))["choices"][0]["logprobs"];
                assert_eq!(logprobs["content"][0]["top_logprobs"].as_array().unwrap().len(), 4);
            }
            "response_format" => assert_eq!(self.text(json!({ "response_format": { "type": "text" } })), greedy()),
            other => panic!("docs/api.md has {other} for {}, and nobody has said how it is tried", self.path),
        }
    }
}

fn try_tokenize(server: &Server, field: &str) {
    let tokens = |request: Value| server.post("/tokenize", &request).expect_ok();
    let count = |request: Value| tokens(request)["count"].as_u64().unwrap();
    let chat = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }]);
    match field {
        "prompt" => assert_eq!(tokens(json!({ "prompt": "a" }))["tokens"], json!([1, 259, 100])),
        "add_special_tokens" => assert_eq!(count(json!({ "prompt": "a", "add_special_tokens": false })), 2),
        "messages" => assert!(count(json!({ "messages": chat })) > 10),
        "safe_prompt" => assert!(count(json!({ "messages": chat, "safe_prompt": true })) > 60),
        "continue_final_message" => {
            let n = count(json!({ "messages": chat, "continue_final_message": true }));
            assert!(n < count(json!({ "messages": chat })));
        }
        "return_token_strs" => {
            assert_eq!(tokens(json!({ "prompt": "", "return_token_strs": true }))["token_strs"], json!(["<s>"]));
        }
        "model" => {
            tokens(json!({ "prompt": "a", "model": "other" }));
            server.post("/tokenize", &json!({ "prompt": "a", "model": "third" })).expect_error(404);
        }
        other => panic!("docs/api.md has {other} for /tokenize, and nobody has said how it is tried"),
    }
}

fn try_detokenize(server: &Server, field: &str) {
    let text = |request: Value| server.post("/detokenize", &request).expect_ok()["prompt"].clone();
    match field {
        "tokens" => assert_eq!(text(json!({ "tokens": [75, 108] })), "Hi"),
        "skip_special_tokens" => {
            assert_eq!(text(json!({ "tokens": [75, 2], "skip_special_tokens": true })), "H");
            assert_eq!(text(json!({ "tokens": [75, 2] })), "H</s>");
        }
        "model" => {
            text(json!({ "tokens": [75], "model": "other" }));
            server.post("/detokenize", &json!({ "tokens": [75], "model": "third" })).expect_error(404);
        }
        other => panic!("docs/api.md has {other} for /detokenize, and nobody has said how it is tried"),
    }
}

/// What the server itself says that it takes, when it is asked for what it does not.
fn known_fields(server: &Server, path: &str) -> BTreeSet<String> {
    let chat = json!([{ "role": "user", "content": "a" }]);
    let requests = match path {
        CHAT => vec![json!({ "messages": chat })],
        COMPLETIONS => vec![json!({ "prompt": "a" })],
        "/tokenize" => vec![json!({ "prompt": "a" }), json!({ "messages": chat })],
        _ => vec![json!({ "tokens": [] })],
    };
    let of = |mut request: Value| {
        request["no_such_field"] = json!(1);
        let error = server.post(path, &request).expect_error(400);
        let (_, known) = error["message"].as_str().unwrap().split_once("there are ").unwrap();
        known.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    requests.into_iter().flat_map(of).collect()
}

#[test]
fn every_row_is_true() {
    let server = Server::start(&["--served-model-name", "tiny", "other"]);
    for path in [CHAT, COMPLETIONS, "/tokenize", "/detokenize"] {
        let fields = fields_of(path);
        assert_eq!(BTreeSet::from_iter(fields.clone()), known_fields(&server, path), "{path}");
        for field in fields {
            match path {
                "/tokenize" => try_tokenize(&server, &field),
                "/detokenize" => try_detokenize(&server, &field),
                _ => Tried { server: &server, path }.try_field(&field),
            }
        }
    }
    for (_, row) in rows().iter().filter(|it| it.0 == "Paths") {
        let (method, path) = row.split_once(' ').unwrap();
        let answer = match method {
            "GET" => server.get(&path.replace("NAME", "other")),
            // Each has a table of its own, and its heading.
            _ => {
                assert!(!fields_of(path).is_empty(), "{path}");
                continue;
            }
        };
        assert_eq!(answer.status, 200, "{path}");
    }
    let names = refused();
    assert!(names.len() > 20);
    for name in names {
        for path in [CHAT, COMPLETIONS] {
            let mut request = Tried { server: &server, path }.request(json!({}));
            request[&name] = json!(1);
            let error = server.post(path, &request).expect_error(400);
            assert_eq!((&error["param"], &error["code"]), (&json!(name), &json!("unsupported")));
        }
    }
}
