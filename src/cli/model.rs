//! From a directory to a session.

use std::path::{Path, PathBuf};

use gale::config::Config;
use gale::device::{Device, DeviceChoice, DeviceError};
use gale::error::{Error, Result};
use gale::plan::Plan;
use gale::session::{Options, Session};
use gale::tokenizer::Tokenizer;
use gale::weights::Weights;

use super::fit::Fit;
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

    /// How it fits into memory with these options.
    pub fn fit(&self, options: Options) -> Fit<'_> {
        Fit { config: &self.config, weight_type: self.weights.weight_type(), options }
    }

    /// The tokenizer, for what only works with one.
    pub fn tokenizer(&self, needed_for: &str) -> anyhow::Result<Tokenizer> {
        load_tokenizer(&self.dir, &self.config, needed_for)
    }

    /// Brings the model onto the device. If it does not fit, the plan on stderr shows what takes the room, and
    /// what would fit.
    pub fn load(self, choice: DeviceChoice, options: Options) -> anyhow::Result<(Device, Session)> {
        let plan = self.plan(&options)?; // bad options are refused before anything is opened
        let device = Device::open(choice)?;
        let (free, _) = device.memory_info()?;
        if let Some(notice) = self.weights.notice() {
            say(format_args!("gale: {notice}"));
        }
        let progress = Progress::of_bytes("loading");
        let (config, report) = (self.config.clone(), &mut |done, total| progress.set(done, total));
        let loaded = Session::load(&device, config, &self.weights, options, report);
        match loaded {
            Ok(session) => {
                progress.finish();
                Ok((device, session))
            }
            Err(error) => {
                drop(progress);
                if let Error::Device(DeviceError::OutOfMemory { .. }) = error {
                    say(plan);
                    say(format_args!("in {}", self.fit(options).advice(free as u64)?));
                }
                Err(error.into())
            }
        }
    }
}

/// The tokenizer of a directory, for what only works with one.
pub fn load_tokenizer(dir: &Path, config: &Config, needed_for: &str) -> anyhow::Result<Tokenizer> {
    Tokenizer::load(dir, config.vocab_size)?.ok_or_else(|| {
        let dir = dir.display();
        anyhow::anyhow!("{dir}: it holds no tokenizer.json, which {needed_for} needs; --ids and --print-ids do not")
    })
}
