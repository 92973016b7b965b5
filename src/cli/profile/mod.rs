mod code;
mod rows;
mod svg;
mod table;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args, value_parser};
use gale::config::Config;
use gale::device::{Device, DeviceChoice, Launched};
use gale::session::{Options, Session};
use gale::workload::HeadStart;

use super::bandwidth::Bandwidth;
use super::health::Health;
use super::options::{ModelOrShape, Running, without_effect};
use super::output::Output;
use table::{Profiled, Room};

/// Shows what each kernel of a step or chunk does: on a GPU its time, on the emulator counters and a predicted time
///
/// A step of decoding, or with -p a chunk of a prompt, runs launch by launch, in place: on the model's buffers, whose
/// weights no cache holds. Bytes and FLOPs are what the launchers say that a launch needs at the least. On a GPU the
/// time of the same step as one graph, or of the same chunk without events in between, stands below, and what of it
/// is no kernel's. On the emulator times are predicted, by the model that src/roofline.rs writes down: nothing but
/// arithmetic on data sheets.
///
/// --predict shows those times without running anything, so a machine without a GPU tells in a second what a step of
/// Mistral 7B needs.
///
/// NVIDIA's profilers record exactly one step, named `gale decode`, or one chunk, `gale prefill`: see the examples.
#[derive(Args)]
#[command(after_long_help = EXAMPLES, group = ArgGroup::new("what").required(true).args(["dir", "shape", "ptx", "sass"]))]
pub struct Profile {
    #[command(flatten)]
    model: ModelOrShape,

    /// Tokens that are in the cache before the step
    #[arg(short = 'd', long, value_name = "TOKENS", default_value_t = 0, conflicts_with_all = ["ptx", "sass"])]
    depth: u32,

    /// Profile a chunk of so many tokens of a prompt, with the choice of the token after it, instead of a step
    #[arg(short = 'p', long, value_name = "TOKENS", value_parser = value_parser!(u32).range(1..),
        conflicts_with_all = ["ptx", "sass", "chunk"])]
    n_prompt: Option<u32>,

    /// Steps or chunks, whose median counts [default: 20, on the emulator 1]
    #[arg(short = 'r', long, value_name = "N", value_parser = value_parser!(u32).range(1..),
        conflicts_with_all = ["ptx", "sass"])]
    repetitions: Option<u32>,

    /// Print JSON instead of a table
    #[arg(long, conflicts_with_all = ["ptx", "sass"])]
    json: bool,

    /// Draw the kernels below their roofline in this file, too
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ptx", "sass"])]
    svg: Option<PathBuf>,

    /// Only predict: nothing runs; this machine's memory must hold one layer, the embedding, the output projection and the
    /// cache of a layer
    #[arg(long, requires = "shape", conflicts_with_all = ["dir", "repetitions", "no_graph", "ptx", "sass"])]
    predict: bool,

    /// Show a kernel's PTX, with what ptxas makes of it where there is a CUDA toolkit, and nothing else
    #[arg(long, value_name = "KERNEL")]
    ptx: Option<String>,

    /// Show a kernel's machine code for --arch, and nothing else; needs ptxas and cuobjdump or nvdisasm
    #[arg(long, value_name = "KERNEL")]
    sass: Option<String>,

    /// With --ptx and --sass: the architecture [default: sm_90]
    #[arg(long, value_name = "SM")]
    arch: Option<String>,

    #[command(flatten)]
    running: Running,
}

const EXAMPLES: &str = "\
Examples:
  gale profile -m Mistral-7B-v0.1 -d 4095              a step with a full window
  gale profile -m Mistral-7B-v0.1 -p 512               a chunk of a prompt
  gale profile --shape mistral-7b --svg roofline.svg   random weights, and a plot
  gale profile --shape tiny --device emulator          counters, and predictions
  gale profile --shape mistral-7b --predict -d 4095    predictions alone
  gale profile --sass gate_up_bf16 --arch sm_90a
  gale profile --shape mistral-7b -r 1                 below `nsys profile -c cudaProfilerApi`
  gale profile --shape mistral-7b -r 1 --no-graph      below `ncu --profile-from-start off`";

/// Steps or chunks of which the time of a whole one is the mean.
const N_STEPS: u32 = 32;
const N_CHUNKS: u32 = 4;

impl Profile {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.ptx.is_some() || self.sass.is_some() {
            return self.show_code();
        }
        if self.arch.is_some() {
            return Err(without_effect("--arch", "a model, which runs on what there is").into());
        }
        let model = self.model.open()?;
        let name = model.dir.display().to_string();
        if self.predict {
            return self.show_predicted(&name, &model.config);
        }
        model.plan(&self.running.options())?;
        let svg = self.svg.as_deref().map(|path| Output::open(Some(path))).transpose()?;
        let device = Device::open(self.running.on.device)?;
        let bandwidth = Bandwidth::measure(&device)?; // before the model takes the room
        let n_runs = self.repetitions.unwrap_or(if device.is_emulator() { 1 } else { 20 });

        let n_tokens = match self.n_prompt {
            Some(n_chunk) => n_chunk.saturating_mul(n_runs + N_CHUNKS + 1),
            None => n_runs + N_STEPS,
        };
        let options = self.options(&model.config, n_tokens.saturating_add(4));
        let (device, mut session) = model.load(self.running.on.device, options)?;
        let position = fill(&mut session, self.depth)?;
        let work = match self.n_prompt {
            Some(n_tokens) => Work::Chunk(ids(&session, n_tokens)),
            None => Work::Step,
        };
        let mut health = Health::watch(&device);
        let mut head_start = HeadStart::new(&device)?;
        let trace = |_| {
            head_start.give(&device)?;
            work.trace(&mut session)
        };
        let runs = (0..n_runs).map(trace).collect::<Result<Vec<_>, _>>()?;
        let time = if device.is_emulator() { None } else { Some(work.time(&mut session)?) };
        health.look();
        work.mark(&device, &mut session)?;

