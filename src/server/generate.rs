//! A request's way to the device and its answer's way back.

use super::App;
use super::error::{ApiError, json_response};
use super::job::{Begin, Event, Job, Work};
use super::limits::MAX_REQUEST_TOKENS;
use super::params::Params;
use super::queue::Refused;
use super::replay::Replay;
use super::wire::{Collected, Kind, Wire};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::block_in_place;

/// Tokens whose probabilities are put into JSON faster than other tasks are moved out of the way.
const FEW_TOKENS: usize = 64;

/// A request that is checked, and in token ids.
pub struct Request {
    pub kind: Kind,
    /// The name that the client knows the model by.
    pub model: String,
    pub params: Params,
    pub prompts: Vec<Vec<u32>>,
    pub prompt_field: &'static str,
    pub max_tokens: Vec<u32>,
    pub n_logprobs: Option<u32>,
    pub begin: Begin,
}

impl Request {
    /// Refuses more work than a request may make, with the field that is to blame: `max_tokens_field` is that of the
    /// answers' length.
    pub fn check_work(&self, max_tokens_field: &str) -> Result<(), ApiError> {
        let n_prompt = self.prompts.iter().map(|prompt| prompt.len() as u64).sum();
        let n_answer = self.max_tokens.iter().map(|&n| u64::from(n)).sum();
        let Some(field) = to_blame(u64::from(self.params.n), n_prompt, n_answer) else { return Ok(()) };
        let field = match field {
            Excess::N => "n",
            Excess::Answers => max_tokens_field,
            Excess::Prompts => self.prompt_field,
        };
        let found = u64::from(self.params.n) * (n_prompt + n_answer);
        let message = format!(
            "expected a request of at most {MAX_REQUEST_TOKENS} tokens, prompts and answers, for all of \"n\" together, found {found}"
        );
        Err(ApiError::field(field, message))
    }
}

/// What makes a request too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excess {
    N,
    Answers,
    Prompts,
}

/// None if `n` answers, which have `n_answer` tokens to prompts of `n_prompt`, are not too much.
fn to_blame(n: u64, n_prompt: u64, n_answer: u64) -> Option<Excess> {
    let is_enough = |n_tokens: u64| n_tokens <= MAX_REQUEST_TOKENS;
    match n_prompt + n_answer {
        all if is_enough(n * all) => None,
        all if is_enough(all) => Some(Excess::N),
        _ if is_enough(n_prompt) => Some(Excess::Answers),
        _ => Some(Excess::Prompts),
    }
}

/// Queues a request and answers when the first token is known, so that what fails before it fails with a status.
pub async fn answer(app: &Arc<App>, request: Request) -> Result<Response<Body>, ApiError> {
    let Request { kind, model, params, prompts, prompt_field, max_tokens, n_logprobs, begin } = request;
    let Params { sampling, n, stop, ignore_eos, stream, include_usage, replay } = params;
    let has_logprobs = n_logprobs.is_some();
    let (events, mut receiver) = unbounded_channel();
    let arrived = Instant::now();
    let work = Work { prompts, n, sampling, max_tokens, stop, ignore_eos, n_logprobs, begin };
    let fingerprint = app.fingerprint();
    let replay = replay.then(|| Replay::new(fingerprint, kind, &work));
    app.queue.push(Job { work, prompt_field, events, arrived }).map_err(|refused| match refused {
        Refused::Closed(reason) => reason,
        Refused::Full => {
            app.metrics.rejected.add(1);
            let full = format!("{} requests wait already: try again later", app.settings.queue);
            let retry_after = Some(app.metrics.retry_after());
            ApiError { retry_after, ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, full) }
        }
    })?;
    let tokenizer = app.tokenizer.clone();
    let mut wire = Wire::new(kind, model, fingerprint.to_string(), tokenizer, has_logprobs);
    (wire.include_usage, wire.replay) = (include_usage, replay);
    let mut first = receiver.recv().await.ok_or_else(ApiError::abandoned)?;
    if let Event::Failed(error) = first {
        return Err(error);
    }
    if stream {
        let (lines, is_done) = if has_logprobs { block_in_place(|| wire.lines(first)) } else { wire.lines(first) };
        let body = EventStream { receiver, wire, ready: Some(lines), is_done };
        let mut response = Body::new(body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        return Ok(response);
    }
    let mut collected = Collected::default();
    loop {
        if let Some(end) = collected.push(first) {
            let usage = end?;
            let mut answer = || json_response(StatusCode::OK, &wire.whole(&collected.0, usage));
            return Ok(if has_logprobs { block_in_place(answer) } else { answer() });
        }
        first = receiver.recv().await.ok_or_else(ApiError::abandoned)?;
    }
}

/// Server-sent events: what a token makes is one frame, which is sent at once. When the client leaves, this is dropped,
/// and with it the receiver, which is how the device's thread learns of it.
struct EventStream {
    receiver: UnboundedReceiver<Event>,
    wire: Wire,
    ready: Option<String>,
    is_done: bool,
}

impl hyper::body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(lines) = self.ready.take().filter(|it| !it.is_empty()) {
                return Poll::Ready(Some(Ok(Frame::data(lines.into()))));
            }
            if self.is_done {
                return Poll::Ready(None);
            }
            let event = match self.receiver.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(event) => event.unwrap_or_else(|| Event::Failed(ApiError::abandoned())),
            };
            // An echo has the tokens of a whole prompt.
            let is_long = matches!(&event, Event::Piece(piece) if piece.tokens.len() > FEW_TOKENS);
            let lines = || self.wire.lines(event);
            let (lines, is_done) = if is_long { block_in_place(lines) } else { lines() };
            (self.ready, self.is_done) = (Some(lines), is_done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_work_is_blamed_on_what_makes_it() {
        const MOST: u64 = MAX_REQUEST_TOKENS;
        assert_eq!(to_blame(1, MOST - 5, 5), None);
        assert_eq!(to_blame(1, MOST - 5, 6), Some(Excess::Answers));
        assert_eq!(to_blame(1, MOST + 1, 0), Some(Excess::Prompts));
        assert_eq!(to_blame(16, MOST / 16, 0), None);
        assert_eq!(to_blame(16, MOST / 16, 1), Some(Excess::N));
    }
}
