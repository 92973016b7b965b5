use crate::program::{emulated, gale};

/// In one file or in many: a model like any other, and every id of it has a text.
#[test]
fn synth_writes_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, shards] = ["whole", "shards"].map(|it| dir.path().join(it).to_str().unwrap().to_owned());
    gale(&["synth", "--shape", "tiny", "-o", &whole]).expect_ok();
    gale(&["synth", "--shape", "tiny", "-o", &shards, "--shard-bytes", "50000"]).expect_ok();
    assert!(std::fs::exists(format!("{shards}/model-00002-of-00006.safetensors")).unwrap());

    let run = |dir: &str| {
        let run =
            emulated(&["generate", "-m", dir, "-p", "hello", "-n", "6", "--greedy", "--ignore-eos", "--print-ids"]);
        run.expect_ok().stdout
    };
    let text = run(&whole);
    assert_eq!(text.trim().split(',').count(), 6, "{text}");
    assert_eq!(run(&shards), text);
    let plan = gale(&["plan", "-m", &whole]).expect_ok().stdout;
    assert!(plan.contains("window of 32 tokens"), "{plan}");
}

#[test]
fn synth_leaves_a_model_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    gale(&["synth", "--shape", "tiny", "-o", path]).expect_ok();
    gale(&["synth", "--shape", "tiny", "-o", path]).expect_error(&["config.json", "there is a model already"]);
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    gale(&["synth", "--shape", "tiny", "-o", path]).expect_error(&["tokenizer.json", "there is a model already"]);
    assert!(!dir.path().join("config.json").exists(), "half a model is none");
    gale(&["synth", "--shape", "gpt-2", "-o", path]).expect_error(&["--shape", "tiny", "\"gpt-2\""]);
    gale(&["synth", "--shape", "tiny", "-o", "/dev/null/x"]).expect_error(&["cannot write /dev/null/x"]);
}
