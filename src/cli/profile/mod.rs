mod code;
mod rows;
mod svg;
mod table;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args, value_parser};
use gale::device::{Device, Launched};
use gale::session::{Options, Session};

use super::bandwidth::{Bandwidth, HeadStart};
use super::options::{ModelOrShape, Running, without_effect};
use super::output::Output;
use table::Profiled;

/// Shows what each kernel of a step does: on a GPU its time, on the emulator its counters and a predicted time
///
/// A step of decoding runs launch by launch, in place: on the model's buffers, whose weights no cache holds. Bytes and
/// FLOPs are what the launchers say that a launch needs at the least. On a GPU the time of the same step as one graph
/// stands below, and what of it is no kernel's. On the emulator times are predicted, by the model that src/roofline.rs
/// writes down: nothing but arithmetic on data sheets.
///
/// NVIDIA's profilers record exactly one step, named `gale decode`: see the examples.
#[derive(Args)]
#[command(after_long_help = EXAMPLES, group = ArgGroup::new("what").required(true).args(["dir", "shape", "ptx", "sass"]))]
pub struct Profile {
    #[command(flatten)]
    model: ModelOrShape,

    /// Tokens that are in the cache before the step
    #[arg(short = 'd', long, value_name = "TOKENS", default_value_t = 0, conflicts_with_all = ["ptx", "sass"])]
    depth: u32,

    /// Steps, whose median counts [default: 20, on the emulator 1]
    #[arg(short = 'r', long, value_name = "N", value_parser = value_parser!(u32).range(1..),
        conflicts_with_all = ["ptx", "sass"])]
    repetitions: Option<u32>,

    /// Print JSON instead of a table
    #[arg(long, conflicts_with_all = ["ptx", "sass"])]
    json: bool,

    /// Draw the kernels below their roofline in this file, too
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ptx", "sass"])]
    svg: Option<PathBuf>,

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
  gale profile --shape mistral-7b --svg roofline.svg   random weights, and a plot
  gale profile --shape tiny --device emulator          counters, and predictions
  gale profile --sass gate_up_bf16 --arch sm_90a
  gale profile --shape mistral-7b -r 1                 below `nsys profile -c cudaProfilerApi`
  gale profile --shape mistral-7b -r 1 --no-graph      below `ncu --profile-from-start off`";

/// Tokens of which the time of a whole step is the mean.
const N_STEPS: u32 = 32;

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
        model.plan(&self.running.options())?;
        let svg = self.svg.as_deref().map(|path| Output::open(Some(path))).transpose()?;
        let device = Device::open(self.running.on.device)?;
        let bandwidth = Bandwidth::measure(&device)?; // before the model takes the room
        let n_runs = self.repetitions.unwrap_or(if device.is_emulator() { 1 } else { 20 });

        // Without a window, the context is what the steps need if nothing else is asked for.
        let options = self.running.options();
        let needed = self.depth.saturating_add(n_runs + N_STEPS + 4);
        let context = options.context.or(model.config.window.is_none().then_some(needed));
        let (device, mut session) = model.load(self.running.on.device, Options { context, ..options })?;
        let position = fill(&mut session, self.depth)?;
        let mut head_start = HeadStart::new(&device)?;
        let trace = |_| {
            head_start.give(&device)?;
            session.trace_step()
        };
        let runs = (0..n_runs).map(trace).collect::<Result<Vec<_>, _>>()?;
        let step = if device.is_emulator() { None } else { Some(time_of_a_step(&mut session)?) };
        mark_a_step(&device, &mut session)?;

        let rows = rows::rows(&runs);
        let profiled = Profiled { model: &name, device: &device, position, bandwidth, step, rows: &rows };
        if let Some(svg) = svg {
            svg.write(&svg::plot(&profiled))?;
        }
        Output::Stdout.write(&if self.json { profiled.json() } else { profiled.table() })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Profile {
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

/// Puts tokens into the cache, one at the least, and gives the position of the next.
fn fill(session: &mut Session, depth: u32) -> anyhow::Result<u64> {
    let vocab_size = session.config().vocab_size;
    let ids: Vec<u32> = (0..depth.max(1)).map(|i| i.wrapping_mul(7919) % vocab_size).collect();
    session.prefill(&ids, &mut |_| ControlFlow::Continue(()))?;
    Ok(session.position().0)
}

/// As when text is generated: one launch of the graph a token.
fn time_of_a_step(session: &mut Session) -> anyhow::Result<Duration> {
    session.next_token()?; // which puts the first step under way
    let started = Instant::now();
    for _ in 0..N_STEPS {
        session.next_token()?;
    }
    Ok(started.elapsed() / N_STEPS)
}

/// Exactly one step for a profiler, if one is attached.
fn mark_a_step(device: &Device, session: &mut Session) -> anyhow::Result<()> {
    let _recording = device.profile("gale decode")?;
    session.next_token()?;
    Ok(())
}

/// What runs of the same step did.
type Runs = [Vec<Launched>];
