//! `gale serve`: OpenAI's HTTP API.
//!
//! ```text
//!   clients ─► connection ─► http ─► chat, completions ─► queue ─► engine ─► session
//!                              ▲                                     │
//!                              └───── wire ◄──── events ◄────────────┘
//! ```
//!
//! One thread owns the device and answers one request after the other, so a request's tokens are those that it would have
//! alone. Other threads talk to clients: they check requests and bring them into token ids, and put the device's events
//! into OpenAI's objects. A client that leaves drops its end of the events, which the device's thread sees before the next
//! token or chunk of a prompt.

mod answer;
mod app;
mod chat;
mod completions;
mod connection;
mod engine;
mod error;
mod fields;
mod fingerprint;
mod generate;
mod http;
mod job;
mod limits;
mod logprobs;
mod metrics;
mod models;
mod params;
mod protocol;
mod queue;
mod replay;
mod tokenize;
mod wire;

pub use app::{Model, Settings};
pub use fingerprint::Fingerprint;
pub use replay::Saved;

use crate::device::Device;
use crate::session::Session;
use anyhow::Context;
use app::App;
use engine::Engine;
use error::ApiError;
use job::Event;
use std::fmt::Display;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Threads that talk to clients: they have little to do, and the emulator needs the processors.
const N_THREADS: usize = 2;
/// Threads that check requests; a long prompt takes a while to become ids.
const N_CHECKING: usize = 4;

/// Serves until a signal ends it. The port is taken at once and answers 503 until `load`, which runs on the thread that
/// then owns the device, is done.
///
/// # Errors
/// An address that cannot be used, what `load` says, and a device that failed.
pub fn serve(
    settings: Settings,
    model: Model,
    load: impl FnOnce() -> anyhow::Result<(Device, Session)> + Send + 'static,
) -> anyhow::Result<()> {
    let address = (settings.host.as_str(), settings.port);
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {}:{}", settings.host, settings.port))?;
    listener.set_nonblocking(true)?;
    log(format_args!("listening on http://{}, and loading the model", listener.local_addr()?));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(N_THREADS)
        .max_blocking_threads(N_CHECKING)
        .thread_name("gale-http")
        .enable_all()
        .build()?;
    let app = Arc::new(App::new(settings, model));
    let (ended, end) = oneshot::channel();
    let device_thread = thread::Builder::new().name("gale-device".into()).spawn({
        let app = app.clone();
        move || {
            let result = run_device(&app, load);
            if let Err(error) = &result {
                app.fail(ApiError::broken(error));
            }
            let _ = ended.send(result); // nobody listens if a second signal came
        }
    })?;
    let result = runtime.block_on(connection::run(&app, listener, end));
    runtime.shutdown_timeout(Duration::from_millis(100));
    // It has ended, or hangs in the driver: then the process ends without it.
    if device_thread.is_finished() {
        device_thread.join().map_err(|_| anyhow::anyhow!("the device's thread panicked, see above"))?;
    }
    result
}

/// What the device's thread does: load, warm up, and answer until the queue is closed.
fn run_device(app: &App, load: impl FnOnce() -> anyhow::Result<(Device, Session)>) -> anyhow::Result<()> {
    let (device, session) = load()?;
    let mut engine = Engine {
        device,
        session,
        tokenizer: &app.tokenizer,
        metrics: &app.metrics,
        give_up: &app.give_up,
        reuses: app.settings.reuses,
    };
    let to_first = engine.warm_up()?;
    app.metrics.allocated_bytes.set(engine.device.allocated_bytes() as f64);
    let startup = app.be_ready(&engine.device);
    let (startup, to_first) = (startup.as_secs_f64(), 1e3 * to_first.as_secs_f64());
    log(format_args!("ready after {startup:.2} s; a token after a prompt of one takes {to_first:.1} ms"));
    while let Some(job) = app.queue.pop() {
        if job.is_abandoned() {
            app.metrics.cancelled.add(1);
            continue;
        }
        match engine.run(&job) {
            Ok(line) => line.into_iter().for_each(log),
            Err(error) => {
                app.fail(ApiError::broken(&error)); // so whoever is told of it finds a server that says so
                job.send(Event::Failed(ApiError::broken(&error)));
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// A line on stderr. If nobody reads that, so be it.
fn log(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "gale: {line}");
}
