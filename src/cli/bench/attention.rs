//! What a sliding window saves: attention of a prompt with and without one, from 1K to 128K tokens.
//!
//! It is one layer of Mistral 7B. A GPU gives times. The emulator gives counts, of one kv head and times eight: whole
//! prompts as long as that takes seconds, and of longer ones the last tokens, which must be what the launcher computes
//! for them, as it does for the rest.

mod layer;
mod plot;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gale::device::{Device, DeviceChoice};
use gale::error::Error;
use gale::kernels::NO_WINDOW;
use gale::plan::Bytes;
use gale::workload::percentile;
use serde_json::{Value, json};

use super::Format;
use super::csv::csv;
use super::report::NO_GPU_SPEED;
use super::sample::{MAX_SPREAD, mean_and_deviation, spread};
use crate::cli::health::Health;
use crate::cli::output::Output;
use crate::cli::say;
use layer::{CHUNK, HEAD_DIM, Layer, N_HEADS, N_KV_HEADS};

const WINDOW: u32 = 4096;
/// Of the cache.
const N_LAYERS: u64 = 32;
const SIZES: [u32; 8] = [1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17];
/// Tokens of the longest prompt that the emulator counts whole, and of the end of a longer one.
const COUNTED_WHOLE: u32 = 1 << 12;
const COUNTED_LAST: u32 = 8;

#[derive(Args)]
pub struct AttentionArgs {
    /// Measure attention alone, one layer of Mistral 7B: prompts of 1K to 128K tokens with a window of 4096, and without
    #[arg(long, conflicts_with_all = ["n_prompt", "n_gen", "depth", "chunk", "ctx", "no_graph"])]
    attention: bool,

    /// With --attention: draw it, too
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// A prompt with and without a window.
struct Row {
    n_tokens: u32,
    windowed: Work,
    full: Work,
    /// Of the prompt's end; on a GPU none.
    n_counted: u32,
}

/// What attention of a prompt takes.
struct Work {
    /// Pairs of a query head and a key that it sees.
    pairs: u64,
    mma: u64,
    /// By blocks, most of it from L2.
    loaded_bytes: u64,
    /// Of a model with 32 layers.
    cache_bytes: u64,
    /// Of some runs on a GPU, shortest first.
    times: Vec<Duration>,
}

impl Work {
    fn p50_ms(&self) -> Option<f64> {
        (!self.times.is_empty()).then(|| percentile(&self.times, 0.5).as_secs_f64() * 1e3)
    }

    fn tflops(&self) -> Option<f64> {
        let flops = (4 * self.pairs * u64::from(HEAD_DIM)) as f64;
        self.p50_ms().map(|ms| flops / ms / 1e9)
    }

    fn all_ms(&self) -> Vec<f64> {
        self.times.iter().map(|it| it.as_secs_f64() * 1e3).collect()
    }

    fn json(&self) -> Value {
        let all = self.all_ms();
        let timed = |of: fn(&[f64]) -> f64| (!all.is_empty()).then(|| of(&all));
        json!({
            "pairs": self.pairs, "mma": self.mma, "loaded_bytes": self.loaded_bytes, "cache_bytes": self.cache_bytes,
            "avg_ms": timed(|it| mean_and_deviation(it).0), "stddev_ms": timed(|it| mean_and_deviation(it).1),
            "is_spread_over_2_percent": timed(spread).map(|it| it > MAX_SPREAD),
            "p50_ms": self.p50_ms(), "tflops": self.tflops(),
        })
    }
}

impl AttentionArgs {
    pub fn is_given(&self) -> bool {
        self.attention
    }

    /// An error if there is something to draw, and no --attention. (clap forgets what --svg requires beside -m, which
    /// --attention excludes.)
    pub fn refuse_without_attention(&self) -> Result<(), Error> {
        let expected = "--attention, which is what it draws".to_owned();
        let found = "another benchmark".to_owned();
        self.svg.as_ref().map_or(Ok(()), |_| Err(Error::Option { option: "--svg", expected, found }))
    }

