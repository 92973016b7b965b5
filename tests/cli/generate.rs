use std::io::Read;
use std::process::Command;

use serde_json::Value;

use crate::program::{Broken, cases, comma_separated, command, emulated, emulated_reading, finish, golden};

const MODEL: &str = "mis_w8_1layer";

/// A prompt of text, sampled with a fixed seed.
fn sampled(args: &[&str]) -> String {
    let model = golden(MODEL);
    let fixed = ["generate", "-m", &model, "-p", "Hello", "--seed", "7", "-n", "24", "--ignore-eos", "--no-graph"];
    emulated(&[&fixed, args].concat()).expect_ok().stdout
}

/// As far as the margins of the golden decide the tokens.
#[test]
fn greedy_ids_are_those_of_the_golden() {
    for model in [MODEL, "mis_w16_gqa2_hd128", "mis_w16_f16", "mis_nowin_v5_gqa8"] {
        let dir = golden(model);
        let is_short = |case: &&Value| case["length"].as_u64() < Some(100); // tests/model runs the long ones
        for case in cases(model).iter().filter(|it| it["greedy_32"].is_array()).filter(is_short) {
            let ids = comma_separated(&case["input_ids"]);
            let greedy = ["--greedy", "--ignore-eos", "-n", "32", "--print-ids", "--no-graph"];
            let run = emulated(&[&["generate", "-m", &dir, "--ids", &ids], &greedy[..]].concat()).expect_ok();
            let got: Vec<u64> = run.stdout.trim_end().split(',').map(|id| id.parse().unwrap()).collect();
            assert_eq!(got.len(), 32);
            let want = case["greedy_32"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap());
            let margins = case["greedy_margins"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap());
            let departure = got.iter().zip(want).zip(margins).find(|((got, want), _)| *got != want);
            if let Some(((got, want), margin)) = departure {
                assert!(margin < 0.5, "{model}, case {}: {got} for {want} with a margin of {margin}", case["case"]);
            }
            let summary = run.stderr.lines().last().unwrap();
            assert!(summary.starts_with("prompt ") && summary.contains("; 32 tokens, "), "{run:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let text = sampled(&[]);
    assert!(text.len() > 24 && text.ends_with('\n'), "{text:?}");
    assert_eq!(sampled(&["--chunk", "1"]), text);
    assert_ne!(sampled(&["--temperature", "2"]), text);
    let other = golden(MODEL);
    let other = ["generate", "-m", &other, "-p", "Hello", "--seed", "8", "-n", "24", "--ignore-eos", "--no-graph"];
    assert_ne!(emulated(&other).expect_ok().stdout, text);
}

/// On stderr, without a place to write to in the home directory, as drivers keep compiled kernels there.
#[test]
fn verbose_times_every_step_to_the_first_token() {
    let model = golden(MODEL);
    let args = ["generate", "-m", &model, "--ids", "1,2", "-n", "2", "--print-ids", "--greedy"];
    let steps = ["prepare", "open", "read", "upload", "compile", "load", "warm-up", "first token", "all"];
    let quiet = emulated(&args).expect_ok();
    assert_eq!(quiet.stderr.lines().count(), 1, "{quiet:?}");
    let mut verbose = command(&[&args[..], &["-v"]].concat());
    let verbose = finish(verbose.env("GALE_DEVICE", "emulator").env("HOME", "/proc/nowhere"), b"").expect_ok();
    assert_eq!(verbose.stdout, quiet.stdout);
    let lines: Vec<&str> = verbose.stderr.lines().map(str::trim).collect();
    assert_eq!(lines.len(), steps.len() + 1, "{verbose:?}");
    for (line, step) in lines.iter().zip(steps) {
        assert!(line.starts_with(step) && line.contains(" s  "), "{step} in {verbose:?}");
    }
    assert!(lines[8].ends_with(" x (read + upload)"), "{verbose:?}");
}

/// Without a seed the line at the end tells the one that was taken.
#[test]
fn a_seed_can_be_taken_from_the_last_run() {
    let model = golden(MODEL);
    let args = ["generate", "-m", &model, "-p", "Hello", "-n", "16", "--ignore-eos", "--no-graph"];
    let first = emulated(&args).expect_ok();
    let (_, seed) = first.stderr.trim_end().rsplit_once("--seed ").unwrap();
    assert_eq!(emulated(&[&args[..], &["--seed", seed]].concat()).expect_ok().stdout, first.stdout);
}

/// The text ends right before the stop string, which is found across tokens.
#[test]
fn stop_strings_are_not_shown() {
    let text = sampled(&[]);
    let middle: Vec<char> = text.chars().collect();
    let stop: String = middle[middle.len() / 2..].iter().take(5).collect();
    let before = &text[..text.find(&stop).unwrap()];
    assert_eq!(sampled(&["--stop", &stop, "--stop", "not in it"]), format!("{before}\n"));
    assert_eq!(sampled(&["--stop", &format!("{stop}, but not quite")]), text);
}

#[test]
fn stdin_is_a_prompt_without_its_last_newline() {
    let model = golden(MODEL);
    let run = |prompt: &str, stdin: &[u8]| {
        let args = ["generate", "-m", &model, "-p", prompt, "--greedy", "-n", "8", "--no-graph"];
        emulated_reading(&args, stdin).expect_ok().stdout
    };
    assert_eq!(run("-", b"Hello w\xC3\xB6rld\n"), run("Hello wörld", b""));
}

#[test]
fn the_end_token_ends_unless_it_is_ignored() {
    let ids = |model: &Broken, args: &[&str]| {
        let fixed = ["generate", "-m", model.dir(), "--ids", "1", "--greedy", "--print-ids", "--no-graph", "-n", "6"];
        emulated(&[&fixed, args].concat()).expect_ok().stdout
    };
    let all = ids(&Broken::new(MODEL), &["--ignore-eos"]);
    let third: u64 = all.split(',').nth(2).unwrap().parse().unwrap();
    let ending = Broken::new(MODEL)
        .edit("config.json", |config| config["eos_token_id"] = third.into())
        .edit("generation_config.json", |config| config["eos_token_id"] = vec![third, 2].into());
    let first_two: Vec<&str> = all.split(',').take(2).collect();
    assert_eq!(ids(&ending, &[]), format!("{}\n", first_two.join(",")));
    assert_eq!(ids(&ending, &["--ignore-eos"]), all);
}

#[test]
fn ids_need_no_tokenizer() {
    let model = Broken::new(MODEL).remove("tokenizer.json");
    let ids = ["generate", "-m", model.dir(), "--ids", "1,5", "-n", "3", "--greedy", "--no-graph"];
    let run = emulated(&[&ids[..], &["--print-ids"]].concat()).expect_ok();
    assert_eq!(run.stdout.split(',').count(), 3);
    emulated(&ids).expect_error(&["no tokenizer.json", "--print-ids"]);
    emulated(&["generate", "-m", model.dir(), "-p", "Hello"]).expect_error(&["no tokenizer.json", "--ids"]);
}

/// The chat template decides what the model is asked.
#[test]
fn chat_goes_through_the_template() {
    let template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
    let model = Broken::new(MODEL).write("chat_template.jinja", template);
    let run = |args: &[&str]| {
        let fixed = ["generate", "-m", model.dir(), "--greedy", "--print-ids", "--ignore-eos", "-n", "8", "--no-graph"];
        emulated(&[&fixed, args].concat()).expect_ok()
    };
    // The template adds no BOS, which a plain prompt gets.
    let chat = run(&["--chat", "-p", "Hello", "--system", "Be brief"]);
    let plain = run(&["-p", "[system]Be brief[user]Hello"]);
    let n_tokens = |stderr: &str| stderr.split(' ').nth(1).unwrap().parse::<u32>().unwrap();
    assert_eq!(n_tokens(&chat.stderr) + 1, n_tokens(&plain.stderr));
    emulated(&["generate", "-m", &golden(MODEL), "--chat", "-p", "Hello"]).expect_error(&["chat template"]);
}

/// Ctrl-C ends the text, not the line of figures.
#[test]
fn an_interrupt_ends_it_in_order() {
    let model = golden(MODEL);
    let args = ["generate", "-m", &model, "--ids", "1", "--print-ids", "--ignore-eos", "-n", "100000", "--no-graph"];
    let mut child = command(&args).env("GALE_DEVICE", "emulator").spawn().unwrap();
    let mut first = [0; 8];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap(); // it is generating
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    assert!(stdout.ends_with('\n') && stderr.starts_with("prompt 1 token, TTFT "), "{stdout} {stderr}");
}

/// The reader may leave; that is no error.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let model = golden(MODEL);
    let args = ["generate", "-m", &model, "--ids", "1", "--print-ids", "--ignore-eos", "-n", "100000", "--no-graph"];
    let mut child = command(&args).env("GALE_DEVICE", "emulator").spawn().unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // and drops it
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &ended.stderr[..]), (Some(0), &b""[..]));
}

