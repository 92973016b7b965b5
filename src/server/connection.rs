//! Connections: taken in until a signal comes or the device is gone, then brought to their end.

use super::App;
use super::error::ApiError;
use super::http::router;
use super::limits::{LINGER, MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_HEADERS};
use super::log;
use super::protocol::Explained;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

/// A moment for the system to find file descriptors again.
const PAUSE: Duration = Duration::from_millis(50);
/// In which a step of the device should be done.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so much silence a client is asked whether it is there, so often.
const SILENCE: Duration = Duration::from_secs(30);
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(10);
const N_QUESTIONS: u32 = 3;
/// The status of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Why no connection is taken any more.
enum End {
    Signal,
    /// The device's thread has ended, which it does by itself only after an error.
    Device(anyhow::Result<()>),
}

/// Serves until a signal comes, or the device's thread ends.
///
/// # Errors
/// What ended that thread.
pub async fn run(
    app: &Arc<App>,
    listener: TcpListener,
    mut device: oneshot::Receiver<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let connections = Arc::new(GracefulShutdown::new());
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let accepting = tokio::spawn(accept(app.clone(), listener, connections.clone()));
    let end = tokio::select! {
        () = signals.next() => End::Signal,
        result = &mut device => End::Device(ended(result)),
    };
    let result = match end {
        End::Signal => shut_down(app, &mut signals, device).await,
        End::Device(result) => {
            app.fail(ApiError::abandoned()); // after a panic it is still to be said
            if app.was_ready() {
                sleep(LINGER).await; // clients and supervisors learn what happened
            }
            result
        }
    };
    accepting.abort();
    let _ = accepting.await;
    let connections = Arc::into_inner(connections).expect("accepting is over");
    let _ = timeout(LINGER, connections.shutdown()).await;
    result
}

/// Takes nothing any more; what runs may finish for a while, and is then given up. Another signal ends the program at once.
/// Nobody waits for a model that is still being loaded.
async fn shut_down(
    app: &App,
    signals: &mut Signals,
    mut device: oneshot::Receiver<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    app.fail(ApiError::shutting_down());
    if !app.was_ready() {
        log("ending; the model was still being loaded");
        return Ok(());
    }
    log(format_args!("ending; what runs may finish within {} s", app.settings.grace.as_secs_f64()));
    tokio::select! {
        result = &mut device => return ended(result),
        () = signals.next() => std::process::exit(INTERRUPTED),
        () = sleep(app.settings.grace) => app.give_up.store(true, Ordering::Relaxed),
    }
    tokio::select! {
        result = &mut device => ended(result),
        () = signals.next() => std::process::exit(INTERRUPTED),
        () = sleep(PATIENCE) => anyhow::bail!("the device did not come to an end within {} s", PATIENCE.as_secs()),
    }
}

/// Takes connections, forever.
async fn accept(app: Arc<App>, listener: tokio::net::TcpListener, connections: Arc<GracefulShutdown>) {
    let mut http = http1::Builder::new();
    let patience = app.settings.timeout;
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    http.max_headers(2 * MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
    let service = TowerToHyperService::new(router(app));
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = room.clone().acquire_owned().await.expect("nobody closes it");
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let _ = tune(&stream, patience); // without it, the connection is slower to send or to end, and no worse
        let connection =
            connections.watch(http.serve_connection(TokioIo::new(Explained::new(stream, patience)), service.clone()));
        tokio::spawn(async move {
            let _ = connection.await; // whatever a client did wrong, its connection ends with it
            drop(place);
        });
    }
}

/// A token is not to wait for the next one. And a client can vanish without a word: with its power, or its network. Then what
/// is sent stays unacknowledged, or, where nothing is due, questions stay unanswered, and the connection fails.
fn tune(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(patience))?;
    let questions = TcpKeepalive::new().with_time(SILENCE).with_interval(BETWEEN_QUESTIONS).with_retries(N_QUESTIONS);
    socket.set_tcp_keepalive(&questions)
}

/// What ended the device's thread.
fn ended(result: Result<anyhow::Result<()>, oneshot::error::RecvError>) -> anyhow::Result<()> {
    result.unwrap_or_else(|_| Err(anyhow::anyhow!("the device's thread panicked, see above")))
}

/// Ctrl-C, and what a supervisor sends.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_options_of_a_connection_are_set() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(!socket.keepalive().unwrap(), "it is not so by itself");
        tune(&stream, Duration::from_secs(7)).unwrap();
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENCE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), BETWEEN_QUESTIONS);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), N_QUESTIONS);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
    }
}
