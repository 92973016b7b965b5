use serde_json::Value;

use crate::program::{emulated, gale};

/// The emulator counts what the launchers say, but for the few bytes that shapes this small round up to whole sectors.
#[test]
fn profile_counts_and_predicts() {
    let args = ["profile", "--shape", "tiny", "-d", "31"];
    let json = emulated(&[&args[..], &["--json"]].concat()).expect_ok().stdout;
    let profile: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&profile["counts_as_gpu_speed"], &profile["position"]), (&false.into(), &31.into()));
    assert_eq!(profile["n_launches"], 5 * 2 + 3);
    let kernels = profile["kernels"].as_array().unwrap();
    let names: Vec<_> = kernels.iter().map(|it| it["kernel"].as_str().unwrap()).collect();
    let layer = ["qkv_bf16", "decode_attention_bf16", "residual_bf16", "gate_up_bf16", "residual_bf16"];
    assert_eq!(names, [&["embed_bf16"], &layer[..], &["lm_head_bf16", "sample"]].concat());
    assert!(kernels.iter().all(|it| it["bytes"].as_u64() > Some(0)), "{json}");
    for kernel in kernels.iter().filter(|it| it["kernel"] != "sample") {
        let counters = &kernel["counters"];
        let [read, written] = ["dram_read_bytes", "dram_write_bytes"].map(|key| counters[key].as_u64().unwrap());
        let bytes = kernel["bytes"].as_u64().unwrap();
        assert!((read + written).abs_diff(bytes) <= bytes / 8, "{kernel}");
        assert!(counters["mma"].as_u64().unwrap() > 0 || kernel["kernel"] == "embed_bf16", "{kernel}");
    }
    let sum: f64 = kernels.iter().map(|it| it["predicted_us"]["H100"].as_f64().unwrap()).sum();
    let step = profile["predicted_step_us"]["H100"].as_f64().unwrap();
    assert!((sum + profile["predicted_gaps_us"].as_f64().unwrap() - step).abs() < 1e-9 * step);

    let table = emulated(&args).expect_ok().stdout;
    assert!(table.contains("PREDICTED") && table.contains("| gaps ") && table.contains("| a step "), "{table}");
    let widths: Vec<usize> = table.lines().filter(|it| it.starts_with('|')).map(|it| it.chars().count()).collect();
    assert!(widths.len() == 12 && widths.iter().all(|it| *it == widths[0]), "{table}");
}

#[test]
fn profile_of_a_chunk() {
    let args = ["profile", "--shape", "tiny", "-d", "3", "-p", "24"];
    let json = emulated(&[&args[..], &["--json"]].concat()).expect_ok().stdout;
    let profile: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&profile["position"], &profile["n_tokens"]), (&3.into(), &24.into()));
    assert_eq!(profile["n_launches"], 8 * 2 + 4);
    let kernels = profile["kernels"].as_array().unwrap();
    let names: Vec<_> = kernels.iter().map(|it| it["kernel"].as_str().unwrap()).collect();
    for name in ["norm_bf16", "prefill_qkv_bf16", "prefill_attention_bf16", "ring_write", "prefill_gate_up_bf16"] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
    for kernel in kernels {
        let [bytes, flops] = ["bytes", "flops"].map(|key| kernel[key].as_u64());
        assert!(bytes.unwrap() > 0, "{kernel}");
        let multiplies = kernel["counters"]["mma"].as_u64().unwrap() > 0;
        assert!(!multiplies || flops.unwrap() > 0, "{kernel}");
    }
    let table = emulated(&args).expect_ok().stdout;
    assert!(table.contains("a chunk of 24 at position 3 on") && table.contains("| a chunk of 24 "), "{table}");
    gale(&["profile", "--shape", "tiny", "-p", "24", "--chunk", "8"]).expect_usage_error("--chunk");
}

/// What is predicted without running anything is what a run predicts. Of the model's layers one is allocated.
#[test]
fn predictions_need_no_run() {
    for work in [&["-d", "31"][..], &["-d", "3", "-p", "24"]] {
        let args = [&["profile", "--shape", "tiny", "--json"], work].concat();
        let parsed = |args: &[&str]| -> Value { serde_json::from_str(&emulated(args).expect_ok().stdout).unwrap() };
        let (mut ran, predicted) = (parsed(&args), parsed(&[&args[..], &["--predict"]].concat()));
        for key in ["copy_gb_per_s", "read_gb_per_s"] {
            assert!(ran[key].as_f64().unwrap() > 0.0 && predicted[key].is_null(), "{predicted}");
            ran[key] = Value::Null;
        }
        assert_eq!(ran["health"].take()["unknown"], "the emulator has no clocks");
        for key in ["device_bytes", "fits"] {
            ran[key] = predicted[key].clone(); // of what did not run
        }
        for kernel in ran["kernels"].as_array_mut().unwrap() {
            assert!(kernel.as_object_mut().unwrap().remove("counters").is_some());
        }
        assert_eq!(ran, predicted);
    }
    let table = gale(&["profile", "--shape", "mistral-7b", "--predict", "-d", "1000000"]).expect_ok().stdout;
    assert!(table.contains("a step at position 1000000") && table.contains("PREDICTED"), "{table}");
    let refused = |args: &[&str]| gale(&[&["profile", "--predict"], args].concat());
    refused(&["--shape", "tiny", "-p", "3"]).expect_error(&["-p", "at least"]);
    refused(&["--shape", "tiny", "--device", "cuda"]).expect_error(&["--device cuda", "--predict"]);
    refused(&["--shape", "tiny", "-r", "2"]).expect_usage_error("--repetitions");
    refused(&["-m", "tiny"]).expect_usage_error("--model");
}

