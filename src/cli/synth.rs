use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gale::config::shapes;
use gale::synth;

use super::progress::Progress;
use super::say;

/// Writes a model directory of a well-known shape with random weights, to measure loading with
///
/// The directory has config.json, weights in bf16, in shards where they are large, and a tokenizer of bytes. The weights are those
/// that --shape makes on the device. The model writes nonsense.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Synth {
    /// The shape: mistral-7b, smollm2-135m, tiny and others (an unknown name lists them)
    #[arg(long, value_name = "NAME")]
    shape: String,

    /// The directory, which must not have a model yet
    #[arg(short = 'o', long, value_name = "DIR")]
    output: PathBuf,

    /// The largest shard, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = synth::SHARD_BYTES)]
    shard_bytes: u64,
}

const EXAMPLES: &str = "\
Examples:
  gale synth --shape tiny -o tiny                 0.3 MB, to see that everything works
  gale synth --shape mistral-7b -o /tmp/mistral   14.5 GB, then: gale generate -v -m /tmp/mistral --ids 1 -n 1";

impl Synth {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = shapes::shape(&self.shape)?;
        let progress = Progress::of_bytes("writing");
        let mut n_bytes = 0;
        synth::write(&self.output, &config, self.shard_bytes, &mut |done, total| {
            n_bytes = total;
            progress.set(done, total);
        })?;
        progress.finish();
        say(format_args!("{}: {n_bytes} bytes of weights", self.output.display()));
        Ok(ExitCode::SUCCESS)
    }
}
