use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use gale::device::{Device, DeviceChoice};
use gale::ring::Ring;

use super::fit::Memory;
use super::model::Model;
use super::options::{ModelDir, Sizes};

/// Shows every byte of device memory that a model takes, before anything is loaded, and the longest context that fits
///
/// Reads the headers of the files, and opens no device unless --device asks for it. The driver's own memory, some hundred
/// MiB on a GPU, comes on top.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Plan {
    #[command(flatten)]
    model: ModelDir,
    #[command(flatten)]
    sizes: Sizes,

    /// Free device memory to fit into, such as 24GiB [default: what cards of several sizes have]
    #[arg(long, value_name = "BYTES")]
    memory: Option<Memory>,

    /// Fit into the memory that is free on this device: auto, cuda, cuda:N or emulator
    #[arg(long, value_name = "DEVICE", conflicts_with = "memory")]
    device: Option<DeviceChoice>,
}

const EXAMPLES: &str = "\
Examples:
  gale plan -m Mistral-7B-v0.1                         window 4096: 512 MiB of cache, at any length
  gale plan -m Mistral-7B-Instruct-v0.3 --ctx 32768    no window: the cache is as long as the context
  gale plan -m Mistral-7B-Instruct-v0.3 --memory 22GiB
  gale plan -m Mistral-7B-Instruct-v0.3 --device cuda  the longest context that fits on this card, now";

/// Of cards, in GiB.
const CARDS_GIB: [u64; 4] = [16, 24, 40, 80];

impl Plan {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let model = Model::open(&self.model.dir)?;
        let options = self.sizes.options();
        let plan = model.plan(&options)?;
        let memories = match (self.memory, self.device) {
            (Some(Memory(bytes)), _) => vec![bytes],
            (None, Some(device)) => vec![Device::open(device)?.memory_info()?.0 as u64],
            (None, None) => CARDS_GIB.map(|gib| gib << 30).into(),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{plan}")?;
        let n_slots = plan.n_slots();
        match Ring::new(model.config.window, n_slots).max_positions() {
            None => writeln!(out, "window of {n_slots} tokens: the same memory for a sequence of any length")?,
            Some(n) => writeln!(out, "context of {n} tokens: no window, so the cache ends there; --ctx sets it")?,
        }
        let fit = model.fit(options);
        for memory in memories {
            writeln!(out, "in {}", fit.advice(memory)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
