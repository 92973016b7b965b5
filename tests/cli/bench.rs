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

/// The same figures in each format.
#[test]
fn bench_needs_no_weights() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bench.csv");
    let file = file.to_str().unwrap();
    let args = ["bench", "--shape", "tiny", "-p", "5", "-n", "2", "-d", "3", "-r", "2", "-o"];

    let table = emulated(&[&args[..], &["md"]].concat()).expect_ok().stdout;
    assert!(table.contains("| tiny ") && table.contains("| pp5 @ d3 ") && table.contains("0.12 M"), "{table}");
    assert!(table.contains("a copy moves") && table.contains("clocks and temperature: not known"), "{table}");

    let csv = emulated(&[&args[..], &["csv", "--file", file]].concat()).expect_ok();
    assert_eq!(csv.stdout, "");
    assert!(csv.stderr.contains("counts for nothing as a GPU speed"), "{csv:?}");
    let csv = std::fs::read_to_string(file).unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let [keys, prompt, generation] = &lines[..] else { panic!("{csv}") };
    assert!(prompt.len() == keys.len() && generation.len() == keys.len(), "{csv}");
    let value = |row: &[&str], key: &str| row[keys.iter().position(|it| *it == key).unwrap()].to_owned();
    assert_eq!(value(prompt, "test"), "\"pp5 @ d3\"");
    let [mean_ns, first_ms] = ["avg_ns", "ttft_ms"].map(|key| value(prompt, key).parse::<f64>().unwrap());
    assert!((mean_ns / 1e6 - first_ms).abs() < 1e-6 * first_ms, "{csv}");
    assert_eq!((value(prompt, "p50_ms"), value(generation, "ttft_ms")), (String::new(), String::new()));
    let [rate, read, percent] =
        ["gb_per_s", "read_gb_per_s", "percent_of_read"].map(|key| value(generation, key).parse::<f64>().unwrap());
    assert!((100.0 * rate / read - percent).abs() < 1e-6 * percent, "{csv}");

    let json = emulated(&[&args[..], &["json"]].concat()).expect_ok().stdout;
    let tests: Value = serde_json::from_str(&json).unwrap();
    let (unknown, others): (Vec<&str>, Vec<&str>) = keys.iter().partition(|it| it.starts_with("health_"));
    assert!(others.iter().all(|key| tests[0].get(key).is_some()), "{json}");
    assert_eq!(
        (&unknown[..], &tests[1]["health"]["unknown"]),
        (&["health_unknown"][..], &"the emulator has no clocks".into())
    );
}

/// Before anything is opened or measured.
#[test]
fn what_cannot_be_measured_or_written_is_refused_first() {
    gale(&["bench"]).expect_usage_error("--shape");
    gale(&["bench", "--shape", "tiny", "--kernel", "read"]).expect_usage_error("--kernel");
    gale(&["bench", "--shape", "tiny", "--m", "1"]).expect_error(&["--m", "no effect"]);
    gale(&["bench", "--kernel", "read", "--no-graph"]).expect_error(&["--no-graph", "no effect"]);
    gale(&["bench", "--shape", "gpt-2"]).expect_error(&["--shape", "mistral-7b, ", "\"gpt-2\""]);
    gale(&["bench", "--shape", "tiny", "--file", "/nowhere/bench"]).expect_error(&["cannot write /nowhere/bench"]);
    gale(&["bench", "--kernel", "read", "--file", "/nowhere/bench"]).expect_error(&["cannot write /nowhere/bench"]);
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
    assert!(mma.iter().zip(&pairs).all(|(mma, pairs)| (*pairs..=1.02 * pairs).contains(mma)), "{mma:?}, {pairs:?}");
    assert_eq!((&rows[0]["counts_as_gpu_speed"], &rows[0]["full"]["p50_ms"]), (&false.into(), &Value::Null));
    assert_eq!(rows[7]["health"]["unknown"], "the emulator has no clocks");

    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n") && picture.contains(">0.44<"), "{picture}");
    let lines: Vec<&str> = picture.lines().filter(|line| line.starts_with("<polyline ")).collect();
    assert!(lines.len() == 4 && lines.iter().all(|line| line.matches(',').count() == 8), "{picture}");
}

/// The figures of the JSON, those of an object under both names.
#[test]
fn bench_of_attention_as_csv() {
    let csv = emulated(&["bench", "--attention", "-o", "csv"]).expect_ok().stdout;
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let [keys, rows @ ..] = &lines[..] else { panic!("{csv}") };
    assert!(rows.len() == 8 && rows.iter().all(|row| row.len() == keys.len()), "{csv}");
    let value = |row: &[&str], key: &str| row[keys.iter().position(|it| *it == key).unwrap()].to_owned();
    assert_eq!(value(&rows[5], "n_tokens"), "32768");
    for key in ["full_p50_ms", "windowed_stddev_ms", "full_is_spread_over_2_percent"] {
        assert_eq!(value(&rows[5], key), "", "nothing is timed here");
    }
    assert_eq!(value(&rows[5], "health_unknown"), "\"the emulator has no clocks\"");
    let [full, windowed, ratio] =
        ["full_mma", "windowed_mma", "mma_ratio"].map(|key| value(&rows[5], key).parse::<f64>().unwrap());
    assert!((windowed / full - ratio).abs() < 1e-12 && ratio < 0.25, "{csv}");
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
    gale(&["bench", "--attention", "--file", "/nowhere/bench"]).expect_error(&["cannot write /nowhere/bench"]);
    let refused = emulated(&["bench", "--attention", "-r", "3"]);
    assert!(refused.status == 1 && refused.stderr.contains("--repetitions"), "{refused:?}");
}

#[test]
fn doctor_tests_every_kernel() {
    let report = emulated(&["doctor"]).expect_ok().stdout;
    for word in
        ["device     ", "memory     ", "driver     ", "libcuda_emulator.so", "PTX ", "copy       ", "read       "]
    {
        assert!(report.contains(word), "no {word:?} in {report}");
    }
    let kernels: Vec<&str> = report.lines().filter(|line| line.starts_with("kernel ")).collect();
    assert!(kernels.len() >= 20 && kernels.iter().all(|line| line.ends_with(" ok")), "{report}");
    assert!(kernels.iter().all(|line| line.len() == kernels[0].len()), "a column of verdicts: {report}");
}
