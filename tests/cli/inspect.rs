use serde_json::json;

use crate::program::{Broken, Run, gale, golden};

fn inspect(model: &Broken) -> Run {
    gale(&["inspect", "-m", model.dir()])
}

#[track_caller]
fn check(report: &str, lines: &[&str]) {
    for line in lines {
        assert!(report.contains(line), "no {line:?} in {report}");
    }
}

#[test]
fn a_model_is_shown_whole() {
    let run = gale(&["inspect", "-m", &golden("mis_w16_gqa2_hd128")]).expect_ok();
    assert_eq!(run.stderr, "");
    check(
        &run.stdout,
        &[
            "model       MistralForCausalLM, n_layers 3",
            "n_heads 4, n_kv_heads 2, head_dim 128",
            "window 16",
            "  model.layers.*.mlp.up_proj.weight               3 x [256, 128] BF16",
            "tokenizer   512 tokens, 3 of them special; adds <s> to a prompt",
            "chat        none",
            "unusual     head_dim 128 is not dim / n_heads",
        ],
    );
    assert!(!run.stdout.contains("wrong"), "{run:?}");
}

/// Each kind of what is unusual, put there on purpose.
#[test]
fn what_is_unusual_is_said() {
    let zephyr = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<unk>{% endfor %}";
    let model = Broken::new("mis_nowin_v5_gqa8")
        .write("chat_template.jinja", zephyr)
        .write("adapter_config.json", "{}")
        .edit("tokenizer.json", |it| drop(it["model"]["vocab"].as_object_mut().unwrap().remove("<t310>")))
        .edit_header(|header| {
            let end = header.as_object().unwrap().values().filter_map(|it| it["data_offsets"][1].as_u64()).max();
            header["model.layers.0.self_attn.rotary_emb.inv_freq"] =
                json!({ "dtype": "F32", "shape": [0], "data_offsets": [end, end] });
        });
    let run = inspect(&model).expect_ok();
    check(
        &run.stdout,
        &[
            "1 tables of rotary angles",
            "have no token, and no text",
            "the chat template ends an answer with <unk> (0), which is none of the EOS [2]",
            "adapter_config.json: an adapter, which is not applied",
            "chat        the chat template ",
        ],
    );
    let quiet = gale(&["inspect", "-m", &golden("mis_w8_1layer")]).expect_ok().stdout;
    assert!(!quiet.contains("rotary") && !quiet.contains("adapter"), "{quiet}");
}

/// One broken part does not hide the others, and stderr has one line.
#[test]
fn what_is_wrong_is_said() {
    let broken = |run: Run, words: &[&str]| {
        assert_eq!((run.status, run.stderr.lines().count()), (1, 1), "{run:?}");
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains("gale cannot use it"), "{run:?}");
        check(&run.stdout, words);
    };
    let model = || Broken::new("mis_w8_1layer");
    broken(
        inspect(&model().write("config.json", "{")),
        &["model       unknown", "  lm_head.weight", "wrong       ", "JSON"],
    );
    broken(
        inspect(&model().remove("model.safetensors")),
        &["MistralForCausalLM", "weights     unknown", "neither model.safetensors"],
    );
    broken(inspect(&model().write("tokenizer.json", "{}")), &["tokenizer   none", "not a usable tokenizer"]);
    broken(inspect(&model().write("chat_template.jinja", "{{")), &["chat_template.jinja: syntax error"]);
    let two = model().edit_header(|header| {
        header["model.norm.weight"]["shape"] = json!([2, 64]);
        let up = header.as_object_mut().unwrap().remove("model.layers.0.mlp.up_proj.weight").unwrap();
        header["model.layers.0.mlp.upp_proj.weight"] = up;
    });
    broken(
        inspect(&two),
        &[
            "tensor model.layers.0.mlp.up_proj.weight: expected [192, 128] by config.json, found no such tensor",
            "tensor model.norm.weight: expected [128] by config.json, found [2, 64]",
            "tensor model.layers.0.mlp.upp_proj.weight: not one of the architecture's",
        ],
    );
    broken(gale(&["inspect", "-m", "/no/such/model"]), &["no such directory"]);
}
