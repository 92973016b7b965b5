//! Encoding, and text that streams out token by token exactly as it decodes at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arbtest::arbitrary::{Result, Unstructured};
use arbtest::arbtest;
use gale::tokenizer::{TextStream, Tokenizer};
use serde_json::{Value, json};

/// A Llama tokenizer: words start with "▁", and what has no token is spelled in bytes. It is that of the golden
/// models, with some of its fillers turned into words.
fn metaspace() -> Tokenizer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/synth/mis_w8_1layer/tokenizer.json");
    let mut json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    for (id, word) in (300..).zip(["▁Hello", "▁world", "▁caf", "é", "▁▁", "!", "\u{FFFD}", "▁日本"]) {
        vocab.remove(&format!("<t{id}>"));
        vocab.insert(word.into(), id.into());
    }
    load(&json)
}

/// A GPT-2 style tokenizer: each byte is a letter, and tokens may end inside a character.
fn byte_level() -> Tokenizer {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut others = 0x100..;
    let letters: Vec<char> = (0..256)
        .map(|byte| char::from_u32(if printable(byte) { byte } else { others.next().unwrap() }).unwrap())
        .collect();
    let mut vocab: BTreeMap<String, usize> = (0..256).map(|byte| (letters[byte].to_string(), byte)).collect();
    let spelled = |bytes: &[u8]| bytes.iter().map(|&byte| letters[usize::from(byte)]).collect::<String>();
    for bytes in [&b" Hello"[..], b" \xF0\x9F", b"\x98\x80", b"\xA9 a"] {
        vocab.insert(spelled(bytes), vocab.len());
    }
    let end = json!({ "id": 260, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true });
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    load(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [end], "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": [] },
    }))
}

fn load(json: &Value) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    Tokenizer::load(dir.path(), 512).unwrap().unwrap()
}

/// The pieces that stream out, the last one from the flush.
fn pieces(mut stream: TextStream, ids: &[u32]) -> Vec<String> {
    let mut pieces: Vec<String> = ids.iter().map(|&id| stream.step(id).unwrap()).collect();
    pieces.push(stream.flush().unwrap());
    pieces
}

#[track_caller]
fn check(tokenizer: &Tokenizer, ids: &[u32], expected: &[&str]) {
    assert_eq!(pieces(TextStream::new(tokenizer), ids), expected);
    assert_eq!(expected.concat(), tokenizer.decode(ids, true).unwrap());
}

#[test]
fn bos_is_added_on_request_alone() {
    let tokenizer = metaspace();
    assert_eq!(tokenizer.encode("é", false).unwrap(), [259, 303]);
    assert_eq!(tokenizer.encode("é", true).unwrap(), [1, 259, 303]);
    assert_eq!(tokenizer.encode("", true).unwrap(), [1]);
    assert_eq!(tokenizer.encode("<s></s>", false).unwrap(), [1, 2], "special tokens in the text");
    assert_eq!(byte_level().encode("a<|end|>", true).unwrap(), [97, 260], "no post-processor, no BOS");
}

#[test]
fn tokens_are_found_by_name_and_id() {
    let tokenizer = metaspace();
    assert_eq!((tokenizer.id("</s>"), tokenizer.id("[INST]")), (Some(2), None));
    assert_eq!((tokenizer.token(300).as_deref(), tokenizer.token(512)), (Some("▁Hello"), None));
    assert_eq!([0, 1, 2, 3, 300, 512].map(|id| tokenizer.is_special(id)), [true, true, true, false, false, false]);
}

#[test]
fn tokens_are_bytes() {
    let metaspace = metaspace();
    let bytes = |id| metaspace.bytes(id);
    assert_eq!([300, 303, 306].map(bytes), [" Hello".as_bytes(), "é".as_bytes(), "\u{FFFD}".as_bytes()]);
    assert_eq!([3 + 0x41, 3 + 0xC3, 3 + 0x20].map(bytes), [[0x41], [0xC3], [0x20]]);
    assert_eq!([2, 511 + 80].map(bytes), [&b"</s>"[..], b""], "a special token is its name, no token is nothing");
    let byte_level = byte_level();
    let bytes = |id| byte_level.bytes(id);
    assert_eq!(
        [256, 257, 258, 259, 260].map(bytes),
        [b" Hello", &b" \xF0\x9F"[..], b"\x98\x80", b"\xA9 a", b"<|end|>"]
    );
    assert!((0..=255).all(|byte: u8| byte_level.bytes(byte.into()) == [byte]));
}

#[test]
fn spaces_survive_and_the_first_is_stripped() {
    let tokenizer = metaspace();
    check(&tokenizer, &[300, 301, 305], &["Hello", " world", "!", ""]);
    check(&tokenizer, &[1, 300, 259, 301, 304, 303], &["", "Hello", " ", " world", "  ", "é", ""]);
    check(&tokenizer, &[259, 300], &["", " Hello", ""]);
    // Control tokens and ids beyond the tokenizer are no text, in the middle either.
    check(&tokenizer, &[300, 2, 511 + 80, 301], &["Hello", "", "", " world", ""]);
}