/// Hopper's tensor cores do 0.4 of the data sheet by `mma.sync`, and attention three `mma` for two.
#[test]
fn a_chunk_is_predicted_by_what_mma_sync_does() {
    let args = ["profile", "--shape", "mistral-7b", "--predict", "-d", "4096", "-p", "512", "--json"];
    let chunk: Value = serde_json::from_str(&gale(&args).expect_ok().stdout).unwrap();
    let tflops = |name: &str, card: &str| {
        let row = chunk["kernels"].as_array().unwrap().iter().find(|it| it["kernel"] == name).unwrap();
        row["flops"].as_f64().unwrap() / row["predicted_us"][card].as_f64().unwrap() / 1e6
    };
    for (card, most) in [("H100", 400.0), ("H200", 400.0), ("A100", 0.9 * 312.0), ("4090", 0.9 * 165.0)] {
        let (product, attention) = (tflops("prefill_gate_up_bf16", card), tflops("prefill_attention_bf16", card));
        assert!((0.98 * most..1.001 * most).contains(&product), "{card}: {product}");
        assert!((0.64 * most..=0.67 * most).contains(&attention), "{card}: {attention}");
    }
}

/// Without a window, a model ends where its training did, and a card where its memory does.
#[test]
fn what_has_no_room_is_said() {
    let predict = |shape: &str, depth: &str| {
        let args = ["profile", "--shape", shape, "--predict", "-d", depth];
        let json: Value = serde_json::from_str(&gale(&[&args[..], &["--json"]].concat()).expect_ok().stdout).unwrap();
        let fits = ["H100", "4090"].map(|card| json["fits"][card].as_bool().unwrap());
        (fits, gale(&args).expect_ok().stdout)
    };
    for (shape, depth) in [("mistral-7b-v0.3", "32767"), ("mistral-7b", "131072"), ("tiny", "9")] {
        let (fits, table) = predict(shape, depth);
        assert!(fits == [true, true] && table.ends_with("no card ran anything.\n"), "{table}");
    }
    let (fits, table) = predict("mistral-7b-v0.3", "32768");
    assert!(fits == [false, false] && table.contains("trained for 32768 positions, and these are 32769"), "{table}");
    let (_, table) = predict("mistral-7b-v0.3", "131072");
    assert!(table.contains("4090: weights, cache and scratch take 29.") && !table.contains("H100: weights"), "{table}");
    let (fits, table) = predict("llama-2-7b", "4095");
    assert!(fits == [true, true] && !table.contains("do not fit"), "{table}");
}

#[test]
fn profile_draws_a_roofline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roofline.svg");
    emulated(&["profile", "--shape", "tiny", "--svg", path.to_str().unwrap()]).expect_ok();
    let svg = std::fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("PREDICTED"), "{svg}");
    assert_eq!(svg.matches("<circle").count(), 6, "a point for each kernel that computes: {svg}");
    gale(&["profile", "--shape", "tiny", "--svg", "/nowhere/plot"]).expect_error(&["cannot write /nowhere/plot"]);
}

#[test]
fn profile_shows_code() {
    let ptx = gale(&["profile", "--ptx", "copy"]).expect_ok().stdout;
    for part in
        ["copy of kernels/copy.cu", " registers", "0 bytes spill stores", ".target sm_80", ".entry copy(", "ld.global"]
    {
        assert!(ptx.contains(part), "no {part:?} in {ptx}");
    }
    assert_eq!(ptx.matches(".entry").count(), 1);
    let sass = gale(&["profile", "--sass", "residual_f16", "--arch", "sm_90a"]).expect_ok().stdout;
    assert!(sass.contains("residual_f16 of kernels/residual.cu for sm_90a") && sass.contains("HMMA"), "{sass}");
    assert!(!sass.contains(".text.residual_bf16:"), "{sass}");
    gale(&["profile", "--ptx", "magic"]).expect_error(&["gate_up_bf16", "\"magic\""]);
    gale(&["profile", "--sass", "copy", "--arch", "sm_1"]).expect_error(&["ptxas", "sm_1"]);
    gale(&["profile"]).expect_usage_error("--shape");
    gale(&["profile", "--ptx", "copy", "--json"]).expect_usage_error("--json");
    gale(&["profile", "--ptx", "copy", "--ctx", "9"]).expect_error(&["--ctx", "no effect"]);
    gale(&["profile", "--shape", "tiny", "--arch", "sm_90"]).expect_error(&["--arch", "no effect"]);
}
