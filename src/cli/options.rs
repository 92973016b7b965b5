//! Options that commands share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, value_parser};
use gale::device::DeviceChoice;
use gale::error::Error;
use gale::session::Options;

use super::model::Model;

#[derive(Args)]
pub struct ModelDir {
    /// The model: a directory with config.json, model*.safetensors and, for text, tokenizer.json
    #[arg(short = 'm', long = "model", value_name = "DIR")]
    pub dir: PathBuf,
}

/// A model, or only the shape of one. A command says in its own group that one of them is needed.
#[derive(Args)]
pub struct ModelOrShape {
    /// The model: a directory with config.json and model*.safetensors
    #[arg(short = 'm', long = "model", value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// A model of this shape with random weights in bf16, made on the device: mistral-7b, smollm2-135m, tiny and others (an
    /// unknown name lists them)
    #[arg(long, value_name = "NAME")]
    pub shape: Option<String>,
}

impl ModelOrShape {
    pub fn open(&self) -> Result<Model, Error> {
        match (&self.dir, &self.shape) {
            (Some(dir), _) => Model::open(dir),
            (None, Some(name)) => Model::of_shape(name),
            (None, None) => unreachable!("the command's group asks for one"),
        }
    }
}

/// What memory depends on.
#[derive(Args)]
pub struct Sizes {
    /// Tokens of the prompt that go through the model at once; changes speed and memory, never a bit of the result
    /// [default: 512, or the window or context if that is less]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub chunk: Option<u32>,

    /// Tokens that prompt and answer can have together, for a model without a sliding window [default: the
    /// max_position_embeddings of config.json]. With a window there is no such limit, and this is refused
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub ctx: Option<u32>,
}

/// How the model runs.
#[derive(Args)]
pub struct Running {
    #[command(flatten)]
    pub sizes: Sizes,

    /// Launch each kernel of a token by itself, instead of one CUDA graph with all of them: slower, the same bits
    #[arg(long)]
    pub no_graph: bool,

    #[command(flatten)]
    pub on: On,
}

#[derive(Args)]
pub struct On {
    /// auto: the first GPU, else the emulator on the CPU; cuda or cuda:N: that GPU (N counts from 0) or an error;
    /// emulator: the CPU
    #[arg(long, value_name = "DEVICE", env = "GALE_DEVICE", default_value_t)]
    pub device: DeviceChoice,
}

impl Sizes {
    pub fn options(&self) -> Options {
        Options { chunk: self.chunk, context: self.ctx, graph: true }
    }
}

/// The error for an option that another leaves without effect.
pub fn without_effect(option: &'static str, beside: &str) -> Error {
    Error::Option { option, expected: format!("not beside {beside}, where it has no effect"), found: "it".into() }
}

impl Running {
    /// An error if anything is asked for that only a model has.
    pub fn refuse_beside(&self, option: &str) -> Result<(), Error> {
        let given = [
            ("--no-graph", self.no_graph),
            ("--chunk", self.sizes.chunk.is_some()),
            ("--ctx", self.sizes.ctx.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map_or(Ok(()), |(name, _)| Err(without_effect(name, option)))
    }

    pub fn options(&self) -> Options {
        Options { graph: !self.no_graph, ..self.sizes.options() }
    }
}

/// Token ids as in `1,2,3`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ids(pub Vec<u32>);

impl FromStr for Ids {
    type Err = String;

    /// Nothing is no ids, which commands refuse as an empty prompt.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(vec![]));
        }
        let id = |part: &str| part.trim().parse().map_err(|_| format!("expected ids as in 1,2,3, found {part:?}"));
        text.split(',').map(id).collect::<Result<_, _>>().map(Self)
    }
}

/// A prompt from the command line, which the system does not promise to be text.
pub fn utf8(option: &str, text: OsString) -> anyhow::Result<String> {
    text.into_string().map_err(|_| anyhow::anyhow!("{option}: expected UTF-8, found other bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_between_commas() {
        assert_eq!("1,2,3".parse(), Ok(Ids(vec![1, 2, 3])));
        assert_eq!(" 7, 4294967295 ".parse(), Ok(Ids(vec![7, u32::MAX])));
        assert_eq!("".parse(), Ok(Ids(vec![])));
        for bad in ["1,,2", "1,", "a", "-1", "1.0", "4294967296", "1 2"] {
            assert!(bad.parse::<Ids>().is_err(), "{bad}");
        }
    }
}
