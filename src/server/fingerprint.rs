//! All that the bits of an answer depend on, but for the request.

use crate::device::{Device, prototypes};
use crate::weights::Digest;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where all of it is the same, so are the answers to the same requests with the same seeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Of a sample of the weights.
    pub weights: String,
    /// Of what is asked and how an answer is read: config, tokenizer and chat template.
    pub files: String,
    /// The version, and what tells its kernels from others.
    pub build: String,
    /// With its compute capability, by which the driver compiles for it.
    pub card: String,
    /// The CUDA version that it is for.
    pub driver: String,
}

impl Fingerprint {
    pub fn new(weights: Digest, files: Digest, device: &Device) -> Fingerprint {
        let mut kernels = Digest::new();
        prototypes::MODULES.iter().for_each(|module| kernels.add(module.ptx.as_bytes()));
        let ((major, minor), (cuda, update)) = (device.compute_capability(), device.driver_version());
        Fingerprint {
            weights: weights.to_string(),
            files: files.to_string(),
            build: format!("{VERSION}-{kernels}"),
            card: format!("{}, compute capability {major}.{minor}", device.name()),
            driver: format!("CUDA {cuda}.{update}"),
        }
    }

    /// Whether it is of the same model, whatever it runs on.
    pub fn is_same_model(&self, other: &Fingerprint) -> bool {
        self.weights == other.weights && self.files == other.files
    }

    /// What differs in another one: the name of a part, what it is here and what it is there.
    pub fn differences<'a>(&'a self, other: &'a Fingerprint) -> impl Iterator<Item = [&'a str; 3]> {
        let parts = |it: &'a Fingerprint| [&it.weights, &it.files, &it.build, &it.card, &it.driver];
        let names = ["weights", "config, tokenizer or chat template", "build", "card", "driver"];
        let all = names.into_iter().zip(parts(self)).zip(parts(other));
        all.filter(|((_, a), b)| a != b).map(|((name, a), b)| [name, a, b])
    }
}

/// One short word for all of it, as `system_fingerprint` has it.
impl Display for Fingerprint {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Fingerprint { weights, files, build, card, driver } = self;
        let mut digest = Digest::new();
        [weights, files, build, card, driver].into_iter().for_each(|part| digest.add(format!("{part}\n").as_bytes()));
        write!(f, "gale-{VERSION}-{digest}")
    }
}
