use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, value_parser};
use gale::error::{Error, Result};
use gale::session::Session;
use serde_json::json;
use tempfile::NamedTempFile;

use super::model::Model;
use super::options::{Ids, ModelDir, Running};
use super::progress::Progress;

/// Writes the logits after each token of a prompt to a file
///
/// The file is safetensors with one tensor, F32 "logits" [rows, vocab_size]: row i holds the logits of the token that
/// follows the i-th of the last N ids. The file appears when it is complete; after an error an old one is as it was.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Logits {
    #[command(flatten)]
    model: ModelDir,

    /// The prompt as token ids: nothing is added to them, no BOS either
    #[arg(long, value_name = "1,2,3")]
    ids: Ids,

    /// Rows to write: those of the last N ids [default: all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    last: Option<u32>,

    /// Where to write
    #[arg(short = 'o', long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    running: Running,
}

const EXAMPLES: &str = "\
Examples:
  gale logits -m Mistral-7B-v0.1 --ids 1,415,5565 -o logits.safetensors
  gale logits -m Mistral-7B-v0.1 --ids 1,415,5565 --last 1 --chunk 1 -o last.safetensors    token by token";

impl Logits {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Ids(ids) = self.ids;
        let n_rows = self.last.map_or(ids.len(), |n| n as usize);
        if n_rows > ids.len() {
            anyhow::bail!("--last: expected a number up to that of the ids, {}, found {n_rows}", ids.len());
        }
        let model = Model::open(&self.model.dir)?;
        let vocab_size = model.config.vocab_size as usize;
        let (options, device) = (self.running.options(), self.running.on.device);
        Session::check_prompt(&model.config, &options, &ids)?;
        let mut file = LogitsFile::create(&self.output, n_rows, vocab_size)?;
        let (_device, mut session) = model.load(device, options)?;

        let progress = Progress::of_tokens("computing logits", n_rows);
        let mut n_written = 0;
        session.score(&ids, n_rows, &mut |row| {
            n_written += 1;
            progress.set(n_written, n_rows as u64);
            file.write(row)
        })?;
        file.finish()?;
        progress.finish();
        Ok(ExitCode::SUCCESS)
    }
}

/// A file beside the one that is asked for, until it is complete.
struct LogitsFile<'a> {
    path: &'a Path,
    file: BufWriter<NamedTempFile>,
}

impl<'a> LogitsFile<'a> {
    fn create(path: &'a Path, n_rows: usize, vocab_size: usize) -> Result<Self> {
        let dir = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A rename would put a regular file in the place of a link, a pipe or a device.
        match path.symlink_metadata() {
            Ok(it) if it.is_dir() => return Err(cannot_write(path, "it is a directory")),
            Ok(it) if !it.is_file() => return Err(cannot_write(path, "it is there and is no regular file")),
            _ => {}
        }
        if !dir.is_dir() {
            return Err(cannot_write(path, format_args!("there is no directory {}", dir.display())));
        }
        let all_may_read = std::fs::Permissions::from_mode(0o666); // less what the umask takes
        let file = tempfile::Builder::new().permissions(all_may_read).prefix(".logits").tempfile_in(dir);
        let file = file.map_err(|error| cannot_write(path, error.kind()))?;
        let mut new = Self { path, file: BufWriter::new(file) };
        let n_bytes = n_rows * vocab_size * size_of::<f32>();
        let tensor = json!({ "dtype": "F32", "shape": [n_rows, vocab_size], "data_offsets": [0, n_bytes] });
        let mut header = json!({ "logits": tensor }).to_string();
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len()); // so that the data is aligned
        new.put(&(header.len() as u64).to_le_bytes())?;
        new.put(header.as_bytes())?;
        Ok(new)
    }

    fn write(&mut self, row: &[f32]) -> Result<()> {
        self.put(bytemuck::cast_slice(row)) // hosts of NVIDIA GPUs are little-endian
    }

    fn finish(self) -> Result<()> {
        let Self { path, file } = self;
        let file = file.into_inner().map_err(|error| cannot_write(path, error.error()))?;
        file.persist(path).map_err(|error| cannot_write(path, &error.error))?;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| cannot_write(self.path, error))
    }
}

fn cannot_write(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Write { path: path.into(), reason: reason.to_string() }
}
