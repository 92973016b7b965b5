//! `gale bench --kernel`: what each kernel is said to need at sizes that can be computed here, and what is refused.

use std::path::Path;
use std::process::Command;

use gale::workload::{KERNELS, Size, Sizes};
use serde_json::Value;

use crate::program::{command, emulated, finish, gale};

/// Four query heads and two kv heads of 16, behind a window of 32 that is full.
const HEADS: [&str; 6] = ["--heads", "4", "--kv-heads", "2", "--head-dim", "16"];
const CACHE: [&str; 8] = ["--kv-heads", "2", "--head-dim", "16", "--window", "32", "-d", "40"];

fn measure(kernel: &str, sizes: &[&str]) -> Value {
    let json = emulated(&[&["bench", "--kernel", kernel, "-r", "2", "-o", "json"], sizes].concat()).expect_ok();
    serde_json::from_str(&json.stdout).unwrap()
}

/// The bytes and FLOPs of a kernel, and the speed that follows.
#[track_caller]
fn check(row: &Value, bytes: u64, flops: u64) {
    assert_eq!((&row["bytes"], &row["flops"]), (&bytes.into(), &flops.into()), "{row}");
    let n = |key: &str| row[key].as_f64().unwrap();
    let spread = n("stddev_us") / n("avg_us");
    assert_eq!(row["is_spread_over_2_percent"], spread > 0.02, "{row}");
    assert_eq!(row["health"]["unknown"], "the emulator has no clocks", "{row}");
    assert!(n("p50_us") > 0.0 && n("p99_us") >= n("p50_us") && row["n_repetitions"] == 2, "{row}");
    assert!((bytes as f64 / n("p50_us") / 1e3 - n("gb_per_s")).abs() <= 1e-6 * n("gb_per_s"), "{row}");
    assert!((flops as f64 / n("p50_us") / 1e6 - n("tflops")).abs() <= 1e-6 * n("tflops"), "{row}");
    assert_eq!(
        (&row["counts_as_gpu_speed"], &row["cublas"], &row["cublas_error"]),
        (&false.into(), &Value::Null, &Value::Null)
    );
}

#[test]
fn bench_of_kernels_that_move_bytes() {
    for (kernel, bytes) in [("copy", 8192), ("read", 4096), ("noise", 4096), ("tile", 8192)] {
        let row = measure(kernel, &["--n", "32", "--k", "64"]);
        check(&row, bytes, 0);
        assert_eq!((&row["m"], &row["n"], &row["window"]), (&Value::Null, &32.into(), &Value::Null), "{row}");
    }
}

#[test]
fn bench_of_kernels_on_tokens() {
    let (x, squares, rows) = (5 * 64 * 4, 5 * 4 * 4, 5 * 64 * 2);
    let m = ["--m", "5", "--k", "64"];
    check(&measure("embed", &[&m[..], &["--n", "32"]].concat()), 5 * 4 + rows + x + squares, 0);
    check(&measure("norm", &m), x + squares + 64 * 2 + rows, 2 * 5 * 64);
    check(&measure("sample", &["--n", "320"]), 320 * 4, 0);
    check(&measure("advance", &[]), 16, 0);
}

/// Weight, vectors and result; the stream is read and written, and has sums of squares.
#[test]
fn bench_of_products() {
    let (m, n, k) = (3, 32, 64);
    let (weight, h, flops) = (2 * n * k, 2 * m * k, 2 * m * n * k);
    let stream = |dim: u64| 4 * m * dim + 4 * m * dim.div_ceil(16);
    let normed = stream(k) + 2 * k;
    for (kernel, bytes) in [
        ("residual", weight + h + stream(n) + 4 * m * n),
        ("gate_up", weight + normed + 2 * m * n / 2),
        ("lm_head", weight + normed + 4 * m * n + 16 * m),
        ("prefill_residual", weight + h + stream(n) + 4 * m * n),
        ("prefill_gate_up", weight + h + 2 * m * n / 2),
    ] {
        let row = measure(kernel, &["--m", "3", "--n", "32", "--k", "64"]);
        check(&row, bytes, flops);
        assert_eq!((&row["m"], &row["k"], &row["heads"]), (&3.into(), &64.into(), &Value::Null), "{row}");
    }
}

