//! The results as a table or as JSON, in the columns of llama-bench and ours.

use std::io::{self, Write};
use std::path::PathBuf;

use gale::device::Device;
use gale::plan::{Bytes, Group, Plan};
use serde_json::{Value, json};

use super::Test;
use super::sample::mean_and_deviation;

pub const NO_GPU_SPEED: &str = "emulator: counts for nothing as a GPU speed";

pub struct Report<'a> {
    pub model: PathBuf,
    pub device: &'a Device,
    pub plan: &'a Plan,
    pub copy_bytes_per_s: f64,
    pub bytes_per_token: f64,
    pub tests: Vec<Test>,
    pub depth: u32,
}

/// What is said of a test where tokens come one by one.
struct Decoding {
    p50_ms: f64,
    p99_ms: f64,
    gb_per_s: f64,
    percent_of_copy: f64,
}

impl Report<'_> {
    pub fn print_table(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "| {:<20} | {:>10} | {:>8} | {:<8} | {:<14} | {:>18} | {:>8} | {:>8} | {:>7} | {:>9} |",
            "model", "size", "params", "backend", "test", "t/s", "ms p50", "ms p99", "GB/s", "% of copy"
        )?;
        writeln!(
            out,
            "| {:-<20} | {:->9}: | {:->7}: | {:-<8} | {:-<14} | {:->17}: | {:->7}: | {:->7}: | {:->6}: | {:->8}: |",
            "", "", "", "", "", "", "", "", "", ""
        )?;
        let size = Bytes(self.plan.group_bytes(Group::Weights)).to_string();
        for test in &self.tests {
            let (mean, deviation) = mean_and_deviation(&test.samples.rates(test.n_tokens));
            write!(
                out,
                "| {:<20} | {size:>10} | {:>8} | {:<8} | {:<14} | {:>18} |",
                self.model_name(),
                millions(self.n_params()),
                self.backend(),
                self.name(test),
                format!("{mean:.2} ± {deviation:.2}"),
            )?;
            match self.decoding(test) {
                Some(it) => writeln!(
                    out,
                    " {:>8.2} | {:>8.2} | {:>7.1} | {:>9.1} |",
                    it.p50_ms, it.p99_ms, it.gb_per_s, it.percent_of_copy
                )?,
                None => writeln!(out, " {:>8} | {:>8} | {:>7} | {:>9} |", "", "", "", "")?,
            }
        }
        writeln!(out, "\n{}: a copy moves {:.1} GB/s", self.device.name(), self.copy_bytes_per_s / 1e9)?;
        if self.device.is_emulator() {
            writeln!(out, "{NO_GPU_SPEED}")?;
        }
        Ok(())
    }

    pub fn print_json(&self) -> io::Result<()> {
        let tests: Vec<Value> = self.tests.iter().map(|test| self.json(test)).collect();
        writeln!(io::stdout().lock(), "{:#}", Value::Array(tests))
    }

    fn json(&self, test: &Test) -> Value {
        let rates = test.samples.rates(test.n_tokens);
        let (avg_ts, stddev_ts) = mean_and_deviation(&rates);
        let samples_ns: Vec<f64> = test.samples.totals.iter().map(|total| total.as_nanos() as f64).collect();
        let (avg_ns, stddev_ns) = mean_and_deviation(&samples_ns);
        let (n_prompt, n_gen) = if test.kind == "pp" { (test.n_tokens, 0) } else { (0, test.n_tokens) };
        let mut row = json!({
            "gale_version": env!("CARGO_PKG_VERSION"),
            "backends": self.backend(),
            "gpu_info": self.device.name(),
            "counts_as_gpu_speed": !self.device.is_emulator(),
            "model_filename": self.model.display().to_string(),
            "model_size": self.plan.group_bytes(Group::Weights),
            "model_n_params": self.n_params(),
            "test": self.name(test),
            "n_prompt": n_prompt,
            "n_gen": n_gen,
            "n_depth": self.depth,
            "avg_ns": avg_ns,
            "stddev_ns": stddev_ns,
            "avg_ts": avg_ts,
            "stddev_ts": stddev_ts,
            "samples_ns": samples_ns,
            "samples_ts": rates,
            "copy_gb_per_s": self.copy_bytes_per_s / 1e9,
        });
        if let Some(it) = self.decoding(test) {
            row["p50_ms"] = it.p50_ms.into();
            row["p99_ms"] = it.p99_ms.into();
            row["bytes_per_token"] = self.bytes_per_token.into();
            row["gb_per_s"] = it.gb_per_s.into();
            row["percent_of_copy"] = it.percent_of_copy.into();
        }
        row
    }

    fn decoding(&self, test: &Test) -> Option<Decoding> {
        let (tokens_per_s, _) = mean_and_deviation(&test.samples.rates(test.n_tokens));
        let bytes_per_s = tokens_per_s * self.bytes_per_token;
        (test.kind == "tg").then(|| Decoding {
            p50_ms: test.samples.percentile(0.5).as_secs_f64() * 1e3,
            p99_ms: test.samples.percentile(0.99).as_secs_f64() * 1e3,
            gb_per_s: bytes_per_s / 1e9,
            percent_of_copy: 100.0 * bytes_per_s / self.copy_bytes_per_s,
        })
    }

    /// `pp512`, or `tg128 @ d4096` with tokens before it.
    fn name(&self, test: &Test) -> String {
        let depth = if self.depth == 0 { String::new() } else { format!(" @ d{}", self.depth) };
        format!("{}{}{depth}", test.kind, test.n_tokens)
    }

    fn model_name(&self) -> String {
        let path = self.model.canonicalize().unwrap_or_else(|_| self.model.clone());
        path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    fn backend(&self) -> &'static str {
        if self.device.is_emulator() { "emulator" } else { "CUDA" }
    }

    fn n_params(&self) -> u64 {
        let weights = self.plan.buffers().iter().filter(|buffer| buffer.group == Group::Weights);
        weights.map(|buffer| buffer.n_elements() as u64).sum()
    }
}

fn millions(n: u64) -> String {
    if n >= 1_000_000_000 { format!("{:.2} B", n as f64 / 1e9) } else { format!("{:.2} M", n as f64 / 1e6) }
}
