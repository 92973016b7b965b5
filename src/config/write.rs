//! The other way round: a `config.json` of these sizes.

use super::{Architecture, Config};
use serde_json::{Value, json};

impl Config {
    /// What [`Config::load`] reads as this config.
    pub fn to_json(&self) -> Value {
        let (architecture, model_type) = match self.architecture {
            Architecture::Mistral => ("MistralForCausalLM", "mistral"),
            Architecture::Llama => ("LlamaForCausalLM", "llama"),
        };
        json!({
            "architectures": [architecture],
            "model_type": model_type,
            "hidden_act": "silu",
            "hidden_size": self.dim,
            "intermediate_size": self.hidden_dim,
            "head_dim": self.head_dim,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "vocab_size": self.vocab_size,
            // The shortest number that is this f32, which need not be the shortest that is this f64.
            "rms_norm_eps": self.norm_eps.to_string().parse::<f64>().expect("a number"),
            "rope_theta": self.rope_theta,
            "sliding_window": self.window,
            "max_position_embeddings": self.max_position,
            "tie_word_embeddings": self.tie_embeddings,
            "torch_dtype": match self.weight_type {
                super::WeightType::Bf16 => "bfloat16",
                super::WeightType::F16 => "float16",
            },
            "bos_token_id": self.bos_id,
            "eos_token_id": self.eos_ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::shapes;
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for name in shapes::names() {
            let config = shapes::shape(name).unwrap();
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("config.json"), config.to_json().to_string()).unwrap();
            assert_eq!(Config::load(dir.path()).unwrap(), config, "{name}");
        }
    }
}