/// (4 + 2 + 2) x 16 rows, and an angle for each pair of a head.
#[test]
fn bench_of_projections() {
    let (m, n, k) = (3, 128, 64);
    let (weight, turns, result) = (2 * n * k, 8 * 8, 2 * m * n);
    for (kernel, vectors) in [("qkv", 4 * m * k + 4 * m * 4 + 2 * k), ("prefill_qkv", 2 * m * k)] {
        let row = measure(kernel, &[&["--m", "3", "--k", "64"], &HEADS[..]].concat());
        check(&row, weight + turns + result + vectors, 2 * m * n * k);
        assert_eq!((&row["n"], &row["kv_heads"], &row["depth"]), (&Value::Null, &2.into(), &Value::Null), "{row}");
    }
}

/// Each key is 2 x 16 elements, each query and each output 4 x 16; a token's last key is its own.
#[test]
fn bench_of_attention_at_any_depth() {
    let (key, query) = (2 * 2 * 16 * 2, 2 * 4 * 16 * 2);
    for (kernel, m) in [("decode_attention", 3), ("prefill_attention", 24)] {
        let m_text = m.to_string();
        let at = |depth| measure(kernel, &[&["--m", &m_text, "--window", "32", "-d", depth], &HEADS[..]].concat());
        let row = at("40");
        check(&row, m * query + (31 + m) * key, m * 32 * 4 * 4 * 16);
        assert_eq!((&row["window"], &row["depth"], &row["n"]), (&32.into(), &40.into(), &Value::Null), "{row}");
        let n_seen: u64 = (0..m).map(|token| 5 + token + 1).sum();
        check(&at("5"), m * query + (5 + m) * key, n_seen * 4 * 4 * 16);
    }
}

#[test]
fn bench_of_kernels_that_fill_the_ring() {
    let row = 4 * 2 * 16 * 2;
    check(&measure("ring_write", &[&["--m", "24"], &CACHE[..]].concat()), 24 * row, 0);
    check(&measure("commit", &[&["--m", "3"], &CACHE[..]].concat()), 32 * 3 * row, 0);
}

#[test]
fn bench_of_a_kernel_in_each_format() {
    let args = ["bench", "--kernel", "residual", "--m", "2", "--n", "32", "--k", "64", "-o"];
    let table = emulated(&[&args[..], &["md"]].concat()).expect_ok().stdout;
    assert!(table.contains("| residual | m 2, n 32, k 64 |") && table.contains("a copy moves"), "{table}");
    let widths: Vec<usize> = table.lines().take(3).map(|it| it.chars().count()).collect();
    assert!(widths[0] == widths[1] && widths[1] == widths[2], "{table}");
    let csv = emulated(&[&args[..], &["csv"]].concat()).expect_ok();
    assert!(csv.stderr.contains("counts for nothing as a GPU speed"), "{csv:?}");
    let lines: Vec<Vec<&str>> = csv.stdout.lines().map(|line| line.split(',').collect()).collect();
    let [keys, values] = &lines[..] else { panic!("{csv:?}") };
    let value = |key: &str| values[keys.iter().position(|it| *it == key).unwrap()];
    assert_eq!([value("m"), value("window"), value("cublas")], ["2", "", ""], "{csv:?}");
    assert_eq!(value("health_unknown"), "\"the emulator has no clocks\"", "{csv:?}");
    assert_eq!(keys.len(), values.len());
}

#[test]
fn help_lists_every_kernel_with_its_sizes() {
    let listed = |help: String, after: &str| {
        let (_, rest) = help.split_once(after).unwrap();
        rest.split_once("\n  ")
            .unwrap()
            .0
            .split([',', ' ', '\n'])
            .filter(|it| !it.is_empty())
            .map(String::from)
            .collect()
    };
    let short: Vec<String> = listed(gale(&["bench", "-h"]).expect_ok().stdout, "Measure this kernel alone: ");
    assert_eq!(short, KERNELS.map(|it| it.name));
    let long = gale(&["bench", "--help"]).expect_ok().stdout;
    for kernel in KERNELS.iter().filter(|it| it.takes().contains(&Size::M)) {
        let is_said = kernel.name.starts_with("prefill_") || ["embed", "norm", "ring_write"].contains(&kernel.name);
        let most = if is_said { 4096 } else { 8 };
        gale(&["bench", "--kernel", kernel.name, "--m", &(most + 1).to_string()]).expect_error(&["--m", "at most"]);
        let at_most = Sizes { m: most, ..kernel.usual() };
        assert!(kernel.check(&at_most).is_ok(), "{}: --m {most}", kernel.name);
    }
    for line in ["copy, read, noise, tile: --n --k\n", "norm: --m --k\n", "advance: none\n", "sample: --n\n"] {
        assert!(long.contains(line), "no {line:?} in {long}");
    }
    assert!(KERNELS.iter().all(|it| long.contains(&format!(" {}", it.name))), "{long}");
}

