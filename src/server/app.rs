//! What all threads of the server share.

use super::error::ApiError;
use super::fields::Fields;
use super::fingerprint::Fingerprint;
use super::limits::MAX_PROMPT_TOKENS;
use super::metrics::Metrics;
use super::queue::Queue;
use super::wire::unix_time;
use crate::config::Config;
use crate::device::Device;
use crate::json::shown;
use crate::prompt::{self, ChatFormat, Message};
use crate::session::{Options, Session};
use crate::tokenizer::Tokenizer;
use crate::weights::Digest;
use axum::http::StatusCode;
use serde_json::Value;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What the user can choose.
pub struct Settings {
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
    pub api_key: Option<String>,
    /// The first is the one that answers have if requests do not say; there is at least one.
    pub model_names: Vec<String>,
    /// Requests that may wait while another one runs.
    pub queue: usize,
    /// The most tokens that an answer may have.
    pub max_tokens: u32,
    /// Whether a request may find its prompt in the cache where another one left it.
    pub reuses: bool,
    /// In which a request must be complete, and a client go on reading.
    pub timeout: Duration,
    /// In which what runs may finish when the server is told to end.
    pub grace: Duration,
    /// When the program was started.
    pub started: Instant,
}

/// The model, but for its weights.
pub struct Model {
    pub config: Config,
    /// What tells its weights from others.
    pub weights: Digest,
    /// What tells its sizes, tokenizer and chat template from others.
    pub files: Digest,
    pub options: Options,
    pub tokenizer: Tokenizer,
    /// None if the model has none: then it takes no chats.
    pub chat_format: Option<ChatFormat>,
}

pub struct App {
    pub settings: Settings,
    pub config: Config,
    pub tokenizer: Arc<Tokenizer>,
    options: Options,
    chat_format: Option<ChatFormat>,
    pub queue: Queue,
    pub metrics: Metrics,
    state: Mutex<State>,
    weights: Digest,
    files: Digest,
    fingerprint: OnceLock<Fingerprint>,
    /// When the server was started, in seconds since 1970: the same in every answer, whatever the clock is set to.
    pub created: u64,
    /// What it took to be ready.
    startup: OnceLock<Duration>,
    /// What runs is to be given up.
    pub give_up: AtomicBool,
}

/// How far the server is.
enum State {
    Loading,
    Ready,
    /// Why there are no answers any more.
    Ended(ApiError),
}

impl App {
    pub fn new(settings: Settings, model: Model) -> App {
        let Model { config, weights, files, options, tokenizer, chat_format } = model;
        App {
            queue: Queue::new(settings.queue),
            metrics: Metrics::new(&settings.model_names[0]),
            settings,
            config,
            tokenizer: Arc::new(tokenizer),
            options,
            chat_format,
            state: Mutex::new(State::Loading),
            weights,
            files,
            fingerprint: OnceLock::new(),
            created: unix_time(),
            startup: OnceLock::new(),
            give_up: AtomicBool::new(false),
        }
    }

    /// From now on there are answers, from this device, unless the server has ended meanwhile. Gives the time since the start.
    pub fn be_ready(&self, device: &Device) -> Duration {
        self.fingerprint.get_or_init(|| Fingerprint::new(self.weights, self.files, device));
        let startup = *self.startup.get_or_init(|| self.settings.started.elapsed());
        self.metrics.startup_seconds.set(startup.as_secs_f64());
        let mut state = self.state();
        if matches!(*state, State::Loading) {
            *state = State::Ready;
        }
        startup
    }

    /// From now on there are none; those who wait are told why. The first reason stays.
    pub fn fail(&self, reason: ApiError) {
        let mut state = self.state();
        if !matches!(*state, State::Ended(_)) {
            *state = State::Ended(ApiError { status: StatusCode::SERVICE_UNAVAILABLE, ..reason.clone() });
        }
        drop(state);
        self.queue.close(reason);
    }

