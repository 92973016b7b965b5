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

#[test]
fn doctor_tests_every_kernel() {
    let report = emulated(&["doctor"]).expect_ok().stdout;
    for word in ["device     ", "memory     ", "driver     ", "libcuda_emulator.so", "PTX ", "copy       "] {
        assert!(report.contains(word), "no {word:?} in {report}");
    }
    let kernels: Vec<&str> = report.lines().filter(|line| line.starts_with("kernel ")).collect();
    assert!(kernels.len() >= 17 && kernels.iter().all(|line| line.ends_with(" ok")), "{report}");
}
