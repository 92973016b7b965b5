use std::fs;
use std::path::Path;

use gale::config::{Architecture, Config, WeightType};
use serde_json::{Value, json};

use crate::model::{Model, check, golden};

/// The config with one key set, or taken away.
fn with(key: &str, value: impl Into<Option<Value>>) -> gale::error::Result<Config> {
    with_all(&[(key, value.into())])
}

fn with_all(changes: &[(&str, Option<Value>)]) -> gale::error::Result<Config> {
    let mut model = Model::new();
    let keys = model.config.as_object_mut().unwrap();
    for (key, value) in changes {
        match value {
            Some(value) => keys.insert(key.to_string(), value.clone()),
            None => keys.remove(*key),
        };
    }
    model.write_config();
    model.load_config()
}

#[test]
fn no_such_directory() {
    check(
        Config::load(Path::new("/no/such/model")),
        &["cannot read /no/such/model", "no such directory", "config.json"],
    );
    let model = Model::new();
    check(Config::load(&model.path("config.json")), &["no such directory"]);
    fs::remove_file(model.path("config.json")).unwrap();
    check(model.load_config(), &["cannot read", "config.json", "No such file"]);
    fs::create_dir(model.path("config.json")).unwrap();
    check(model.load_config(), &["config.json", "expected a regular file"]);
}

#[test]
fn mistrals_own_layout_is_refused_by_name() {
    let model = Model::new();
    fs::rename(model.path("config.json"), model.path("params.json")).unwrap();
    check(model.load_config(), &["params.json", "Mistral's own layout is not supported", "config.json"]);
}

#[test]
fn not_json() {
    let model = Model::new();
    for text in ["", "{", "[]", "null", "{\"a\": 1e999}", &"[".repeat(100_000)] {
        model.write("config.json", text);
        check(model.load_config(), &["config.json", "JSON"]);
    }
    model.write("config.json", b"{\"\xff\": 1}");
    check(model.load_config(), &["config.json", "JSON"]);
}

