//! Answers as OpenAI's objects: whole, or as chunks of a stream.

use super::error::ApiError;
use super::job::{Event, FinishReason, Piece, TokenInfo, Usage};
use super::replay::Replay;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// In the place of -inf, which JSON has no number for; OpenAI's too.
const NO_LOGPROB: f64 = -9999.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Chat,
    Completion,
}

/// What all objects of an answer have in common.
pub struct Wire {
    kind: Kind,
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    tokenizer: Arc<Tokenizer>,
    has_logprobs: bool,
    /// Whether a stream ends with the numbers of tokens.
    pub include_usage: bool,
    /// How to repeat the answer, if that was asked for.
    pub replay: Option<Replay>,
    /// Answers of which the first chunk is sent.
    n_begun: usize,
}

impl Wire {
    pub fn new(kind: Kind, model: String, fingerprint: String, tokenizer: Arc<Tokenizer>, has_logprobs: bool) -> Wire {
        let prefix = match kind {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        };
        Wire {
            kind,
            id: format!("{prefix}-{:032x}", rand::random::<u128>()),
            created: unix_time(),
            model,
            fingerprint,
            tokenizer,
            has_logprobs,
            include_usage: false,
            replay: None,
            n_begun: 0,
        }
    }

    /// The lines of a stream that an event makes, and whether they are the last.
    pub fn lines(&mut self, event: Event) -> (String, bool) {
        let mut lines = String::new();
        let mut line = |object: &Value| {
            lines += "data: ";
            lines += &object.to_string();
            lines += "\n\n";
        };
        match event {
            Event::Piece(piece) => {
                if let (Some(replay), Some(id)) = (&mut self.replay, piece.id) {
                    replay.push(piece.choice, id);
                }
                if piece.choice >= self.n_begun {
                    self.n_begun = piece.choice + 1;
                    if self.kind == Kind::Chat {
                        line(&self.chunk(
                            piece.choice,
                            json!({ "role": "assistant", "content": "" }),
                            Value::Null,
                            None,
                        ));
                    }
                }
                if !piece.text.is_empty() || !piece.tokens.is_empty() {
                    let logprobs = self.logprobs(&piece.tokens);
                    line(&self.chunk(piece.choice, self.text_field(&piece.text), logprobs, None));
                }
            }
            Event::Finished { choice, reason } => {
                let nothing = match self.kind {
                    Kind::Chat => json!({}),
                    Kind::Completion => self.text_field(""),
                };
                line(&self.chunk(choice, nothing, Value::Null, Some(reason)));
            }
            Event::Done(usage) => {
                if self.include_usage || self.replay.is_some() {
                    let mut last = self.object(true, json!([]), usage_object(usage));
                    self.add_replay(&mut last);
                    line(&last);
                }
                return (lines + "data: [DONE]\n\n", true);
            }
            Event::Failed(error) => {
                line(&error.object());
                return (lines, true);
            }
        }
        (lines, false)
    }

    /// The whole answer.
    pub fn whole(&mut self, answers: &[Whole], usage: Usage) -> Value {
        if let Some(replay) = &mut self.replay {
            replay.tokens = answers.iter().map(|it| it.ids.clone()).collect();
        }
        let mut object = self.object(false, self.choices(answers).into(), usage_object(usage));
        self.add_replay(&mut object);
        object
    }

    /// The answers of a whole.
    pub fn choices(&self, answers: &[Whole]) -> Vec<Value> {
        let choices = answers.iter().enumerate().map(|(index, Whole { text, tokens, reason, .. })| {
            let logprobs = self.logprobs(tokens);
            let finish_reason = reason.map(FinishReason::name);
            match self.kind {
                Kind::Chat => {
                    let message = json!({ "role": "assistant", "content": text, "refusal": null });
                    json!({ "index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason })
                }
                Kind::Completion => {
                    json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason })
                }
            }
        });
        choices.collect()
    }

    fn add_replay(&self, object: &mut Value) {
        if let Some(replay) = &self.replay {
            object["replay"] = json!(replay);
        }
    }

    fn chunk(&self, choice: usize, content: Value, logprobs: Value, reason: Option<FinishReason>) -> Value {
        let mut it = json!({ "index": choice, "logprobs": logprobs, "finish_reason": reason.map(FinishReason::name) });
        it[if self.kind == Kind::Chat { "delta" } else { "text" }] = content;
        self.object(true, json!([it]), Value::Null)
    }

