//! Every way in which a model or a prompt can be bad: one line, status 1, no panic.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use crate::program::{Broken, command, emulated, emulated_reading, finish, gale, golden};

const MODEL: &str = "mis_w8_1layer";
const TENSOR: &str = "model.layers.0.mlp.up_proj.weight";

/// No command gets anything out of it.
#[track_caller]
fn refused(model: Broken, words: &[&str]) {
    gale(&["plan", "-m", model.dir()]).expect_error(words);
    emulated(&["generate", "-m", model.dir(), "--ids", "1", "--print-ids", "-n", "1"]).expect_error(words);
}

fn config_with(key: &str, value: serde_json::Value) -> Broken {
    Broken::new(MODEL).edit("config.json", |config| config[key] = value)
}

#[test]
fn directories() {
    gale(&["plan", "-m", "/no/such/model"]).expect_error(&["/no/such/model", "no such directory"]);
    let empty = tempfile::tempdir().unwrap();
    gale(&["plan", "-m", empty.path().to_str().unwrap()]).expect_error(&["config.json"]);
    refused(Broken::new(MODEL).remove("model.safetensors"), &["model.safetensors"]);
}

#[test]
fn configs() {
    let without =
        |key: &str| Broken::new(MODEL).edit("config.json", |config| drop(config.as_object_mut().unwrap().remove(key)));
    refused(without("hidden_size"), &["config.json", "hidden_size"]);
    refused(config_with("architectures", json!(["GPT2LMHeadModel"])), &["GPT2LMHeadModel"]);
    refused(config_with("architectures", json!(["MixtralForCausalLM"])), &["MixtralForCausalLM"]);
    refused(config_with("hidden_act", json!("gelu")), &["gelu"]);
    refused(config_with("rope_scaling", json!({ "rope_type": "yarn", "factor": 4.0 })), &["yarn"]);
    refused(config_with("dtype", json!("float8_e4m3fn")), &["float8_e4m3fn"]);
    refused(Broken::new(MODEL).write("config.json", "{"), &["config.json", "JSON"]);
}

#[test]
fn weights() {
    let bytes = fs::read(Broken::new(MODEL).path("model.safetensors")).unwrap();
    let with = |bytes: &[u8]| Broken::new(MODEL).write("model.safetensors", bytes);
    refused(with(&bytes[..bytes.len() - 10]), &["model.safetensors"]);
    refused(with(&bytes[..5]), &["model.safetensors"]);
    refused(with(&[&(1u64 << 40).to_le_bytes(), &bytes[8..]].concat()), &["model.safetensors", "header"]);

    let header = |change: &dyn Fn(&mut serde_json::Value)| Broken::new(MODEL).edit_header(change);
    refused(header(&|it| it[TENSOR]["data_offsets"] = json!([0, 49152])), &["model.safetensors"]);
    refused(
        header(&|it| it[TENSOR]["data_offsets"] = json!([1u64 << 40, (1u64 << 40) + 49152])),
        &["model.safetensors"],
    );
    refused(header(&|it| it[TENSOR]["shape"] = json!([128, 192])), &[TENSOR, "[192, 128]", "[128, 192]"]);
    let renamed = |it: &mut serde_json::Value, to: &str| {
        let tensor = it.as_object_mut().unwrap().remove(TENSOR).unwrap();
        it[to] = tensor;
    };
    refused(header(&|it| renamed(it, "model.unknown")), &[TENSOR, "no such tensor"]);
    let extra = |it: &mut serde_json::Value| {
        let end = it.as_object().unwrap().values().filter_map(|it| it["data_offsets"][1].as_u64()).max();
        it["model.layers.0.extra"] = json!({ "dtype": "BF16", "shape": [0], "data_offsets": [end, end] });
    };
    refused(header(&extra), &["model.layers.0.extra"]);
}

#[test]
fn indices() {
    let index = |file: &str| {
        let map = json!({ "weight_map": { TENSOR: file } });
        Broken::new(MODEL).write("model.safetensors.index.json", map.to_string())
    };
    refused(index("../model.safetensors"), &["../model.safetensors", "same directory"]);
    refused(index("/etc/passwd"), &["/etc/passwd", "same directory"]);
    refused(index("model-00001-of-00002.safetensors"), &["model-00001-of-00002.safetensors"]);
}

#[test]
fn tokenizers() {
    let refused = |model: Broken, words: &[&str]| {
        emulated(&["generate", "-m", model.dir(), "-p", "Hello"]).expect_error(words);
    };
    refused(Broken::new(MODEL).remove("tokenizer.json"), &["tokenizer.json"]);
    refused(Broken::new(MODEL).write("tokenizer.json", "{\"model\":"), &["tokenizer.json", "JSON"]);
    refused(Broken::new(MODEL).write("tokenizer.json", "{}"), &["tokenizer.json"]);
    let out_of_reach = |it: &mut serde_json::Value| it["model"]["vocab"]["far"] = 512.into();
    refused(Broken::new(MODEL).edit("tokenizer.json", out_of_reach), &["512", "far"]);
}

