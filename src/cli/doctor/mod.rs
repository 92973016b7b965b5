mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use gale::device::{Device, prototypes};
use gale::plan::Bytes;

use super::bandwidth::Bandwidth;
use super::options::On;
use super::say;

/// Says whether this machine is fit: driver, card, and a test of each kernel
///
/// Opens the device as the other commands do, measures how fast its memory copies, and runs each kernel on a small case
/// with a known answer. The exit status is 1 if any of them fails.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Doctor {
    #[command(flatten)]
    on: On,
}

const EXAMPLES: &str = "\
Examples:
  gale doctor                    the device that the other commands would take
  gale doctor --device cuda:1    the second GPU, or why it cannot be used";

impl Doctor {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        for ((major, minor), modules) in modules_by_ptx_version() {
            writeln!(out, "PTX {major}.{minor}    {}", modules.join(", "))?;
        }
        let device = Device::open(self.on.device)?;
        device.load_kernels()?; // a module that the driver does not take is an error that names it
        describe(&device, &mut out)?;
        let Bandwidth { copy, read } = Bandwidth::measure(&device)?;
        let note = if device.is_emulator() { " (emulator: counts for nothing as a GPU speed)" } else { "" };
        writeln!(out, "copy       {:.1} GB/s{note}", copy / 1e9)?;
        writeln!(out, "read       {:.1} GB/s{note}\n", read / 1e9)?;

        let width = checks::ALL.iter().map(|it| it.kernel.len()).max().unwrap_or(0);
        let mut n_failed = 0;
        for check in checks::ALL {
            let verdict = match check.run(&device) {
                Ok(()) => "ok".to_owned(),
                Err(problem) => {
                    n_failed += 1;
                    format!("FAILED: {problem:#}")
                }
            };
            writeln!(out, "kernel     {:<width$} {verdict}", check.kernel)?;
        }
        if n_failed > 0 {
            say(format_args!("error: {n_failed} of {} kernels failed their test on this device", checks::ALL.len()));
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(device: &Device, out: &mut impl Write) -> anyhow::Result<()> {
    let (major, minor) = device.compute_capability();
    let n = device.n_multiprocessors();
    writeln!(out, "device     {}, compute capability {major}.{minor}, {n} multiprocessors", device.name())?;
    let (free, total) = device.memory_info()?;
    writeln!(out, "memory     {} of {} are free", Bytes(free as u64), Bytes(total as u64))?;
    let (major, minor) = device.driver_version();
    writeln!(out, "driver     for CUDA {major}.{minor}, it has taken all of the PTX")?;
    for path in loaded_libraries() {
        writeln!(out, "library    {path}")?;
    }
    Ok(())
}

/// The libcuda that this process has mapped, by its path.
fn loaded_libraries() -> BTreeSet<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    paths
        .filter(|path| path.rsplit('/').next().is_some_and(|it| it.starts_with("libcuda")))
        .map(str::to_owned)
        .collect()
}

fn modules_by_ptx_version() -> BTreeMap<(u32, u32), Vec<&'static str>> {
    let mut by_version: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for module in prototypes::MODULES {
        by_version.entry(module.ptx_version()).or_default().push(module.name);
    }
    by_version
}