/// Before anything is opened or measured.
#[test]
fn a_size_without_meaning_is_refused() {
    for kernel in &KERNELS {
        for size in Size::ALL.into_iter().filter(|size| !kernel.takes().contains(size)) {
            let beside = format!("--kernel {}", kernel.name);
            gale(&["bench", "--kernel", kernel.name, size.option(), "64"]).expect_error(&[
                size.option(),
                &beside,
                "no effect",
            ]);
        }
    }
    for option in [&["--heads", "4"][..], &["--window", "4"], &["--cublas"]] {
        gale(&[&["bench", "--shape", "tiny"], option].concat()).expect_error(&[option[0], "no effect"]);
    }
}

#[test]
fn a_size_that_cannot_be_is_refused() {
    for (args, words) in [
        (&["magic"][..], &["--kernel", "gate_up", "decode_attention", "\"magic\""][..]),
        (&["residual", "--m", "9"], &["--m", "at most 8", "9"]),
        (&["prefill_residual", "--m", "4097"], &["--m", "at most 4096"]),
        (&["read", "--k", "100"], &["--k", "a multiple of 32", "100"]),
        (&["lm_head", "--n", "40"], &["--n", "a multiple of 16", "40"]),
        (&["noise", "--n", "1048576", "--k", "1048576"], &["--k", "16 GiB"]),
        (&["prefill_gate_up", "--m", "4096", "--n", "1048576"], &["--m", "2^31"]),
        (&["sample", "--n", "524288"], &["--n", "at most 262144 logits"]),
        (&["qkv", "--heads", "9"], &["--heads", "a multiple of 8", "9"]),
        (&["prefill_qkv", "--head-dim", "20"], &["--head-dim", "a multiple of 8", "20"]),
        (&["decode_attention", "--heads", "512", "--kv-heads", "1"], &["--heads", "at most 256"]),
        (&["decode_attention", "--heads", "64", "--kv-heads", "1", "--m", "8"], &["--m", "at most 4 "]),
        (&["ring_write", "--m", "33", "--window", "32"], &["--m", "at most the window, 32", "33"]),
        (&["commit", "--window", "8388608", "-d", "8388608"], &["--window", "4 GiB"]),
    ] {
        gale(&[&["bench", "--kernel"], args].concat()).expect_error(words);
    }
}

/// One that multiplies on the host.
fn cublas(dir: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/cublas.c");
    let made =
        Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(dir.join("libcublas.so.12")).arg(source).status();
    assert!(made.unwrap().success());
}

#[test]
fn bench_beside_cublas() {
    let dir = tempfile::tempdir().unwrap();
    let run = |kernel: &str, sizes: &[&str], format| {
        let args = [&["bench", "--device", "emulator", "--cublas", "--kernel", kernel, "-o", format], sizes].concat();
        finish(command(&args).env("LD_LIBRARY_PATH", dir.path()), b"")
    };
    let product = ["--m", "2", "--n", "32", "--k", "64"];
    let absent = run("residual", &product, "md").expect_ok().stdout;
    assert!(absent.contains("\ncuBLAS: not compared, none of libcublas.so, "), "{absent}");

    cublas(dir.path());
    let heads = [&["--k", "64"], &HEADS[..]].concat();
    for (kernel, sizes) in [("residual", &product[..]), ("prefill_gate_up", &product), ("prefill_qkv", &heads)] {
        let json = run(kernel, sizes, "json").expect_ok().stdout;
        let row: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&row["cublas"], &row["cublas_error"]), (&"12.9.3".into(), &Value::Null), "{row}");
        let [ours, theirs, ratio] =
            ["p50_us", "cublas_p50_us", "time_ratio_to_cublas"].map(|it| row[it].as_f64().unwrap());
        assert!(theirs > 0.0 && (ours / theirs - ratio).abs() < 1e-9 * ratio, "{row}");
    }
    let table = run("residual", &product, "md").expect_ok().stdout;
    assert!(table.contains("\ncuBLAS 12.9.3: ") && table.contains("gale takes "), "{table}");

    std::fs::write(dir.path().join("libcublas.so.12"), "no library").unwrap();
    let broken: Value = serde_json::from_str(&run("residual", &product, "json").expect_ok().stdout).unwrap();
    assert!(
        broken["cublas"].is_null() && broken["cublas_error"].as_str().unwrap().contains("libcublas.so.12"),
        "{broken}"
    );
}

#[test]
fn cublas_has_products_only() {
    for kernel in ["copy", "decode_attention", "norm", "embed"] {
        gale(&["bench", "--kernel", kernel, "--cublas"]).expect_error(&["--cublas", kernel, "no effect"]);
    }
}
