//! The model's sizes, and the one place that translates Hugging Face's key names into the field's.
//!
//! Keys that a config leaves out take the value that `transformers` gives them. Anything it asks for
//! that we do not do is refused by name: running it differently would give wrong text and no error.

mod refuse;
pub mod shapes;
mod write;

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json::{JsonFile, is_present, read_error};

/// Kernels read rows 16 bytes at a time: 8 elements of bf16 or f16.
const ROW_ELEMENTS: u32 = 8;
/// The widest head that the attention kernels hold.
const MAX_HEAD_DIM: u32 = 256;
/// The most query heads that the decode attention kernel serves from one kv head.
const MAX_SHARED_HEADS: u32 = 256;
/// Far beyond any dense model; keeps every product of two sizes inside u64 and a list of layers inside memory.
const MAX_DIM: u32 = 1 << 24;
const MAX_LAYERS: u32 = 1024;
const MAX_POSITION: u32 = 1 << 30;

/// What the model is, in the names of Mistral's and Llama's reference code.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub architecture: Architecture,
    pub dim: u32,
    /// Width of the feed-forward layer between gate/up and down.
    pub hidden_dim: u32,
    /// May differ from `dim / n_heads`.
    pub head_dim: u32,
    pub n_layers: u32,
    pub n_heads: u32,
    /// Query head h reads kv head `h / (n_heads / n_kv_heads)`.
    pub n_kv_heads: u32,
    pub vocab_size: u32,
    pub norm_eps: f32,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// How many keys a position sees, itself included; `None` sees all.
    pub window: Option<u32>,
    /// The longest sequence the model was trained for.
    pub max_position: u32,
    /// Whether the output projection is the embedding.
    pub tie_embeddings: bool,
    /// What the config says of the weights; the files decide ([`crate::weights::Weights::weight_type`]).
    pub weight_type: WeightType,
    pub bos_id: Option<u32>,
    /// Any of these ends a generation.
    pub eos_ids: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    Mistral,
    Llama,
}

/// The type of the weights on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightType {
    Bf16,
    F16,
}

impl Config {
    /// Reads `config.json`, and `generation_config.json` where there is one.
    pub fn load(dir: &Path) -> Result<Self> {
        let file = open(dir)?;
        let generation = JsonFile::read_if_present(dir.join("generation_config.json"))?;

        let architecture = refuse::other_architectures(&file)?;
        let weight_type = refuse::other_dtypes(&file)?;
        refuse::other_layers(&file)?;

        let size = |key: &str, max: u32| {
            file.size(key, max)?.ok_or_else(|| file.missing(key, "a whole number; the model's size depends on it"))
        };
        let dim = size("hidden_size", MAX_DIM)?;
        let n_heads = size("num_attention_heads", MAX_DIM)?;
        let n_kv_heads = n_kv_heads(&file, architecture, n_heads)?;
        let vocab_size = size("vocab_size", MAX_DIM)?;
        let config = Self {
            architecture,
            dim,
            hidden_dim: size("intermediate_size", MAX_DIM)?,
            head_dim: head_dim(&file, dim, n_heads)?,
            n_layers: size("num_hidden_layers", MAX_LAYERS)?,
            n_heads,
            n_kv_heads,
            vocab_size,
            norm_eps: norm_eps(&file)?,
            rope_theta: refuse::other_rope(&file)?,
            window: window(&file, architecture)?,
            max_position: file.size("max_position_embeddings", MAX_POSITION)?.unwrap_or(match architecture {
                Architecture::Mistral => 4096 * 32,
                Architecture::Llama => 2048,
            }),
            tie_embeddings: file.flag("tie_word_embeddings")?.unwrap_or(false),
            weight_type,
            bos_id: special_ids("bos_token_id", &file, generation.as_ref(), 1, vocab_size)?.first().copied(),
            eos_ids: special_ids("eos_token_id", &file, generation.as_ref(), 2, vocab_size)?,
        };
        refuse::other_layer_types(&file, config.window)?;
        config.check_rows(&file)?;
        Ok(config)
    }

    /// Elements of all query heads of a token.
    pub fn q_dim(&self) -> u32 {
        self.n_heads * self.head_dim
    }

    /// Elements of all keys, or of all values, of a token.
    pub fn kv_dim(&self) -> u32 {
        self.n_kv_heads * self.head_dim
    }

    fn check_rows(&self, file: &JsonFile) -> Result<()> {
        for (key, size) in [("hidden_size", self.dim), ("intermediate_size", self.hidden_dim)] {
            if size % ROW_ELEMENTS != 0 {
                return Err(file.wrong(key, format!("a multiple of {ROW_ELEMENTS}"), &size.into()));
            }
        }
        Ok(())
    }
}

