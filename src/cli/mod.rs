//! The command line, one file a command. Results go to stdout, everything else to stderr.

mod bandwidth;
mod bench;
mod chat;
mod doctor;
mod explain;
mod fit;
mod generate;
mod health;
mod inspect;
mod logits;
mod messages;
mod model;
mod moderate;
mod options;
mod perplexity;
mod output;
mod plan;
mod profile;
mod progress;
mod replay;
mod sampling;
mod serve;
mod svg;
mod synth;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Generates text with Mistral-family models on one NVIDIA GPU, or on the CPU in an emulator of one.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Generate(generate::Generate),
    Chat(chat::Chat),
    Serve(serve::Serve),
    Replay(replay::Replay),
    Logits(logits::Logits),
    Perplexity(perplexity::Perplexity),
    Moderate(moderate::Moderate),
    Explain(explain::Explain),
    Inspect(inspect::Inspect),
    Plan(plan::Plan),
    Bench(bench::Bench),
    Profile(profile::Profile),
    Synth(synth::Synth),
    Doctor(doctor::Doctor),
}

const EXAMPLES: &str = "\
Examples:
  gale doctor                                        is this machine fit for it?
  gale plan -m Mistral-7B-v0.1                       how much memory does the model take?
  gale generate -m Mistral-7B-v0.1 -p 'Once upon'    write on
  gale serve -m Mistral-7B-Instruct-v0.1             answer over HTTP, as OpenAI's API does
  gale bench -m Mistral-7B-v0.1                      how fast is it?

A model is a directory as Hugging Face has it: config.json, model*.safetensors, tokenizer.json.
Exit status: 0 fine, 1 an error (one line on stderr says which), 2 wrong usage, 130 interrupted.";

/// The status of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Generate(command) => command.run(),
        Command::Chat(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Logits(command) => command.run(),
        Command::Perplexity(command) => command.run(),
        Command::Moderate(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Profile(command) => command.run(),
        Command::Synth(command) => command.run(),
        Command::Doctor(command) => command.run(),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever a path or a driver's log holds.
            let message = format!("{error:#}").split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
            say(format_args!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of our output has had enough (`gale ... | head`), which is its right.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe)
}

/// A line on stderr. If nobody reads that, so be it.
fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