    /// Whether there are answers.
    pub fn check_ready(&self) -> Result<(), ApiError> {
        match &*self.state() {
            State::Ready => Ok(()),
            State::Ended(reason) => Err(reason.clone()),
            State::Loading => {
                let loading = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the model is being loaded");
                Err(ApiError { retry_after: Some(1), ..loading })
            }
        }
    }

    /// Whether there were answers at any time.
    pub fn was_ready(&self) -> bool {
        self.startup.get().is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the model can hold: none with a window.
    pub fn context(&self) -> Option<u32> {
        match self.config.window {
            Some(_) => None,
            None => Some(self.options.context.unwrap_or(self.config.max_position)),
        }
    }

    /// Of every answer.
    pub fn fingerprint(&self) -> &Fingerprint {
        self.fingerprint.get().expect("there are answers only from a server that was ready")
    }

    /// The field `model`: one of our names, or none.
    pub fn take_model(&self, fields: &mut Fields) -> Result<String, ApiError> {
        let names = &self.settings.model_names;
        match fields.text("model")? {
            None => Ok(names[0].clone()),
            Some(name) if names.contains(&name) => Ok(name),
            Some(name) => Err(self.no_model(&name)),
        }
    }

    pub fn no_model(&self, name: &str) -> ApiError {
        let name: String = name.chars().take(80).collect();
        let message = format!("there is no model {name:?}, there is {}", self.settings.model_names.join(", "));
        ApiError { param: Some("model".into()), ..ApiError::new(StatusCode::NOT_FOUND, message) }
            .with_code("model_not_found")
    }

    /// Token ids of a text.
    pub fn encode(&self, field: &str, text: &str, add_special: bool) -> Result<Vec<u32>, ApiError> {
        self.tokenizer.encode(text, add_special).map_err(|error| ApiError::of(&error, field))
    }

    /// Token ids of a chat, up to where the answer begins.
    pub fn encode_chat(
        &self,
        field: &str,
        messages: &[Message],
        options: &prompt::Options,
    ) -> Result<Vec<u32>, ApiError> {
        let no_format = || ApiError::field(field, "the model has no chat format: use /v1/completions");
        let format = self.chat_format.as_ref().ok_or_else(no_format)?;
        let pieces = format.encode(&self.tokenizer, messages, options);
        Ok(prompt::ids(&pieces.map_err(|error| ApiError::of(&error, field))?))
    }

    /// A token id of the model.
    pub fn id(&self, field: &str, value: &Value) -> Result<u32, ApiError> {
        let size = self.config.vocab_size;
        let id = value.as_u64().filter(|id| *id < u64::from(size)).map(|id| id as u32);
        let wrong = || ApiError::field(field, format!("expected token ids below {size}, found {}", shown(value)));
        id.ok_or_else(wrong)
    }

    /// Checks a prompt, and gives the number of tokens to generate after it.
    pub fn max_tokens(
        &self,
        prompt_field: &str,
        field: &str,
        requested: Option<u32>,
        default: u32,
        prompt: &[u32],
    ) -> Result<u32, ApiError> {
        if prompt.len() > MAX_PROMPT_TOKENS {
            let message = format!("expected at most {MAX_PROMPT_TOKENS} tokens, found {}", prompt.len());
            return Err(ApiError::field(prompt_field, message).with_code("context_length_exceeded"));
        }
        let checked = Session::check_prompt(&self.config, &self.options, prompt);
        checked.map_err(|error| ApiError::of(&error, prompt_field))?;
        // The last token is chosen and never taken, so it needs no place.
        let room = self.context().map_or(u32::MAX, |context| context - prompt.len() as u32 + 1);
        let most = room.min(self.settings.max_tokens);
        match requested {
            Some(n) if n > most => {
                let message = format!("expected at most {most} after {} tokens of prompt, found {n}", prompt.len());
                Err(ApiError::field(field, message).with_code("context_length_exceeded"))
            }
            requested => Ok(requested.unwrap_or(default.min(most))),
        }
    }
}
