//! `gale replay` repeats answers of the server, bit for bit, and says where one is another.

use crate::server::{MODEL, Model, Server, gale};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Output;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// The answer to a request, as it came.
fn answer(server: &Server, path: &str, mut request: Value) -> Vec<u8> {
    request["replay"] = true.into();
    let mut client = server.client();
    client.send_json(path, &request);
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.body
}

fn replay(dir: &str, response: &[u8], more: &[&str], variables: &[(&str, &str)]) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), response).unwrap();
    let path = file.path().to_str().unwrap();
    gale(&[&["replay", "-m", dir, path], more].concat()).envs(variables.iter().copied()).output().unwrap()
}

#[track_caller]
fn expect_identical(response: &[u8], n_tokens: usize) {
    let output = replay(MODEL.dir(), response, &[], &[]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("identical, {n_tokens} token{}\n", if n_tokens == 1 { "" } else { "s" }),
        "{:?}",
        output.stderr
    );
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("TTFT"), "how long requests take is what a server logs: {stderr}");
}

/// The last line of stderr.
#[track_caller]
fn expect_error(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{stderr}");
    let line = stderr.lines().last().unwrap();
    assert!(line.starts_with("error: "), "{stderr}");
    line.to_owned()
}

/// A response with a change.
fn changed(response: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut json = serde_json::from_slice(response).unwrap();
    change(&mut json);
    json.to_string().into_bytes()
}

fn sampled() -> Value {
    json!({ "prompt": "Hello", "max_tokens": 12, "temperature": 1.3, "seed": 7, "ignore_eos": true })
}

