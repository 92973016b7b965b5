//! One kernel alone, at any shape.
//!
//! It runs on buffers that are cold: between two launches, others of the same kernel have read enough to fill L2.

mod work;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, value_parser};
use gale::device::{Cost, Device, DeviceChoice, Event};
use gale::error::Error;
use serde_json::json;

use super::Format;
use super::health::Health;
use super::report::NO_GPU_SPEED;
use super::sample::{mean_and_deviation, percentile};
use crate::cli::bandwidth::{Bandwidth, HeadStart};
use crate::cli::options::without_effect;
use crate::cli::output::Output;
use crate::cli::say;
use work::{KERNELS, Prepare, Work, max_tokens};

/// Launches that the host asks for while the device is busy.
const RUNS_PER_HEAD_START: usize = 100;

/// Kernels that know no tokens, only rows and columns.
const WITHOUT_TOKENS: [&str; 3] = ["copy", "read", "noise"];

#[derive(Args)]
pub struct KernelArgs {
    /// Measure this kernel alone: copy, read, noise, residual, gate_up, lm_head, embed,
    /// prefill_residual or prefill_gate_up
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,

    /// With --kernel, but for copy, read and noise: tokens, up to 8, and up to 4096 for the products of a chunk (prefill_)
    /// [default: 1]
    #[arg(long, value_name = "TOKENS", value_parser = value_parser!(u32).range(1..))]
    m: Option<u32>,

    /// With --kernel: rows of the weight; for copy, read and noise rows of 2 K bytes [default: 4096]
    #[arg(long, value_name = "ROWS", value_parser = value_parser!(u32).range(16..=1 << 20))]
    n: Option<u32>,

    /// With --kernel: columns of the weight, a multiple of 32 [default: 4096]
    #[arg(long, value_name = "COLUMNS", value_parser = value_parser!(u32).range(32..=1 << 20))]
    k: Option<u32>,
}

/// Tokens, rows and columns.
#[derive(Clone, Copy)]
struct Shape {
    m: u32,
    n: u32,
    k: u32,
}

impl KernelArgs {
    pub fn is_given(&self) -> bool {
        self.kernel.is_some()
    }

    /// An error if a shape is given, and no kernel.
    pub fn refuse_without_kernel(&self) -> Result<(), Error> {
        let given = [("--m", self.m), ("--n", self.n), ("--k", self.k)].into_iter().find(|(_, it)| it.is_some());
        given.map_or(Ok(()), |(option, _)| Err(without_effect(option, "a whole model")))
    }

