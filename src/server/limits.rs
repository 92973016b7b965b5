//! What a request may ask for: each of these numbers bounds memory or time that a stranger could take.

use std::time::Duration;

/// Bytes of a body.
pub const MAX_BODY: usize = 4 << 20;
/// Header fields of a request.
pub const MAX_HEADERS: usize = 100;
/// Bytes of the request line and all headers.
pub const MAX_HEAD_BYTES: usize = 64 << 10;
/// Connections at a time; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 1024;
/// Messages of a chat.
pub const MAX_MESSAGES: usize = 1024;
/// Prompts of a request.
pub const MAX_PROMPTS: usize = 256;
/// Answers to each prompt.
pub const MAX_N: u32 = 16;
/// Stop strings, and bytes of each.
pub const MAX_STOPS: usize = 64;
pub const MAX_STOP_BYTES: usize = 256;
/// Tokens with a bias.
pub const MAX_LOGIT_BIAS: usize = 1024;
/// Likeliest tokens told beside a token.
pub const MAX_LOGPROBS: u32 = 20;
/// Tokens of a prompt of a model with a window, which has no limit of its own.
pub const MAX_PROMPT_TOKENS: usize = 1 << 20;
/// Tokens of a whole request: those of each prompt and of its answer, times the answers to each prompt.
pub const MAX_REQUEST_TOKENS: u64 = 2 << 20;

/// Tokens of a chat's answer, and of a completion, that does not say.
pub const DEFAULT_CHAT_TOKENS: u32 = 1024;
pub const DEFAULT_COMPLETION_TOKENS: u32 = 16;

/// How long a server that has to end still answers, so that a supervisor and clients can learn why.
pub const LINGER: Duration = Duration::from_secs(1);
