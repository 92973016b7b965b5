use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use gale::config::Config;
use gale::prompt::{ChatFormat, Message, Options, Origin, Piece, Role};
use gale::tokenizer::{Token, Tokenizer};

use super::messages;
use super::model::load_tokenizer;
use super::options::{ModelDir, utf8};
use super::say;

/// Shows every token of a prompt: its id, its piece of text, and where it came from
///
/// Reads config.json, the tokenizer and the chat template, no weights; opens no device.
#[derive(Args)]
#[command(
    after_long_help = EXAMPLES,
    group(ArgGroup::new("input").required(true).args(["prompt", "chat"])),
)]
pub struct Explain {
    #[command(flatten)]
    model: ModelDir,

    /// A plain prompt, as generate -p takes it
    #[arg(short = 'p', long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<OsString>,

    /// A chat: a JSON list of { "role", "content" }, alone or under the key "messages"; `-` reads it from stdin. If the last
    /// message is the assistant's, it stays open
    #[arg(long, value_name = "FILE")]
    chat: Option<PathBuf>,

    /// With --chat: begin with the guardrail of the Mistral 7B paper
    #[arg(long, conflicts_with = "prompt")]
    safe_prompt: bool,
}

const EXAMPLES: &str = "\
Examples:
  gale explain -m Mistral-7B-v0.1 -p 'The capital of France is'
  gale explain -m Mistral-7B-Instruct-v0.3 --chat chat.json --safe-prompt    a chat saved with /save of gale chat";

impl Explain {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let dir = &self.model.dir;
        let config = Config::load(dir)?;
        let tokenizer = load_tokenizer(dir, &config, "a prompt of text")?;
        let rows = match (self.prompt, &self.chat) {
            (Some(prompt), _) => plain(&tokenizer, &utf8("-p", prompt)?)?,
            (None, Some(file)) => chat(dir, &tokenizer, &messages::read(file)?, self.safe_prompt)?,
            (None, None) => unreachable!("clap asks for -p or --chat"),
        };
        let width = rows.iter().map(|row| row.piece.chars().count()).max().unwrap_or(0);
        let mut out = io::stdout().lock();
        for Row { id, piece, origin } in &rows {
            writeln!(out, "{id:>6}  {piece:<width$}  {origin}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

struct Row {
    id: u32,
    piece: String,
    origin: String,
}

impl Row {
    fn new(tokenizer: &Tokenizer, id: u32, origin: impl Into<String>) -> Self {
        Self { id, piece: shown(&tokenizer.token(id).unwrap_or_default()), origin: origin.into() }
    }
}

fn plain(tokenizer: &Tokenizer, text: &str) -> anyhow::Result<Vec<Row>> {
    let row = |Token { id, bytes }| {
        let origin = match (bytes.is_empty(), tokenizer.is_special(id)) {
            (true, _) => "tokenizer",
            (false, true) => "text, spelling a control token",
            (false, false) => "text",
        };
        Row::new(tokenizer, id, origin)
    };
    Ok(tokenizer.encode_prompt(text)?.into_iter().map(row).collect())
}

fn chat(dir: &Path, tokenizer: &Tokenizer, messages: &[Message], safe_prompt: bool) -> anyhow::Result<Vec<Row>> {
    let format = ChatFormat::detect(dir, tokenizer)?;
    let continue_final_message = messages.last().is_some_and(|it| it.role == Role::Assistant);
    let pieces = format.encode(tokenizer, messages, &Options { safe_prompt, continue_final_message })?;
    say(format_args!("gale: asked by {format}"));
    let row = |Piece { id, origin }| {
        let origin = match origin {
            Origin::Template => "template".into(),
            Origin::SafePrompt => "safe prompt".into(),
            Origin::Message(i) => format!("message {i}, {}", messages[i].role),
            Origin::Unknown => "template or message".into(),
        };
        Row::new(tokenizer, id, origin)
    };
    Ok(pieces.into_iter().map(row).collect())
}

/// The piece on one line.
fn shown(piece: &str) -> String {
    piece
        .chars()
        .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
        .collect()
}
