//! The fields that chat and completions share: how tokens are chosen, what ends the text, how it is delivered.

use super::error::ApiError;
use super::fields::Fields;
use super::limits::{MAX_LOGIT_BIAS, MAX_N, MAX_STOP_BYTES, MAX_STOPS};
use crate::json::shown;
use crate::sampler::Sampling;
use serde_json::Value;

/// How a request wants its answers.
pub struct Params {
    pub sampling: Sampling,
    pub n: u32,
    pub stop: Vec<String>,
    pub ignore_eos: bool,
    pub stream: bool,
    /// Whether a stream ends with the numbers of tokens.
    pub include_usage: bool,
    /// Whether the answer says all that is needed to repeat it.
    pub replay: bool,
}

/// What OpenAI's API, or those of servers like this one, have and gale does not.
const UNSUPPORTED: &[&str] = &[
    "add_generation_prompt",
    "audio",
    "best_of",
    "chat_template",
    "chat_template_kwargs",
    "function_call",
    "functions",
    "grammar",
    "guided_json",
    "length_penalty",
    "metadata",
    "min_tokens",
    "modalities",
    "parallel_tool_calls",
    "prediction",
    "prompt_logprobs",
    "reasoning_effort",
    "service_tier",
    "stop_token_ids",
    "store",
    "suffix",
    "tool_choice",
    "tools",
    "use_beam_search",
    "user",
    "verbosity",
    "web_search_options",
];

impl Params {
    pub fn take(fields: &mut Fields, vocab_size: u32) -> Result<Params, ApiError> {
        fields.refuse(UNSUPPORTED)?;
        let sampling = sampling(fields, vocab_size)?;
        let n = fields.whole("n", 1..=MAX_N)?.unwrap_or(1);
        let stop = stop(fields)?;
        let ignore_eos = fields.flag("ignore_eos")?.unwrap_or(false);
        let stream = fields.flag("stream")?.unwrap_or(false);
        let include_usage = stream_options(fields, stream)?;
        let replay = fields.flag("replay")?.unwrap_or(false);
        Ok(Params { sampling, n, stop, ignore_eos, stream, include_usage, replay })
    }
}

fn sampling(fields: &mut Fields, vocab_size: u32) -> Result<Sampling, ApiError> {
    let defaults = Sampling { temperature: 1.0, ..Sampling::default() };
    let sampling = Sampling {
        temperature: fields.number("temperature")?.unwrap_or(defaults.temperature),
        top_k: fields.whole("top_k", 0..=u32::MAX)?.unwrap_or(defaults.top_k),
        top_p: fields.number("top_p")?.unwrap_or(defaults.top_p),
        min_p: fields.number("min_p")?.unwrap_or(defaults.min_p),
        repetition_penalty: fields.number("repetition_penalty")?.unwrap_or(defaults.repetition_penalty),
        frequency_penalty: fields.number("frequency_penalty")?.unwrap_or(defaults.frequency_penalty),
        presence_penalty: fields.number("presence_penalty")?.unwrap_or(defaults.presence_penalty),
        logit_bias: logit_bias(fields, vocab_size)?,
        // Below 2^53, so that it survives clients that take every number for a double.
        seed: fields.seed("seed")?.unwrap_or_else(|| rand::random::<u64>() >> 11),
    };
    sampling.validate().map_err(|error| ApiError::of(&error, ""))?;
    Ok(sampling)
}

/// `{"123": -100, ...}`
fn logit_bias(fields: &mut Fields, vocab_size: u32) -> Result<Vec<(u32, f32)>, ApiError> {
    const NAME: &str = "logit_bias";
    let expected = "an object of token ids and numbers";
    let Some(value) = fields.value(NAME) else { return Ok(vec![]) };
    let Value::Object(biases) = &value else {
        return Err(fields.error(NAME, format!("expected {expected}, found {}", shown(&value))));
    };
    if biases.len() > MAX_LOGIT_BIAS {
        return Err(fields.error(NAME, format!("expected at most {MAX_LOGIT_BIAS} tokens, found {}", biases.len())));
    }
    let one = |(token, bias): (&String, &Value)| {
        let id = token.parse().ok().filter(|id| *id < vocab_size);
        let id = id.ok_or_else(|| format!("expected a token id below {vocab_size}, found {token:?}"))?;
        let bias = bias.as_f64().ok_or_else(|| format!("expected {expected}, found {} of {token:?}", shown(bias)))?;
        let bias = Some(bias as f32).filter(|it| it.is_finite());
        Ok((id, bias.ok_or_else(|| format!("expected a number of 32 bits, found one of {token:?} that is none"))?))
    };
    biases.iter().map(one).collect::<Result<_, String>>().map_err(|message| fields.error(NAME, message))
}

/// One string, or a list of them.
fn stop(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    const NAME: &str = "stop";
    let list = match fields.value(NAME) {
        None => return Ok(vec![]),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let wrong = |found: String| {
        let expected = format!("at most {MAX_STOPS} strings of 1 to {MAX_STOP_BYTES} bytes");
        fields.error(NAME, format!("expected {expected}, found {found}"))
    };
    if list.len() > MAX_STOPS {
        return Err(wrong(format!("{} of them", list.len())));
    }
    let one = |value: &Value| match value.as_str() {
        Some(text) if (1..=MAX_STOP_BYTES).contains(&text.len()) => Ok(text.to_owned()),
        _ => Err(wrong(shown(value))),
    };
    list.iter().map(one).collect()
}

fn stream_options(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    const NAME: &str = "stream_options";
    let Some(value) = fields.value(NAME) else { return Ok(false) };
    if !stream {
        return Err(fields.error(NAME, "expected \"stream\": true beside it"));
    }
    let mut options = Fields::of_value(fields.path(NAME), value)?;
    let include_usage = options.flag("include_usage")?.unwrap_or(false);
    options.finish()?;
    Ok(include_usage)
}
