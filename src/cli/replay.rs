use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gale::device::Device;
use gale::server::{Fingerprint, Saved};
use gale::session::Options;

use super::generate::timing::tokens;
use super::model::Model;
use super::options::{ModelDir, On};
use super::say;

/// Repeats an answer of gale serve, and says whether it is the same, bit for bit
///
/// The answer is one to a request with "replay": true, as it came: JSON, or the lines of a stream. It carries the fingerprint
/// of weights, build, card and driver, with which those found here are compared; the prompts as token ids; how tokens were
/// chosen, and the seed. The status is 0 if every token is the same, and the texts and probabilities with them, else 1, with
/// the first difference.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Replay {
    #[command(flatten)]
    model: ModelDir,

    /// The answer
    #[arg(value_name = "RESPONSE.json")]
    response: PathBuf,

    /// Repeat the answer of another model, too: of other weights, or another config, tokenizer or chat template
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    on: On,
}

const EXAMPLES: &str = "\
Examples:
  gale replay -m Mistral-7B-Instruct-v0.3 response.json
  gale replay -m Mistral-7B-Instruct-v0.3 stream.txt --force    what would these weights have said?";

impl Replay {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let saved = Saved::read(&self.response)?;
        let path = self.response.display();
        let model = Model::open(&self.model.dir)?;
        let served = model.served(Options::default())?;
        let device = Device::open(self.on.device)?;
        let here = Fingerprint::new(served.weights, served.files, &device);
        let differences = saved.fingerprint().differences(&here);
        let differences: Vec<String> =
            differences.map(|[name, expected, found]| format!("{name}: expected {expected}, found {found}")).collect();
        if !self.force && !saved.fingerprint().is_same_model(&here) {
            let differences = differences.join("; ");
            anyhow::bail!("{path}: it is another model's answer: {differences} (--force repeats it all the same)");
        }
        let options = saved.options(&model.config)?;
        differences.iter().for_each(|it| say(format_args!("gale: {it}")));
        let (device, session) = model.load(self.on.device, options)?;
        match saved.repeat(device, session, served.tokenizer)? {
            None => writeln!(io::stdout(), "identical, {}", tokens(saved.n_tokens()))?,
            Some(it) if differences.is_empty() => {
                anyhow::bail!("{path}: {it} (the fingerprint is the same; of the weights it knows a sample)")
            }
            Some(it) => anyhow::bail!("{path}: {it}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}
