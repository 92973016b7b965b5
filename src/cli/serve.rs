use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, value_parser};
use gale::server::{self, Settings};

use super::model::Model;
use super::options::{ModelDir, Running};

/// Answers over HTTP, as OpenAI's API does
///
/// One request runs at a time, others wait. docs/api.md has every path and field. SIGINT or SIGTERM ends the server when
/// what runs is done, a second one at once; if the device fails, it ends with status 1, to be started again.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Serve {
    #[command(flatten)]
    model: ModelDir,

    /// The address to listen on; 0.0.0.0 is every network that this machine has
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

    /// The port to listen on; 0 takes a free one, which a line on stderr tells
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,

    /// What clients must send as `Authorization: Bearer KEY`, but to /health [default: nothing]
    #[arg(long, value_name = "KEY", env = "GALE_API_KEY", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    api_key: Option<String>,

    /// Names that clients know the model by; answers have the first if a request does not say [default: that of DIR]
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = NonEmptyStringValueParser::new())]
    served_model_name: Vec<String>,

    /// Requests that may wait; more are told to come again (429)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=4096))]
    queue: u32,

    /// The most tokens that an answer may have
    #[arg(long, value_name = "TOKENS", default_value_t = 32768, value_parser = value_parser!(u32).range(1..))]
    max_tokens: u32,

    /// In which a request must be here, head and body; and in which a client must read some of what is due to it
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u64).range(1..=3600))]
    timeout: u64,

    /// In which what runs may finish when a signal comes; then it is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = value_parser!(u64).range(0..=3600))]
    grace: u64,

    /// Compute every prompt, though the cache may hold it: else the time to the first token, and `cached_tokens`, tell a
    /// client whether the request before its own began alike
    #[arg(long)]
    no_prefix_reuse: bool,

    #[command(flatten)]
    running: Running,
}

const EXAMPLES: &str = "\
Examples:
  gale serve -m Mistral-7B-Instruct-v0.3
  gale serve -m Mistral-7B-Instruct-v0.3 --host 0.0.0.0 --port 8000 --served-model-name mistralai/Mistral-7B-Instruct-v0.3
  gale serve -m Mistral-7B-Instruct-v0.3 --api-key \"$(cat key)\" --queue 8 --max-tokens 4096";

impl Serve {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let dir = self.model.dir;
        let model = Model::open(&dir)?;
        let (options, device) = (self.running.options(), self.running.on.device);
        model.plan(&options)?; // bad options are refused before anything is opened
        let served = model.served(options)?;
        let mut model_names = self.served_model_name;
        if model_names.is_empty() {
            let dir = dir.canonicalize().unwrap_or(dir);
            model_names.push(dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned());
        }
        let settings = Settings {
            host: self.host,
            port: self.port,
            api_key: self.api_key,
            model_names,
            queue: self.queue as usize,
            max_tokens: self.max_tokens,
            reuses: !self.no_prefix_reuse,
            timeout: Duration::from_secs(self.timeout),
            grace: Duration::from_secs(self.grace),
            started,
        };
        server::serve(settings, served, move || model.load(device, options))?;
        Ok(ExitCode::SUCCESS)
    }
}
