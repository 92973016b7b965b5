//! Weights on the device, however they are read. Planted once each, and seen to fail here: pinned memory filled again
//! before the device has read it, the first row of a piece left out, a tensor's last piece lost.

#[allow(dead_code)] // What tests of kernels and of bad files need besides.
mod common;
#[allow(dead_code)]
#[path = "bad_input/model.rs"]
mod model;

use common::tiles::tiles_of;
use common::{Case, Weight, assert_same_bits, for_all};
use gale::config::{Config, WeightType, shapes};
use gale::device::Device;
use gale::error::Result;
use gale::loader::{Loaded, Loader, noise_weights};
use gale::plan::{Plan, Sizes};
use gale::synth;
use gale::weights::{Weights, names};
use half::{bf16, f16};
use model::{Model, Tensor, check};
use std::fs;

const FILE: &str = "model.safetensors";
const SIZES: Sizes = Sizes { n_slots: 8, max_chunk: 1 };

/// A model of random sizes and weights, some of which are f32.
fn model<W: Weight>(case: &mut Case, dtype: &'static str) -> Model {
    let mut model = Model::new();
    let (n_heads, n_kv_heads) = case.pick(&[(2, 1), (4, 2), (3, 3)]);
    for (key, value) in [
        ("hidden_size", 8 * case.int(1..=12)),
        ("intermediate_size", 8 * case.int(1..=12)),
        ("num_attention_heads", n_heads),
        ("num_key_value_heads", n_kv_heads),
        ("head_dim", 8 * case.int(1..=4)),
        ("vocab_size", case.int(3..=80)),
    ] {
        model.config[key] = value.into();
    }
    model.write_config();
    model.tensors.clear();
    for spec in names::tensors(&model.load_config().unwrap()) {
        let is_wide = case.int(0..=4) == 0 && spec.buffer != "embedding"; // which says what the others are
        let mut tensor = Tensor::new(if is_wide { "F32" } else { dtype }, &spec.shape);
        let values = case.floats([spec.shape.iter().product::<usize>() as u32]);
        tensor.bytes = match is_wide {
            true => bytemuck::cast_slice(&values).to_vec(),
            false => bytemuck::cast_slice(&values.into_iter().map(W::from_f32).collect::<Vec<_>>()).to_vec(),
        };
        model.tensors.insert(spec.name, tensor);
    }
    model
}

fn load<W: Weight>(loader: Loader, device: &Device, config: &Config, weights: &Weights) -> Result<Loaded<W>> {
    let plan = Plan::new(config, weights.weight_type(), SIZES);
    let (mut before, mut whole) = (0, 0);
    let loaded = loader.load(device, weights, &plan, &mut |done, total| {
        assert!(before < done && done <= total, "{done} after {before} of {total}");
        (before, whole) = (done, total);
    })?;
    assert_eq!((before, whole), (loaded.times.upload.bytes, loaded.times.upload.bytes));
    Ok(loaded)
}

/// The values of a tensor, rounded.
fn values<W: Weight>(tensor: &Tensor) -> Vec<W> {
    match tensor.dtype {
        "F32" => bytemuck::pod_collect_to_vec::<u8, f32>(&tensor.bytes).into_iter().map(W::from_f32).collect(),
        _ => bytemuck::pod_collect_to_vec(&tensor.bytes),
    }
}

/// Every buffer by the definition of tiles.
fn check_bits<W: Weight>(loaded: &Loaded<W>, config: &Config, model: &Model) {
    let plan = Plan::new(config, WeightType::Bf16, SIZES);
    for planned in plan.weights() {
        let specs = names::tensors(config).into_iter().filter(|spec| spec.buffer == planned.name);
        let values: Vec<W> = specs.flat_map(|spec| values(&model.tensors[&spec.name])).collect();
        let pair_distance = match planned.name.rsplit('.').next().unwrap() {
            "qkv" => config.head_dim / 2,
            "gate_up" => config.hidden_dim,
            _ => 0,
        };
        let want = match planned.shape[..] {
            [_, n_in] => tiles_of(&values, n_in as u32, pair_distance),
            _ => values,
        };
        assert_same_bits(&loaded.buffers[&planned.name].to_vec().unwrap(), &want);
    }
    assert_eq!(loaded.buffers.len(), plan.weights().count());
}

