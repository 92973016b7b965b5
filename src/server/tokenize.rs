//! POST /tokenize and /detokenize, GET /tokenizer_info: text to ids and back, as the model sees it.

use super::App;
use super::chat::{MESSAGES, take_messages};
use super::error::ApiError;
use super::fields::Fields;
use crate::json::shown;
use serde_json::{Value, json};

/// A text, or a chat, to ids.
pub fn tokenize(app: &App, body: &[u8]) -> Result<Value, ApiError> {
    const PROMPT: &str = "prompt";
    let mut fields = Fields::of_body(body)?;
    app.take_model(&mut fields)?;
    let add_special = fields.flag("add_special_tokens")?;
    let with_texts = fields.flag("return_token_strs")?.unwrap_or(false);
    let ids = match fields.text(PROMPT)? {
        Some(text) => app.encode(PROMPT, &text, add_special.unwrap_or(true))?,
        None if add_special.is_some() => {
            return Err(fields.error("add_special_tokens", "expected \"prompt\" beside it: a chat has its own"));
        }
        None => {
            let (messages, options) = take_messages(&mut fields)?;
            app.encode_chat(MESSAGES, &messages, &options)?
        }
    };
    fields.finish()?;
    let mut answer = json!({ "count": ids.len(), "max_model_len": app.context(), "tokens": ids });
    if with_texts {
        answer["token_strs"] = ids.iter().map(|&id| app.tokenizer.token(id)).collect();
    }
    Ok(answer)
}

/// The special tokens, as evaluations ask for them before they send texts to be tokenized.
pub fn info(app: &App) -> Value {
    let name = |id: Option<u32>| id.and_then(|id| app.tokenizer.token(id));
    let eos = name(app.config.eos_ids.first().copied());
    json!({ "bos_token": name(app.config.bos_id), "eos_token": eos, "vocab_size": app.config.vocab_size })
}

/// Ids to text, special tokens and all.
pub fn detokenize(app: &App, body: &[u8]) -> Result<Value, ApiError> {
    const TOKENS: &str = "tokens";
    let mut fields = Fields::of_body(body)?;
    app.take_model(&mut fields)?;
    let skip_special = fields.flag("skip_special_tokens")?.unwrap_or(false);
    let ids = match fields.value(TOKENS) {
        Some(Value::Array(ids)) => ids.iter().map(|id| app.id(TOKENS, id)).collect::<Result<Vec<u32>, _>>()?,
        other => {
            let found = other.as_ref().map_or("none".into(), shown);
            return Err(fields.error(TOKENS, format!("expected a list of token ids, found {found}")));
        }
    };
    fields.finish()?;
    let text = app.tokenizer.decode(&ids, skip_special).map_err(|error| ApiError::of(&error, TOKENS))?;
    Ok(json!({ "prompt": text }))
}
