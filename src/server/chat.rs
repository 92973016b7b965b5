//! POST /v1/chat/completions: the next turn of a chat.

use super::App;
use super::error::ApiError;
use super::fields::Fields;
use super::generate::Request;
use super::job::Begin;
use super::limits::{DEFAULT_CHAT_TOKENS, MAX_LOGPROBS, MAX_MESSAGES};
use super::params::Params;
use super::wire::Kind;
use crate::json::shown;
use crate::prompt::{Message, Options, Role};
use serde_json::Value;

pub const MESSAGES: &str = "messages";

/// Checks a request and brings it into token ids.
pub fn parse(app: &App, body: &[u8]) -> Result<Request, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let model = app.take_model(&mut fields)?;
    let params = Params::take(&mut fields, app.config.vocab_size)?;
    let (max_tokens_field, max_tokens) = max_tokens(&mut fields)?;
    let n_logprobs = n_logprobs(&mut fields)?;
    response_format(&mut fields)?;
    let (messages, options) = take_messages(&mut fields)?;
    fields.finish()?;
    let prompt = app.encode_chat(MESSAGES, &messages, &options)?;
    let max_tokens = app.max_tokens(MESSAGES, max_tokens_field, max_tokens, DEFAULT_CHAT_TOKENS, &prompt)?;
    let request = Request {
        kind: Kind::Chat,
        model,
        params,
        prompts: vec![prompt],
        prompt_field: MESSAGES,
        max_tokens: vec![max_tokens],
        n_logprobs,
        // An answer is a text of its own, unless it goes on with one.
        begin: if options.continue_final_message { Begin::After } else { Begin::Fresh },
    };
    request.check_work(max_tokens_field)?;
    Ok(request)
}

/// By its new name or the old one.
fn max_tokens(fields: &mut Fields) -> Result<(&'static str, Option<u32>), ApiError> {
    const OLD: &str = "max_tokens";
    const NEW: &str = "max_completion_tokens";
    let (old, new) = (fields.whole(OLD, 0..=u32::MAX)?, fields.whole(NEW, 0..=u32::MAX)?);
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(fields.error(OLD, format!("expected no other value than {NEW}"))),
        (_, Some(new)) => Ok((NEW, Some(new))),
        (old, None) => Ok((OLD, old)),
    }
}

fn n_logprobs(fields: &mut Fields) -> Result<Option<u32>, ApiError> {
    let is_wanted = fields.flag("logprobs")?.unwrap_or(false);
    match fields.whole("top_logprobs", 0..=MAX_LOGPROBS)? {
        Some(_) if !is_wanted => Err(fields.error("top_logprobs", "expected \"logprobs\": true beside it")),
        n => Ok(is_wanted.then_some(n.unwrap_or(0))),
    }
}

/// Text is what there is.
fn response_format(fields: &mut Fields) -> Result<(), ApiError> {
    const NAME: &str = "response_format";
    let Some(value) = fields.value(NAME) else { return Ok(()) };
    let mut format = Fields::of_value(fields.path(NAME), value)?;
    match format.text("type")?.as_deref() {
        Some("text") => format.finish(),
        _ => Err(fields.error(NAME, "expected {\"type\": \"text\"}, gale supports no other")),
    }
}

/// The turns of a chat, of which there must be one, and how the model is asked.
pub fn take_messages(fields: &mut Fields) -> Result<(Vec<Message>, Options), ApiError> {
    let options = Options {
        safe_prompt: fields.flag("safe_prompt")?.unwrap_or(false),
        continue_final_message: fields.flag("continue_final_message")?.unwrap_or(false),
    };
    let expected = format!("expected a list of 1 to {MAX_MESSAGES} messages");
    let list = match fields.value(MESSAGES) {
        Some(Value::Array(list)) if (1..=MAX_MESSAGES).contains(&list.len()) => list,
        Some(Value::Array(list)) => return Err(fields.error(MESSAGES, format!("{expected}, found {}", list.len()))),
        Some(other) => return Err(fields.error(MESSAGES, format!("{expected}, found {}", shown(&other)))),
        None => return Err(fields.error(MESSAGES, format!("{expected}, found none"))),
    };
    let messages = list.into_iter().enumerate().map(|(i, value)| message(format!("{MESSAGES}[{i}]"), value));
    Ok((messages.collect::<Result<_, _>>()?, options))
}

fn message(path: String, value: Value) -> Result<Message, ApiError> {
    let mut fields = Fields::of_value(path, value)?;
    let role = fields.text("role")?.ok_or_else(|| fields.error("role", "expected a role, found none"))?;
    let role: Role = role.parse().map_err(|message: String| fields.error("role", message))?;
    fields.refuse(&["name", "tool_calls", "tool_call_id", "function_call", "audio", "refusal"])?;
    let content = content(&mut fields)?;
    fields.finish()?;
    Ok(Message::new(role, content))
}

/// A text, or parts that are texts, each on lines of its own.
fn content(fields: &mut Fields) -> Result<String, ApiError> {
    const NAME: &str = "content";
    let parts = match fields.value(NAME) {
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Array(parts)) if !parts.is_empty() => parts,
        other => {
            let found = other.as_ref().map_or("none".into(), shown);
            return Err(fields.error(NAME, format!("expected a text or a list of text parts, found {found}")));
        }
    };
    let mut texts = vec![];
    for (i, part) in parts.into_iter().enumerate() {
        let mut part = Fields::of_value(fields.path(&format!("{NAME}[{i}]")), part)?;
        match part.text("type")?.as_deref() {
            Some("text") => {}
            other => return Err(part.error("type", format!("expected \"text\", found {}", other.unwrap_or("none")))),
        }
        texts.push(part.text("text")?.ok_or_else(|| part.error("text", "expected a string, found none"))?);
        part.finish()?;
    }
    Ok(texts.join("\n"))
}