#[test]
fn prompts() {
    let model = golden(MODEL);
    let run = |args: &[&str]| emulated(&[&["generate", "-m", &model], args].concat());
    run(&["-p", ""]).expect_error(&["-p", "empty"]);
    run(&["-p", "-"]).expect_error(&["-p", "empty"]);
    run(&["--ids", "", "--print-ids"]).expect_error(&["prompt", "at least one token"]);
    run(&["--ids", "1,512"]).expect_error(&["512", "index 1"]);
    run(&["--ids", "4294967295"]).expect_error(&["4294967295"]);
    emulated_reading(&["generate", "-m", &model, "-p", "-"], b"caf\xE9").expect_error(&["stdin", "UTF-8"]);
    finish(command(&["generate", "-m", &model, "-p"]).arg(OsStr::from_bytes(b"caf\xE9")), b"").expect_error(&["UTF-8"]);

    let endless = golden("mis_nowin_v5_gqa8");
    emulated(&["generate", "-m", &endless, "--ids", "1,2,3,4,5", "--ctx", "4"]).expect_error(&[
        "holds 4 tokens",
        "needs 5",
        "--ctx",
    ]);
}

/// What was generated until the context was full is shown, then comes the error.
#[test]
fn a_context_that_fills_up() {
    let endless = golden("mis_nowin_v5_gqa8");
    let ids = ["--ids", "1,2,3", "--ctx", "5", "-n", "9", "--greedy", "--ignore-eos", "--print-ids", "--no-graph"];
    let run = emulated(&[&["generate", "-m", &endless], &ids[..]].concat());
    assert_eq!((run.status, run.stdout.split(',').count()), (1, 3), "{run:?}");
    assert!(
        run.stdout.ends_with('\n') && run.stderr.contains("holds 5 tokens") && run.stderr.lines().count() == 1,
        "{run:?}"
    );
}

/// Who asks for a GPU gets one or an error, never the emulator.
#[test]
fn a_gpu_that_is_not_there() {
    let generate = |device: &str| {
        let model = golden(MODEL);
        gale(&["generate", "-m", &model, "--ids", "1", "--print-ids", "-n", "1", "--no-graph", "--device", device])
    };
    generate("cuda:99").expect_error(&["GPU"]);
    let doctor = gale(&["doctor", "--device", "cuda"]);
    if doctor.status == 0 {
        assert_eq!(generate("cuda").status, 0); // there is one
    } else {
        assert!(
            doctor.stderr.starts_with("error: no usable CUDA GPU") && doctor.stderr.lines().count() == 1,
            "{doctor:?}"
        );
        generate("cuda").expect_error(&["no usable CUDA GPU", "--device emulator"]);
    }
}

/// The plan shows what takes the room.
#[test]
fn too_little_memory() {
    // 2 layers of keys and values for 67 million positions, 34 GB: more than this card has, and no file has to hold it.
    let model = golden("mis_nowin_v5_gqa8");
    let ids = ["--ids", "1", "--print-ids", "--ctx", "67000000", "--chunk", "1", "--device", "emulator"];
    let mut command = command(&[&["generate", "-m", &model], &ids[..]].concat());
    let run = finish(command.env("CUDA_EMULATOR_GPU", "rtx4090"), b"");
    assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{run:?}");
    let last = run.stderr.lines().last().unwrap();
    assert!(last.starts_with("error: out of device memory: asked for ") && last.contains("bytes are free"), "{run:?}");
    assert!(run.stderr.contains("k_ring             [2, 67000000, 1, 64] bf16"), "{run:?}");
    // The context that would fit is named, and does.
    let (_, advice) = run.stderr.split_once("GiB more; --ctx ").unwrap();
    let longest = advice.split(' ').next().unwrap().parse::<u32>().unwrap();
    let plan = gale(&["plan", "-m", &model, "--ctx", &longest.to_string(), "--chunk", "1"]).expect_ok().stdout;
    let total: u64 =
        plan.lines().find(|line| line.starts_with("total")).unwrap().split(' ').rev().nth(1).unwrap().parse().unwrap();
    let free: u64 = last.split(", ").last().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(total <= free && total + 512 > free, "{total} of {free}: a token takes 512 bytes");
    assert!(!run.stderr.contains("panicked"), "{run:?}");
}

/// A context beyond what the attention kernel counts is refused before anything is opened.
#[test]
fn a_context_that_cannot_be_counted() {
    let model = golden("mis_nowin_v5_gqa8");
    emulated(&["generate", "-m", &model, "--ids", "1", "--print-ids", "--ctx", "1000000000"]).expect_error(&[
        "--ctx",
        "at most 134217727",
        "1000000000",
    ]);
}

/// What stands where the logits should go and is no regular file stays as it is.
#[test]
fn logits_onto_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    emulated(&["logits", "-m", &golden(MODEL), "--ids", "1", "-o", link.to_str().unwrap()])
        .expect_error(&["link", "no regular file"]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert!(link.symlink_metadata().unwrap().is_symlink());
}
