//! A number that tells one model's files from another's, without reading all of the weights.

use super::{TensorView, Weights};
use crate::error::Result;
use crate::json::{is_present, read_bytes};
use std::fmt::{self, Display, Formatter};
use std::path::Path;

/// Places of a tensor that are looked at, from its first byte to its last, and bytes of each.
const N_PLACES: usize = 4;
const PLACE: usize = 64;

/// Besides the weights.
const FILES: [&str; 5] =
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];

/// FNV-1a: unlike the standard library's hash it is the same with every compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    pub fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |it, byte| (it ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    }

    /// Of the whole files of a directory that decide what the model is asked and how its answer is read, where they are
    /// there.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn of_files(dir: &Path) -> Result<Digest> {
        let mut digest = Digest::new();
        for name in FILES {
            let path = dir.join(name);
            let bytes = if is_present(&path) { read_bytes(&path)? } else { vec![] };
            digest.add(format!("{name} {}", bytes.len()).as_bytes());
            digest.add(&bytes);
        }
        Ok(digest)
    }
}

impl Display for Digest {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Default for Digest {
    fn default() -> Digest {
        Digest::new()
    }
}

impl Weights {
    /// Of every tensor's name, type, shape and a few of its values.
    ///
    /// # Errors
    /// Files that cannot be read any more.
    pub fn digest(&self) -> Result<Digest> {
        let mut digest = Digest::new();
        for (_, tensor) in self.tensors() {
            digest.add(format!("{} {:?} {:?}", tensor.name, tensor.dtype, tensor.shape).as_bytes());
            tensor.add_places(&mut digest)?;
        }
        Ok(digest)
    }
}

impl TensorView<'_> {
    /// By reading the file, which may have become shorter than its map.
    fn add_places(&self, digest: &mut Digest) -> Result<()> {
        let n_bytes = self.bytes.len();
        let place = PLACE.min(n_bytes);
        let mut bytes = [0; PLACE];
        for i in 0..N_PLACES {
            let start = (n_bytes - place) * i / (N_PLACES - 1);
            self.file.read_at(self.start + start, &mut bytes[..place])?;
            digest.add(&bytes[..place]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, fs};

    #[test]
    fn every_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let digest = || Digest::of_files(dir.path()).unwrap().0;
        let mut seen = HashSet::from([digest()]);
        for name in FILES {
            for text in ["{}", "{ }"] {
                fs::write(dir.path().join(name), text).unwrap();
                assert!(seen.insert(digest()), "{name}");
            }
        }
        assert!(seen.contains(&digest()), "the same files have the same digest");
    }
}
