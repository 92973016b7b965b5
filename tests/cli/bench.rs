use serde_json::Value;

use crate::program::{emulated, gale, golden};

#[test]
fn bench_shows_what_was_asked_for() {
    let model = golden("mis_nowin_v5_gqa8");
    let run = |args: &[&str]| emulated(&[&["bench", "-m", &model, "--no-graph"], args].concat()).expect_ok();

    let table = run(&["-p", "9", "-n", "3", "-r", "2"]).stdout;
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("emulator |")).collect();
    assert!(rows.len() == 2 && rows[0].contains("| pp9 ") && rows[1].contains("| tg3 "), "{table}");
    assert!(table.contains("emulator: counts for nothing as a GPU speed"), "{table}");
    let widths: Vec<usize> = table.lines().take(4).map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|&it| it == widths[0]), "{table}");

    let json = run(&["-p", "0", "-n", "3", "-d", "5", "-r", "2", "-o", "json"]).stdout;
    let tests: Value = serde_json::from_str(&json).unwrap();
    let [test] = &tests.as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((&test["test"], &test["n_gen"], &test["n_depth"]), (&"tg3 @ d5".into(), &3.into(), &5.into()));
    assert_eq!(test["counts_as_gpu_speed"], false);
    assert_eq!(test["samples_ns"].as_array().unwrap().len(), 2);
    // All weights but the embedding's 600 rows, 608 in tiles, of which it reads one; and 6, 7 and 8 keys and values of 64
    // in 2 layers.
    let weights = test["model_size"].as_f64().unwrap() - 607.0 * 128.0 * 2.0;
    assert_eq!(test["bytes_per_token"].as_f64().unwrap(), weights + 7.0 * 2.0 * 2.0 * 64.0 * 2.0);
}

#[test]
fn bench_needs_something_to_measure() {
    gale(&["bench", "-m", &golden("mis_w8_1layer"), "-p", "0", "-n", "0"]).expect_error(&["-p, -n"]);
}

/// 0.4375 and 0.2344 of all pairs of a query and a key are in the window; tiles at its ends add a little.
#[test]
fn bench_shows_what_a_window_saves() {
    let dir = tempfile::tempdir().unwrap();
    let svg = dir.path().join("attention.svg");
    let json = emulated(&["bench", "--attention", "-o", "json", "--svg", svg.to_str().unwrap()]).expect_ok().stdout;
    let rows: Value = serde_json::from_str(&json).unwrap();
    let rows = rows.as_array().unwrap();
    let column = |name: &str| rows.iter().map(|it| it[name].as_f64().unwrap()).collect::<Vec<_>>();
    assert_eq!(column("n_tokens"), (0..8).map(|i| f64::from(1024 << i)).collect::<Vec<_>>());
    assert_eq!(column("n_tokens_counted"), [1024.0, 2048.0, 4096.0, 8.0, 8.0, 8.0, 8.0, 8.0]);
    assert_eq!(column("cache_ratio"), [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
    let (pairs, mma) = (column("pair_ratio"), column("mma_ratio"));
    assert_eq!(&mma[..3], [1.0; 3]);
    assert!((pairs[4] - 0.4375).abs() < 1e-4 && (pairs[5] - 0.2344).abs() < 1e-4, "{pairs:?}");
    assert!(mma.iter().zip(&pairs).all(|(mma, pairs)| (*pairs..=1.01 * pairs).contains(mma)), "{mma:?}, {pairs:?}");
    assert_eq!((&rows[0]["counts_as_gpu_speed"], &rows[0]["full"]["ms"]), (&false.into(), &Value::Null));

    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n") && picture.contains(">0.44<"), "{picture}");
    let lines: Vec<&str> = picture.lines().filter(|line| line.starts_with("<polyline ")).collect();
    assert!(lines.len() == 4 && lines.iter().all(|line| line.matches(',').count() == 8), "{picture}");
}

#[test]
fn bench_of_attention_takes_no_model() {
    let model = golden("mis_w8_1layer");
    gale(&["bench"]).expect_usage_error("--attention");
    gale(&["bench", "-m", &model, "--attention"]).expect_usage_error("cannot be used with");
    gale(&["bench", "-m", &model, "--svg", "x.svg"]).expect_error(&["--svg", "--attention"]);
    for options in [&["-p", "9"][..], &["-d", "9"], &["--chunk", "9"], &["--ctx", "9"], &["--no-graph"]] {
        gale(&[&["bench", "--attention"], options].concat()).expect_usage_error(options[0]);
    }
    emulated(&["bench", "--attention", "--svg", "no/such/dir/x.svg"]).expect_error(&["no/such/dir/x.svg"]);
    let refused = emulated(&["bench", "--attention", "-r", "3"]);
    assert!(refused.status == 1 && refused.stderr.contains("--repetitions"), "{refused:?}");
}

#[test]
fn doctor_tests_every_kernel() {
    let report = emulated(&["doctor"]).expect_ok().stdout;
    for word in ["device     ", "memory     ", "driver     ", "libcuda_emulator.so", "PTX ", "copy       "] {
        assert!(report.contains(word), "no {word:?} in {report}");
    }
    let kernels: Vec<&str> = report.lines().filter(|line| line.starts_with("kernel ")).collect();
    assert!(kernels.len() >= 20 && kernels.iter().all(|line| line.ends_with(" ok")), "{report}");
}
