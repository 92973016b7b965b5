//! A model directory with weights that nobody trained ([`crate::noise`]): what loading is measured with where the real
//! files are not at hand. Nothing but the row that is being written is ever in memory.

use crate::{
    config::Config,
    error::{Error, Result},
    json::is_present,
    noise,
    weights::names::{self, TensorSpec},
};
use half::bf16;
use serde_json::{Map, Value, json};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// As large as the shards that models are published in.
pub const SHARD_BYTES: u64 = 5_000_000_000;
const BUFFER_BYTES: usize = 1 << 20;
/// `<unk>`, `<s>`, `</s>`.
const N_SPECIAL: u32 = 3;

/// Writes config.json, tokenizer.json and the weights, in one file or, beyond `shard_bytes`, in several. `progress` hears
/// of the bytes of weights done and of all bytes. No file is written over, and config.json comes last, so what was broken off
/// is no model.
///
/// # Errors
/// A directory that has a model already, a vocabulary too small for bytes, whatever the disk refuses.
pub fn write(dir: &Path, config: &Config, shard_bytes: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    if config.vocab_size < N_SPECIAL + 256 {
        return Err(Error::Option {
            option: "vocab_size",
            expected: format!("{} or more, for a token of every byte", N_SPECIAL + 256),
            found: config.vocab_size.to_string(),
        });
    }
    fs::create_dir_all(dir).map_err(|error| refused(dir, error))?;
    let config_path = dir.join("config.json");
    if is_present(&config_path) {
        return Err(refused(&config_path, io::ErrorKind::AlreadyExists.into()));
    }
    write_json(&dir.join("tokenizer.json"), &tokenizer(config.vocab_size))?;

    let tensors = names::tensors(config);
    let total = tensors.iter().map(bytes).sum();
    let shards = shards(&tensors, shard_bytes);
    let file_name = |shard| match shards.len() {
        1 => "model.safetensors".to_owned(),
        n => format!("model-{:05}-of-{n:05}.safetensors", shard + 1),
    };
    let mut n_done = 0;
    for (i, shard) in shards.iter().enumerate() {
        let path = dir.join(file_name(i));
        let file = File::create_new(&path).map_err(|error| refused(&path, error))?;
        let mut advance = |n: u64| {
            n_done += n;
            progress(n_done, total);
        };
        write_shard(file, shard, &mut advance).map_err(|error| refused(&path, error))?;
    }
    if shards.len() > 1 {
        let of_shard = |(i, shard): (usize, &&[TensorSpec])| {
            shard.iter().map(|it| (it.name.clone(), Value::from(file_name(i)))).collect::<Vec<_>>()
        };
        let weight_map: Map<String, Value> = shards.iter().enumerate().flat_map(of_shard).collect();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
        write_json(&dir.join("model.safetensors.index.json"), &index)?;
    }
    write_json(&config_path, &config.to_json())
}

fn bytes(tensor: &TensorSpec) -> u64 {
    (tensor.shape.iter().product::<usize>() * size_of::<bf16>()) as u64
}

/// Cuts the list where a shard would become too large; a tensor is never cut.
fn shards(tensors: &[TensorSpec], shard_bytes: u64) -> Vec<&[TensorSpec]> {
    let mut shards = vec![];
    let (mut first, mut n_bytes) = (0, 0);
    for (i, tensor) in tensors.iter().enumerate() {
        if i > first && n_bytes + bytes(tensor) > shard_bytes {
            shards.push(&tensors[first..i]);
            (first, n_bytes) = (i, 0);
        }
        n_bytes += bytes(tensor);
    }
    shards.push(&tensors[first..]);
    shards
}

/// The header, then the tensors end to end.
fn write_shard(file: File, tensors: &[TensorSpec], advance: &mut dyn FnMut(u64)) -> io::Result<()> {
    let mut header = Map::new();
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + bytes(tensor);
        header.insert(
            tensor.name.clone(),
            json!({ "dtype": "BF16", "shape": tensor.shape, "data_offsets": [offset, end] }),
        );
        offset = end;
    }
    let mut header = Value::from(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for tensor in tensors {
        write_tensor(&mut out, tensor, advance)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn write_tensor(out: &mut impl Write, tensor: &TensorSpec, advance: &mut dyn FnMut(u64)) -> io::Result<()> {
    let seed = noise::seed(&tensor.buffer);
    let mut row = vec![bf16::ZERO; *tensor.shape.last().expect("a tensor has an axis")];
    let n_rows = if tensor.shape.len() == 1 { 1 } else { tensor.shape[0] };
    for i in 0..n_rows {
        match tensor.shape.len() {
            1 => noise::fill_norm(seed, &mut row),
            _ => noise::fill_row(seed, tensor.first_row + i, &mut row),
        }
        out.write_all(bytemuck::cast_slice(&row))?; // little-endian, as the hosts of NVIDIA's GPUs are
        advance(size_of_val(&row[..]) as u64);
    }
    Ok(())
}

/// A token for every byte, and words that no text becomes, so that every id has a text.
fn tokenizer(vocab_size: u32) -> Value {
    let special = [(0, "<unk>"), (1, "<s>"), (2, "</s>")];
    let bytes = (0..=u8::MAX).map(|byte| character(byte).to_string());
    let words = (N_SPECIAL + 256..vocab_size).map(|id| format!("{}t{id}", character(b' ')));
    let texts = special.iter().map(|(_, text)| (*text).to_owned()).chain(bytes).chain(words);
    let vocab: Map<String, Value> = texts.zip(0..).map(|(text, id): (String, u32)| (text, id.into())).collect();
    let added = special.map(|(id, content)| {
        json!({
            "id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false,
        })
    });
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let bos = json!({ "SpecialToken": { "id": "<s>", "type_id": 0 } });
    let text = |id, type_id| json!({ "Sequence": { "id": id, "type_id": type_id } });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, text("A", 0)],
            "pair": [bos, text("A", 0), text("B", 1)],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } },
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": [],
        },
    })
}

/// A byte's character in byte-level vocabularies, as GPT-2 has it: itself where it can be printed, else one of those from
/// 256 on, in order.
fn character(byte: u8) -> char {
    let is_printed = |it: u8| matches!(it, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if is_printed(byte) {
        return byte.into();
    }
    let n_before = (0..byte).filter(|it| !is_printed(*it)).count() as u32;
    char::from_u32(256 + n_before).expect("these are letters")
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let mut out = BufWriter::new(File::create_new(path).map_err(|error| refused(path, error))?);
    writeln!(out, "{value:#}").and_then(|()| out.flush()).map_err(|error| refused(path, error))
}

fn refused(path: &Path, error: io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::AlreadyExists => "there is a model already; name another directory".to_owned(),
        _ => error.to_string(),
    };
    Error::Write { path: path.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shapes::shape;

    #[test]
    fn shards_keep_the_order_and_their_limit() {
        let tensors = names::tensors(&shape("tiny").unwrap());
        let limit = 60_000;
        let shards = shards(&tensors, limit);
        assert!(shards.len() > 2);
        assert_eq!(shards.concat(), tensors);
        assert!(shards.iter().all(|it| it.len() == 1 || it.iter().map(bytes).sum::<u64>() <= limit));
    }

    /// GPT-2's own table: space is the 33rd that cannot be printed.
    #[test]
    fn bytes_have_their_characters() {
        assert_eq!([b'a', b' ', b'\n', 0, 0xad].map(character), ['a', 'Ġ', 'Ċ', 'Ā', 'Ń']);
    }
}
