//! A server that runs as long as a test does.

use crate::http::{Answer, Client};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A chat in words that any vocabulary can spell.
const TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' and not loop.first %}\
    {{ raise_exception('the system speaks first') }}{% endif %}[{{ message.role }}] {{ message.content }}\n{% endfor %}\
    {% if add_generation_prompt %}[assistant] {% endif %}";

/// A golden model that takes chats: as `gale generate --chat` finds it, too.
pub struct Model(TempDir);

impl Model {
    pub fn new(golden: &str) -> Model {
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/synth").join(golden).join(name);
            fs::copy(from, dir.path().join(name)).unwrap();
        }
        let config = serde_json::json!({ "bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE });
        fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        Model(dir)
    }

    pub fn dir(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// Without a window, with a context of 4096 tokens.
pub static MODEL: LazyLock<Model> = LazyLock::new(|| Model::new("mis_nowin_v5_gqa8"));

/// gale, on the emulator.
pub fn gale(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gale"));
    command.args(args).env_remove("GALE_API_KEY").env("GALE_DEVICE", "emulator").stdin(Stdio::null());
    command
}

pub struct Server {
    child: Child,
    pub port: u16,
    /// What it has said so far.
    pub log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Ready, with the model of most tests.
    pub fn start(args: &[&str]) -> Server {
        Server::of(MODEL.dir(), args, &[])
    }

    pub fn of(dir: &str, args: &[&str], variables: &[(&str, &str)]) -> Server {
        let server = Server::spawn(dir, args, variables);
        server.wait_for("ready after ");
        server
    }

    /// Listening.
    pub fn spawn(dir: &str, args: &[&str], variables: &[(&str, &str)]) -> Server {
        let name: &[&str] = if args.contains(&"--served-model-name") { &[] } else { &["--served-model-name", "tiny"] };
        let all = [&["serve", "-m", dir, "--port", "0"], name, args].concat();
        let mut child =
            gale(&all).envs(variables.iter().copied()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(vec![]));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn({
            let log = log.clone();
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    log.lock().unwrap().push(line);
                }
            }
        });
        let mut server = Server { child, port: 0, log };
        let line = server.wait_for("listening on http://127.0.0.1:");
        let digits: String =
            line.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        server.port = digits.parse().unwrap();
        server
    }

    /// The first line with these words.
    #[track_caller]
    pub fn wait_for(&self, words: &str) -> String {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let log = self.log.lock().unwrap().clone();
            match log.iter().find(|line| line.contains(words)) {
                Some(line) => return line.clone(),
                None => assert!(Instant::now() < end, "no line with {words:?} in {log:?}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.client().get(path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.client().post(path, body)
    }

    #[track_caller]
    pub fn completion(&self, body: &Value) -> Value {
        self.post("/v1/completions", body).expect_ok()
    }

    #[track_caller]
    pub fn chat(&self, body: &Value) -> Value {
        self.post("/v1/chat/completions", body).expect_ok()
    }

    /// The value of a metric; of one with a label besides the model's, by a part of that label.
    #[track_caller]
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
        let line = line.unwrap_or_else(|| panic!("no {name} with {label:?} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, is_right: impl Fn(f64) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_right(self.metric(name, "")) {
            assert!(Instant::now() < end, "{name} is still {}", self.metric(name, ""));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Memory that the process has of the system, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        1024 * kib
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end, and gives the status.
    pub fn end(mut self) -> i32 {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it ends by itself");
            }
            assert!(Instant::now() < end, "it does not end: {:?}", self.log.lock().unwrap());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
