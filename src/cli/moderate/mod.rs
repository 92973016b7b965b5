//! Moderation by self-reflection (Mistral 7B, arXiv 2310.06825, section 5.2): the model itself is asked for a text's category.
//!
//! The answer is not left to chance, nor to what the model happens to write: of the names of all categories, the likeliest
//! is taken, and the likelihoods are the scores.

mod categories;
mod scores;

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use gale::prompt::ChatFormat;
use serde::{Serialize, Serializer};

use super::model::Model;
use super::options::{ModelDir, Running, utf8};
use categories::Question;
use scores::Scorer;

/// Says which category of unwanted content a text belongs to, if any, with a score for each
///
/// One line of JSON for each text: the text, the likeliest category, whether it needs moderation, and the probability of each
/// category, among them. Without TEXT, each line of stdin is one.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Moderate {
    #[command(flatten)]
    model: ModelDir,

    /// The text; `-` or none: each line of stdin
    text: Option<OsString>,

    /// What the model is asked, in place of the built-in question: UTF-8, with a line `- NAME: DESCRIPTION` for each category,
    /// and {text} where the text goes, else it goes to the end. "not moderated" is a category without being named
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,

    #[command(flatten)]
    running: Running,
}

const EXAMPLES: &str = "\
Examples:
  gale moderate -m Mistral-7B-Instruct-v0.3 'How to kill a linux process'
  gale moderate -m Mistral-7B-Instruct-v0.3 < comments.txt > categories.jsonl
  gale moderate -m Mistral-7B-Instruct-v0.3 --prompt-file house-rules.txt < comments.txt";

/// A line of the output.
#[derive(Serialize)]
struct Verdict<'a> {
    text: &'a str,
    category: &'a str,
    moderated: bool,
    scores: Scores<'a>,
}

/// An object, with the categories in the order of the question.
struct Scores<'a>(Vec<(&'a str, f64)>);

impl Serialize for Scores<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl Moderate {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let question = self.prompt_file.as_deref().map_or_else(|| Ok(Question::built_in()), Question::read)?;
        let text = self.text.filter(|text| text != "-").map(|text| utf8("TEXT", text)).transpose()?;
        let model = Model::open(&self.model.dir)?;
        let tokenizer = model.tokenizer("moderation")?;
        let format = ChatFormat::detect(&model.dir, &tokenizer)?;
        let (device, options) = (self.running.on.device, self.running.options());
        let (_device, session) = model.load(device, options)?;
        let mut scorer = Scorer { session, tokenizer: &tokenizer, format: &format };

        let mut judge = |text: &str| -> anyhow::Result<()> {
            let scores = scorer.scores(&question, text)?;
            let likeliest = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("at least two").0;
            let category = question.categories[likeliest].as_str();
            let scores = Scores(question.categories.iter().map(String::as_str).zip(scores).collect());
            let verdict = Verdict { text, category, moderated: category != categories::NOT_MODERATED, scores };
            writeln!(io::stdout(), "{}", serde_json::to_string(&verdict)?)?;
            Ok(io::stdout().flush()?)
        };
        if let Some(text) = text {
            judge(&text)?;
            return Ok(ExitCode::SUCCESS);
        }
        for (i, line) in io::stdin().lock().split(b'\n').enumerate() {
            let doing = || format!("line {} of stdin", i + 1);
            let line = String::from_utf8(line.with_context(doing)?)
                .map_err(|_| anyhow::anyhow!("expected UTF-8, found other bytes"))
                .with_context(doing)?;
            match judge(line.trim_end_matches('\r')) {
                Err(error) if super::is_broken_pipe(&error) => return Err(error),
                judged => judged.with_context(doing)?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
