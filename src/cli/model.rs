//! From a directory to a session.

use std::path::{Path, PathBuf};

use gale::config::Config;
use gale::device::{Device, DeviceChoice, DeviceError};
use gale::error::{Error, Result};
use gale::plan::Plan;
use gale::session::{Options, Session};
use gale::tokenizer::Tokenizer;
use gale::weights::{Digest, Weights};

use super::progress::Progress;
use super::say;

/// A model directory, read and checked; its weights are still in their files.
pub struct Model {
    pub dir: PathBuf,
    pub config: Config,
    weights: Weights,
}

impl Model {
    pub fn open(dir: &Path) -> Result<Self> {
        let config = Config::load(dir)?;
        let weights = Weights::open(dir, &config)?;
        Ok(Self { dir: dir.into(), config, weights })
    }

    pub fn plan(&self, options: &Options) -> Result<Plan> {
        Session::plan(&self.config, self.weights.weight_type(), options)
    }

    /// What tells these weights from others.
    pub fn weights_digest(&self) -> Result<Digest> {
        self.weights.digest()
    }

    /// The tokenizer, for what only works with one.
    pub fn tokenizer(&self, needed_for: &str) -> anyhow::Result<Tokenizer> {
        Tokenizer::load(&self.dir, self.config.vocab_size)?.ok_or_else(|| {
            let dir = self.dir.display();
            anyhow::anyhow!("{dir}: it holds no tokenizer.json, which {needed_for} needs; --ids and --print-ids do not")
        })
    }

    /// Brings the model onto the device. If it does not fit, the plan on stderr shows what takes the room.
    pub fn load(self, choice: DeviceChoice, options: Options) -> anyhow::Result<(Device, Session)> {
        let plan = self.plan(&options)?; // bad options are refused before anything is opened
        let device = Device::open(choice)?;
        if let Some(notice) = self.weights.notice() {
            say(format_args!("gale: {notice}"));
        }
        let progress = Progress::of_bytes("loading");
        let loaded =
            Session::load(&device, self.config, &self.weights, options, &mut |done, total| progress.set(done, total));
        match loaded {
            Ok(session) => {
                progress.finish();
                Ok((device, session))
            }
            Err(error) => {
                drop(progress);
                if let Error::Device(DeviceError::OutOfMemory { .. }) = error {
                    say(plan);
                }
                Err(error.into())
            }
        }
    }
}
