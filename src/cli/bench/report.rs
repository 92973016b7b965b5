//! The results as a table, as JSON or as CSV, in the columns of llama-bench and ours.

use std::fmt::Write as _;

use gale::device::Device;
use gale::plan::{Bytes, Group, Plan};
use serde_json::{Value, json};

use super::Test;
use super::csv;
use super::sample::{MAX_SPREAD, mean_and_deviation, spread};
use crate::cli::bandwidth::Bandwidth;
use crate::cli::health::Health;

pub const NO_GPU_SPEED: &str = "emulator: counts for nothing as a GPU speed";

pub struct Report<'a> {
    /// Its directory, or the name of its shape.
    pub model: String,
    pub device: &'a Device,
    pub plan: &'a Plan,
    pub bandwidth: Bandwidth,
    pub bytes_per_token: f64,
    pub tests: Vec<Test>,
    pub depth: u32,
    pub health: &'a Health,
}

/// What is said of a test where tokens come one by one.
struct Decoding {
    p50_ms: f64,
    p99_ms: f64,
    gb_per_s: f64,
    percent_of_copy: f64,
    percent_of_read: f64,
}

const COLUMNS: [(&str, usize); 6] =
    [("TTFT ms", 8), ("ms p50", 8), ("ms p99", 8), ("GB/s", 7), ("% of copy", 9), ("% of read", 9)];

