//! POST /v1/completions: text, or token ids, to be continued.

use super::App;
use super::error::ApiError;
use super::fields::Fields;
use super::generate::Request;
use super::job::Begin;
use super::limits::{DEFAULT_COMPLETION_TOKENS, MAX_LOGPROBS, MAX_PROMPTS};
use super::params::Params;
use super::wire::Kind;
use crate::json::shown;
use serde_json::Value;

const PROMPT: &str = "prompt";
const MAX_TOKENS: &str = "max_tokens";

/// Checks a request and brings it into token ids.
pub fn parse(app: &App, body: &[u8]) -> Result<Request, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let model = app.take_model(&mut fields)?;
    let params = Params::take(&mut fields, app.config.vocab_size)?;
    let max_tokens = fields.whole(MAX_TOKENS, 0..=u32::MAX)?;
    let n_logprobs = fields.whole("logprobs", 0..=MAX_LOGPROBS)?;
    let begin = if fields.flag("echo")?.unwrap_or(false) { Begin::Echo } else { Begin::After };
    let prompt =
        fields.value(PROMPT).ok_or_else(|| fields.error(PROMPT, "expected a text or token ids, found none"))?;
    fields.finish()?;
    let prompts = prompts(app, prompt)?;
    let max_tokens = prompts
        .iter()
        .map(|ids| app.max_tokens(PROMPT, MAX_TOKENS, max_tokens, DEFAULT_COMPLETION_TOKENS, ids))
        .collect::<Result<_, _>>()?;
    let kind = Kind::Completion;
    let request = Request { kind, model, params, prompts, prompt_field: PROMPT, max_tokens, n_logprobs, begin };
    request.check_work(MAX_TOKENS)?;
    Ok(request)
}

/// A text, a list of texts, a list of ids, or a list of those. Nothing is added to ids.
fn prompts(app: &App, prompt: Value) -> Result<Vec<Vec<u32>>, ApiError> {
    let wrong = |found: &Value| {
        let expected = format!("a text, token ids, or a list of 1 to {MAX_PROMPTS} of either");
        ApiError::field(PROMPT, format!("expected {expected}, found {}", shown(found)))
    };
    let one = |prompt: &Value| match prompt {
        Value::String(text) => app.encode(PROMPT, text, true),
        Value::Array(ids) => ids.iter().map(|id| app.id(PROMPT, id)).collect(),
        other => Err(wrong(other)),
    };
    match &prompt {
        Value::Array(list) if list.first().is_some_and(|it| it.is_string() || it.is_array()) => {
            if list.len() > MAX_PROMPTS {
                return Err(ApiError::field(PROMPT, format!("expected at most {MAX_PROMPTS}, found {}", list.len())));
            }
            let is_alike = |it: &&Value| it.is_string() != list[0].is_string();
            list.iter().find(is_alike).map_or(Ok(()), |it| Err(wrong(it)))?;
            list.iter().map(one).collect()
        }
        _ => Ok(vec![one(&prompt)?]),
    }
}
