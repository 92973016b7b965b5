use std::fs;

use serde_json::{Value, json};

use crate::model::{Model, check, golden};

/// The golden models' tokenizer: 3 control tokens, 256 bytes, and fillers up to 512.
fn good() -> Value {
    serde_json::from_slice(&fs::read(golden("mis_w8_1layer").join("tokenizer.json")).unwrap()).unwrap()
}

fn load(vocab_size: u32, tokenizer: &Value) -> gale::error::Result<Option<gale::tokenizer::Tokenizer>> {
    let mut model = Model::new();
    model.config["vocab_size"] = vocab_size.into();
    model.write_config();
    model.write("tokenizer.json", tokenizer.to_string());
    model.load_tokenizer()
}

#[test]
fn without_a_file_there_is_no_tokenizer() {
    assert!(Model::new().load_tokenizer().unwrap().is_none());
}

#[test]
fn broken_files_are_named() {
    let model = Model::new();
    for text in ["", "{", "[]", r#"{"version": "1.0"}"#, r#"{"model": {"type": "Magic"}}"#] {
        model.write("tokenizer.json", text);
        check(model.load_tokenizer(), &["tokenizer.json", "not a usable tokenizer"]);
    }
    let mut charsmap = good();
    charsmap["normalizer"] = json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" });
    check(load(512, &charsmap), &["tokenizer.json", "not a usable tokenizer"]);
    fs::remove_file(model.path("tokenizer.json")).unwrap();
    fs::create_dir(model.path("tokenizer.json")).unwrap();
    check(model.load_tokenizer(), &["cannot read", "tokenizer.json", "expected a regular file"]);
}

#[test]
fn an_id_that_the_model_lacks_is_named() {
    assert!(load(512, &good()).is_ok());
    assert!(load(600, &good()).is_ok(), "a model may have more ids than its tokenizer");
    check(
        load(511, &good()),
        &["tokenizer.json", "can emit id 511", "\"<t511>\"", "below vocab_size = 511", "config.json"],
    );

    let mut added = good();
    let pad = json!({ "id": 512, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true });
    added["added_tokens"].as_array_mut().unwrap().push(pad);
    check(load(512, &added), &["can emit id 512", "\"<pad>\""]);
    assert!(load(513, &added).is_ok());

    let mut post = good();
    post["post_processor"]["special_tokens"]["<s>"]["ids"] = json!([900]);
    check(load(512, &post), &["can emit id 900", "post-processor"]);
}

/// A file that asks for it would cut a long prompt without a word.
#[test]
fn truncation_and_padding_are_taken_out() {
    let mut cut = good();
    cut["truncation"] = json!({ "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0 });
    cut["padding"] = json!({ "strategy": { "Fixed": 50 }, "direction": "Right", "pad_to_multiple_of": null,
                             "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>" });
    let tokenizer = load(512, &cut).unwrap().unwrap();
    assert_eq!(tokenizer.encode("abcdefg", true).unwrap().len(), 9, "BOS, the space and seven bytes");
}
