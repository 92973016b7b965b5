mod attention;
mod csv;
mod kernel;
mod report;
mod sample;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use gale::config::Config;
use gale::device::Device;
use gale::plan::{Group, Plan};
use gale::ring::{Position, Ring};
use gale::session::Options;

use super::bandwidth::Bandwidth;
use super::health::Health;
use super::options::{ModelOrShape, Running};
use super::output::Output;
use super::say;
use attention::AttentionArgs;
use kernel::KernelArgs;
use report::Report;
use sample::{Samples, measure};

/// Measures prompt processing (pp) and text generation (tg), as llama-bench does
///
/// Tokenising is not part of it. For a prompt it shows the time to the first token; for generation the time of
/// single tokens, and the bytes of weights and cache read per second beside what a copy moves, and a kernel that
/// only reads, on the same device in the same run. Clocks, heat and throttling are shown where the driver tells.
/// With --kernel it measures one kernel alone, with --attention what a sliding window saves. Without a window, and
/// without --ctx, the context is what the tests need.
#[derive(Args)]
#[command(after_long_help = EXAMPLES, group = ArgGroup::new("what").required(true).args(["dir", "shape", "kernel", "attention"]))]
pub struct Bench {
    #[command(flatten)]
    model: ModelOrShape,

    #[command(flatten)]
    kernel: KernelArgs,

    #[command(flatten)]
    attention: AttentionArgs,

    /// Tokens of the prompt; 0 leaves this test out [default: 512, on the emulator 16]
    #[arg(short = 'p', long, value_name = "TOKENS", conflicts_with = "kernel")]
    n_prompt: Option<u32>,

    /// Tokens to generate, one by one; 0 leaves this test out [default: 128, on the emulator 4]
    #[arg(short = 'n', long, value_name = "TOKENS", conflicts_with = "kernel")]
    n_gen: Option<u32>,

    /// Tokens that are in the cache before either test [default: 0; with --kernel the window of Mistral 7B]
    #[arg(short = 'd', long, value_name = "TOKENS")]
    depth: Option<u32>,

    /// Times that each test runs [default: 5, with --kernel 100, on the emulator 2]
    #[arg(short = 'r', long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    repetitions: Option<u32>,

    /// How to print the results
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Md)]
    output: Format,

    /// Write the results to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    running: Running,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// A table in Markdown
    Md,
    /// A list with one object a test; with --kernel one object, in no list
    Json,
    /// A line a test, with the keys of JSON in the first; of lists only those of words
    Csv,
}

const EXAMPLES: &str = "\
Examples:
  gale bench -m Mistral-7B-v0.1                        pp512 and tg128, five times each
  gale bench -m Mistral-7B-v0.1 -p 0 -n 64 -d 16384    generation only, deep in a sequence
  gale bench --shape mistral-7b -d 4096                a model of that shape with random weights
  gale bench -m Mistral-7B-v0.1 -o json --file bench.json
  gale bench --kernel gate_up --n 28672 --k 4096       one kernel, for one token
  gale bench --kernel prefill_qkv --m 2048 --cublas    and cuBLAS on the same product
  gale bench --attention --svg attention.svg           what a sliding window saves";

/// What was asked for, with the defaults of the device.
struct Workload {
    n_prompt: u32,
    n_gen: u32,
    depth: u32,
    repetitions: u32,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if (self.n_prompt, self.n_gen) == (Some(0), Some(0)) {
            anyhow::bail!("-p, -n: expected something to measure, found 0 of both");
        }
        if self.attention.is_given() {
            let output = Output::open(self.file.as_deref())?;
            return self.attention.run(self.running.on.device, self.repetitions, self.output, output);
        }
        self.attention.refuse_without_attention()?;
        if self.kernel.is_given() {
            self.running.refuse_beside("--kernel")?;
            let output = Output::open(self.file.as_deref())?;
            return self.kernel.run(self.running.on.device, self.depth, self.repetitions, self.output, output);
        }
        self.kernel.refuse_without_kernel()?;
        let model = self.model.open()?;
        let name = model.dir.display().to_string();
        model.plan(&self.running.options())?;
        let output = Output::open(self.file.as_deref())?;
        let device = Device::open(self.running.on.device)?;
        let bandwidth = Bandwidth::measure(&device)?; // before the model takes the room
        let is_emulator = device.is_emulator();
        let work = self.workload(is_emulator);
        let options = self.options(&model.config, &work);
        let (device, mut session) = model.load(self.running.on.device, options)?;

