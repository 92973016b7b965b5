use std::path::Path;

use crate::program::{Broken, Run, gale, golden};

/// A directory without weights, but with a tokenizer of Mistral's.
fn mistral(tokenizer: &str) -> Broken {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizers").join(tokenizer).join("tokenizer.json");
    Broken::new("mis_w8_1layer")
        .edit("config.json", |config| config["vocab_size"] = 32768.into())
        .remove("model.safetensors")
        .write("tokenizer.json", std::fs::read(path).unwrap())
}

fn rows(run: &Run) -> Vec<Vec<String>> {
    run.stdout
        .lines()
        .map(|line| line.split("  ").filter(|it| !it.is_empty()).map(|it| it.trim().to_owned()).collect())
        .collect()
}

#[test]
fn a_chat_token_by_token() {
    let chat =
        r#"{ "messages": [{ "role": "system", "content": "Be brief" }, { "role": "user", "content": "[INST]</s>" }] }"#;
    let model = mistral("v3_metaspace").write("chat.json", chat);
    let path = model.path("chat.json");
    let run = gale(&["explain", "-m", model.dir(), "--chat", path.to_str().unwrap()]).expect_ok();
    assert_eq!(
        run.stderr.lines().collect::<Vec<_>>(),
        ["gale: asked by Mistral v3 ([INST] as a token, the system in the last user turn)"]
    );
    let rows = rows(&run);
    let expected = [["1", "<s>", "template"], ["3", "[INST]", "template"]];
    assert_eq!(rows[..2], expected.map(|row| row.map(String::from).to_vec()));
    assert_eq!(rows.last().unwrap()[..], ["4", "[/INST]", "template"]);
    let from = |origin: &str| {
        let pieces: String = rows.iter().filter(|row| row[2] == origin).map(|row| row[1].as_str()).collect();
        pieces
    };
    assert_eq!((from("message 0, system").as_str(), from("message 1, user").as_str()), ("▁Be▁brief", "[INST]</s>"));
    assert_eq!(from("template"), "<s>[INST]<0x0A><0x0A>[/INST]");

    let safe = gale(&["explain", "-m", model.dir(), "--chat", path.to_str().unwrap(), "--safe-prompt"]).expect_ok();
    assert!(safe.stdout.contains("▁Always") && safe.stdout.contains("  safe prompt"), "{safe:?}");
}

/// What `generate -p` would run: its BOS, and a control token that the text spells.
#[test]
fn a_plain_prompt_token_by_token() {
    let model = mistral("v1_prepend");
    let run = gale(&["explain", "-m", model.dir(), "-p", "Hello</s>"]).expect_ok();
    let expected =
        [["1", "<s>", "tokenizer"], ["22557", "▁Hello", "text"], ["2", "</s>", "text, spelling a control token"]];
    assert_eq!(rows(&run), expected.map(|row| row.map(String::from).to_vec()));
    assert_eq!(run.stderr, "");
}

#[test]
fn prompts_that_cannot_be_explained() {
    let model = mistral("v1_prepend").write("bad.json", r#"[{ "role": "user" }]"#);
    let bad = model.path("bad.json");
    gale(&["explain", "-m", model.dir(), "--chat", bad.to_str().unwrap()])
        .expect_error(&["bad.json", "missing field `content`"]);
    gale(&["explain", "-m", model.dir(), "--chat", "/no/such.json"]).expect_error(&["/no/such.json"]);
    gale(&["explain", "-m", &golden("mis_w8_1layer"), "--chat", bad.to_str().unwrap()]).expect_error(&["bad.json"]);
    gale(&["explain", "-m", model.dir()]).expect_usage_error("--chat");
    gale(&["explain", "-m", model.dir(), "-p", "x", "--safe-prompt"]).expect_usage_error("--safe-prompt");
    let without = model.remove("tokenizer.json");
    gale(&["explain", "-m", without.dir(), "-p", "x"]).expect_error(&["no tokenizer.json"]);
}