#[test]
fn a_continuation_keeps_its_first_space() {
    let tokenizer = metaspace();
    let after = |context: &[u32]| pieces(TextStream::after(&tokenizer, context).unwrap(), &[301, 305]);
    assert_eq!(after(&[1, 300]), [" world", "!", ""]);
    assert_eq!(after(&[300; 100]), [" world", "!", ""]);
    assert_eq!(after(&[1]), ["world", "!", ""]);
    assert_eq!(after(&[]), ["world", "!", ""]);
}

#[test]
fn characters_are_never_split() {
    let byte = |byte: u32| byte + 3;
    let euro = [byte(0xE2), byte(0x82), byte(0xAC)];
    let tokenizer = metaspace();
    check(&tokenizer, &[300, euro[0], euro[1], euro[2], 305], &["Hello", "", "", "€", "!", ""]);
    check(&tokenizer, &[302, byte(0xC3), byte(0xA9)], &["caf", "", "é", ""]);
    let tokenizer = byte_level();
    check(&tokenizer, &[256, 257, 258, 33], &[" Hello", "", " 😀", "!", ""]);
    check(&tokenizer, &[0xC3, 259, 0xC3, 0xA9], &["", "é a", "", "é", ""]);
}

#[test]
fn what_stays_incomplete_is_replaced_at_the_end() {
    let tokenizer = metaspace();
    check(&tokenizer, &[300, 3 + 0xE2, 3 + 0x82], &["Hello", "", "", "\u{FFFD}\u{FFFD}"]);
    check(&tokenizer, &[300, 306, 305], &["Hello", "\u{FFFD}", "!", ""]); // a real U+FFFD is complete
    let spelled: Vec<u32> = "\u{FFFD}\u{FFFD}😀".bytes().map(|byte| 3 + u32::from(byte)).collect();
    check(&tokenizer, &spelled, &["", "", "\u{FFFD}", "", "", "\u{FFFD}", "", "", "", "😀", ""]);
    check(&byte_level(), &[256, 257], &[" Hello", "", " \u{FFFD}"]);
    check(&tokenizer, &[], &[""]);
}

/// A run of bytes that is no text does not hold the output back for ever, nor does it break it.
#[test]
fn garbage_flows() {
    for (tokenizer, byte) in [(metaspace(), 3 + 0x80), (byte_level(), 0x80)] {
        let mut stream = TextStream::new(&tokenizer);
        let longest_silence = (0..100).map(|_| stream.step(byte).unwrap()).collect::<Vec<_>>();
        assert!(longest_silence.chunks(8).take(12).all(|eight| !eight.concat().is_empty()));
    }
    // The fourth byte makes the decoder take back the "é" before it; what is out stays out.
    let streamed = pieces(TextStream::new(&metaspace()), &[300, 3 + 0xC3, 3 + 0xA9, 3 + 0x80, 305]);
    assert_eq!(streamed, ["Hello", "", "é", "", "\u{FFFD}!", ""]);
}

fn any_ids(u: &mut Unstructured) -> Result<Vec<u32>> {
    const RUNS: [&[u32]; 5] =
        [&[3 + 0xE2, 3 + 0x82, 3 + 0xAC], &[3 + 0xC3, 3 + 0xA9], &[257, 258], &[0xC3, 259], &[304]];
    let mut ids = vec![];
    for _ in 0..u.int_in_range(0..=20)? {
        match u.int_in_range(0..=3)? {
            0 => ids.extend(*u.choose(&RUNS)?),
            1 => ids.push(u.int_in_range(256..=310)?),
            2 => ids.push(u.int_in_range(0..=600)?),
            _ => ids.push(u.int_in_range(30..=126)?),
        }
    }
    Ok(ids)
}

/// Whatever the ids, nothing panics; and if they are text, it streams out whole.
#[test]
fn any_stream_is_the_text_decoded_at_once() {
    let tokenizers = [metaspace(), byte_level()];
    let mut n_texts = 0;
    arbtest(|u| {
        let tokenizer = &tokenizers[usize::from(u.arbitrary::<bool>()?)];
        let ids = any_ids(u)?;
        let text = tokenizer.decode(&ids, true).unwrap();
        let streamed = pieces(TextStream::new(tokenizer), &ids).concat();
        if !text.contains(char::REPLACEMENT_CHARACTER) {
            assert_eq!(streamed, text, "{ids:?}");
            n_texts += 1;
        }
        Ok(())
    })
    .budget_ms(1500)
    .run();
    assert!(n_texts > 100, "only {n_texts} of the cases were text");
}

/// Any text: what is encoded streams out again, in pieces that are whole characters.
#[test]
fn any_text_survives_the_round_trip() {
    let tokenizers = [metaspace(), byte_level()];
    arbtest(|u| {
        let text: &str = u.arbitrary()?;
        for tokenizer in &tokenizers {
            let ids = tokenizer.encode(text, false).unwrap();
            assert_eq!(pieces(TextStream::new(tokenizer), &ids).concat(), tokenizer.decode(&ids, true).unwrap());
        }
        let ids = tokenizers[1].encode(text, false).unwrap();
        assert!(text.contains("<|end|>") || tokenizers[1].decode(&ids, true).unwrap() == text);
        Ok(())
    })
    .budget_ms(1000);
}
