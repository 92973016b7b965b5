//! A small good model, and what it takes to break it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gale::config::Config;
use gale::error::{Error, Result};
use gale::tokenizer::Tokenizer;
use gale::weights::{Weights, names};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A tensor of a file: safetensors' name of its type, its shape and its bytes.
#[derive(Clone)]
pub struct Tensor {
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn new(dtype: &'static str, shape: &[usize]) -> Self {
        let element_bytes = if matches!(dtype, "F32" | "I32") { 4 } else { 2 };
        Self { dtype, shape: shape.into(), bytes: vec![0; shape.iter().product::<usize>() * element_bytes] }
    }
}

pub type Tensors = BTreeMap<String, Tensor>;

/// A directory that goes away with the test.
pub struct Model {
    dir: TempDir,
    pub config: Value,
    pub tensors: Tensors,
}

impl Model {
    /// One layer of Mistral, complete on disk.
    pub fn new() -> Self {
        let config = json!({
            "architectures": ["MistralForCausalLM"], "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_act": "silu",
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 8, "torch_dtype": "bfloat16",
            "max_position_embeddings": 64, "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2,
        });
        let mut model = Self { dir: tempfile::tempdir().unwrap(), config, tensors: Tensors::new() };
        model.write_config();
        for spec in names::tensors(&model.load_config().unwrap()) {
            model.tensors.insert(spec.name, Tensor::new("BF16", &spec.shape));
        }
        model.write_weights();
        model
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub fn write_config(&self) {
        self.write("config.json", self.config.to_string());
    }

    pub fn write_weights(&self) {
        self.write("model.safetensors", safetensors(&self.tensors));
    }

    pub fn load_config(&self) -> Result<Config> {
        Config::load(self.dir.path())
    }

    /// With the config and the tensors as they are now in `self`.
    pub fn open(&self) -> Result<Weights> {
        self.write_config();
        self.write_weights();
        self.open_files()
    }

    /// With the files as they are now on disk.
    pub fn open_files(&self) -> Result<Weights> {
        Weights::open(self.dir.path(), &self.load_config()?)
    }

    pub fn load_tokenizer(&self) -> Result<Option<Tokenizer>> {
        Tokenizer::load(self.dir.path(), self.load_config()?.vocab_size)
    }

    /// Splits the tensors over two files with an index, and takes away the single one.
    pub fn shard(&self) -> Value {
        let mut shards = [Tensors::new(), Tensors::new()];
        let mut weight_map = serde_json::Map::new();
        for (i, (name, tensor)) in self.tensors.iter().enumerate() {
            shards[i % 2].insert(name.clone(), tensor.clone());
            weight_map.insert(name.clone(), SHARDS[i % 2].into());
        }
        for (name, tensors) in SHARDS.iter().zip(&shards) {
            self.write(name, safetensors(tensors));
        }
        fs::remove_file(self.path("model.safetensors")).unwrap();
        let index = json!({ "metadata": {}, "weight_map": weight_map });
        self.write(INDEX, index.to_string());
        index
    }
}

pub const INDEX: &str = "model.safetensors.index.json";
pub const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// A safetensors file of these tensors, end to end in the order of their names.
pub fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = vec![];
    for (name, Tensor { dtype, shape, bytes }) in tensors {
        let start = data.len();
        data.extend(bytes);
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] }));
    }
    with_header(&Value::Object(header).to_string(), &data)
}

pub fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// The error is one line that holds all of `words`.
#[track_caller]
pub fn check<T>(result: Result<T>, words: &[&str]) {
    let said = result.err().unwrap_or_else(|| panic!("no error, expected one with {words:?}")).to_string();
    check_line(&said);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[track_caller]
pub fn check_line(said: &str) {
    assert!(!said.contains('\n') && !said.ends_with('.') && said.len() < 600, "{said}");
}

/// Whatever a damaged file gives, it is no panic, and an error is one line.
#[track_caller]
pub fn check_survives<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        check_line(&error.to_string());
    }
}

pub fn golden(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/synth").join(model)
}
