mod cold_start;
mod output;
pub(super) mod timing;

use std::ffi::OsString;
use std::io::Read;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args, value_parser};
use gale::config::Config;
use gale::prompt::{self, ChatFormat, Message, Role};
use gale::ring::Position;
use gale::sampler::{Finished, Limits};
use gale::session::Session;
use gale::tokenizer::{StopFilter, TextStream, Tokenizer};
use signal_hook::consts::SIGINT;

use super::model::Model;
use super::options::{Ids, ModelDir, Running, utf8};
use super::progress::Progress;
use super::sampling::SamplingArgs;
use super::{INTERRUPTED, say};
use cold_start::ColdStart;
use output::Output;
use timing::Timing;

/// Writes on from a prompt, or answers it with --chat
///
/// The text goes to stdout as it is generated. On stderr: progress, and in the end a line of figures.
#[derive(Args)]
#[command(
    after_long_help = EXAMPLES,
    group(ArgGroup::new("input").required(true).args(["prompt", "ids"])),
)]
pub struct Generate {
    #[command(flatten)]
    model: ModelDir,

    /// The prompt, as UTF-8. `-` reads it from stdin, without the newline at its end
    #[arg(short = 'p', long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<OsString>,

    /// The prompt as token ids: nothing is added to them, no BOS either
    #[arg(long, value_name = "1,2,3")]
    ids: Option<Ids>,

    /// Generate this many tokens at the most
    #[arg(short = 'n', long, value_name = "TOKENS", default_value_t = 256, value_parser = value_parser!(u32).range(1..))]
    max_tokens: u32,

    /// Ask an instruct model: in Mistral's own format, or through the chat template of its directory
    #[arg(long, conflicts_with = "ids")]
    chat: bool,

    /// With --chat: what the model is told before the prompt [default: what the template says]
    #[arg(long, value_name = "TEXT", requires = "chat", conflicts_with = "ids")]
    system: Option<String>,

    /// With --chat: begin with the guardrail of the Mistral 7B paper, before --system
    #[arg(long, requires = "chat", conflicts_with = "ids")]
    safe_prompt: bool,

    #[command(flatten)]
    sampling: SamplingArgs,

    /// End where this text appears, without showing it. May be given several times
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,

    /// Go on after the model's end-of-sequence token
    #[arg(long)]
    ignore_eos: bool,

    /// Print token ids, separated by commas, instead of text; without the end-of-sequence token, if that ends them
    #[arg(long, conflicts_with = "stop")]
    print_ids: bool,

    /// Print each token as a line of JSON instead of text: the logarithm of its probability, as the model gave it before any
    /// option applies, and N likeliest tokens in its place, up to 20. The end-of-sequence token has a line, too
    #[arg(long, value_name = "N", conflicts_with_all = ["stop", "print_ids"], value_parser = value_parser!(u32).range(..=20))]
    logprobs: Option<u32>,

    /// Tell on stderr what each step up to the first token took
    #[arg(short, long)]
    verbose: bool,

    #[command(flatten)]
    running: Running,
}

const EXAMPLES: &str = "\
Examples:
  gale generate -m Mistral-7B-v0.1 -p 'The capital of France is' -n 32 --greedy
  gale generate -m Mistral-7B-Instruct-v0.3 --chat -p 'Why is the sky blue?' --system 'Be brief.'
  gale generate -m MODEL -p - --temperature 0.6 --min-p 0.05 --seed 7 < prompt.txt
  gale generate -m MODEL -p 'Q: 6 x 7? A:' --stop 'Q:'
  gale generate -m MODEL -p 'Q: 6 x 7? A:' -n 1 --greedy --logprobs 5
  gale generate -m MODEL --ids 1,415,5565 --print-ids --greedy --ignore-eos -n 100    needs no tokenizer";

/// What ended the text.
enum Ended {
    StopString,
    /// The model, the number of tokens, or the user.
    Otherwise,
}

impl Generate {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let sampling = self.sampling.sampling()?;
        sampling.validate()?;
        let model = Model::open(&self.model.dir)?;
        sampling.bias_row(model.config.vocab_size)?;
        let tokenizer = self.needs_tokenizer().map(|what| model.tokenizer(what)).transpose()?;
        let prompt = self.prompt_ids(&model, tokenizer.as_ref())?;
        Session::check_prompt(&model.config, &self.running.options(), &prompt)?;
        let mut output = self.output(tokenizer.as_ref(), &prompt)?;
        let prepare = started.elapsed();
        let (_device, mut session) = model.load(self.running.on.device, self.running.options())?;

