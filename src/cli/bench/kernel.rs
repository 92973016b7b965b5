//! One kernel alone, at any shape, on buffers that are cold.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, value_parser};
use gale::device::{Cost, Device, DeviceChoice};
use gale::error::Error;
use gale::workload::{KERNELS, Kernel, Size, Sizes, Stopwatch, by_cublas, percentile};
use serde_json::{Map, Value, json};

use super::Format;
use super::csv::csv;
use super::report::NO_GPU_SPEED;
use super::sample::{MAX_SPREAD, mean_and_deviation};
use crate::cli::bandwidth::Bandwidth;
use crate::cli::health::Health;
use crate::cli::options::without_effect;
use crate::cli::output::Output;
use crate::cli::say;

#[derive(Args)]
pub struct KernelArgs {
    #[arg(long, value_name = "NAME", help = short_help(), long_help = long_help())]
    kernel: Option<String>,

    /// With --kernel: tokens, up to 8 for kernels of a step, 4096 for embed, norm, ring_write and prefill_*
    #[arg(long, value_name = "TOKENS", value_parser = value_parser!(u32).range(1..))]
    m: Option<u32>,

    /// With --kernel: rows of the weight, a multiple of 16
    #[arg(long, value_name = "ROWS", value_parser = value_parser!(u32).range(16..=1 << 20))]
    n: Option<u32>,

    /// With --kernel: columns of the weight, a multiple of 32
    #[arg(long, value_name = "COLUMNS", value_parser = value_parser!(u32).range(32..=1 << 20))]
    k: Option<u32>,

    /// With --kernel: query heads
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1024))]
    heads: Option<u32>,

    /// With --kernel: heads of keys and values
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1024))]
    kv_heads: Option<u32>,

    /// With --kernel: elements of a head, a multiple of 8
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(8..=256))]
    head_dim: Option<u32>,

    /// With --kernel: keys that a token sees, itself included; --depth says how many there are
    #[arg(long, value_name = "TOKENS", value_parser = value_parser!(u32).range(1..=1 << 28))]
    window: Option<u32>,

    /// With --kernel: time cuBLAS, too, on a product of the same shape from bf16 to bf16, if libcublas is there
    /// (LD_LIBRARY_PATH says where to look, such as in site-packages/nvidia/cublas/lib)
    #[arg(long)]
    cublas: bool,
}

fn short_help() -> String {
    format!("Measure this kernel alone: {}", names(KERNELS.iter()))
}

fn long_help() -> String {
    let mut text = "Measure this kernel alone. Weights and caches are cold: between two launches, others of the same \
                    kernel have read enough to fill L2. Each takes the options behind it and refuses others; what is not \
                    given is Mistral 7B's, for one token or a chunk of 512, behind a full window:"
        .to_owned();
    let mut kinds: Vec<&[Size]> = vec![];
    for takes in KERNELS.iter().map(Kernel::takes) {
        if !kinds.contains(&takes) {
            kinds.push(takes);
        }
    }
    for takes in kinds {
        let options = takes.iter().map(|it| it.option()).collect::<Vec<_>>().join(" ");
        let options = if takes.is_empty() { "none" } else { &options };
        text += &format!("\n  {}: {options}", names(KERNELS.iter().filter(|it| it.takes() == takes)));
    }
    text
}

fn names<'a>(kernels: impl Iterator<Item = &'a Kernel>) -> String {
    kernels.map(|it| it.name).collect::<Vec<_>>().join(", ")
}

/// What came out, in seconds.
struct Measured<'a> {
    kernel: &'a Kernel,
    sizes: Sizes,
    device: &'a Device,
    bandwidth: Bandwidth,
    n_runs: usize,
    cost: Cost,
    mean: f64,
    deviation: f64,
    p50: f64,
    p99: f64,
    /// If it was asked for; or why it could not be.
    cublas: Option<Result<Cublas, String>>,
}

/// What it took for the same product.
struct Cublas {
    version: String,
    p50: f64,
}

impl KernelArgs {
    pub fn is_given(&self) -> bool {
        self.kernel.is_some()
    }