    fn text_field(&self, text: &str) -> Value {
        match self.kind {
            Kind::Chat => json!({ "content": text }),
            Kind::Completion => json!(text),
        }
    }

    fn object(&self, is_chunk: bool, choices: Value, usage: Value) -> Value {
        let mut object = json!({
            "id": self.id,
            "object": match (self.kind, is_chunk) {
                (Kind::Chat, false) => "chat.completion",
                (Kind::Chat, true) => "chat.completion.chunk",
                (Kind::Completion, _) => "text_completion",
            },
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        });
        // Chunks have it where there is one in the end, and null until then.
        if !is_chunk || self.include_usage {
            object["usage"] = usage;
        }
        object
    }

    fn logprobs(&self, tokens: &[TokenInfo]) -> Value {
        match self.kind {
            _ if !self.has_logprobs || tokens.is_empty() => Value::Null,
            Kind::Chat => {
                let content: Vec<Value> = tokens.iter().map(|it| self.chat_token(it)).collect();
                json!({ "content": content, "refusal": null })
            }
            Kind::Completion => {
                let offsets: Vec<usize> = tokens.iter().map(|it| it.offset).collect();
                let logprobs: Vec<Option<f64>> = tokens.iter().map(|it| it.logprob.map(finite)).collect();
                let texts: Vec<String> = tokens.iter().map(|it| self.token_text(it.id)).collect();
                let top: Vec<Value> = tokens.iter().map(|it| self.top_of(it)).collect();
                json!({ "tokens": texts, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets })
            }
        }
    }

    fn chat_token(&self, info: &TokenInfo) -> Value {
        let one = |id, logprob: Option<f64>| json!({ "token": self.token_text(id), "logprob": logprob.map(finite), "bytes": self.tokenizer.bytes(id) });
        let mut object = one(info.id, info.logprob);
        object["top_logprobs"] = info.top.iter().map(|it| one(it.token, Some(it.logprob))).collect();
        object
    }

    /// The likeliest tokens, and the token itself: null where there is nothing to tell. Of tokens with the same text the
    /// likeliest is told.
    fn top_of(&self, info: &TokenInfo) -> Value {
        let Some(logprob) = info.logprob else { return Value::Null };
        let mut top = Map::new();
        for (id, logprob) in info.top.iter().map(|it| (it.token, it.logprob)).chain([(info.id, logprob)]) {
            top.entry(self.token_text(id)).or_insert(finite(logprob).into());
        }
        Value::Object(top)
    }

    /// A token as text; one that is part of a character is told as its bytes.
    fn token_text(&self, id: u32) -> String {
        let as_bytes =
            |bytes: &[u8]| bytes.iter().fold("bytes:".to_owned(), |text, byte| format!("{text}\\x{byte:02x}"));
        let bytes = self.tokenizer.bytes(id);
        str::from_utf8(bytes).map_or_else(|_| as_bytes(bytes), str::to_owned)
    }
}

/// An answer while it is collected.
#[derive(Default)]
pub struct Whole {
    pub ids: Vec<u32>,
    text: String,
    tokens: Vec<TokenInfo>,
    reason: Option<FinishReason>,
}

/// Answers while they are collected.
#[derive(Default)]
pub struct Collected(pub Vec<Whole>);

impl Collected {
    /// Takes an event; gives the end of the request when it comes.
    pub fn push(&mut self, event: Event) -> Option<Result<Usage, ApiError>> {
        match event {
            Event::Piece(Piece { choice, id, text, tokens }) => {
                let whole = self.choice(choice);
                whole.ids.extend(id);
                whole.text += &text;
                whole.tokens.extend(tokens);
            }
            Event::Finished { choice, reason } => self.choice(choice).reason = Some(reason),
            Event::Done(usage) => return Some(Ok(usage)),
            Event::Failed(error) => return Some(Err(error)),
        }
        None
    }

    fn choice(&mut self, choice: usize) -> &mut Whole {
        if self.0.len() <= choice {
            self.0.resize_with(choice + 1, Whole::default);
        }
        &mut self.0[choice]
    }
}

fn usage_object(usage: Usage) -> Value {
    let Usage { n_prompt, n_completion, n_cached } = usage;
    json!({
        "prompt_tokens": n_prompt,
        "completion_tokens": n_completion,
        "total_tokens": n_prompt + n_completion,
        "prompt_tokens_details": { "cached_tokens": n_cached },
    })
}

fn finite(logprob: f64) -> f64 {
    logprob.max(NO_LOGPROB)
}

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