#[test]
fn answers_can_be_repeated() {
    let server = Server::start(&["--chunk", "8"]);
    let chat = json!({ "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 9, "ignore_eos": true });
    let with = |base: &Value, fields: Value| {
        let mut request = base.clone();
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        request
    };
    let many = json!({ "prompt": ["a", "b c"], "n": 3, "max_tokens": 6, "logprobs": 3, "echo": true, "top_k": 400, "top_p": 0.9,
        "min_p": 1e-6, "repetition_penalty": 1.1, "frequency_penalty": 0.2, "presence_penalty": 0.1,
        "logit_bias": { "300": 3.1 }, "ignore_eos": true });
    let stop = json!({ "prompt": "a", "max_tokens": 9, "logit_bias": { "300": 1000 }, "stop": ["0><t"] });
    for (path, request, n_tokens) in [
        (COMPLETIONS, sampled(), 12),
        (COMPLETIONS, with(&sampled(), json!({ "temperature": 0 })), 12),
        (COMPLETIONS, with(&sampled(), json!({ "seed": null })), 12),
        (COMPLETIONS, with(&sampled(), json!({ "seed": u64::MAX, "n": 2 })), 24),
        (COMPLETIONS, with(&sampled(), json!({ "max_tokens": 0, "echo": true, "logprobs": 1 })), 0),
        (COMPLETIONS, many.clone(), 36),
        (COMPLETIONS, stop, 2),
        (CHAT, chat.clone(), 9),
        (CHAT, with(&chat, json!({ "logprobs": true, "top_logprobs": 2, "n": 2 })), 18),
        (CHAT, with(&chat, json!({ "logit_bias": { "2": 1000 }, "ignore_eos": false })), 1),
    ] {
        expect_identical(&answer(&server, path, request.clone()), n_tokens);
        let streamed = answer(&server, path, with(&request, json!({ "stream": true })));
        assert!(streamed.starts_with(b"data: "));
        expect_identical(&streamed, n_tokens);
    }
}

/// Nobody's prompt is in an answer that was not asked to be repeatable, and what the server chose is told in one that was.
#[test]
fn only_who_asks_is_told_how() {
    let server = Server::start(&[]);
    let quiet = server.completion(&sampled());
    assert!(quiet.get("replay").is_none());
    let told: Value = serde_json::from_slice(&answer(&server, COMPLETIONS, sampled())).unwrap();
    let replay = &told["replay"];
    assert_eq!(replay["work"]["sampling"]["seed"], 7);
    assert_eq!(replay["work"]["prompts"][0][0], 1, "BOS");
    assert_eq!(replay["tokens"][0].as_array().unwrap().len(), 12);
    for part in ["weights", "files", "build", "card", "driver"] {
        assert!(replay["fingerprint"][part].as_str().is_some_and(|it| it.len() > 5), "{replay}");
    }
    let drawn = answer(&server, COMPLETIONS, json!({ "prompt": "a", "max_tokens": 1 }));
    let drawn: Value = serde_json::from_slice(&drawn).unwrap();
    let seed = drawn["replay"]["work"]["sampling"]["seed"].as_u64().unwrap();
    assert!(seed < 1 << 53, "{seed} is none that every client can keep");
    let chunk = json!({ "prompt": "a", "max_tokens": 1, "stream": true, "replay": true });
    let chunks = crate::http::Stream::post(server.client(), COMPLETIONS, &chunk).objects;
    let last = chunks.last().unwrap();
    assert_eq!((&last["choices"], last.get("usage")), (&json!([]), None), "{last}");
    assert_eq!(last["replay"]["tokens"][0].as_array().unwrap().len(), 1);
}

#[test]
fn the_first_difference_is_named() {
    let server = Server::start(&[]);
    let mut request = sampled();
    request["logprobs"] = 1.into();
    let response = answer(&server, COMPLETIONS, request);
    let told =
        |change: &dyn Fn(&mut Value)| expect_error(replay(MODEL.dir(), &changed(&response, |it| change(it)), &[], &[]));
    let token = told(&|it| it["replay"]["tokens"][0][5] = 3.into());
    assert!(token.contains(": answer 0, token 5: expected 3 \"<0x00>\", found "), "{token}");
    assert!(token.contains("the fingerprint is the same"), "{token}");
    let longer = told(&|it| it["replay"]["tokens"][0].as_array_mut().unwrap().push(3.into()));
    assert!(longer.contains(": answer 0, token 12: expected 3 \"<0x00>\", found no token any more"), "{longer}");
    let text = told(&|it| it["choices"][0]["text"] = format!("{}!", it["choices"][0]["text"].as_str().unwrap()).into());
    assert!(
        text.contains(": choices[0].text, from character ") && text.contains("expected \"!\", found \"\""),
        "{text}"
    );
    let number = told(&|it| {
        let logprob = &mut it["choices"][0]["logprobs"]["token_logprobs"][3];
        *logprob = f64::from_bits(logprob.as_f64().unwrap().to_bits() ^ 1).into();
    });
    assert!(number.contains(": choices[0].logprobs.token_logprobs[3]: expected -"), "one bit: {number}");
    let seed = told(&|it| it["replay"]["work"]["sampling"]["seed"] = 8.into());
    assert!(seed.contains(": answer 0, token "), "{seed}");
}

#[test]
fn other_weights_are_refused_and_named() {
    let response = answer(&Server::start(&[]), COMPLETIONS, sampled());
    let model = Model::new("mis_nowin_v5_gqa8");
    let file = Path::new(model.dir()).join("model.safetensors");
    let original = fs::read(&file).unwrap();
    let write = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = original.clone();
        change(&mut bytes);
        fs::write(&file, bytes).unwrap();
    };
    write(&|bytes| *bytes.last_mut().unwrap() ^= 1); // one of those that the fingerprint looks at
    let refused = expect_error(replay(model.dir(), &response, &[], &[]));
    assert!(refused.contains("another model's answer: weights: expected ") && refused.contains("--force"), "{refused}");
    assert!(!refused.contains("template") && !refused.contains("card"), "only the weights differ: {refused}");
    let forced = replay(model.dir(), &response, &["--force"], &[]);
    assert!(String::from_utf8(forced.stderr).unwrap().contains("gale: weights: expected "));
    // Of large tensors it looks at a few places; what it overlooks, the tokens tell.
    write(&|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..].chunks_mut(512).for_each(|it| it[1] ^= 0x81);
        *bytes.last_mut().unwrap() = *original.last().unwrap();
    });
    let other = expect_error(replay(model.dir(), &response, &["--force"], &[]));
    assert!(other.contains(": answer 0, token "), "{other}");

    let small = Model::new("mis_w8_1layer");
    let unlike = expect_error(replay(small.dir(), &response, &[], &[]));
    assert!(unlike.contains("another model's answer: weights: ") && unlike.contains("; config, tokenizer"), "{unlike}");

    write(&|_| {});
    fs::write(Path::new(model.dir()).join("chat_template.jinja"), "{{ messages[0].content }}").unwrap();
    let template = expect_error(replay(model.dir(), &response, &[], &[]));
    assert!(template.contains("answer: config, tokenizer or chat template: expected "), "{template}");
}

