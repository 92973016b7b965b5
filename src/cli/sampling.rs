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

    /// Taken from the logit of a token for each time that it was generated; 0 is off. Works with --greedy too
    #[arg(long, value_name = "F", default_value_t = 0.0, allow_negative_numbers = true)]
    frequency_penalty: f32,

    /// Taken once from the logit of a token that was generated; 0 is off. Works with --greedy too
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    presence_penalty: f32,

    /// Added to the logit of a token, as in 2=-1.5; -inf forbids it. May be given several times. Works with --greedy too
    #[arg(long, value_name = "ID=NUMBER", value_parser = bias)]
    logit_bias: Vec<(u32, f32)>,

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
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            logit_bias: self.logit_bias.clone(),
            seed: self.seed.unwrap_or_else(rand::random),
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

/// `2=-1.5`
fn bias(text: &str) -> Result<(u32, f32), String> {
    let parts = text.split_once('=').and_then(|(id, bias)| Some((id.parse().ok()?, bias.parse().ok()?)));
    parts.ok_or_else(|| format!("expected a token id and a number, as in 2=-1.5, found {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_is_an_id_and_a_number() {
        assert_eq!(bias("2=-1.5"), Ok((2, -1.5)));
        assert_eq!(bias("31999=-inf"), Ok((31999, f32::NEG_INFINITY)));
        for bad in ["", "2", "=1", "2=", "-1=1", "2=x", "2=1=1", "4294967296=1"] {
            assert!(bias(bad).is_err(), "{bad}");
        }
    }
}
