//! A conversation on the command line.

mod command;
mod conversation;
mod input;

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::{Args, value_parser};
use gale::prompt::ChatFormat;
use signal_hook::consts::SIGINT;

use super::model::Model;
use super::options::{ModelDir, Running};
use super::sampling::SamplingArgs;
use super::{is_broken_pipe, messages, say};
use command::{Command, HELP};
use conversation::Conversation;
use input::{Input, Line};

/// Talks with an instruct model: answers stream to stdout, Ctrl-C stops one, Ctrl-D ends
///
/// On a terminal, lines can be edited, and the arrow keys bring back earlier ones. Otherwise each line of stdin is a
/// message, or a command if it begins with /, and only the answers are on stdout; the status is 1 if a line failed.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Chat {
    #[command(flatten)]
    model: ModelDir,

    /// What the model is told before everything else; /system changes it [default: what the chat format says]
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// Begin with the guardrail of the Mistral 7B paper, before --system
    #[arg(long)]
    safe_prompt: bool,

    /// An answer has this many tokens at the most
    #[arg(short = 'n', long, value_name = "TOKENS", default_value_t = 1024, value_parser = value_parser!(u32).range(1..))]
    max_tokens: u32,

    #[command(flatten)]
    sampling: SamplingArgs,

    /// Show figures on stderr after each answer
    #[arg(short, long)]
    verbose: bool,

    #[command(flatten)]
    running: Running,
}

const EXAMPLES: &str = "\
Examples:
  gale chat -m Mistral-7B-Instruct-v0.3 --system 'Be brief.'
  gale chat -m Mistral-7B-Instruct-v0.3 --safe-prompt --temperature 0.3
  gale chat -m Mistral-7B-Instruct-v0.3 --greedy < questions.txt > answers.txt";

impl Chat {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let sampling = self.sampling.sampling()?;
        sampling.validate()?;
        let model = Model::open(&self.model.dir)?;
        sampling.bias_row(model.config.vocab_size)?;
        let tokenizer = model.tokenizer("a chat")?;
        let format = ChatFormat::detect(&model.dir, &tokenizer)?;
        let (device, options) = (self.running.on.device, self.running.options());
        let (_device, session) = model.load(device, options)?;

        let (interrupted, idle) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // Ctrl-C stops an answer. While the program waits for a pipe, there is none, and it ends.
        signal_hook::flag::register_conditional_shutdown(SIGINT, super::INTERRUPTED.into(), idle.clone())
            .and_then(|_| signal_hook::flag::register(SIGINT, interrupted.clone()))
            .context("cannot handle Ctrl-C")?;
        let mut input = Input::open(idle)?;
        if input.is_terminal() {
            say(format_args!("gale: asked by {format}; /help shows the commands, Ctrl-D ends"));
        }
        let mut conversation = Conversation {
            session,
            tokenizer: &tokenizer,
            format,
            safe_prompt: self.safe_prompt,
            system: self.system,
            messages: vec![],
            sampling,
            max_tokens: self.max_tokens,
            interrupted,
            verbose: self.verbose,
        };
        let mut has_failed = false;
        loop {
            let done = match input.next()? {
                Line::End => break,
                Line::Nothing => Ok(()),
                Line::Unreadable(problem) => Err(anyhow::anyhow!(problem)),
                Line::Text(line) => run_line(&mut conversation, &line, input.is_terminal()),
            };
            match done {
                Ok(()) => {}
                Err(error) if is_broken_pipe(&error) => return Err(error),
                Err(error) => {
                    say(format_args!("error: {error:#}"));
                    has_failed = true;
                }
            }
        }
        Ok(if has_failed && !input.is_terminal() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Nobody is asked before a file is written over, so only who types the line may do that.
fn run_line(conversation: &mut Conversation, line: &str, is_typed: bool) -> anyhow::Result<()> {
    match Command::parse(line)? {
        Command::Say(text) => return conversation.say(text),
        Command::Reset => {
            conversation.messages.clear();
            say("gale: a new conversation");
        }
        Command::System(None) => {
            conversation.system = None;
            say("gale: the model is told nothing");
        }
        Command::System(Some(text)) => {
            conversation.system = Some(text.into());
            say("gale: the model is told so from here on");
        }
        Command::Save(path) => {
            let text = messages::written(&conversation.all_messages());
            save(path, text.as_bytes(), is_typed).with_context(|| format!("cannot write {path}"))?;
            say(format_args!("gale: written to {path}"));
        }
        Command::Help => say(HELP),
    }
    Ok(())
}

fn save(path: &str, text: &[u8], may_overwrite: bool) -> io::Result<()> {
    let mut file = if may_overwrite { File::create(path)? } else { File::create_new(path)? };
    file.write_all(text)
}
