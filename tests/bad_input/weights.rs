use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use gale::config::{Config, WeightType};
use gale::error::Result;
use gale::weights::{TensorView, Weights};
use half::{bf16, f16};
use serde_json::json;

use crate::model::{INDEX, Model, SHARDS, Tensor, Tensors, check, golden, safetensors, with_header};

const Q: &str = "model.layers.0.self_attn.q_proj.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
const FILE: &str = "model.safetensors";

/// The tensor's bytes in the device's type.
fn read(tensor: &TensorView, weight_type: WeightType) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 2 * tensor.shape.iter().product::<usize>()];
    tensor.read(weight_type, &mut bytes).map(|()| bytes)
}

#[test]
fn good_models_open() {
    let model = Model::new();
    let weights = model.open().unwrap();
    assert_eq!((weights.weight_type(), weights.notice()), (WeightType::Bf16, None));
    assert_eq!(weights.tensor(Q).shape, [16, 16]);
    model.shard();
    let sharded = model.open_files().unwrap();
    assert_eq!(sharded.tensors().count(), 12);
    assert!(sharded.tensor(HEAD).path.ends_with(SHARDS[0]) && sharded.tensor(Q).path.ends_with(SHARDS[1]));
    sharded.check_unchanged().unwrap();
}

#[test]
fn golden_models_open() {
    for (name, weight_type) in [("mis_w8_1layer", WeightType::Bf16), ("mis_w16_f16", WeightType::F16)] {
        let dir = golden(name);
        let weights = Weights::open(&dir, &Config::load(&dir).unwrap()).unwrap();
        assert_eq!(weights.weight_type(), weight_type);
        assert!(weights.tensors().all(|(_, tensor)| read(&tensor, weight_type).unwrap() == tensor.bytes));
        assert!(weights.tensors().all(|(_, tensor)| tensor.bytes.iter().any(|&byte| byte != 0)));
    }
}

#[test]
fn no_weights_or_in_a_format_we_do_not_read() {
    let model = Model::new();
    fs::remove_file(model.path(FILE)).unwrap();
    check(model.open_files(), &["cannot read", "neither model.safetensors nor model.safetensors.index.json"]);
    for name in ["pytorch_model.bin", "consolidated.00.pth", "consolidated.safetensors"] {
        model.write(name, "");
        check(model.open_files(), &[name, "is not supported", "model.safetensors"]);
    }
    fs::create_dir(model.path(FILE)).unwrap();
    check(model.open_files(), &["model.safetensors", "expected a regular file"]);
}

#[test]
fn cut_off_or_grown() {
    let model = Model::new();
    let good = safetensors(&model.tensors);
    let words = [&format!("expected {} bytes by its header", good.len()), &format!("found {}", good.len() - 1)];
    model.write(FILE, &good[..good.len() - 1]);
    check(model.open_files(), &["model.safetensors: the file is cut off", words[0], words[1]]);
    model.write(FILE, [&good[..], b"!"].concat());
    check(model.open_files(), &["bytes that belong to no tensor", words[0]]);
    model.write(FILE, &good[..100]);
    check(model.open_files(), &["the header is longer than the file", "found 92 bytes"]);
    model.write(FILE, b"");
    check(model.open_files(), &["cut off", "found 0 bytes"]);
}

#[test]
fn a_header_longer_than_the_file() {
    let model = Model::new();
    for length in [u64::MAX, 1 << 32, 100_000_001, 3] {
        model.write(FILE, [&length.to_le_bytes()[..], b"{}"].concat());
        check(
            model.open_files(),
            &["the header is longer than the file", &format!("expected {length} bytes"), "found 2 bytes"],
        );
    }
    model.write(FILE, with_header("{\"a\": ", b""));
    check(model.open_files(), &["header is not a JSON object"]);
}

