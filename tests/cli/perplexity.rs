use std::fs;
use std::path::Path;

use gale::tokenizer::Tokenizer;
use safetensors::SafeTensors;

use crate::program::{emulated, golden};

const TEXT: &str = "The sea is calm tonight. The tide is full, the moon lies fair upon the straits.\n";

/// The NLLs of `counted` tokens of each window, from the logits that `gale logits` writes.
fn nlls(model: &str, windows: &[Vec<u32>], counted: usize) -> Vec<f64> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("logits.safetensors");
    let mut nlls = vec![];
    for window in windows {
        let ids = window.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        emulated(&["logits", "-m", model, "--ids", &ids, "-o", path.to_str().unwrap()]).expect_ok();
        let bytes = fs::read(&path).unwrap();
        let logits = SafeTensors::deserialize(&bytes).unwrap();
        let rows: Vec<f32> = bytemuck::pod_collect_to_vec(logits.tensor("logits").unwrap().data());
        let rows: Vec<&[f32]> = rows.chunks(rows.len() / window.len()).collect();
        for at in window.len() - counted..window.len() {
            let total: f64 = rows[at - 1].iter().map(|&it| f64::from(it).exp()).sum();
            nlls.push(total.ln() - f64::from(rows[at - 1][window[at] as usize]));
        }
    }
    nlls
}

/// What it prints is what follows from the logits: windows side by side or a stride apart, each beginning with BOS.
#[test]
fn perplexity_follows_from_the_logits() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("text");
    fs::write(&file, TEXT).unwrap();
    for model in ["mis_w8_1layer", "mis_nowin_v5_gqa8"] {
        let model = golden(model);
        let ids = Tokenizer::load(Path::new(&model), 1 << 16).unwrap().unwrap().encode(TEXT, true).unwrap();
        assert_eq!(ids[0], 1, "BOS");
        let window = |first: usize| [&[1], &ids[first + 1..first + 20]].concat();
        let side_by_side: Vec<_> = (0..ids.len() / 20).map(|i| window(20 * i)).collect();
        let apart: Vec<_> = (0..=(ids.len() - 20) / 15).map(|i| window(15 * i)).collect();
        for (args, windows, counted) in
            [(vec!["--ctx", "20"], side_by_side, 9), (vec!["--ctx", "20", "--stride", "15", "--chunk", "7"], apart, 15)]
        {
            let nlls = nlls(&model, &windows, counted);
            let mean = nlls.iter().sum::<f64>() / nlls.len() as f64;
            let variance = nlls.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (nlls.len() - 1) as f64;
            let error = (variance / nlls.len() as f64).sqrt();
            let run = emulated(&[&["perplexity", "-m", &model, "-f", file.to_str().unwrap()], &args[..]].concat());
            let stdout = run.expect_ok().stdout;
            let want = format!(
                "perplexity {:.4} +- {:.4}, NLL {mean:.4} +- {error:.4} nats a token: {} tokens in {} windows of 20\n",
                mean.exp(),
                mean.exp() * error,
                nlls.len(),
                windows.len()
            );
            assert_eq!(stdout, want);
        }
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = place.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let model = golden("mis_w8_1layer");
    let run = |args: &[&str]| emulated(&[&["perplexity", "-m", &model], args].concat());
    run(&["-f", "/no/such/file"]).expect_error(&["/no/such/file"]);
    run(&["-f", &file("short", b"Hello")]).expect_error(&["short", "--ctx tokens, 512", "found"]);
    run(&["-f", &file("binary", b"\xff\xfe")]).expect_error(&["binary", "UTF-8"]);
    run(&["-f", &file("text", b"Hello"), "--ctx", "5", "--stride", "5"]).expect_error(&["--stride", "less than"]);
    run(&["-f", &file("text", b"Hello"), "--ctx", "2"]).expect_usage_error("--ctx");
}
