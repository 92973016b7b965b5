//! A file mapped into memory: the one place outside `src/device/` that needs `unsafe`.
#![allow(unsafe_code)]

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::json::{check_regular, read_error};

pub(super) struct MappedFile {
    pub path: PathBuf,
    file: File,
    opened: Stamp,
    map: Mmap,
}

/// What changes when a file is written to.
#[derive(PartialEq)]
struct Stamp {
    n_bytes: u64,
    modified: Option<SystemTime>,
}

impl MappedFile {
    pub fn open(path: &Path) -> Result<Self> {
        check_regular(path)?;
        let file = File::open(path).map_err(|error| read_error(path, error))?;
        let metadata = file.metadata().map_err(|error| read_error(path, error))?;
        // SAFETY: the map is private and read-only, so nothing we do changes the file, and it is only ever read
        // as bytes, for which any content is valid. What is left is another process: if it writes to the file, we
        // read other bytes, which `check_unchanged` reports after loading; if it cuts the file short, touching a
        // page past the new end kills this process with SIGBUS, a clean stop and not a wrong answer. We map for the
        // time of loading only, and an updated model is normally a new file with the old one left intact.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| read_error(path, error))?;
        Ok(Self { path: path.into(), file, opened: Stamp::of(&metadata), map })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Fills `into` with the bytes from `start` on, by reading and not through the map: that takes no page faults, and a
    /// file that was cut short is an error and not a signal.
    pub fn read_at(&self, start: usize, into: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(into, start as u64).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.changed(),
            _ => read_error(&self.path, error),
        })
    }

    /// An error if someone wrote to the file since it was opened, so that what was read may be a mixture.
    pub fn check_unchanged(&self) -> Result<()> {
        let metadata = self.file.metadata().map_err(|error| read_error(&self.path, error))?;
        if Stamp::of(&metadata) == self.opened {
            return Ok(());
        }
        Err(self.changed())
    }

    fn changed(&self) -> Error {
        Error::malformed(&self.path, "the file changed while it was being loaded; load it again")
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { n_bytes: metadata.len(), modified: metadata.modified().ok() }
    }
}
