//! What is in a model directory. Each part is read by itself, so that a broken one does not hide the others.

mod tensors;
mod unusual;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use gale::config::{Architecture, Config};
use gale::plan::Bytes;
use gale::prompt::ChatFormat;
use gale::tokenizer::Tokenizer;
use gale::weights::{Listed, Weights};

use super::options::ModelDir;

/// Shows what is in a model directory: sizes, tensors, tokenizer, chat format, what is unusual, and what is wrong
///
/// Reads headers, no weights, and opens no device. Status 1 if something is wrong, which is then listed in the end.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Inspect {
    #[command(flatten)]
    model: ModelDir,
}

const EXAMPLES: &str = "\
Examples:
  gale inspect -m Mistral-7B-Instruct-v0.3";

/// What was found; a part that cannot be read is among what is wrong.
struct Findings<'a> {
    dir: &'a Path,
    config: Option<Config>,
    /// All tensors of the files.
    listed: Option<Vec<Listed>>,
    /// The files, if they are those of the config's model.
    weights: Option<Weights>,
    tokenizer: Option<Tokenizer>,
    format: Option<ChatFormat>,
    wrong: Vec<String>,
}

impl Inspect {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let dir = &self.model.dir;
        let found = Findings::read(dir);
        let mut out = io::stdout().lock();
        found.write_model(&mut out)?;
        found.write_weights(&mut out)?;
        found.write_text(&mut out)?;
        write_list(&mut out, "unusual", &unusual::all(&found))?;
        write_list(&mut out, "wrong", &found.wrong)?;
        match found.wrong.len() {
            0 => Ok(ExitCode::SUCCESS),
            1 => anyhow::bail!("{}: gale cannot use it: {}", dir.display(), found.wrong[0]),
            n => anyhow::bail!("{}: gale cannot use it: {n} things are wrong, listed above", dir.display()),
        }
    }
}

impl<'a> Findings<'a> {
    fn read(dir: &'a Path) -> Self {
        let mut wrong = vec![];
        let config = noted(&mut wrong, Config::load(dir));
        if !dir.is_dir() {
            return Self { dir, config, listed: None, weights: None, tokenizer: None, format: None, wrong };
        }
        let listed = noted(&mut wrong, Weights::list(dir));
        let weights = config.as_ref().zip(listed.as_ref()).and_then(|(config, listed)| {
            let opened = Weights::open(dir, config);
            let differences = tensors::differences(config, listed);
            if differences.is_empty() {
                noted(&mut wrong, opened)
            } else {
                wrong.extend(differences);
                None
            }
        });
        // Without a config, any id may be right.
        let vocab_size = config.as_ref().map_or(u32::MAX, |config| config.vocab_size);
        let tokenizer = noted(&mut wrong, Tokenizer::load(dir, vocab_size)).flatten();
        let format = tokenizer.as_ref().and_then(|tokenizer| match ChatFormat::detect(dir, tokenizer) {
            Err(gale::error::Error::NoChatFormat { .. }) => None, // a base model
            detected => noted(&mut wrong, detected),
        });
        Self { dir, config, listed, weights, tokenizer, format, wrong }
    }

    fn write_model(&self, out: &mut impl Write) -> io::Result<()> {
        let Some(config) = &self.config else {
            return line(out, "model", "unknown: see what is wrong");
        };
        let architecture = match config.architecture {
            Architecture::Mistral => "MistralForCausalLM",
            Architecture::Llama => "LlamaForCausalLM",
        };
        let Config { dim, hidden_dim, head_dim, n_layers, n_heads, n_kv_heads, vocab_size, .. } = config;
        let sizes = format!("n_layers {n_layers}, dim {dim}, hidden_dim {hidden_dim}, vocab_size {vocab_size}");
        line(out, "model", format_args!("{architecture}, {sizes}"))?;
        line(out, "", format_args!("n_heads {n_heads}, n_kv_heads {n_kv_heads}, head_dim {head_dim}"))?;
        let window = config.window.map_or("no window".into(), |window| format!("window {window}"));
        let Config { rope_theta, norm_eps, max_position, .. } = config;
        line(
            out,
            "",
            format_args!("{window}, max_position {max_position}, rope_theta {rope_theta}, norm_eps {norm_eps:e}"),
        )?;
        let bos = config.bos_id.map_or("none".into(), |id| id.to_string());
        line(out, "", format_args!("BOS {bos}, EOS {:?}", config.eos_ids))
    }

    fn write_weights(&self, out: &mut impl Write) -> io::Result<()> {
        let Some(listed) = &self.listed else {
            return line(out, "weights", "unknown: see what is wrong");
        };
        let n_parameters: usize = listed.iter().map(|it| it.shape.iter().product::<usize>()).sum();
        let bytes = Bytes(listed.iter().map(|it| it.n_bytes).sum());
        let n_files = listed.iter().map(|it| &it.path).collect::<std::collections::BTreeSet<_>>().len();
        let files = format!("{n_files} file{}", if n_files == 1 { "" } else { "s" });
        line(out, "weights", format_args!("{} tensors in {files}, {n_parameters} parameters, {bytes}", listed.len()))?;
        if let Some(weights) = &self.weights {
            line(out, "", format_args!("{} on the device", weights.weight_type()))?;
        }
        for row in tensors::rows(listed) {
            writeln!(out, "  {row}")?;
        }
        Ok(())
    }

    fn write_text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let Some(tokenizer) = &self.tokenizer else {
            return Ok(line(out, "tokenizer", "none that can be used: ids only")?);
        };
        let (n_tokens, n_special) = (tokenizer.n_tokens(), tokenizer.n_special());
        let added: Vec<String> =
            tokenizer.encode("", true)?.into_iter().map(|id| tokenizer.token(id).unwrap_or_default()).collect();
        let added = if added.is_empty() { "nothing".into() } else { added.join(" ") };
        line(
            out,
            "tokenizer",
            format_args!("{n_tokens} tokens, {n_special} of them special; adds {added} to a prompt"),
        )?;
        match &self.format {
            Some(format) => line(out, "chat", format)?,
            None => line(out, "chat", "none: a plain prompt only")?,
        }
        Ok(())
    }
}

/// The value, if there is one; else the error is noted.
fn noted<T>(wrong: &mut Vec<String>, result: gale::error::Result<T>) -> Option<T> {
    result.map_err(|error| wrong.push(error.to_string())).ok()
}

fn line(out: &mut impl Write, title: &str, text: impl Display) -> io::Result<()> {
    writeln!(out, "{title:<10}  {text}")
}

fn write_list(out: &mut impl Write, title: &str, lines: &[String]) -> io::Result<()> {
    lines.iter().enumerate().try_for_each(|(i, text)| line(out, if i == 0 { title } else { "" }, text))
}
