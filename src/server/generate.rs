//! A request's way to the device and its answer's way back.

use super::App;
use super::error::{ApiError, json_response};
use super::job::{Begin, Event, Job};
use super::params::Params;
use super::queue::Refused;
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

/// Queues a request and answers when the first token is known, so that what fails before it fails with a status.
pub async fn answer(app: &Arc<App>, request: Request) -> Result<Response<Body>, ApiError> {
    let Request { kind, model, params, prompts, prompt_field, max_tokens, n_logprobs, begin } = request;
    let Params { sampling, n, stop, ignore_eos, stream, include_usage } = params;
    let has_logprobs = n_logprobs.is_some();
    let (events, mut receiver) = unbounded_channel();
    let arrived = Instant::now();
    let job =
        Job { prompts, prompt_field, n, sampling, max_tokens, stop, ignore_eos, n_logprobs, begin, events, arrived };
    app.queue.push(job).map_err(|refused| match refused {
        Refused::Closed(reason) => reason,
        Refused::Full => {
            app.metrics.rejected.add(1);
            let full = format!("{} requests wait already: try again later", app.settings.queue);
            let retry_after = Some(app.metrics.retry_after());
            ApiError { retry_after, ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, full) }
        }
    })?;
    let tokenizer = app.tokenizer.clone();
    let mut wire = Wire::new(kind, model, app.fingerprint(), tokenizer, has_logprobs, include_usage);
    let mut first = receiver.recv().await.ok_or_else(ApiError::abandoned)?;
    if let Event::Failed(error) = first {
        return Err(error);
    }
    if stream {
        let (lines, is_done) = wire.lines(first);
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
            return Ok(json_response(StatusCode::OK, &wire.whole(collected.answers(), end?)));
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
            let (lines, is_done) = self.wire.lines(event);
            (self.ready, self.is_done) = (Some(lines), is_done);
        }
    }
}