    /// An error if anything of it is given, and no kernel.
    pub fn refuse_without_kernel(&self) -> Result<(), Error> {
        let given = self.given(None).into_iter().find(|(_, it)| it.is_some()).map(|(size, _)| size.option());
        given.or(self.cublas.then_some("--cublas")).map_or(Ok(()), |it| Err(without_effect(it, "a whole model")))
    }

    pub fn run(
        &self,
        choice: DeviceChoice,
        depth: Option<u32>,
        repetitions: Option<u32>,
        format: Format,
        output: Output,
    ) -> anyhow::Result<ExitCode> {
        let kernel = Kernel::find(self.kernel.as_deref().expect("it is given"))?;
        let sizes = self.sizes(kernel, depth)?;
        let product = kernel.product(&sizes);
        if self.cublas && product.is_none() {
            return Err(without_effect("--cublas", &format!("--kernel {}", kernel.name)).into());
        }
        let device = Device::open(choice)?;
        let bandwidth = Bandwidth::measure(&device)?;
        let mut health = Health::watch(&device);
        let n_runs = repetitions.map_or(if device.is_emulator() { 2 } else { 100 }, |it| it as usize);
        let mut stopwatch = Stopwatch::new(&device)?;
        let (cost, times) = {
            let mut work = kernel.prepare(&device, &sizes)?;
            work.warm_up(&device)?;
            (work.cost(&device)?, sorted(stopwatch.time(&mut work, n_runs)?))
        };
        let cublas = product.filter(|_| self.cublas).map(|it| time_cublas(&device, &mut stopwatch, it, n_runs));
        health.look();

        let (mean, deviation) = mean_and_deviation(&times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>());
        let [p50, p99] = [0.5, 0.99].map(|share| percentile(&times, share).as_secs_f64());
        let measured =
            Measured { kernel, sizes, device: &device, bandwidth, n_runs, cost, mean, deviation, p50, p99, cublas };
        if device.is_emulator() && format != Format::Md {
            say(NO_GPU_SPEED);
        }
        output.write(&match format {
            Format::Md => measured.table(&health),
            Format::Json => format!("{:#}\n", measured.fields(&health)),
            Format::Csv => csv(&[measured.fields(&health)]),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// The usual ones, but for those given; one that means nothing to the kernel is refused.
    fn sizes(&self, kernel: &Kernel, depth: Option<u32>) -> Result<Sizes, Error> {
        let mut sizes = kernel.usual();
        for (size, given) in self.given(depth) {
            match given {
                Some(_) if !kernel.takes().contains(&size) => {
                    return Err(without_effect(size.option(), &format!("--kernel {}", kernel.name)));
                }
                Some(given) => *size.of(&mut sizes) = given,
                None => {}
            }
        }
        kernel.check(&sizes)?;
        Ok(sizes)
    }

    fn given(&self, depth: Option<u32>) -> [(Size, Option<u32>); 8] {
        Size::ALL.map(|size| {
            let given = match size {
                Size::M => self.m,
                Size::N => self.n,
                Size::K => self.k,
                Size::Heads => self.heads,
                Size::KvHeads => self.kv_heads,
                Size::HeadDim => self.head_dim,
                Size::Window => self.window,
                Size::Depth => depth,
            };
            (size, given)
        })
    }
}

/// Shortest first.
fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    times
}

fn time_cublas(device: &Device, stopwatch: &mut Stopwatch, product: [u32; 3], n_runs: usize) -> Result<Cublas, String> {
    let cublas = device.cublas()?;
    let version = cublas.version();
    let time = || {
        let mut work = by_cublas(device, &Rc::new(cublas), product)?;
        work.warm_up(device)?;
        stopwatch.time(&mut work, n_runs)
    };
    let times = sorted(time().map_err(|error| error.to_string())?);
    Ok(Cublas { version, p50: percentile(&times, 0.5).as_secs_f64() })
}

impl Measured<'_> {
    fn spread(&self) -> f64 {
        self.deviation / self.mean
    }

    fn rate(&self) -> f64 {
        self.cost.bytes as f64 / self.p50
    }

    /// The same for every kernel; null is what has no meaning for this one, or was not asked for.
    fn fields(&self, health: &Health) -> Value {
        let Self { kernel, cost, bandwidth, .. } = self;
        let mut fields = Map::from_iter([("kernel".to_owned(), kernel.name.into())]);
        fields.extend(Size::ALL.map(|size| {
            let value = kernel.takes().contains(&size).then(|| size.get(&self.sizes));
            (size.option().trim_start_matches('-').replace('-', "_"), value.into())
        }));
        let cublas = self.cublas.as_ref();
        let compared = cublas.and_then(|it| it.as_ref().ok());
        let Value::Object(measured) = json!({
            "gpu_info": self.device.name(),
            "counts_as_gpu_speed": !self.device.is_emulator(),
            "n_repetitions": self.n_runs,
            "bytes": cost.bytes, "flops": cost.flops,
            "avg_us": self.mean * 1e6, "stddev_us": self.deviation * 1e6,
            "is_spread_over_2_percent": self.spread() > MAX_SPREAD,
            "p50_us": self.p50 * 1e6, "p99_us": self.p99 * 1e6,
            "gb_per_s": self.rate() / 1e9,
            "tflops": cost.flops as f64 / self.p50 / 1e12,
            "percent_of_copy": 100.0 * self.rate() / bandwidth.copy,
            "percent_of_read": 100.0 * self.rate() / bandwidth.read,
            "copy_gb_per_s": bandwidth.copy / 1e9,
            "read_gb_per_s": bandwidth.read / 1e9,
            "cublas": compared.map(|it| &it.version),
            "cublas_p50_us": compared.map(|it| it.p50 * 1e6),
            "time_ratio_to_cublas": compared.map(|it| self.p50 / it.p50),
            "cublas_error": cublas.and_then(|it| it.as_ref().err()),
            "health": health.json(),
        }) else {
            unreachable!("it is an object")
        };
        fields.extend(measured);
        Value::Object(fields)
    }

    fn table(&self, health: &Health) -> String {
        let Self { kernel, cost, bandwidth, .. } = self;
        let columns = [
            ("kernel", kernel.name.to_owned()),
            ("sizes", kernel.describe(&self.sizes)),
            ("MB", format!("{:.2}", cost.bytes as f64 / 1e6)),
            ("µs p50", format!("{:.2}", self.p50 * 1e6)),
            ("µs p99", format!("{:.2}", self.p99 * 1e6)),
            ("GB/s", format!("{:.1}", self.rate() / 1e9)),
            ("TFLOP/s", format!("{:.2}", cost.flops as f64 / self.p50 / 1e12)),
            ("% of copy", format!("{:.1}", 100.0 * self.rate() / bandwidth.copy)),
            ("% of read", format!("{:.1}", 100.0 * self.rate() / bandwidth.read)),
        ];
        let mut lines = [const { String::new() }; 3];
        for (i, (name, value)) in columns.iter().enumerate() {
            let (width, is_text) = (name.chars().count().max(value.len()), i < 2);
            let cells = match is_text {
                true => [format!("{name:<width$}"), "-".repeat(width), format!("{value:<width$}")],
                false => [format!("{name:>width$}"), "-".repeat(width - 1) + ":", format!("{value:>width$}")],
            };
            lines.iter_mut().zip(cells).for_each(|(line, cell)| *line += &format!("| {cell} "));
        }
        let mut text: String = lines.iter().map(|line| format!("{line}|\n")).collect();
        text += &format!("\n{}: {bandwidth}\n", self.device.name());
        text += &health.text();
        if self.spread() > MAX_SPREAD {
            let percent = 100.0 * self.spread();
            text += &format!("the launches differ by {percent:.1} %, so take these figures with care\n");
        }
        match &self.cublas {
            None => {}
            Some(Ok(it)) => {
                let (us, ratio) = (it.p50 * 1e6, self.p50 / it.p50);
                text += &format!(
                    "cuBLAS {}: {us:.2} µs for the product alone; gale takes {ratio:.3} of that\n",
                    it.version
                );
            }
            Some(Err(why)) => text += &format!("cuBLAS: not compared, {why}\n"),
        }
        if self.device.is_emulator() {
            text += &format!("{NO_GPU_SPEED}\n");
        }
        text
    }
}
