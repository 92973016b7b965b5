//! What is not even HTTP is refused by the HTTP crate itself, with a bare status: here it gets its error object, too. And
//! what nobody reads is not kept for ever.

use super::error::ApiError;
use axum::http::StatusCode;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection on which refusals without a body, which the server's own never are, have one. It fails when its client
/// has read nothing for a while of what is due.
pub struct Explained {
    stream: TcpStream,
    /// What is still to be written of an explanation.
    left: Vec<u8>,
    patience: Duration,
    /// Runs while nothing can be written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Explained {
    pub fn new(stream: TcpStream, patience: Duration) -> Explained {
        Explained { stream, left: vec![], patience, stalled: None }
    }

    fn poll_some(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            self.stalled = None;
            return Poll::Ready(result);
        }
        let patience = self.patience;
        let end = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        end.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let left = std::mem::take(&mut self.left);
            let written = self.poll_some(context, &left);
            self.left = left;
            let n = ready!(written)?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

/// The whole answer in the place of a refusal that has no body; None for anything else.
fn explanation(head: &[u8]) -> Option<Vec<u8>> {
    let status = head.strip_prefix(b"HTTP/1.1 4").and_then(|rest| rest.get(..2))?;
    let status: u16 = format!("4{}", str::from_utf8(status).ok()?).parse().ok()?;
    let has_no_body = head.windows(19).any(|it| it.eq_ignore_ascii_case(b"content-length: 0\r\n"));
    if !has_no_body || !head.ends_with(b"\r\n\r\n") {
        return None;
    }
    let status = StatusCode::from_u16(status).ok()?;
    let body = ApiError::new(status, format!("the request is not HTTP as it should be: {status}")).object().to_string();
    let head = "content-type: application/json\r\nconnection: close";
    Some(format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

impl AsyncRead for Explained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Explained {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_left(context))?;
        match explanation(bytes) {
            None => self.poll_some(context, bytes),
            Some(explanation) => {
                self.left = explanation;
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_left(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_left(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
