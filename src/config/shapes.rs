//! Shapes of models that people know by name, for measuring without their weights.

use super::{Architecture, Config, WeightType};
use crate::error::{Error, Result};

/// A model's sizes by its name.
///
/// # Errors
/// A name that is none; the error lists those there are.
pub fn shape(name: &str) -> Result<Config> {
    let found = SHAPES.iter().find(|(known, _)| *known == name);
    found.map(|(_, config)| config()).ok_or_else(|| Error::Option {
        option: "--shape",
        expected: format!("one of {}", names().collect::<Vec<_>>().join(", ")),
        found: format!("{name:?}"),
    })
}

/// The names of all shapes.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|(name, _)| *name)
}

type Shape = (&'static str, fn() -> Config);

const SHAPES: [Shape; 7] = [
    ("mistral-7b", mistral_7b),
    ("mistral-7b-v0.3", mistral_7b_v0_3),
    ("llama-2-7b", llama_2_7b),
    ("tinyllama-1.1b", tinyllama),
    ("smollm2-1.7b", smollm2_1_7b),
    ("smollm2-135m", smollm2_135m),
    ("tiny", tiny),
];

fn mistral_7b() -> Config {
    Config {
        architecture: Architecture::Mistral,
        dim: 4096,
        hidden_dim: 14336,
        head_dim: 128,
        n_layers: 32,
        n_heads: 32,
        n_kv_heads: 8,
        vocab_size: 32000,
        norm_eps: 1e-5,
        rope_theta: 1e4,
        window: Some(4096),
        max_position: 32768,
        tie_embeddings: false,
        weight_type: WeightType::Bf16,
        bos_id: Some(1),
        eos_ids: vec![2],
    }
}

fn mistral_7b_v0_3() -> Config {
    Config { vocab_size: 32768, rope_theta: 1e6, window: None, ..mistral_7b() }
}

fn llama_2_7b() -> Config {
    Config {
        architecture: Architecture::Llama,
        hidden_dim: 11008,
        n_kv_heads: 32,
        window: None,
        max_position: 4096,
        ..mistral_7b()
    }
}

fn tinyllama() -> Config {
    Config {
        dim: 2048,
        hidden_dim: 5632,
        head_dim: 64,
        n_layers: 22,
        n_kv_heads: 4,
        max_position: 2048,
        ..llama_2_7b()
    }
}

fn smollm2_1_7b() -> Config {
    Config {
        dim: 2048,
        hidden_dim: 8192,
        head_dim: 64,
        n_layers: 24,
        vocab_size: 49152,
        rope_theta: 130_000.0,
        max_position: 8192,
        tie_embeddings: true,
        ..llama_2_7b()
    }
}

fn smollm2_135m() -> Config {
    Config {
        dim: 576,
        hidden_dim: 1536,
        n_layers: 30,
        n_heads: 9,
        n_kv_heads: 3,
        rope_theta: 100_000.0,
        ..smollm2_1_7b()
    }
}

/// Nobody's: enough to see that everything works, within a moment on any machine.
fn tiny() -> Config {
    Config {
        dim: 64,
        hidden_dim: 160,
        head_dim: 16,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        vocab_size: 300,
        window: Some(32),
        max_position: 128,
        ..mistral_7b()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Group, Plan, Sizes};

    /// What the models' own pages give, in thousands.
    #[test]
    fn shapes_have_the_parameters_of_their_models() {
        let known = [
            ("mistral-7b", 7_241_732_096),
            ("mistral-7b-v0.3", 7_248_023_552),
            ("llama-2-7b", 6_738_415_616),
            ("tinyllama-1.1b", 1_100_048_384),
            ("smollm2-1.7b", 1_711_376_384),
            ("smollm2-135m", 134_515_008),
        ];
        for (name, n_parameters) in known {
            let plan = Plan::new(&shape(name).unwrap(), WeightType::Bf16, Sizes { n_slots: 64, max_chunk: 8 });
            assert_eq!(plan.group_bytes(Group::Weights), 2 * n_parameters, "{name}");
        }
    }

    #[test]
    fn an_unknown_shape_lists_those_there_are() {
        let error = shape("gpt-2").unwrap_err().to_string();
        assert!(names().all(|name| error.contains(name)) && error.contains("\"gpt-2\""), "{error}");
    }
}
