use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use gale::ring::Ring;

use super::model::Model;
use super::options::{ModelDir, Sizes};

/// Shows every byte of device memory that a model takes, before anything is loaded
///
/// Reads the headers of the files and opens no device. The driver's own memory, some hundred MiB on a GPU, comes on top.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Plan {
    #[command(flatten)]
    model: ModelDir,
    #[command(flatten)]
    sizes: Sizes,
}

const EXAMPLES: &str = "\
Examples:
  gale plan -m Mistral-7B-v0.1                         window 4096: 512 MiB of cache, at any length
  gale plan -m Mistral-7B-Instruct-v0.3 --ctx 32768    no window: the cache is as long as the context";

impl Plan {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let model = Model::open(&self.model.dir)?;
        let plan = model.plan(&self.sizes.options())?;
        let mut out = io::stdout().lock();
        writeln!(out, "{plan}")?;
        let n_slots = plan.n_slots();
        match Ring::new(model.config.window, n_slots).max_positions() {
            None => writeln!(out, "window of {n_slots} tokens: the same memory for a sequence of any length")?,
            Some(n) => writeln!(out, "context of {n} tokens: no window, so the cache ends there; --ctx sets it")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
