//! A number that tells one model's weights from another's, without reading all of them.

use super::{TensorView, Weights};
use crate::error::Result;

/// Places of a tensor that are looked at, from its first byte to its last, and bytes of each.
const N_PLACES: usize = 4;
const PLACE: usize = 64;

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
            let start = (n_bytes - place) / (N_PLACES - 1) * i;
            self.file.read_at(self.start + start, &mut bytes[..place])?;
            digest.add(&bytes[..place]);
        }
        Ok(())
    }
}