        let mut health = Health::watch(&device);
        let mut run = |n, test| (n > 0).then(|| measure(&device, &mut session, &work, &mut health, test)).transpose();
        let (prefill, decode) = (run(work.n_prompt, sample::prefill)?, run(work.n_gen, sample::decode)?);
        let report = Report {
            model: name,
            device: &device,
            plan: session.memory(),
            bandwidth,
            bytes_per_token: bytes_per_token(session.config(), session.memory(), &work),
            tests: tests(&work, prefill, decode),
            depth: work.depth,
            health: &health,
        };
        if is_emulator && self.output != Format::Md {
            say(report::NO_GPU_SPEED); // the others say it as `counts_as_gpu_speed`
        }
        output.write(&match self.output {
            Format::Md => report.table(),
            Format::Json => report.json(),
            Format::Csv => report.csv(),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn workload(&self, is_emulator: bool) -> Workload {
        let (n_prompt, n_gen, repetitions) = if is_emulator { (16, 4, 2) } else { (512, 128, 5) };
        Workload {
            n_prompt: self.n_prompt.unwrap_or(n_prompt),
            n_gen: self.n_gen.unwrap_or(n_gen),
            depth: self.depth.unwrap_or(0),
            repetitions: self.repetitions.unwrap_or(repetitions),
        }
    }

    /// Without a window, the context is what the tests need if nothing else is asked for.
    fn options(&self, config: &Config, work: &Workload) -> Options {
        // What is generated begins with a token that is given, and is measured from the one after it.
        let needed = work.depth.saturating_add(work.n_prompt.max(work.n_gen.saturating_add(2)));
        let options = self.running.options();
        let context = options.context.or(config.window.is_none().then_some(needed));
        Options { context, ..options }
    }
}

/// One line of the result.
struct Test {
    kind: &'static str,
    n_tokens: u32,
    samples: Samples,
}

fn tests(work: &Workload, prefill: Option<Samples>, decode: Option<Samples>) -> Vec<Test> {
    let test = |kind, n_tokens, samples: Option<Samples>| samples.map(|samples| Test { kind, n_tokens, samples });
    [test("pp", work.n_prompt, prefill), test("tg", work.n_gen, decode)].into_iter().flatten().collect()
}

/// Of a weight: bf16 and f16 alike.
const WEIGHT_BYTES: u64 = 2;

/// What generating one token reads at the least: all weights, of the embedding only one row unless it is the output
/// projection too, and the keys and values in the window; the mean over the tokens generated.
fn bytes_per_token(config: &Config, plan: &Plan, work: &Workload) -> f64 {
    let embedding = plan.buffer("embedding").bytes();
    let row = u64::from(config.dim) * WEIGHT_BYTES;
    let unread = if config.tie_embeddings { 0 } else { embedding - row };
    let weights = plan.group_bytes(Group::Weights) - unread;

    let n_slots = plan.n_slots();
    let ring = Ring::new(config.window, n_slots);
    let bytes_per_slot = plan.group_bytes(Group::Cache) / u64::from(n_slots);
    let positions = u64::from(work.depth)..u64::from(work.depth) + u64::from(work.n_gen.max(1));
    let n_positions = (positions.end - positions.start) as f64;
    let n_seen: u64 = positions.map(|position| u64::from(ring.n_visible(Position(position)))).sum();
    weights as f64 + bytes_per_slot as f64 * n_seen as f64 / n_positions
}
