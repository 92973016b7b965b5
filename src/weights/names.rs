//! Which tensors a model has in its files, and where each goes on the device: the one list that loading,
//! checking and planning share.

use crate::config::Config;

/// One tensor of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its Hugging Face name.
    pub name: String,
    /// Slowest axis first; a vector has one axis.
    pub shape: Vec<usize>,
    /// The device buffer that holds it. Tensors that are read together share one.
    pub buffer: String,
    /// Its first row there.
    pub first_row: usize,
    /// The distance of the buffer's rows that one lane needs together, see kernels/tile.cu; 0 if it takes them in order.
    pub pair_distance: usize,
}

/// Every tensor the model needs, in the order of use, which is that of loading.
///
/// Device buffers, for each layer N (q, k, v and gate, up are read by one product each, so they are one matrix):
///
/// ```text
///   embedding                [vocab_size, dim]
///   layers.N.attention_norm  [dim]
///   layers.N.qkv             [(n_heads + 2*n_kv_heads) * head_dim, dim]     q rows, k rows, v rows
///   layers.N.o               [dim, n_heads * head_dim]
///   layers.N.ffn_norm        [dim]
///   layers.N.gate_up         [2*hidden_dim, dim]                            gate rows, up rows
///   layers.N.down            [dim, hidden_dim]
///   norm                     [dim]
///   lm_head                  [vocab_size, dim]                              not when tied to the embedding
/// ```
///
/// Matrices lie there in tiles, see kernels/tiles.cuh. Paired are the rows that RoPE turns together, half a head apart,
/// and gate and up of the same hidden unit.
pub fn tensors(config: &Config) -> Vec<TensorSpec> {
    let [dim, hidden_dim, vocab_size] = [config.dim, config.hidden_dim, config.vocab_size].map(|n| n as usize);
    let [q_dim, kv_dim] = [config.q_dim(), config.kv_dim()].map(|n| n as usize);

    let half_head = config.head_dim as usize / 2;

    let mut tensors = vec![spec("model.embed_tokens.weight", &[vocab_size, dim], "embedding", 0, 0)];
    for layer in 0..config.n_layers {
        let mut add = |name: &str, shape: &[usize], buffer: &str, first_row, pair_distance| {
            let (name, buffer) = (format!("model.layers.{layer}.{name}.weight"), format!("layers.{layer}.{buffer}"));
            tensors.push(spec(&name, shape, &buffer, first_row, pair_distance));
        };
        add("input_layernorm", &[dim], "attention_norm", 0, 0);
        add("self_attn.q_proj", &[q_dim, dim], "qkv", 0, half_head);
        add("self_attn.k_proj", &[kv_dim, dim], "qkv", q_dim, half_head);
        add("self_attn.v_proj", &[kv_dim, dim], "qkv", q_dim + kv_dim, half_head);
        add("self_attn.o_proj", &[dim, q_dim], "o", 0, 0);
        add("post_attention_layernorm", &[dim], "ffn_norm", 0, 0);
        add("mlp.gate_proj", &[hidden_dim, dim], "gate_up", 0, hidden_dim);
        add("mlp.up_proj", &[hidden_dim, dim], "gate_up", hidden_dim, hidden_dim);
        add("mlp.down_proj", &[dim, hidden_dim], "down", 0, 0);
    }
    tensors.push(spec("model.norm.weight", &[dim], "norm", 0, 0));
    if !config.tie_embeddings {
        tensors.push(spec(LM_HEAD, &[vocab_size, dim], "lm_head", 0, 0));
    }
    tensors
}

/// Old files have it even where it is tied to the embedding.
pub const LM_HEAD: &str = "lm_head.weight";

/// Tables of rotary angles that old files carry: we compute them.
pub fn is_ignored(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

fn spec(name: &str, shape: &[usize], buffer: &str, first_row: usize, pair_distance: usize) -> TensorSpec {
    TensorSpec { name: name.into(), shape: shape.into(), buffer: buffer.into(), first_row, pair_distance }
}