fn open(dir: &Path) -> Result<JsonFile> {
    if !dir.is_dir() {
        return Err(read_error(dir, "no such directory; give one that holds config.json and model.safetensors"));
    }
    let path = dir.join("config.json");
    if !is_present(&path) && is_present(&dir.join("params.json")) {
        return Err(Error::Unsupported {
            path: dir.join("params.json"),
            asked: "a directory in Mistral's own layout".into(),
            supported: "take the Hugging Face files of the same model: config.json and model*.safetensors".into(),
        });
    }
    JsonFile::read(path)
}

fn n_kv_heads(file: &JsonFile, architecture: Architecture, n_heads: u32) -> Result<u32> {
    const KEY: &str = "num_key_value_heads";
    let n_kv_heads = match (file.get(KEY), architecture) {
        (None, Architecture::Mistral) => 8,
        _ => file.size(KEY, MAX_DIM)?.unwrap_or(n_heads),
    };
    if !n_heads.is_multiple_of(n_kv_heads) {
        return Err(Error::Key {
            path: file.path.clone(),
            key: KEY.into(),
            expected: format!("a divisor of num_attention_heads = {n_heads}"),
            found: format!("{n_kv_heads}{}", if file.get(KEY).is_some() { "" } else { ", the default" }),
        });
    }
    let n_shared = n_heads / n_kv_heads;
    if n_shared > MAX_SHARED_HEADS {
        return Err(Error::Key {
            path: file.path.clone(),
            key: KEY.into(),
            expected: format!("at most {MAX_SHARED_HEADS} query heads for each"),
            found: n_shared.to_string(),
        });
    }
    Ok(n_kv_heads)
}

/// Added to a mean square, in f32.
fn norm_eps(file: &JsonFile) -> Result<f32> {
    const KEY: &str = "rms_norm_eps";
    let eps = file.positive(KEY)?.unwrap_or(1e-6);
    if (eps as f32).is_normal() {
        return Ok(eps as f32);
    }
    Err(file.wrong(KEY, "a number that f32 holds, such as 1e-5", &eps.into()))
}

fn head_dim(file: &JsonFile, dim: u32, n_heads: u32) -> Result<u32> {
    let expected = format!("a multiple of {ROW_ELEMENTS} up to {MAX_HEAD_DIM}");
    let (head_dim, found) = match file.size("head_dim", MAX_DIM)? {
        Some(given) => (given, given.to_string()),
        None if dim.is_multiple_of(n_heads) => {
            (dim / n_heads, format!("hidden_size / num_attention_heads = {}", dim / n_heads))
        }
        None => (0, format!("no such key, and hidden_size = {dim} is no multiple of num_attention_heads = {n_heads}")),
    };
    if head_dim == 0 || head_dim % ROW_ELEMENTS != 0 || head_dim > MAX_HEAD_DIM {
        return Err(Error::Key { path: file.path.clone(), key: "head_dim".into(), expected, found });
    }
    // The heads of q, k and v are rows of one projection: their number must fit a u32 as well.
    if u64::from(n_heads) * u64::from(head_dim) > u64::from(MAX_DIM) {
        return Err(file.wrong(
            "num_attention_heads",
            format!("num_attention_heads * head_dim up to {MAX_DIM}"),
            &Value::from(n_heads),
        ));
    }
    Ok(head_dim)
}

/// Absent means 4096 in a Mistral config and none in a Llama one; null means none in both.
fn window(file: &JsonFile, architecture: Architecture) -> Result<Option<u32>> {
    const KEY: &str = "sliding_window";
    match (file.get(KEY), architecture) {
        (None, Architecture::Mistral) => Ok(Some(4096)),
        (None | Some(Value::Null), _) => Ok(None),
        (Some(_), Architecture::Mistral) => file.size(KEY, MAX_POSITION),
        (Some(found), Architecture::Llama) => {
            Err(file
                .unsupported(format!("{KEY} = {found} in a LlamaForCausalLM"), "its attention has no window: use null"))
        }
    }
}

/// One id, a list of ids, or null for none. `generation_config.json` has the last word, as in `transformers`.
fn special_ids(
    key: &str,
    file: &JsonFile,
    generation: Option<&JsonFile>,
    default: u32,
    vocab_size: u32,
) -> Result<Vec<u32>> {
    let said = generation.into_iter().chain([file]).find_map(|file| file.get(key).map(|value| (file, value)));
    let Some((file, value)) = said else {
        return Ok(vec![default]);
    };
    let ids: Vec<&Value> = match value {
        Value::Null => vec![],
        Value::Array(ids) => ids.iter().collect(),
        id => vec![id],
    };
    let expected = || format!("an id below vocab_size = {vocab_size}, a list of them, or null");
    ids.into_iter()
        .map(|id| match id.as_u64().filter(|&id| id < u64::from(vocab_size)) {
            Some(id) => Ok(id as u32),
            None => Err(file.wrong(key, expected(), value)),
        })
        .collect()
}

impl std::fmt::Display for WeightType {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}