#[test]
fn offsets_that_overlap_or_leave_the_file() {
    let model = Model::new();
    let header = |a: [u64; 2], b: [u64; 2]| json!({ "a": { "dtype": "F32", "shape": [2], "data_offsets": a }, "b": { "dtype": "F32", "shape": [2], "data_offsets": b } });
    for (a, b, words) in [
        ([0, 8], [4, 12], ["tensor \"b\"", "4..12: tensors overlap"]),
        ([0, 8], [12, 20], ["tensor \"b\"", "12..20: tensors leave a gap"]),
        ([0, 8], [8, 12], ["tensor \"b\"", "expected 8 bytes for F32 [2]"]),
        ([0, 8], [16, 8], ["tensor \"b\"", "16..8"]),
        ([0, 8], [u64::MAX - 8, u64::MAX], ["tensor \"b\"", "inside the file"]),
    ] {
        model.write(FILE, with_header(&header(a, b).to_string(), &[0; 20]));
        check(model.open_files(), &["model.safetensors", words[0], words[1]]);
    }
    model.write(FILE, with_header(&header([0, 8], [8, 16]).to_string(), &[0; 15]));
    check(model.open_files(), &["the file is cut off"]);
}

#[test]
fn a_tensor_that_is_missing_or_unexpected() {
    let mut model = Model::new();
    let head = model.tensors.remove(HEAD).unwrap();
    check(
        model.open(),
        &["model.safetensors", "tensor \"lm_head.weight\"", "shape [32, 16]", "no such tensor", "tie_word_embeddings"],
    );
    model.tensors.insert(HEAD.into(), head);
    let q = model.tensors.remove(Q).unwrap();
    check(model.open(), &[&format!("tensor \"{Q}\""), "expected shape [16, 16]", "found no such tensor"]);
    model.tensors.insert(Q.into(), q);
    for extra in ["model.layers.0.self_attn.q_proj.bias", "model.layers.1.input_layernorm.weight", "a\nb"] {
        model.tensors.insert(extra.into(), Tensor::new("BF16", &[16]));
        check(
            model.open(),
            &["model.safetensors", &extra.escape_debug().to_string(), "only the tensors of the architecture"],
        );
        model.tensors.remove(extra);
    }
    model.tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), Tensor::new("F32", &[4]));
    assert!(model.open().is_ok(), "tables of angles are ignored");
}

#[test]
fn a_tied_head_may_repeat_the_embedding() {
    let mut model = Model::new();
    model.config["tie_word_embeddings"] = true.into();
    assert!(model.open().is_ok_and(|weights| weights.tensors().all(|(spec, _)| spec.name != HEAD)));
    model.tensors.get_mut(HEAD).unwrap().bytes[5] = 1;
    check(
        model.open(),
        &["tensor \"lm_head.weight\"", "the same values as model.embed_tokens.weight", "tie_word_embeddings"],
    );
    model.tensors.remove(HEAD);
    assert!(model.open().is_ok());
}

#[test]
fn a_tensor_of_another_shape() {
    let mut model = Model::new();
    for shape in [&[16, 8][..], &[256], &[1, 16, 16], &[0, 16], &[]] {
        model.tensors.insert(Q.into(), Tensor::new("BF16", shape));
        check(
            model.open(),
            &[&format!("tensor \"{Q}\""), "expected shape [16, 16] by config.json", &format!("found {shape:?}")],
        );
    }
}

#[test]
fn types_that_are_unknown_or_mixed() {
    let mut model = Model::new();
    model.tensors.insert(Q.into(), Tensor::new("I16", &[16, 16]));
    check(model.open(), &[&format!("tensor \"{Q}\""), "expected type BF16, F16 or F32", "found I16"]);
    model.tensors.insert(Q.into(), Tensor::new("X16", &[16, 16]));
    check(model.open(), &[&format!("tensor \"{Q}\""), "unknown variant `X16`"]);
    model.tensors.insert(Q.into(), Tensor::new("F16", &[16, 16]));
    check(model.open(), &[&format!("tensor \"{Q}\""), "BF16 and F16 not to be mixed", "is BF16"]);
}