#[test]
fn options_without_an_effect_are_refused() {
    let model = golden(MODEL);
    let run = |args: &[&str]| emulated(&[&["generate", "-m", &model], args].concat());
    for options in [
        &["-p", "x", "--ids", "1"][..],
        &["-n", "3"],
        &["-p", "x", "--greedy", "--temperature", "1"],
        &["-p", "x", "--greedy", "--seed", "1"],
        &["-p", "x", "--system", "y"],
        &["-p", "x", "--safe-prompt"],
        &["--ids", "1", "--print-ids", "--system", "y"],
        &["--ids", "1", "--print-ids", "--safe-prompt"],
        &["--ids", "1", "--chat"],
        &["-p", "x", "--print-ids", "--stop", "y"],
        &["-p", "x", "--stop", ""],
        &["-p", "x", "-n", "0"],
        &["-p", "x", "--logprobs", "1", "--stop", "y"],
        &["-p", "x", "--logprobs", "1", "--print-ids"],
        &["-p", "x", "--logit-bias", "300"],
        &["-p", "x", "--logprobs", "21"],
    ] {
        run(options).expect_usage_error("error: ");
    }
    run(&["-p", "x", "--temperature", "0", "--top-k", "3"]).expect_error(&["--top-k", "--temperature 0"]);
    run(&["-p", "x", "--top-p", "1.5"]).expect_error(&["1.5"]);
    run(&["-p", "x", "--logit-bias", "99999=1"]).expect_error(&["logit_bias", "size of the vocabulary", "found 99999"]);
    run(&["-p", "x", "--frequency-penalty", "inf"]).expect_error(&["frequency_penalty"]);
    run(&["-p", "x", "--ctx", "5"]).expect_error(&["--ctx", "window of 8"]);
    run(&["-p", "x", "--chunk", "9"]).expect_error(&["--chunk", "1 to 8", "found 9"]);
}