        let rows = rows::rows(&runs);
        let bandwidth = Some(bandwidth);
        let (health, room) = (Some(&health), None);
        let device = &device;
        let profiled =
            Profiled { model: &name, work: &work, device, position, bandwidth, health, room, time, rows: &rows };
        self.show(&profiled, svg)
    }
}

impl Profile {
    /// Without a window, the context is what is needed behind `depth` if nothing else is asked for.
    fn options(&self, config: &Config, n_tokens: u32) -> Options {
        let options = self.running.options();
        let needed = self.depth.saturating_add(n_tokens);
        let context = options.context.or(config.window.is_none().then_some(needed));
        Options { context, chunk: self.n_prompt.or(options.chunk), ..options }
    }

    fn show(&self, profiled: &Profiled, svg: Option<Output>) -> anyhow::Result<ExitCode> {
        if let Some(svg) = svg {
            svg.write(&svg::plot(profiled))?;
        }
        Output::Stdout.write(&if self.json { profiled.json() } else { profiled.table() })?;
        Ok(ExitCode::SUCCESS)
    }

    fn show_predicted(&self, name: &str, config: &Config) -> anyhow::Result<ExitCode> {
        if let DeviceChoice::Cuda(_) = self.running.on.device {
            return Err(without_effect("--device cuda", "--predict, for which no card runs anything").into());
        }
        let svg = self.svg.as_deref().map(|path| Output::open(Some(path))).transpose()?;
        let device = Device::open(DeviceChoice::Emulator)?;
        let options = self.options(config, self.n_prompt.unwrap_or(1));
        let position = self.depth.into();
        let launches = Session::costs(&device, config, &options, position, self.n_prompt)?;
        let work = self.n_prompt.map_or(Work::Step, |n_tokens| Work::Chunk(vec![0; n_tokens as usize]));
        let end = config.window.is_none().then_some(config.max_position);
        let device_bytes = Session::plan(config, config.weight_type, &options)?.total_bytes();
        let room = Some(Room { device_bytes, end, n_positions: self.depth.saturating_add(work.n_tokens() as u32) });
        let (rows, bandwidth, health, time) = (rows::rows(&[launches]), None, None, None);
        let device = &device;
        let profiled =
            Profiled { model: name, work: &work, device, position, bandwidth, health, room, time, rows: &rows };
        self.show(&profiled, svg)
    }

    fn show_code(&self) -> anyhow::Result<ExitCode> {
        self.running.refuse_beside("--ptx and --sass")?;
        let arch = self.arch.as_deref().unwrap_or("sm_90");
        let text = match (&self.ptx, &self.sass) {
            (Some(name), _) => code::ptx(name, arch)?,
            (_, Some(name)) => code::sass(name, arch)?,
            (None, None) => unreachable!("one of them is given"),
        };
        Output::Stdout.write(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Puts tokens into the cache, one at the least before a step, and gives the position of the next.
fn fill(session: &mut Session, depth: u32) -> anyhow::Result<u64> {
    let ids = ids(session, depth.max(1));
    session.prefill(&ids, &mut |_| ControlFlow::Continue(()))?;
    Ok(session.position().0)
}

fn ids(session: &Session, n: u32) -> Vec<u32> {
    let vocab_size = session.config().vocab_size;
    (0..n).map(|i| i.wrapping_mul(7919) % vocab_size).collect()
}

/// What is profiled.
pub enum Work {
    /// Of decoding one token.
    Step,
    /// Of a prompt, with these ids.
    Chunk(Vec<u32>),
}

impl Work {
    fn trace(&self, session: &mut Session) -> gale::error::Result<Vec<Launched>> {
        match self {
            Work::Step => session.trace_step(),
            Work::Chunk(ids) => session.trace_chunk(ids),
        }
    }

    /// Once, as when text is generated: a launch of the graph, or a chunk's launches in a row.
    fn run(&self, session: &mut Session) -> gale::error::Result<()> {
        match self {
            Work::Step => session.next_token().map(|_| ()),
            Work::Chunk(ids) => session.prefill(ids, &mut |_| ControlFlow::Continue(())),
        }
    }

    fn time(&self, session: &mut Session) -> anyhow::Result<Duration> {
        let n_runs = match self {
            Work::Step => N_STEPS,
            Work::Chunk(_) => N_CHUNKS,
        };
        if let Work::Step = self {
            self.run(session)?; // which puts the first step under way
        }
        let started = Instant::now();
        for _ in 0..n_runs {
            self.run(session)?;
        }
        Ok(started.elapsed() / n_runs)
    }

    /// Exactly one for a profiler, if one is attached.
    fn mark(&self, device: &Device, session: &mut Session) -> anyhow::Result<()> {
        let _recording = device.profile(match self {
            Work::Step => "gale decode",
            Work::Chunk(_) => "gale prefill",
        })?;
        Ok(self.run(session)?)
    }

    /// As a person calls it.
    pub fn name(&self) -> String {
        match self {
            Work::Step => "a step".into(),
            Work::Chunk(ids) => format!("a chunk of {}", ids.len()),
        }
    }

    /// In one go.
    fn whole(&self) -> &'static str {
        match self {
            Work::Step => "a step, as one graph",
            Work::Chunk(_) => "a chunk, in a row",
        }
    }

    fn n_tokens(&self) -> usize {
        match self {
            Work::Step => 1,
            Work::Chunk(ids) => ids.len(),
        }
    }
}

/// What runs of the same step or chunk did.
type Runs = [Vec<Launched>];