/// f32 becomes what the other tensors are; on its own, bf16.
#[test]
fn f32_is_rounded_with_a_notice() {
    let mut model = Model::new();
    let values: Vec<f32> = (0..32 * 16).map(|i| 1.0 + i as f32 / 1000.0).collect();
    let mut embedding = Tensor::new("F32", &[32, 16]);
    embedding.bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    model.tensors.insert(EMBEDDING.into(), embedding);

    let weights = model.open().unwrap();
    assert_eq!(weights.weight_type(), WeightType::Bf16);
    assert_eq!(weights.notice().unwrap(), "1 of 12 tensors are f32 and are rounded to bf16");
    let rows = weights.tensor(EMBEDDING).rows(3..5);
    assert_eq!(rows.shape, [2, 16]);
    let expected: Vec<u8> = values[48..80].iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect();
    assert_eq!(read(&rows, WeightType::Bf16).unwrap(), expected);

    for (name, tensor) in &mut model.tensors {
        tensor.dtype = if name == EMBEDDING { "F32" } else { "F16" };
    }
    let weights = model.open().unwrap();
    assert_eq!(weights.weight_type(), WeightType::F16);
    let expected: Vec<u8> = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    assert_eq!(read(&weights.tensor(EMBEDDING), WeightType::F16).unwrap(), expected);

    model.tensors.get_mut(EMBEDDING).unwrap().bytes[..4].copy_from_slice(&70000f32.to_le_bytes());
    let weights = model.open().unwrap();
    check(
        read(&weights.tensor(EMBEDDING), WeightType::F16),
        &["tensor \"model.embed_tokens.weight\"", "f16 holds", "found 70000"],
    );
}

#[test]
fn an_index_that_leaves_the_directory() {
    let model = Model::new();
    let mut index = model.shard();
    let outside = tempfile::tempdir().unwrap();
    fs::copy(model.path(SHARDS[0]), outside.path().join("x.safetensors")).unwrap();
    let absolute = outside.path().join("x.safetensors");
    for name in
        [absolute.to_str().unwrap(), "../x.safetensors", "sub/x.safetensors", "./x.safetensors", "..", "", "a/", "a\nb"]
    {
        index["weight_map"][Q] = name.into();
        model.write(INDEX, index.to_string());
        let key = format!("key \"weight_map.{Q}\"");
        check(
            model.open_files(),
            &["index.json", &key, "the name of a file in the same directory", &format!("found {name:?}")],
        );
    }
}

#[test]
fn an_index_and_files_that_disagree() {
    let model = Model::new();
    let good = model.shard();
    let with = |tensor: &str, file: &str| {
        let mut index = good.clone();
        index["weight_map"][tensor] = file.into();
        model.write(INDEX, index.to_string());
        model.open_files()
    };
    check(with(Q, "model-3.safetensors"), &["cannot read", "model-3.safetensors", "No such file"]);
    check(
        with(Q, SHARDS[0]),
        &["index.json", &format!("tensor \"{Q}\""), &format!("expected it in {:?}", SHARDS[0]), SHARDS[1]],
    );
    check(with("x", SHARDS[0]), &["index.json", "tensor \"x\"", "found it in no file of the index"]);
    let mut index = good.clone();
    index["weight_map"].as_object_mut().unwrap().remove(Q);
    model.write(INDEX, index.to_string());
    check(
        model.open_files(),
        &[SHARDS[1], &format!("tensor \"{Q}\""), "every tensor to be in model.safetensors.index.json"],
    );
    for (text, word) in [
        ("{", "not valid JSON"),
        ("{}", "key \"weight_map\""),
        (r#"{"weight_map": {}}"#, "key \"weight_map\""),
        (r#"{"weight_map": {"a": 1}}"#, "weight_map.a"),
    ] {
        model.write(INDEX, text);
        check(model.open_files(), &["index.json", word]);
    }
}

#[test]
fn a_tensor_in_two_files() {
    let model = Model::new();
    model.shard();
    let mut even: Tensors = model.tensors.clone().into_iter().step_by(2).collect();
    even.insert(Q.into(), model.tensors[Q].clone());
    model.write(SHARDS[0], safetensors(&even));
    check(model.open_files(), &[&format!("tensor \"{Q}\""), "each tensor in one file", SHARDS[0], SHARDS[1]]);
}

/// The cache of Hugging Face downloads is made of them.
#[test]
fn symlinks_are_followed() {
    let model = Model::new();
    fs::rename(model.path(FILE), model.path("blob")).unwrap();
    symlink(model.path("blob"), model.path(FILE)).unwrap();
    assert!(model.open_files().is_ok());
    fs::remove_file(model.path("blob")).unwrap();
    check(model.open_files(), &["cannot read", "model.safetensors", "No such file"]);
}

#[test]
fn a_file_that_changes_while_it_is_loaded() {
    let model = Model::new();
    let weights = model.open().unwrap();
    weights.check_unchanged().unwrap();
    fs::OpenOptions::new().append(true).open(model.path(FILE)).unwrap().write_all(b"!").unwrap();
    check(weights.check_unchanged(), &["model.safetensors", "changed while it was being loaded"]);
}
