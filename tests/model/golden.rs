//! Golden data and the judgement of logits, as tests/golden/check.py does it.

use safetensors::SafeTensors;
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The directory with synth/ and smollm2/.
pub fn dir() -> PathBuf {
    env::var_os("GALE_GOLDEN").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), PathBuf::from)
}

/// The models of synth/ that have weights, without Mixtral.
pub fn models() -> Vec<PathBuf> {
    let mut models: Vec<PathBuf> = fs::read_dir(dir().join("synth")).unwrap().map(|it| it.unwrap().path()).collect();
    models.retain(|it| it.join("model.safetensors").exists() || it.join("model.safetensors.index.json").exists());
    models.retain(|it| !it.ends_with("mixtral_e4_top2"));
    models.sort();
    assert!(models.len() >= 4, "the repository carries four models with weights");
    models
}

/// One sequence with its golden logits.
pub struct Case {
    pub name: String,
    pub ids: Vec<u32>,
    /// Position of the first row of `logits`.
    pub first_position: usize,
    pub logits: Vec<Vec<f32>>,
    /// Greedy tokens after the sequence (EOS ignored), with the margin of each.
    pub greedy: Vec<u32>,
    pub margins: Vec<f64>,
    /// Mean KL of Hugging Face's own bf16 run.
    pub bf16_mean_kl: f64,
}

/// The cases of a synthetic model.
pub fn cases(model: &Path) -> Vec<Case> {
    let golden = json(&model.join("golden.json"));
    let file = fs::read(model.join("golden.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let case = |case: &Value| Case {
        name: format!("{} case {}", model.file_name().unwrap().display(), case["case"]),
        ids: ids(&case["input_ids"]),
        first_position: case["positions"][0].as_u64().unwrap() as usize,
        logits: rows(&tensors, case["tensor"].as_str().unwrap()),
        greedy: ids(&case["greedy_32"]),
        margins: numbers(&case["greedy_margins"]),
        bf16_mean_kl: case["hf_bf16_vs_golden_mean_kl"].as_f64().unwrap(),
    };
    golden["cases"].as_array().unwrap().iter().map(case).collect()
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))).unwrap()
}

pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().into_iter().flatten().map(|it| it.as_u64().unwrap() as u32).collect()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().map(|it| it.as_f64().unwrap()).collect()
}

/// An F32 tensor as rows of its last axis.
pub fn rows(tensors: &SafeTensors, name: &str) -> Vec<Vec<f32>> {
    let tensor = tensors.tensor(name).unwrap();
    let floats: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
    floats.chunks(*tensor.shape().last().unwrap()).map(<[f32]>::to_vec).collect()
}

/// The most that a row may differ from its golden.
#[derive(Clone, Copy)]
pub struct Limits {
    pub abs: f64,
    pub mean_kl: f64,
    /// A golden best token that leads by more than this must be ours too.
    pub margin: f64,
}

/// What `judge` measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Error {
    pub max_abs: f64,
    pub mean_kl: f64,
}

/// Compares rows with golden rows.
#[track_caller]
pub fn judge(name: &str, got: &[Vec<f32>], want: &[Vec<f32>], limits: Limits) -> Error {
    assert_eq!(got.len(), want.len(), "{name}: rows");
    let mut error = Error::default();
    for (row, (got, want)) in got.iter().zip(want).enumerate() {
        assert_eq!(got.len(), want.len(), "{name}: logits of row {row}");
        let worst = got
            .iter()
            .zip(want)
            .map(|(a, b)| f64::from(a - b).abs())
            .fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a });
        assert!(worst <= limits.abs, "{name}: row {row} is off by {worst}");
        error.max_abs = error.max_abs.max(worst);
        error.mean_kl += kl(want, got);
        let (best, lead) = best_and_lead(want);
        let ours = best_and_lead(got).0;
        assert!(
            ours == best || lead <= limits.margin,
            "{name}: row {row} has {ours} for {best}, which leads by {lead}"
        );
    }
    error.mean_kl /= want.len() as f64;
    assert!(error.mean_kl <= limits.mean_kl, "{name}: the mean KL is {}", error.mean_kl);
    error
}

/// Greedy tokens may part from the golden ones only at a near-tie.
#[track_caller]
pub fn judge_greedy(name: &str, got: &[u32], want: &[u32], margins: &[f64], limits: Limits) {
    assert_eq!(got.len(), want.len(), "{name}: greedy tokens");
    if let Some(at) = (0..want.len()).find(|&at| got[at] != want[at]) {
        let margin = margins[at];
        assert!(margin <= limits.margin, "{name}: greedy token {at} is {} for {}, margin {margin}", got[at], want[at]);
    }
}

/// KL(want || got) of the two distributions, in nats.
pub fn kl(want: &[f32], got: &[f32]) -> f64 {
    let (want_total, got_total) = (log_sum_exp(want), log_sum_exp(got));
    want.iter()
        .zip(got)
        .map(|(&w, &g)| {
            let (w, g) = (f64::from(w) - want_total, f64::from(g) - got_total);
            w.exp() * (w - g)
        })
        .sum()
}

pub fn log_sum_exp(row: &[f32]) -> f64 {
    let max = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    f64::from(max) + row.iter().map(|&it| f64::from(it - max).exp()).sum::<f64>().ln()
}

/// The index of the largest logit, and by how much it leads.
fn best_and_lead(row: &[f32]) -> (usize, f64) {
    let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let second = (0..row.len()).filter(|&it| it != best).map(|it| row[it]).fold(f32::NEG_INFINITY, f32::max);
    (best, f64::from(row[best] - second))
}
