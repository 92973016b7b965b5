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
    for kernel in kernels.iter().filter(|it| !["sample", "advance"].contains(&it["kernel"].as_str().unwrap())) {
        let [bytes, flops] = ["bytes", "flops"].map(|key| kernel[key].as_u64());
        assert!(bytes.unwrap() > 0, "{kernel}");
        let multiplies = kernel["counters"]["mma"].as_u64().unwrap() > 0;
        assert!(!multiplies || flops.unwrap() > 0, "{kernel}");
    }
    let table = emulated(&args).expect_ok().stdout;
    assert!(table.contains("a chunk of 24 at position 3 on") && table.contains("| a chunk of 24 "), "{table}");
    gale(&["profile", "--shape", "tiny", "-p", "24", "--chunk", "8"]).expect_usage_error("--chunk");
}

/// What is predicted without running anything is what a run predicts. The model's weights are not even
/// allocated.
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
