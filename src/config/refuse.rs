//! What a config may ask for that we do not do. Each is refused by name, with its value.

use serde_json::{Map, Value};

use super::{Architecture, WeightType};
use crate::error::Result;
use crate::json::{JsonFile, shown};

pub fn other_architectures(file: &JsonFile) -> Result<Architecture> {
    const KEY: &str = "architectures";
    const SUPPORTED: &str = "supported are MistralForCausalLM and LlamaForCausalLM";
    let Some(value) = file.value(KEY) else {
        return Err(file.missing(KEY, "a list with the name of the architecture"));
    };
    let names: Option<Vec<&str>> = value.as_array().and_then(|names| names.iter().map(Value::as_str).collect());
    match names.as_deref() {
        Some(["MistralForCausalLM"]) => Ok(Architecture::Mistral),
        Some(["LlamaForCausalLM"]) => Ok(Architecture::Llama),
        Some(["MixtralForCausalLM"]) => {
            Err(file.unsupported("architecture MixtralForCausalLM (a mixture of experts)", SUPPORTED))
        }
        Some([name]) => Err(file.unsupported(format!("architecture {name:?}"), SUPPORTED)),
        _ => Err(file.wrong(KEY, "a list with one name", value)),
    }
}

/// `dtype` is what transformers 5 calls `torch_dtype`. Files of f32 become bf16.
pub fn other_dtypes(file: &JsonFile) -> Result<WeightType> {
    let mut weight_type = WeightType::Bf16;
    for key in ["torch_dtype", "dtype"] {
        weight_type = match file.text(key)? {
            None => weight_type,
            Some("bfloat16" | "float32") => WeightType::Bf16,
            Some("float16") => WeightType::F16,
            Some(other) => {
                return Err(
                    file.unsupported(format!("{key} = {other:?}"), "weights may be bfloat16, float16 or float32")
                );
            }
        };
    }
    Ok(weight_type)
}

/// Layers that are not the plain decoder's.
pub fn other_layers(file: &JsonFile) -> Result<()> {
    if let Some(activation) = file.text("hidden_act")?.filter(|&name| name != "silu" && name != "swish") {
        return Err(file.unsupported(format!("hidden_act = {activation:?}"), "the activation must be \"silu\""));
    }
    for key in ["attention_bias", "mlp_bias"] {
        if file.flag(key)? == Some(true) {
            return Err(file.unsupported(format!("{key} = true"), "linear layers have no bias"));
        }
    }
    if let Some(quantization) = file.value("quantization_config") {
        let method = quantization.get("quant_method").unwrap_or(quantization);
        return Err(file.unsupported(
            format!("quantization_config with quant_method {}", shown(method)),
            "weights may be bfloat16, float16 or float32",
        ));
    }
    Ok(())
}

/// Newer configs spell out each layer's attention; it has to be the same everywhere.
pub fn other_layer_types(file: &JsonFile, window: Option<u32>) -> Result<()> {
    let Some(types) = file.value("layer_types") else {
        return Ok(());
    };
    let all = if window.is_some() { "sliding_attention" } else { "full_attention" };
    let same = types.as_array().is_some_and(|types| types.iter().all(|it| it.as_str() == Some(all)));
    if same {
        Ok(())
    } else {
        Err(file.unsupported(format!("layer_types = {}", shown(types)), format!("every layer must be {all:?}")))
    }
}

/// Plain rotary embedding of the whole head, whose base is `rope_theta` or `rope_parameters.rope_theta`.
pub fn other_rope(file: &JsonFile) -> Result<f64> {
    let mut theta = file.positive("rope_theta")?;
    for key in ["rope_scaling", "rope_parameters"] {
        let Some(rope) = file.object(key)? else { continue };
        check_rope(file, key, rope)?;
        let Some(value) = rope.get("rope_theta").filter(|value| !value.is_null()) else { continue };
        let inner = value.as_f64().filter(|&theta| theta > 0.0);
        if inner.is_none() || theta.is_some_and(|theta| Some(theta) != inner) {
            let expected =
                theta.map_or("a number above 0".into(), |theta| format!("rope_theta = {theta}, as given beside it"));
            return Err(file.wrong(&format!("{key}.rope_theta"), expected, value));
        }
        theta = inner;
    }
    if let Some(factor) = file.value("partial_rotary_factor").filter(|factor| factor.as_f64() != Some(1.0)) {
        return Err(file.unsupported(format!("partial_rotary_factor = {}", shown(factor)), "the whole head is rotated"));
    }
    let theta = theta.unwrap_or(10_000.0);
    if !ROPE_THETAS.contains(&theta) {
        let expected = format!("a number from {:e} to {:e}", ROPE_THETAS.start(), ROPE_THETAS.end());
        return Err(file.wrong("rope_theta", expected, &theta.into()));
    }
    Ok(theta)
}

/// The bases that [`crate::rope::turns_per_position`] can count in fixed point.
const ROPE_THETAS: std::ops::RangeInclusive<f64> = 1.0..=1e17;

fn check_rope(file: &JsonFile, key: &str, rope: &Map<String, Value>) -> Result<()> {
    let kind = rope.get("rope_type").or(rope.get("type")).unwrap_or(&Value::Null);
    if kind != "default" && !(kind.is_null() && rope.keys().all(|key| key == "rope_theta")) {
        return Err(file.unsupported(
            format!("{key} = {}", shown(&Value::Object(rope.clone()))),
            "positions are not rescaled: rope_type must be \"default\"",
        ));
    }
    match rope.get("partial_rotary_factor").filter(|factor| !factor.is_null() && factor.as_f64() != Some(1.0)) {
        Some(factor) => {
            Err(file.unsupported(format!("{key}.partial_rotary_factor = {factor}"), "the whole head is rotated"))
        }
        None => Ok(()),
    }
}
