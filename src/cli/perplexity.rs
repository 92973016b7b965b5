use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, value_parser};
use gale::perplexity::{Cut, Estimate, nll};
use gale::session::Options;

use super::model::Model;
use super::options::{ModelDir, On};
use super::progress::Progress;

/// Says how well the model predicts a text: its perplexity
///
/// Counted as llama.cpp's llama-perplexity does, so that numbers can be compared: the text is cut into windows of --ctx
/// tokens side by side, each begins with BOS if the tokenizer puts one in front of a text, and the second half of each
/// counts. With --stride, windows begin so many tokens apart and the last so many of each count: slower, and each token has
/// more text before it.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Perplexity {
    #[command(flatten)]
    model: ModelDir,

    /// The text: UTF-8, taken as it is
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,

    /// Tokens of a window
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = value_parser!(u32).range(3..))]
    ctx: u32,

    /// Tokens from a window to the next, less than --ctx [default: windows are side by side]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    stride: Option<u32>,

    /// Tokens that go through the model at once; changes speed and memory, never a bit of the result [default: 512, or the
    /// window or --ctx if that is less]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    chunk: Option<u32>,

    #[command(flatten)]
    on: On,
}

const EXAMPLES: &str = "\
Examples:
  gale perplexity -m Mistral-7B-v0.1 -f wiki.test.raw              llama.cpp's default: 512 tokens a window
  gale perplexity -m Mistral-7B-v0.1 -f wiki.test.raw --ctx 8192 --stride 512";

impl Perplexity {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let path = self.file.display();
        if let Some(stride) = self.stride.filter(|&it| it >= self.ctx) {
            bail!("--stride: expected less than --ctx, {}, found {stride}", self.ctx);
        }
        let text = std::fs::read(&self.file).with_context(|| format!("cannot read {path}"))?;
        let text = String::from_utf8(text)
            .map_err(|error| anyhow::anyhow!("{path}: expected UTF-8, found other bytes: {}", error.utf8_error()))?;
        let model = Model::open(&self.model.dir)?;
        let tokenizer = model.tokenizer("a text")?;
        let ids = tokenizer.encode(&text, true)?;
        // Some tokenizers put a token behind a text, and that is no BOS.
        let bos = tokenizer.encode("", true)?.first().copied().filter(|bos| ids.first() == Some(bos));

        let cut = Cut { context: self.ctx as usize, stride: self.stride.map(|it| it as usize) };
        let n_windows = cut.windows(ids.len()).len();
        if n_windows == 0 {
            bail!(
                "{path}: expected at least --ctx tokens, {}, found {}: take a longer text, or less",
                self.ctx,
                ids.len()
            );
        }
        let context = if model.config.window.is_some() { None } else { Some(self.ctx) };
        let options = Options { chunk: self.chunk, context, graph: false };
        let (_device, mut session) = model.load(self.on.device, options)?;

        let counted = cut.counted();
        let progress = Progress::of_tokens("reading the text", n_windows * cut.context);
        let mut estimate = Estimate::default();
        for (i, window) in cut.windows(ids.len()).enumerate() {
            let mut window = ids[window].to_vec();
            if let Some(bos) = bos {
                window[0] = bos;
            }
            // The logits of a token say what is likely after it.
            let (inputs, next) = (&window[..counted.end - 1], &window[counted.clone()]);
            let mut next = next.iter();
            session.score(inputs, counted.len(), &mut |logits| {
                estimate.add(nll(logits, *next.next().expect("a row for each token that counts")));
                Ok(())
            })?;
            progress.set(((i + 1) * cut.context) as u64, (n_windows * cut.context) as u64);
        }
        progress.finish();
        writeln!(
            io::stdout(),
            "perplexity {:.4} +- {:.4}, NLL {:.4} +- {:.4} nats a token: {} tokens in {n_windows} windows of {}",
            estimate.perplexity(),
            estimate.perplexity_error(),
            estimate.mean_nll(),
            estimate.nll_error(),
            estimate.n(),
            cut.context,
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
