//! Where results go: to stdout, or to a file that is known to be writable before anything is measured.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gale::error::Error;

pub enum Output {
    Stdout,
    File { file: File, path: PathBuf },
}

impl Output {
    /// Creates the file, if one is given, or empties it.
    pub fn open(path: Option<&Path>) -> Result<Output, Error> {
        let Some(path) = path else { return Ok(Output::Stdout) };
        match File::create(path) {
            Ok(file) => Ok(Output::File { file, path: path.into() }),
            Err(error) => Err(unwritable(path, error)),
        }
    }

    /// Writes all there is to write.
    pub fn write(self, text: &str) -> anyhow::Result<()> {
        match self {
            Output::Stdout => io::stdout().lock().write_all(text.as_bytes())?,
            Output::File { mut file, path } => {
                file.write_all(text.as_bytes()).map_err(|error| unwritable(&path, error))?
            }
        }
        Ok(())
    }
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::Write { path: path.into(), reason: error.to_string() }
}
