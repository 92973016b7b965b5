use crate::program::{command, finish, gale};

const COMMANDS: [(&str, &[&str]); 14] = [
    (
        "generate",
        &[
            "--model",
            "--prompt",
            "--ids",
            "--max-tokens",
            "--greedy",
            "--temperature",
            "--top-k",
            "--top-p",
            "--min-p",
            "--repetition-penalty",
            "--frequency-penalty",
            "--presence-penalty",
            "--logit-bias",
            "--logprobs",
            "--seed",
            "--stop",
            "--ignore-eos",
            "--print-ids",
            "--chunk",
            "--no-graph",
            "--ctx",
            "--device",
            "--chat",
            "--system",
            "--safe-prompt",
        ],
    ),
    (
        "chat",
        &[
            "--model",
            "--system",
            "--safe-prompt",
            "--max-tokens",
            "--greedy",
            "--frequency-penalty",
            "--presence-penalty",
            "--logit-bias",
            "--seed",
            "--verbose",
            "--ctx",
            "--device",
        ],
    ),
    (
        "serve",
        &[
            "--model",
            "--host",
            "--port",
            "--api-key",
            "--served-model-name",
            "--queue",
            "--max-tokens",
            "--timeout",
            "--grace",
            "--no-prefix-reuse",
            "--chunk",
            "--no-graph",
            "--ctx",
            "--device",
        ],
    ),
    ("replay", &["--model", "RESPONSE.json", "--force", "--device"]),
    ("logits", &["--model", "--ids", "--last", "--chunk", "--no-graph", "--ctx", "--device", "--output"]),
    ("perplexity", &["--model", "--file", "--ctx", "--stride", "--chunk", "--device"]),
    ("moderate", &["--model", "--prompt-file", "--ctx", "--device"]),
    ("explain", &["--model", "--prompt", "--chat", "--safe-prompt"]),
    ("inspect", &["--model"]),
    ("plan", &["--model", "--ctx", "--chunk", "--memory", "--device"]),
    (
        "bench",
        &[
            "--model",
            "--shape",
            "--n-prompt",
            "--n-gen",
            "--depth",
            "--repetitions",
            "--device",
            "--output",
            "--file",
            "--attention",
            "--svg",
            "--kernel",
            "--m ",
            "--n ",
            "--k ",
            "--heads",
            "--kv-heads",
            "--head-dim",
            "--window",
            "--cublas",
        ],
    ),
    (
        "profile",
        &[
            "--model",
            "--shape",
            "--n-prompt",
            "--depth",
            "--repetitions",
            "--json",
            "--svg",
            "--ptx",
            "--sass",
            "--arch",
            "--device",
        ],
    ),
    ("synth", &["--shape", "--output", "--shard-bytes"]),
    ("doctor", &["--device"]),
];

#[test]
fn help_shows_every_option_and_ends_with_examples() {
    for (command, options) in COMMANDS {
        let help = gale(&[command, "--help"]).expect_ok().stdout;
        for option in options {
            assert!(help.contains(option), "no {option} in {help}");
        }
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        assert!(examples.lines().all(|line| line.starts_with(&format!("  gale {command}"))), "{examples}");
        gale(&[command, "--nonsense"]).expect_usage_error("--nonsense");
    }
}

#[test]
fn the_commands_are_those_there_are() {
    let help = gale(&["--help"]).expect_ok().stdout;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let listed: Vec<&str> = list.lines().map_while(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    let commands = COMMANDS.map(|(command, _)| command);
    assert_eq!(listed, [&commands[..], &["help"]].concat());
    gale(&[]).expect_usage_error("Usage: gale");
    gale(&["nonsense"]).expect_usage_error("nonsense");
    assert!(gale(&["--version"]).expect_ok().stdout.starts_with("gale "));
}

#[test]
fn a_device_that_is_none_is_wrong_usage() {
    gale(&["doctor", "--device", "gpu"]).expect_usage_error("auto, cuda, cuda:N");
    finish(command(&["doctor"]).env("GALE_DEVICE", "abacus"), b"").expect_usage_error("abacus");
}