    pub fn run(
        &self,
        choice: DeviceChoice,
        repetitions: Option<u32>,
        format: Format,
        output: Output,
    ) -> anyhow::Result<ExitCode> {
        let svg = self.svg.as_deref().map(|path| Output::open(Some(path))).transpose()?;
        let device = Device::open(choice)?;
        if let (true, Some(n)) = (device.is_emulator(), repetitions) {
            let expected = "none on the emulator, whose counts are the same each time".to_owned();
            return Err(Error::Option { option: "--repetitions", expected, found: n.to_string() }.into());
        }
        let mut health = Health::watch(&device);
        let mut rows = vec![];
        for n_tokens in SIZES {
            rows.push(measure(&device, n_tokens, repetitions.unwrap_or(5))?);
            health.look();
        }
        if let Some(svg) = svg {
            svg.write(&plot::draw(&rows, device.name()))?;
        }
        let is_emulator = device.is_emulator();
        if is_emulator && format != Format::Md {
            say(NO_GPU_SPEED);
        }
        let json = || rows.iter().map(|row| row.json(&device, &health)).collect::<Vec<_>>();
        output.write(&match format {
            Format::Md if is_emulator => table_of_counts(&rows),
            Format::Md => table_of_times(&rows, device.name(), &health),
            Format::Json => format!("{:#}\n", Value::Array(json())),
            Format::Csv => csv(&json()),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn measure(device: &Device, n_tokens: u32, n_runs: u32) -> anyhow::Result<Row> {
    let is_emulator = device.is_emulator();
    let n_counted = match () {
        _ if !is_emulator => 0,
        _ if n_tokens <= COUNTED_WHOLE => n_tokens,
        _ => COUNTED_LAST,
    };
    let work = |window: u32| {
        let n_slots = if window == NO_WINDOW { n_tokens } else { window };
        let mut layer = Layer::new(device, window, n_slots)?;
        let times = if is_emulator { vec![] } else { layer.time(n_tokens, n_runs)? };
        if n_counted > 0 {
            layer.count(n_tokens, n_counted)?;
        }
        let pairs: u64 = (0..u64::from(n_tokens)).map(|position| (position + 1).min(window.into())).sum();
        let (mma, loaded_bytes) = layer.computed(n_tokens)?;
        let cache_bytes = N_LAYERS * u64::from(n_slots) * layer::bytes_of_position();
        anyhow::Ok(Work { pairs: u64::from(N_HEADS) * pairs, mma, loaded_bytes, cache_bytes, times })
    };
    Ok(Row { n_tokens, windowed: work(WINDOW)?, full: work(NO_WINDOW)?, n_counted })
}

impl Row {
    /// What the window leaves of the work.
    fn work_ratio(&self) -> f64 {
        self.windowed.mma as f64 / self.full.mma as f64
    }

    fn cache_ratio(&self) -> f64 {
        self.full.cache_bytes as f64 / self.windowed.cache_bytes as f64
    }

    fn pair_ratio(&self) -> f64 {
        self.windowed.pairs as f64 / self.full.pairs as f64
    }

    fn time_ratio(&self) -> Option<f64> {
        Some(self.windowed.p50_ms()? / self.full.p50_ms()?)
    }

    /// As people say it.
    fn size(&self) -> String {
        format!("{}K", self.n_tokens >> 10)
    }

    fn json(&self, device: &Device, health: &Health) -> Value {
        json!({
            "gpu_info": device.name(),
            "counts_as_gpu_speed": !device.is_emulator(),
            "n_tokens": self.n_tokens,
            "n_tokens_counted": self.n_counted,
            "window": WINDOW, "chunk": CHUNK,
            "n_heads": N_HEADS, "n_kv_heads": N_KV_HEADS, "head_dim": HEAD_DIM, "n_layers_of_cache": N_LAYERS,
            "windowed": self.windowed.json(),
            "full": self.full.json(),
            "pair_ratio": self.pair_ratio(),
            "mma_ratio": self.work_ratio(),
            "time_ratio": self.time_ratio(),
            "cache_ratio": self.cache_ratio(),
            "health": health.json(),
        })
    }
}

fn table_of_counts(rows: &[Row]) -> String {
    let mut table = "\
| tokens | mma, window | mma, full |  ratio | pairs of query and key | loaded, window | loaded, full | cache, ring | cache, full | ratio | counted      |
| -----: | ----------: | --------: | -----: | ---------------------: | -------------: | -----------: | ----------: | ----------: | ----: | :----------- |
"
    .to_owned();
    for row in rows {
        let Row { windowed, full, n_tokens, n_counted } = row;
        table += &format!(
            "| {:>6} | {:>10.1}M | {:>8.1}M | {:>6.4} | {:>22.4} | {:>14} | {:>12} | {:>11} | {:>11} | {:>4.1}x | {:<12} |\n",
            row.size(),
            windowed.mma as f64 / 1e6,
            full.mma as f64 / 1e6,
            row.work_ratio(),
            row.pair_ratio(),
            Bytes(windowed.loaded_bytes).to_string(),
            Bytes(full.loaded_bytes).to_string(),
            Bytes(windowed.cache_bytes).to_string(),
            Bytes(full.cache_bytes).to_string(),
            row.cache_ratio(),
            if n_counted == n_tokens { "whole".to_owned() } else { format!("last {n_counted}") },
        );
    }
    table
        + &format!(
            "\n\
             One layer of Mistral 7B ({N_HEADS} query heads, {N_KV_HEADS} kv heads of {HEAD_DIM}) in chunks of {CHUNK} \
             tokens, window {WINDOW}; the cache is that of {N_LAYERS} layers.\n\
             mma: m16n8k16 instructions of warps. Of one kv head the emulator ran the whole prompt, or its last tokens, and \
             counted what is computed\nfor them; all other figures are computed.\n{NO_GPU_SPEED}\n"
        )
}

fn table_of_times(rows: &[Row], device: &str, health: &Health) -> String {
    let mut table = "\
| tokens | ms p50, window | ms p50, full |  ratio | mma ratio | pairs of query and key | TFLOP/s, window | TFLOP/s, full | cache, ring | cache, full | ratio |
| -----: | -------------: | -----------: | -----: | --------: | ---------------------: | --------------: | ------------: | ----------: | ----------: | ----: |
"
    .to_owned();
    for row in rows {
        let Row { windowed, full, .. } = row;
        let ms = |it: &Work| it.p50_ms().unwrap_or(f64::NAN);
        table += &format!(
            "| {:>6} | {:>14.3} | {:>12.3} | {:>6.4} | {:>9.4} | {:>22.4} | {:>15.1} | {:>13.1} | {:>11} | {:>11} | {:>4.1}x |\n",
            row.size(),
            ms(windowed),
            ms(full),
            row.time_ratio().unwrap_or(f64::NAN),
            row.work_ratio(),
            row.pair_ratio(),
            windowed.tflops().unwrap_or(f64::NAN),
            full.tflops().unwrap_or(f64::NAN),
            Bytes(windowed.cache_bytes).to_string(),
            Bytes(full.cache_bytes).to_string(),
            row.cache_ratio(),
        );
    }
    table += &format!(
        "\n{device}: one layer of Mistral 7B ({N_HEADS} query heads, {N_KV_HEADS} kv heads of {HEAD_DIM}) in chunks of \
             {CHUNK} tokens, window {WINDOW}; the cache is that of {N_LAYERS} layers.\n"
    );
    table += &health.text();
    for row in rows {
        for (work, name) in [(&row.windowed, "window"), (&row.full, "full")] {
            let percent = 100.0 * spread(&work.all_ms());
            if percent > 100.0 * MAX_SPREAD {
                table +=
                    &format!("{}, {name}: the runs differ by {percent:.1} %, so take them with care\n", row.size());
            }
        }
    }
    table
}