        let interrupted = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), interrupted.clone())
            .and_then(|_| signal_hook::flag::register(SIGINT, interrupted.clone()))
            .context("cannot handle Ctrl-C")?; // the second one ends the program at once
        let is_interrupted = || interrupted.load(Ordering::Relaxed);
        let mut timing = Timing::start(prompt.len());
        session.begin(&sampling, &self.limits(session.config(), prompt.len()), &prompt)?;
        take_prompt(&mut session, &prompt, &is_interrupted)?;
        let ended = self.generate(&mut session, &mut output, &mut timing, &is_interrupted);
        // After an error, too, what was generated is shown.
        output.finish(matches!(ended, Ok(Ended::StopString)))?;
        ended?;

        let seed = if sampling.temperature == 0.0 { String::new() } else { format!("; --seed {}", sampling.seed) };
        if let (true, Some(first_token)) = (self.verbose, timing.to_first_token()) {
            say(ColdStart { prepare, load: *session.load_times(), first_token });
        }
        say(format_args!("{timing}{seed}"));
        Ok(if is_interrupted() { INTERRUPTED.into() } else { ExitCode::SUCCESS })
    }

    /// What ends the text on the device; on the host, a stop string does too.
    fn limits(&self, config: &Config, n_prompt: usize) -> Limits {
        let end = Position(n_prompt as u64 + u64::from(self.max_tokens));
        // The kernel tells the chosen token's probability only beside others.
        let n_logprobs = self.logprobs.map_or(0, |n| n.max(1));
        Limits { eos_ids: config.eos_ids.clone(), ignore_eos: self.ignore_eos, end, n_logprobs }
    }

    /// Writes the tokens that the device chooses, one after the other.
    fn generate(
        &self,
        session: &mut Session,
        output: &mut Output,
        timing: &mut Timing,
        is_interrupted: &dyn Fn() -> bool,
    ) -> anyhow::Result<Ended> {
        for _ in 0..self.max_tokens {
            if is_interrupted() {
                break;
            }
            let record = session.next_token()?;
            let id = record.token.ok_or_else(|| session.no_choice())?;
            timing.token();
            output.tell(&record)?;
            if record.finished == Some(Finished::Eos) {
                break;
            }
            if output.push(id)? {
                return Ok(Ended::StopString);
            }
        }
        Ok(Ended::Otherwise)
    }

    /// What a tokenizer is for, if it is needed at all.
    fn needs_tokenizer(&self) -> Option<&'static str> {
        match (&self.ids, self.print_ids) {
            (None, _) => Some("a prompt of text"),
            (Some(_), false) => Some("text as output"),
            (Some(_), true) => None,
        }
    }

    fn prompt_ids(&self, model: &Model, tokenizer: Option<&Tokenizer>) -> anyhow::Result<Vec<u32>> {
        let (text, tokenizer) = match (&self.prompt, tokenizer, &self.ids) {
            (_, _, Some(Ids(ids))) => return Ok(ids.clone()),
            (Some(text), Some(tokenizer), None) => (prompt_text(text)?, tokenizer),
            _ => unreachable!("clap asks for -p or --ids, and -p loads the tokenizer"),
        };
        if text.is_empty() {
            bail!("-p: expected a prompt, found an empty text; to start from nothing, give the id of BOS to --ids");
        }
        if !self.chat {
            return Ok(tokenizer.encode(&text, true)?);
        }
        let system = self.system.iter().map(|text| Message::new(Role::System, text));
        let messages: Vec<Message> = system.chain([Message::new(Role::User, text)]).collect();
        let options = prompt::Options { safe_prompt: self.safe_prompt, ..Default::default() };
        Ok(prompt::ids(&ChatFormat::detect(&model.dir, tokenizer)?.encode(tokenizer, &messages, &options)?))
    }

    fn output<'a>(&self, tokenizer: Option<&'a Tokenizer>, prompt: &[u32]) -> anyhow::Result<Output<'a>> {
        match (tokenizer, self.logprobs) {
            (Some(tokenizer), Some(n)) => Ok(Output::Logprobs { tokenizer, n: n as usize }),
            (Some(tokenizer), None) if !self.print_ids => {
                // An answer is a text of its own, anything else goes on from the prompt.
                let stream = if self.chat { TextStream::new(tokenizer) } else { TextStream::after(tokenizer, prompt)? };
                Ok(Output::Text { stream, stop: StopFilter::new(self.stop.clone()) })
            }
            _ => Ok(Output::Ids { n_written: 0 }),
        }
    }
}

fn prompt_text(option: &OsString) -> anyhow::Result<String> {
    if option != "-" {
        return utf8("-p", option.clone());
    }
    let mut bytes = vec![];
    std::io::stdin().read_to_end(&mut bytes).context("cannot read the prompt from stdin")?;
    let mut text = String::from_utf8(bytes)
        .map_err(|error| anyhow::anyhow!("stdin: expected UTF-8, found other bytes: {}", error.utf8_error()))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Takes the prompt until it is done or interrupted.
/// Begins with a prompt; gives the number of its tokens that the cache held already.
pub(super) fn take_prompt(
    session: &mut Session,
    prompt: &[u32],
    is_interrupted: &dyn Fn() -> bool,
) -> anyhow::Result<usize> {
    let progress = Progress::of_tokens("reading the prompt", prompt.len());
    let n_cached = session.start(prompt, &mut |n_done| {
        progress.set(n_done as u64, prompt.len() as u64);
        if is_interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !is_interrupted() {
        progress.finish();
    }
    Ok(n_cached)
}
