//! How a token is chosen.

use clap::Args;
use gale::error::Error;
use gale::sampler::Sampling;

const TEMPERATURE: f32 = 0.8;
const TOP_P: f32 = 0.95;

#[derive(Args)]
pub struct SamplingArgs {
    /// Always take the likeliest token
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p", "seed"])]
    greedy: bool,

    /// Divides the logits: below 1 safer, above 1 wilder, 0 as --greedy [default: 0.8]
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,

    /// Choose among the K likeliest tokens; 0 is off [default: 0]
    #[arg(long, value_name = "K")]
    top_k: Option<u32>,

    /// Choose among the fewest tokens whose probabilities sum to P; 1 is off [default: 0.95]
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,

    /// Choose among the tokens at least P times as likely as the likeliest; 0 is off [default: 0]
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,

    /// Make tokens that occurred before less likely, prompt included: their logits are divided by R (negative ones
    /// multiplied); 1 is off. Works with --greedy too
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    repetition_penalty: f32,

    /// Same build, device, prompt and seed: same text [default: another one each time, shown in the end]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SamplingArgs {
    pub fn sampling(&self) -> Result<Sampling, Error> {
        let temperature = if self.greedy { 0.0 } else { self.temperature.unwrap_or(TEMPERATURE) };
        if temperature == 0.0 {
            self.refuse_without_effect()?;
        }
        Ok(Sampling {
            temperature,
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(TOP_P),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: self.repetition_penalty,
            seed: self.seed.unwrap_or_else(rand::random),
            ..Sampling::default()
        })
    }

    /// Clap refuses these with --greedy; --temperature 0 means the same.
    fn refuse_without_effect(&self) -> Result<(), Error> {
        let given = [
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--min-p", self.min_p.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Error::Option {
                option,
                expected: "a temperature above 0, for it has no effect on the likeliest token".into(),
                found: "--temperature 0".into(),
            }),
            None => Ok(()),
        }
    }
}
