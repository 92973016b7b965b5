//! The model in f64, from the formulas, with nothing of gale's: an oracle for every position of a real model.

use safetensors::{SafeTensors, tensor::Dtype};
use serde_json::Value;
use std::{collections::HashMap, fs, path::Path, thread};

/// A Llama or Mistral model whose weights are bf16, in one file, with a tied head.
pub struct Reference {
    config: Value,
    weights: HashMap<String, Vec<f32>>,
}

/// Rows of numbers: [n_tokens, n].
type Rows = Vec<Vec<f64>>;

impl Reference {
    pub fn open(dir: &Path) -> Reference {
        let config = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
        let file = fs::read(dir.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let widen = |name: &str| {
            let tensor = tensors.tensor(name).unwrap();
            assert_eq!(tensor.dtype(), Dtype::BF16);
            tensor.data().chunks(2).map(|it| f32::from_bits(u32::from(it[1]) << 24 | u32::from(it[0]) << 16)).collect()
        };
        let weights = tensors.names().into_iter().map(|it| (it.to_owned(), widen(it))).collect();
        Reference { config, weights }
    }

    fn size(&self, key: &str) -> usize {
        self.config[key].as_u64().unwrap() as usize
    }

    /// The logits of every position: [n_tokens, vocab_size].
    pub fn logits(&self, ids: &[u32]) -> Vec<Vec<f32>> {
        let dim = self.size("hidden_size");
        let embedding = &self.weights["model.embed_tokens.weight"];
        let mut x: Rows = ids.iter().map(|&id| widened(&embedding[id as usize * dim..][..dim])).collect();
        for layer in 0..self.size("num_hidden_layers") {
            let weight = |part: &str| &self.weights[&format!("model.layers.{layer}.{part}.weight")];
            let h = self.norm(&x, weight("input_layernorm"));
            let [mut q, mut k, v] = ["q", "k", "v"].map(|it| product(&h, weight(&format!("self_attn.{it}_proj"))));
            self.turn(&mut q);
            self.turn(&mut k);
            add(&mut x, &product(&self.attention(&q, &k, &v), weight("self_attn.o_proj")));
            let h = self.norm(&x, weight("post_attention_layernorm"));
            let (mut gate, up) = (product(&h, weight("mlp.gate_proj")), product(&h, weight("mlp.up_proj")));
            for (gate, up) in gate.iter_mut().flatten().zip(up.iter().flatten()) {
                *gate = *gate / (1.0 + (-*gate).exp()) * up;
            }
            add(&mut x, &product(&gate, weight("mlp.down_proj")));
        }
        let logits = product(&self.norm(&x, &self.weights["model.norm.weight"]), embedding);
        logits.into_iter().map(|row| row.into_iter().map(|it| it as f32).collect()).collect()
    }

    fn norm(&self, x: &Rows, weight: &[f32]) -> Rows {
        let eps = self.config["rms_norm_eps"].as_f64().unwrap();
        x.iter()
            .map(|row| {
                let mean = row.iter().map(|it| it * it).sum::<f64>() / row.len() as f64;
                row.iter().zip(weight).map(|(it, &w)| it / (mean + eps).sqrt() * f64::from(w)).collect()
            })
            .collect()
    }

    fn head_dim(&self) -> usize {
        self.size("hidden_size") / self.size("num_attention_heads")
    }

    /// RoPE: element i of a head pairs with i + head_dim/2.
    fn turn(&self, rows: &mut Rows) {
        let (head_dim, theta) = (self.head_dim(), self.config["rope_theta"].as_f64().unwrap());
        for (position, row) in rows.iter_mut().enumerate() {
            for head in row.chunks_mut(head_dim) {
                let (low, high) = head.split_at_mut(head_dim / 2);
                for (i, (x, y)) in low.iter_mut().zip(high).enumerate() {
                    let angle = position as f64 * theta.powf(-2.0 * i as f64 / head_dim as f64);
                    (*x, *y) = (*x * angle.cos() - *y * angle.sin(), *x * angle.sin() + *y * angle.cos());
                }
            }
        }
    }

    /// Causal attention without a window.
    fn attention(&self, q: &Rows, k: &Rows, v: &Rows) -> Rows {
        let (head_dim, n_heads) = (self.head_dim(), self.size("num_attention_heads"));
        let n_shared = n_heads / self.size("num_key_value_heads");
        let head_of = |row: &[f64], head: usize| row[head * head_dim..][..head_dim].to_vec();
        q.iter()
            .enumerate()
            .map(|(i, q)| {
                let mut out = Vec::new();
                for head in 0..n_heads {
                    let q = head_of(q, head);
                    let scores: Vec<f64> =
                        (0..=i).map(|j| dot(&q, &head_of(&k[j], head / n_shared)) / (head_dim as f64).sqrt()).collect();
                    let max = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                    let total: f64 = scores.iter().map(|it| (it - max).exp()).sum();
                    let mut sum = vec![0.0; head_dim];
                    for (j, score) in scores.iter().enumerate() {
                        let p = (score - max).exp() / total;
                        let v = head_of(&v[j], head / n_shared);
                        sum.iter_mut().zip(v).for_each(|(sum, v)| *sum += p * v);
                    }
                    out.extend(sum);
                }
                out
            })
            .collect()
    }
}

fn widened(row: &[f32]) -> Vec<f64> {
    row.iter().map(|&it| f64::from(it)).collect()
}

fn add(x: &mut Rows, y: &Rows) {
    x.iter_mut().flatten().zip(y.iter().flatten()).for_each(|(x, y)| *x += y);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// x [n_tokens, n_in] times weight [n_out, n_in], transposed; rows of the weight over the machine's processors.
fn product(x: &Rows, weight: &[f32]) -> Rows {
    let n_in = x[0].len();
    let n_out = weight.len() / n_in;
    let n_threads = thread::available_parallelism().map_or(1, usize::from);
    let per_thread = n_out.div_ceil(n_threads);
    let columns: Vec<Vec<f64>> = thread::scope(|scope| {
        let part = |weight: &'_ [f32]| weight.chunks(n_in).map(|row| column(x, row)).collect::<Vec<_>>();
        let parts: Vec<_> = weight.chunks(per_thread * n_in).map(|it| scope.spawn(move || part(it))).collect();
        parts.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    (0..x.len()).map(|token| columns.iter().map(|it| it[token]).collect()).collect()
}

/// One row of a weight times every token, in eight partial sums that the compiler can keep in one register.
fn column(x: &Rows, row: &[f32]) -> Vec<f64> {
    let row = widened(row);
    x.iter()
        .map(|x| {
            let mut sums = [0.0; 8];
            for (x, w) in x.chunks(8).zip(row.chunks(8)) {
                for (sum, (x, w)) in sums.iter_mut().zip(x.iter().zip(w)) {
                    *sum += x * w;
                }
            }
            sums.iter().sum()
        })
        .collect()
}