#[test]
fn a_missing_key_is_named() {
    for key in
        ["architectures", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"]
    {
        let words = ["config.json", &format!("key \"{key}\""), "found no such key"];
        check(with(key, None), &words);
        check(with(key, Value::Null), &words);
    }
}

#[test]
fn a_value_of_another_type_is_shown() {
    for (key, value, expected) in [
        ("hidden_size", json!("16"), "expected a whole number from 1 to"),
        ("hidden_size", json!(16.5), "expected a whole number from 1 to"),
        ("hidden_size", json!(-16), "expected a whole number from 1 to"),
        ("num_hidden_layers", json!(4_000_000_000u64), "expected a whole number from 1 to 1024"),
        ("vocab_size", json!(1e40), "expected a whole number from 1 to"),
        ("rms_norm_eps", json!("small"), "expected a number above 0"),
        ("rms_norm_eps", json!(0.0), "expected a number above 0"),
        ("rope_theta", json!(-1e4), "expected a number above 0"),
        ("rope_theta", json!(0.5), "expected a number from 1e0 to 1e17"),
        ("rope_theta", json!(1e19), "expected a number from 1e0 to 1e17"),
        ("rms_norm_eps", json!(1e300), "expected a number that f32 holds"),
        ("rms_norm_eps", json!(1e-300), "expected a number that f32 holds"),
        ("tie_word_embeddings", json!("yes"), "expected true or false"),
        ("hidden_act", json!(1), "expected a string"),
        ("architectures", json!("MistralForCausalLM"), "expected a list with one name"),
        ("architectures", json!([]), "expected a list with one name"),
        ("sliding_window", json!(0), "expected a whole number from 1"),
        ("sliding_window", json!("4096"), "expected a whole number from 1"),
        ("rope_scaling", json!(2.0), "expected an object"),
        ("eos_token_id", json!(32), "expected an id below vocab_size = 32"),
        ("eos_token_id", json!([2, -1]), "expected an id below vocab_size = 32"),
        ("bos_token_id", json!("<s>"), "expected an id below vocab_size = 32"),
    ] {
        check(with(key, value.clone()), &[&format!("key \"{key}\""), expected, &format!("found {value}")]);
    }
}

#[test]
fn sizes_that_do_not_fit_each_other_or_the_kernels() {
    for key in [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "num_key_value_heads",
        "head_dim",
    ] {
        check(with(key, json!(0)), &[&format!("key \"{key}\""), "from 1 to", "found 0"]);
    }
    check(
        with("hidden_size", json!(20)),
        &["key \"head_dim\"", "multiple of 8", "hidden_size / num_attention_heads = 10"],
    );
    check(with("hidden_size", json!(17)), &["key \"head_dim\"", "hidden_size = 17", "num_attention_heads = 2"]);
    check(
        with_all(&[("hidden_size", Some(json!(20))), ("head_dim", Some(json!(8)))]),
        &["key \"hidden_size\"", "a multiple of 8", "found 20"],
    );
    check(with("intermediate_size", json!(25)), &["key \"intermediate_size\"", "a multiple of 8", "found 25"]);
    check(
        with("num_key_value_heads", json!(3)),
        &["key \"num_key_value_heads\"", "a divisor of num_attention_heads = 2", "found 3"],
    );
    check(with("num_key_value_heads", None), &["key \"num_key_value_heads\"", "found 8, the default"]);
    for head_dim in [7, 12, 264] {
        check(
            with("head_dim", json!(head_dim)),
            &["key \"head_dim\"", "a multiple of 8 up to 256", &format!("found {head_dim}")],
        );
    }
    let shared = [("num_attention_heads", Some(json!(514))), ("num_key_value_heads", Some(json!(2)))];
    check(with_all(&shared), &["key \"num_key_value_heads\"", "at most 256 query heads for each", "found 257"]);
    let huge = [
        ("num_attention_heads", Some(json!(1 << 24))),
        ("num_key_value_heads", Some(json!(1 << 24))),
        ("head_dim", Some(json!(256))),
    ];
    check(with_all(&huge), &["key \"num_attention_heads\"", "num_attention_heads * head_dim up to"]);
}

#[test]
fn what_we_do_not_do_is_refused_by_name() {
    let yarn = json!({ "rope_type": "yarn", "factor": 4.0 });
    for (key, value, words) in [
        (
            "architectures",
            json!(["MixtralForCausalLM"]),
            ["architecture MixtralForCausalLM", "MistralForCausalLM and LlamaForCausalLM"],
        ),
        (
            "architectures",
            json!(["Qwen2ForCausalLM"]),
            ["architecture \"Qwen2ForCausalLM\"", "MistralForCausalLM and LlamaForCausalLM"],
        ),
        ("hidden_act", json!("gelu"), ["hidden_act = \"gelu\"", "\"silu\""]),
        ("torch_dtype", json!("float8_e4m3fn"), ["torch_dtype = \"float8_e4m3fn\"", "bfloat16, float16 or float32"]),
        ("dtype", json!("int8"), ["dtype = \"int8\"", "bfloat16, float16 or float32"]),
        ("rope_scaling", yarn.clone(), ["rope_scaling = ", "\"yarn\""]),
        ("rope_scaling", json!({ "type": "linear", "factor": 2.0 }), ["rope_scaling = ", "\"linear\""]),
        ("rope_scaling", json!({ "factor": 2.0 }), ["rope_scaling = ", "\"factor\""]),
        ("rope_parameters", yarn, ["rope_parameters = ", "\"yarn\""]),
        (
            "rope_parameters",
            json!({ "full_attention": { "rope_type": "default" } }),
            ["rope_parameters = ", "full_attention"],
        ),
        (
            "rope_parameters",
            json!({ "rope_type": "default", "partial_rotary_factor": 0.5 }),
            ["rope_parameters.partial_rotary_factor = 0.5", "whole head"],
        ),
        ("partial_rotary_factor", json!(0.25), ["partial_rotary_factor = 0.25", "whole head"]),
        ("attention_bias", json!(true), ["attention_bias = true", "no bias"]),
        ("mlp_bias", json!(true), ["mlp_bias = true", "no bias"]),
        ("quantization_config", json!({ "quant_method": "awq" }), ["quantization_config", "\"awq\""]),
        ("layer_types", json!(["full_attention"]), ["layer_types = [\"full_attention\"]", "\"sliding_attention\""]),
    ] {
        check(with(key, value), &["config.json", words[0], "is not supported", words[1]]);
    }
    let llama = [("architectures", Some(json!(["LlamaForCausalLM"])))];
    check(with_all(&llama), &["sliding_window = 8 in a LlamaForCausalLM", "is not supported", "null"]);
    check(Config::load(&golden("mixtral_e4_top2")), &["architecture MixtralForCausalLM", "is not supported"]);
}

#[test]
fn rope_theta_given_twice_must_agree() {
    let rope = |theta: f64| with("rope_parameters", json!({ "rope_type": "default", "rope_theta": theta }));
    assert_eq!(rope(10000.0).unwrap().rope_theta, 10000.0);
    check(
        rope(1e6),
        &["key \"rope_parameters.rope_theta\"", "rope_theta = 10000, as given beside it", "found 1000000.0"],
    );
}

#[test]
fn a_broken_generation_config_is_named() {
    let model = Model::new();
    model.write("generation_config.json", "{");
    check(model.load_config(), &["generation_config.json", "not valid JSON"]);
    model.write("generation_config.json", r#"{"eos_token_id": "x"}"#);
    check(model.load_config(), &["generation_config.json", "key \"eos_token_id\"", "found \"x\""]);
    model.write("generation_config.json", r#"{"eos_token_id": [2, 5]}"#);
    let config = model.load_config().unwrap();
    assert_eq!((config.eos_ids, config.bos_id), (vec![2, 5], Some(1)));
}

/// The configs of the golden models, in every style that Hugging Face files come in.
#[test]
fn good_configs_are_read_as_transformers_reads_them() {
    let load = |name| Config::load(&golden(name)).unwrap();
    let llama = load("llama2_mha");
    assert_eq!(llama.architecture, Architecture::Llama);
    assert_eq!((llama.n_kv_heads, llama.head_dim, llama.window, llama.rope_theta), (4, 64, None, 1e4));
    assert_eq!((llama.norm_eps, llama.max_position, llama.eos_ids), (1e-6, 4096, vec![2]));

    let v5 = load("mis_nowin_v5_gqa8");
    assert_eq!((v5.rope_theta, v5.window, v5.vocab_size, v5.n_kv_heads), (1e6, None, 600, 1));
    assert_eq!(load("mis_w16_f16").weight_type, WeightType::F16);

    let wide = load("mis_w16_gqa2_hd128");
    assert_eq!((wide.dim, wide.n_heads, wide.head_dim, wide.q_dim(), wide.kv_dim()), (128, 4, 128, 512, 256));
    assert_eq!((wide.weight_type, wide.hidden_dim, wide.n_layers), (WeightType::Bf16, 256, 3));
    for (name, window) in
        [("mis_w8_1layer", 8), ("mis_w8_gqa4_hd64", 8), ("mis_w200_gqa4_hd64", 200), ("mis_w4096_sharded", 4096)]
    {
        assert_eq!(load(name).window, Some(window));
    }
}

#[test]
fn keys_left_out_have_the_defaults_of_transformers() {
    assert_eq!(with("sliding_window", None).unwrap().window, Some(4096));
    assert_eq!(with("sliding_window", Value::Null).unwrap().window, None);
    assert_eq!(with("max_position_embeddings", None).unwrap().max_position, 131_072);
    assert_eq!(with("num_key_value_heads", Value::Null).unwrap().n_kv_heads, 2);
    assert_eq!(with("rms_norm_eps", None).unwrap().norm_eps, 1e-6);
    assert_eq!(with("rope_theta", None).unwrap().rope_theta, 1e4);
    assert_eq!(with("eos_token_id", None).unwrap().eos_ids, [2]);
    assert!(with("eos_token_id", Value::Null).unwrap().eos_ids.is_empty());
    assert_eq!(with("bos_token_id", None).unwrap().bos_id, Some(1));
    assert_eq!(with("bos_token_id", Value::Null).unwrap().bos_id, None);
    assert!(!with("tie_word_embeddings", None).unwrap().tie_embeddings);
    assert!(with("hidden_act", None).is_ok() && with("head_dim", Value::Null).is_ok());
    assert!(with("layer_types", json!(["sliding_attention"])).is_ok());
}
