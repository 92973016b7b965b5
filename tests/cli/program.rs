//! Runs gale and keeps what it said.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
}

/// A command that does not depend on the environment of the tests.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gale"));
    command.args(args).env_remove("GALE_DEVICE").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn gale(args: &[&str]) -> Run {
    finish(&mut command(args), b"")
}

/// On the emulator, by its environment variable.
pub fn emulated(args: &[&str]) -> Run {
    emulated_reading(args, b"")
}

/// The same with something on stdin.
pub fn emulated_reading(args: &[&str], stdin: &[u8]) -> Run {
    finish(command(args).env("GALE_DEVICE", "emulator"), stdin)
}

pub fn finish(command: &mut Command, stdin: &[u8]) -> Run {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin); // it may end without reading
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("gale writes UTF-8");
    let status = output.status.code().expect("gale ends by itself");
    Run { stdout: text(output.stdout), stderr: text(output.stderr), status }
}

impl Run {
    #[track_caller]
    pub fn expect_ok(self) -> Run {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }

    /// One line that holds all of `words`, and nothing on stdout.
    #[track_caller]
    pub fn expect_error(self, words: &[&str]) {
        assert_eq!((self.status, self.stdout.as_str()), (1, ""), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("error: ") && !self.stderr.contains("panicked"), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
    }

    /// Clap's answer to a command line that makes no sense.
    #[track_caller]
    pub fn expect_usage_error(self, word: &str) {
        assert_eq!((self.status, self.stdout.as_str()), (2, ""), "{self:?}");
        assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
    }
}

/// The directory of a golden model.
pub fn golden(model: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/synth").join(model);
    dir.to_str().unwrap().to_owned()
}

/// The cases of a golden model.
pub fn cases(model: &str) -> Vec<Value> {
    let json: Value =
        serde_json::from_slice(&fs::read(Path::new(&golden(model)).join("golden.json")).unwrap()).unwrap();
    json["cases"].as_array().unwrap().clone()
}

/// `1,2,3`
pub fn comma_separated(ids: &Value) -> String {
    let ids: Vec<String> = ids.as_array().unwrap().iter().map(Value::to_string).collect();
    ids.join(",")
}

/// A copy of a golden model, to be broken.
pub struct Broken(TempDir);

impl Broken {
    pub fn new(model: &str) -> Broken {
        let copy = Broken(tempfile::tempdir().unwrap());
        for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
            fs::copy(Path::new(&golden(model)).join(name), copy.path(name)).unwrap();
        }
        copy
    }

    pub fn dir(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Changes a JSON file.
    pub fn edit(self, name: &str, change: impl FnOnce(&mut Value)) -> Broken {
        let mut json = serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap();
        change(&mut json);
        self.write(name, json.to_string())
    }

    pub fn write(self, name: &str, bytes: impl AsRef<[u8]>) -> Broken {
        fs::write(self.path(name), bytes).unwrap();
        self
    }

    pub fn remove(self, name: &str) -> Broken {
        fs::remove_file(self.path(name)).unwrap();
        self
    }

    /// Changes the header of the weights, whose data stay as they are.
    pub fn edit_header(self, change: impl FnOnce(&mut Value)) -> Broken {
        let bytes = fs::read(self.path("model.safetensors")).unwrap();
        let (len, rest) = bytes.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
        let mut header = serde_json::from_slice(header).unwrap();
        change(&mut header);
        let header = header.to_string();
        let new = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
        self.write("model.safetensors", new)
    }
}