fn fills_the_tiles<W: Weight>(case: &mut Case, dtype: &'static str) {
    let model = model::<W>(case, dtype);
    model.write_weights();
    if case.pick(&[true, false]) {
        model.shard();
    }
    let (weights, config) = (model.open_files().unwrap(), model.load_config().unwrap());
    let loader = Loader { n_readers: case.int(1..=5) as usize, piece_bytes: case.int(2..=3000) as usize };
    check_bits(&load::<W>(loader, case.device, &config, &weights).unwrap(), &config, &model);
}

#[test]
fn any_pieces_and_readers_fill_the_tiles() {
    for_all(|case| fills_the_tiles::<bf16>(case, "BF16"));
    for_all(|case| fills_the_tiles::<f16>(case, "F16"));
}

/// What is allocated for weights is what they and their padding take, and nothing else is left.
#[test]
fn nothing_but_the_weights_stays_on_the_device() {
    for_all(|case| {
        let model = model::<bf16>(case, "BF16");
        let (weights, config) = (model.open().unwrap(), model.load_config().unwrap());
        let device = case.device;
        let before = device.allocated_bytes();
        let loaded = load::<bf16>(Loader::default(), device, &config, &weights).unwrap();
        let bytes: usize = loaded.buffers.values().map(|it| it.bytes()).sum();
        assert_eq!(device.allocated_bytes() - before, bytes);
        drop(loaded);
        assert_eq!(device.allocated_bytes(), before);
    });
}

/// A file that is cut short or written to after it was opened, and values that do not fit, wherever a reader meets them.
#[test]
fn what_a_reader_meets_is_the_error() {
    for_all(|case| {
        let loader = Loader { n_readers: case.int(1..=4) as usize, piece_bytes: case.int(2..=3000) as usize };
        let mut model = model::<f16>(case, "F16");
        let config = model.load_config().unwrap();
        let weights = model.open().unwrap();
        let whole = fs::read(model.path(FILE)).unwrap();
        let n_left = case.int(0..=whole.len() as u32 - 1) as u64;
        fs::OpenOptions::new().write(true).open(model.path(FILE)).unwrap().set_len(n_left).unwrap();
        let loaded = load::<f16>(loader, case.device, &config, &weights);
        check(loaded.map(|_| ()), &[FILE, "the file changed while it was being loaded; load it again"]);

        let weights = model.open().unwrap();
        fs::write(model.path(FILE), [&whole[..], b"!"].concat()).unwrap();
        check(load::<f16>(loader, case.device, &config, &weights).map(|_| ()), &["changed while it was being loaded"]);

        let mut wide = Tensor::new("F32", &[config.dim as usize]);
        wide.bytes[..4].copy_from_slice(&1e6f32.to_le_bytes());
        model.tensors.insert("model.norm.weight".into(), wide);
        let weights = model.open().unwrap();
        assert_eq!(weights.weight_type(), WeightType::F16);
        let loaded = load::<f16>(loader, case.device, &config, &weights);
        check(loaded.map(|_| ()), &["model.norm.weight", "f16 holds", "found 1000000"]);

        model.tensors.insert("model.norm.weight".into(), Tensor::new("F32", &[config.dim as usize]));
        let weights = model.open().unwrap();
        check_bits(&load::<f16>(loader, case.device, &config, &weights).unwrap(), &config, &model);
    });
}

/// A shape's weights are the same on the device as from the files that `gale synth` writes.
#[test]
fn noise_is_the_same_from_files() {
    for name in ["tiny", "wide heads, tied"] {
        let tiny = shapes::shape("tiny").unwrap();
        let config = match name {
            "tiny" => tiny,
            _ => Config { head_dim: 40, n_kv_heads: 1, hidden_dim: 72, dim: 56, tie_embeddings: true, ..tiny },
        };
        let dir = tempfile::tempdir().unwrap();
        synth::write(dir.path(), &config, 40_000, &mut |_, _| {}).unwrap();
        assert_eq!(Config::load(dir.path()).unwrap(), config);
        let weights = Weights::open(dir.path(), &config).unwrap();
        let (device, plan) = (common::open(), Plan::new(&config, WeightType::Bf16, SIZES));
        let from_files = load::<bf16>(Loader::default(), &device, &config, &weights).unwrap().buffers;
        let made = noise_weights(&device, &config, &plan).unwrap().buffers;
        assert!(made.keys().eq(from_files.keys()));
        for (buffer, tiles) in made {
            assert_same_bits(&tiles.to_vec().unwrap(), &from_files[&buffer].to_vec().unwrap());
        }
    }
}