/// Another card is no reason to refuse: whether it gives the same bits is what somebody wants to know.
#[test]
fn another_card_is_told_of() {
    let response = answer(&Server::start(&[]), COMPLETIONS, sampled());
    let output = replay(MODEL.dir(), &response, &[], &[("CUDA_EMULATOR_GPU", "a100")]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("gale: card: expected ") && stderr.contains("found "), "{stderr}");
    assert_eq!(output.stdout, b"identical, 12 tokens\n", "the emulator computes alike, whatever it presents: {stderr}");
}

#[test]
fn a_damaged_response_is_one_clear_line() {
    let server = Server::start(&[]);
    let response = answer(&server, COMPLETIONS, sampled());
    let told = |bytes: &[u8]| expect_error(replay(MODEL.dir(), bytes, &[], &[]));
    assert!(told(b"").contains("not valid JSON"));
    assert!(told(&response[..response.len() / 2]).contains("not valid JSON"));
    assert!(told(b"\xff").contains("not UTF-8"));
    assert!(told(b"[1]").contains("expected a JSON object"));
    let plain = server.completion(&sampled()).to_string();
    assert!(told(plain.as_bytes()).contains("only an answer to a request with \"replay\": true"));
    let mut request = sampled();
    request["stream"] = true.into();
    let stream = String::from_utf8(answer(&server, COMPLETIONS, request)).unwrap();
    let events: Vec<&str> = stream.split_inclusive("\n\n").collect();
    let cut = told(events[..events.len() - 2].concat().as_bytes());
    assert!(cut.contains("the stream ends early") && !cut.contains("can be repeated"), "{cut}");
    let [first, .., done] = &events[..] else { panic!("{stream}") };
    assert!(told((first.to_string() + done).as_bytes()).contains("only an answer to a request with"), "it is whole");
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 15] = [
        ("missing field `weights`", |it| drop(it["replay"]["fingerprint"].as_object_mut().unwrap().remove("weights"))),
        ("missing field `prompts`", |it| drop(it["replay"]["work"].as_object_mut().unwrap().remove("prompts"))),
        ("unknown field `other`", |it| it["replay"]["other"] = 1.into()),
        ("invalid type", |it| it["replay"]["work"]["n"] = "x".into()),
        ("unknown variant", |it| it["replay"]["kind"] = "song".into()),
        ("numbers of prompts", |it| it["replay"]["work"]["n"] = 0.into()),
        ("numbers of prompts", |it| it["replay"]["work"]["n"] = 4_000_000_000_u32.into()),
        ("numbers of prompts", |it| it["replay"]["work"]["stop"] = json!([""])),
        ("numbers of prompts", |it| it["replay"]["tokens"] = json!([[], []])),
        ("no context holds", |it| it["replay"]["work"]["max_tokens"][0] = u32::MAX.into()),
        ("--ctx: expected at most", |it| it["replay"]["work"]["max_tokens"][0] = 2_000_000_000.into()),
        ("id 600 at index 0", |it| it["replay"]["work"]["prompts"][0][0] = 600.into()),
        ("at least one token", |it| it["replay"]["work"]["prompts"][0] = json!([])),
        ("top_p: expected", |it| it["replay"]["work"]["sampling"]["top_p"] = 2.into()),
        ("logit_bias: expected", |it| it["replay"]["work"]["sampling"]["logit_bias"] = json!([[600, 1.0]])),
    ];
    for (words, change) in cases {
        let line = told(&changed(&response, change));
        assert!(line.contains(words), "{words:?} in {line}");
    }
    let choice = told(&changed(&response, |it| it["choices"][0]["index"] = 7.into()));
    assert!(choice.contains("key \"choices\": expected an index below 1"), "{choice}");
    let nowhere = expect_error(gale(&["replay", "-m", MODEL.dir(), "/nowhere.json"]).output().unwrap());
    assert!(nowhere.contains("cannot read /nowhere.json"), "{nowhere}");
}