    pub fn run(
        &self,
        choice: DeviceChoice,
        repetitions: Option<u32>,
        format: Format,
        output: Output,
    ) -> anyhow::Result<ExitCode> {
        let (name, prepare) = self.find()?;
        if self.m.is_some() && WITHOUT_TOKENS.contains(&name) {
            return Err(without_effect("--m", &format!("--kernel {name}")).into());
        }
        let shape = self.shape(max_tokens(name))?;
        let device = Device::open(choice)?;
        let bandwidth = Bandwidth::measure(&device)?;
        let mut health = Health::watch(&device);
        let mut work = prepare(&device, shape)?;
        let launches = device.trace(0, || (work.launch)(&device, 0))?;
        let Cost { bytes, flops } = launches[0].cost.expect("these launchers say what they need");
        let n_runs = repetitions.unwrap_or(if device.is_emulator() { 2 } else { 100 });
        let times = measure(&device, work, n_runs)?;
        health.look();

        let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        let (mean, deviation) = mean_and_deviation(&seconds);
        let (p50, p99) = (percentile(&times, 0.5).as_secs_f64(), percentile(&times, 0.99).as_secs_f64());
        let rate = bytes as f64 / p50;
        let Shape { m, n, k } = shape;
        if device.is_emulator() && format != Format::Md {
            say(NO_GPU_SPEED);
        }
        let row = json!({
            "kernel": name, "m": m, "n": n, "k": k,
            "gpu_info": device.name(),
            "counts_as_gpu_speed": !device.is_emulator(),
            "n_repetitions": n_runs,
            "bytes": bytes, "flops": flops,
            "avg_us": mean * 1e6, "stddev_us": deviation * 1e6, "p50_us": p50 * 1e6, "p99_us": p99 * 1e6,
            "gb_per_s": rate / 1e9,
            "tflops": flops as f64 / p50 / 1e12,
            "percent_of_copy": 100.0 * rate / bandwidth.copy,
            "percent_of_read": 100.0 * rate / bandwidth.read,
            "copy_gb_per_s": bandwidth.copy / 1e9,
            "read_gb_per_s": bandwidth.read / 1e9,
        });
        let value = |key: &str| row[key].as_f64().expect("it is a number");
        let text = match format {
            Format::Md => format!(
                "| {:<10} | {:>2} | {:>7} | {:>7} | {:>9} | {:>9} | {:>9} | {:>8} | {:>9} | {:>9} | {:>9} |\n\
                 | {:-<10} | -: | ------: | ------: | --------: | --------: | --------: | -------: | --------: | --------: | --------: |\n\
                 | {name:<10} | {m:>2} | {n:>7} | {k:>7} | {:>9.2} | {:>9.2} | {:>9.2} | {:>8.1} | {:>9.2} | {:>9.1} | {:>9.1} |\n\
                 \n{}: a copy moves {:.1} GB/s, a kernel that only reads {:.1}\n{}{}",
                "kernel",
                "m",
                "n",
                "k",
                "MB",
                "µs p50",
                "µs p99",
                "GB/s",
                "TFLOP/s",
                "% of copy",
                "% of read",
                "",
                bytes as f64 / 1e6,
                value("p50_us"),
                value("p99_us"),
                value("gb_per_s"),
                value("tflops"),
                value("percent_of_copy"),
                value("percent_of_read"),
                device.name(),
                bandwidth.copy / 1e9,
                bandwidth.read / 1e9,
                health.text(),
                if device.is_emulator() { format!("{NO_GPU_SPEED}\n") } else { String::new() },
            ),
            Format::Json => format!("{row:#}\n"),
            Format::Csv => {
                let fields = row.as_object().expect("a row has keys");
                let keys: Vec<_> = fields.keys().map(String::as_str).collect();
                let values: Vec<_> = fields.values().map(ToString::to_string).collect();
                format!("{}\n{}\n", keys.join(","), values.join(","))
            }
        };
        output.write(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn find(&self) -> Result<(&'static str, Prepare), Error> {
        let wanted = self.kernel.as_deref().expect("it is given");
        let known = || KERNELS.map(|(name, _)| name).join(", ");
        KERNELS.into_iter().find(|(name, _)| *name == wanted).ok_or_else(|| Error::Option {
            option: "--kernel",
            expected: format!("one of {}", known()),
            found: format!("{wanted:?}"),
        })
    }

    fn shape(&self, max_m: u32) -> Result<Shape, Error> {
        let shape = Shape { m: self.m.unwrap_or(1), n: self.n.unwrap_or(4096), k: self.k.unwrap_or(4096) };
        for (option, found) in [("--n", shape.n), ("--k", shape.k)] {
            let multiple = if option == "--n" { 16 } else { 32 };
            if !found.is_multiple_of(multiple) {
                let expected = format!("a multiple of {multiple}, as weights lie in tiles of 16 rows by 32 columns");
                return Err(Error::Option { option, expected, found: found.to_string() });
            }
        }
        if shape.m > max_m {
            let expected = format!("at most {max_m} for this kernel");
            return Err(Error::Option { option: "--m", expected, found: shape.m.to_string() });
        }
        Ok(shape)
    }
}

/// The times, shortest first, after a run of each set that warms up everything but the caches.
fn measure(device: &Device, mut work: Work, n_runs: u32) -> anyhow::Result<Vec<Duration>> {
    for set in 0..work.n_sets {
        (work.launch)(device, set)?;
    }
    let mut head_start = HeadStart::new(device)?;
    let mut events = vec![];
    for run in 0..n_runs as usize {
        if run % RUNS_PER_HEAD_START == 0 {
            head_start.give(device)?;
        }
        let before = device.record()?;
        (work.launch)(device, run % work.n_sets)?;
        events.push((before, device.record()?));
    }
    device.synchronize()?;
    let time = |(before, after): &(Event, Event)| Ok(Duration::from_secs_f32(before.elapsed_ms(after)?.max(0.0) / 1e3));
    let mut times = events.iter().map(time).collect::<gale::device::Result<Vec<_>>>()?;
    times.sort();
    Ok(times)
}