impl Report<'_> {
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut head = format!(
            "| {:<20} | {:>10} | {:>8} | {:<8} | {:<14} | {:>18} |",
            "model", "size", "params", "backend", "test", "t/s"
        );
        let mut rule = format!("| {:-<20} | {:->9}: | {:->7}: | {:-<8} | {:-<14} | {:->17}: |", "", "", "", "", "", "");
        for (name, width) in COLUMNS {
            let _ = write!(head, " {name:>width$} |");
            let _ = write!(rule, " {:->1$}: |", "", width - 1);
        }
        let _ = writeln!(out, "{head}\n{rule}");
        let size = Bytes(self.plan.group_bytes(Group::Weights)).to_string();
        for test in &self.tests {
            let (mean, deviation) = mean_and_deviation(&test.samples.rates(test.n_tokens));
            let _ = write!(
                out,
                "| {:<20} | {size:>10} | {:>8} | {:<8} | {:<14} | {:>18} |",
                self.model_name(),
                millions(self.n_params()),
                self.backend(),
                self.name(test),
                format!("{mean:.2} ± {deviation:.2}"),
            );
            let first = self.first_token_ms(test).map(|ms| format!("{ms:.2}"));
            let tokens = self.decoding(test).map(|it| {
                [
                    format!("{:.2}", it.p50_ms),
                    format!("{:.2}", it.p99_ms),
                    format!("{:.1}", it.gb_per_s),
                    format!("{:.1}", it.percent_of_copy),
                    format!("{:.1}", it.percent_of_read),
                ]
            });
            let cells = [first.unwrap_or_default()].into_iter().chain(tokens.unwrap_or_default());
            for (cell, (_, width)) in cells.zip(COLUMNS) {
                let _ = write!(out, " {cell:>width$} |");
            }
            out.push('\n');
        }
        let _ = writeln!(out, "\n{}: {}", self.device.name(), self.bandwidth);
        out.push_str(&self.health.text());
        for test in self.tests.iter().filter(|it| it.spread() > MAX_SPREAD) {
            let percent = 100.0 * test.spread();
            let _ = writeln!(out, "{}: the runs differ by {percent:.1} %, so take its mean with care", self.name(test));
        }
        if self.device.is_emulator() {
            let _ = writeln!(out, "{NO_GPU_SPEED}");
        }
        out
    }

    pub fn json(&self) -> String {
        format!("{:#}\n", Value::Array(self.rows()))
    }

    pub fn csv(&self) -> String {
        csv::csv(&self.rows())
    }

    fn rows(&self) -> Vec<Value> {
        let with_samples = |test: &Test| {
            let mut row = self.row(test);
            row["samples_ns"] = test.samples.totals.iter().map(|total| total.as_nanos() as f64).collect();
            row["samples_ts"] = test.samples.rates(test.n_tokens).into();
            row["health"] = self.health.json();
            row
        };
        self.tests.iter().map(with_samples).collect()
    }

    /// Every test has the same keys; what it says nothing of is null.
    fn row(&self, test: &Test) -> Value {
        let (avg_ts, stddev_ts) = mean_and_deviation(&test.samples.rates(test.n_tokens));
        let nanoseconds: Vec<f64> = test.samples.totals.iter().map(|total| total.as_nanos() as f64).collect();
        let (avg_ns, stddev_ns) = mean_and_deviation(&nanoseconds);
        let (n_prompt, n_gen) = if test.kind == "pp" { (test.n_tokens, 0) } else { (0, test.n_tokens) };
        let decoding = self.decoding(test);
        let of_decoding = |of: fn(&Decoding) -> f64| decoding.as_ref().map(of);
        json!({
            "gale_version": env!("CARGO_PKG_VERSION"),
            "backends": self.backend(),
            "gpu_info": self.device.name(),
            "counts_as_gpu_speed": !self.device.is_emulator(),
            "model_filename": self.model,
            "model_size": self.plan.group_bytes(Group::Weights),
            "model_n_params": self.n_params(),
            "test": self.name(test),
            "n_prompt": n_prompt,
            "n_gen": n_gen,
            "n_depth": self.depth,
            "n_repetitions": test.samples.totals.len(),
            "avg_ns": avg_ns,
            "stddev_ns": stddev_ns,
            "avg_ts": avg_ts,
            "stddev_ts": stddev_ts,
            "is_spread_over_2_percent": test.spread() > MAX_SPREAD,
            "ttft_ms": self.first_token_ms(test),
            "p50_ms": of_decoding(|it| it.p50_ms),
            "p99_ms": of_decoding(|it| it.p99_ms),
            "bytes_per_token": decoding.as_ref().map(|_| self.bytes_per_token),
            "gb_per_s": of_decoding(|it| it.gb_per_s),
            "percent_of_copy": of_decoding(|it| it.percent_of_copy),
            "percent_of_read": of_decoding(|it| it.percent_of_read),
            "copy_gb_per_s": self.bandwidth.copy / 1e9,
            "read_gb_per_s": self.bandwidth.read / 1e9,
        })
    }

    /// From the prompt's ids to the id of the token after them.
    fn first_token_ms(&self, test: &Test) -> Option<f64> {
        let ms: Vec<f64> = test.samples.totals.iter().map(|it| it.as_secs_f64() * 1e3).collect();
        (test.kind == "pp").then(|| mean_and_deviation(&ms).0)
    }

    fn decoding(&self, test: &Test) -> Option<Decoding> {
        let (tokens_per_s, _) = mean_and_deviation(&test.samples.rates(test.n_tokens));
        let bytes_per_s = tokens_per_s * self.bytes_per_token;
        (test.kind == "tg").then(|| Decoding {
            p50_ms: test.samples.percentile(0.5).as_secs_f64() * 1e3,
            p99_ms: test.samples.percentile(0.99).as_secs_f64() * 1e3,
            gb_per_s: bytes_per_s / 1e9,
            percent_of_copy: 100.0 * bytes_per_s / self.bandwidth.copy,
            percent_of_read: 100.0 * bytes_per_s / self.bandwidth.read,
        })
    }

    /// `pp512`, or `tg128 @ d4096` with tokens before it.
    fn name(&self, test: &Test) -> String {
        let depth = if self.depth == 0 { String::new() } else { format!(" @ d{}", self.depth) };
        format!("{}{}{depth}", test.kind, test.n_tokens)
    }

    fn model_name(&self) -> &str {
        self.model.trim_end_matches('/').rsplit('/').next().unwrap_or(&self.model)
    }

    fn backend(&self) -> &'static str {
        if self.device.is_emulator() { "emulator" } else { "CUDA" }
    }

    fn n_params(&self) -> u64 {
        let weights = self.plan.buffers().iter().filter(|buffer| buffer.group == Group::Weights);
        weights.map(|buffer| buffer.shape.iter().product::<usize>() as u64).sum() // without the padding
    }
}

impl Test {
    /// Of the runs' rates.
    fn spread(&self) -> f64 {
        spread(&self.samples.rates(self.n_tokens))
    }
}

pub fn millions(n: u64) -> String {
    if n >= 1_000_000_000 { format!("{:.2} B", n as f64 / 1e9) } else { format!("{:.2} M", n as f64 / 1e6) }
}
