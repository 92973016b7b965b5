//! From a directory to a session.

use std::path::{Path, PathBuf};

use gale::config::{Config, WeightType, shapes};
use gale::device::{Device, DeviceChoice, DeviceError};
use gale::error::{Error, Result};
use gale::plan::Plan;
use gale::prompt::ChatFormat;
use gale::server;
use gale::session::{Options, Session};
use gale::tokenizer::Tokenizer;
use gale::weights::{Digest, Weights};

use super::fit::Fit;
use super::progress::Progress;
use super::say;

/// A model directory, read and checked; its weights are still in their files. Or only a shape, whose weights will be noise.
pub struct Model {
    /// The name of the shape, if it is one.
    pub dir: PathBuf,
    pub config: Config,
    /// None of a shape.
    weights: Option<Weights>,
}

impl Model {
    pub fn open(dir: &Path) -> Result<Self> {
        let config = Config::load(dir)?;
        let weights = Weights::open(dir, &config)?;
        Ok(Self { dir: dir.into(), config, weights: Some(weights) })
    }

    pub fn of_shape(name: &str) -> Result<Self> {
        Ok(Self { dir: name.into(), config: shapes::shape(name)?, weights: None })
    }

    pub fn plan(&self, options: &Options) -> Result<Plan> {
        Session::plan(&self.config, self.weight_type(), options)
    }

    fn weight_type(&self) -> WeightType {
        self.weights.as_ref().map_or(self.config.weight_type, Weights::weight_type)
    }

    /// How it fits into memory with these options.
    pub fn fit(&self, options: Options) -> Fit<'_> {
        Fit { config: &self.config, weight_type: self.weight_type(), options }
    }

    /// All that a server knows of it: everything but the weights.
    pub fn served(&self, options: Options) -> anyhow::Result<server::Model> {
        let tokenizer = self.tokenizer("a server")?;
        let chat_format = match ChatFormat::detect(&self.dir, &tokenizer) {
            Err(Error::NoChatFormat { .. }) => None, // a base model only writes on
            found => Some(found?),
        };
        Ok(server::Model {
            config: self.config.clone(),
            weights: self.weights.as_ref().expect("a shape without weights is not served").digest()?,
            files: Digest::of_files(&self.dir)?,
            options,
            tokenizer,
            chat_format,
        })
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
        if let Some(notice) = self.weights.as_ref().and_then(Weights::notice) {
            say(format_args!("gale: {notice}"));
        }
        let progress = Progress::of_bytes("loading");
        let config = self.config.clone();
        let loaded = match &self.weights {
            Some(weights) => {
                Session::load(&device, config, weights, options, &mut |done, total| progress.set(done, total))
            }
            None => Session::load_noise(&device, config, options),
        };
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
