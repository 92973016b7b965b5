//! A real model: SmolLM2-135M-Instruct, as `make demo` fetches it. Skipped, and said so, when it is not there; with
//! `REQUIRE_MODEL=1`, as in `make test`, that is an error.

use crate::{
    golden::{self, Limits, ids, numbers},
    reference::Reference,
    run,
};
use gale::session::Options;
use safetensors::SafeTensors;
use std::{
    env, fs,
    path::{Path, PathBuf},
};

const LIMITS: Limits = Limits { abs: 1.0, mean_kl: 0.02, margin: 0.5 };

fn model() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join(".models/SmolLM2-135M-Instruct");
    let dir = env::var_os("GALE_SMOLLM2").map_or_else(default, PathBuf::from);
    if dir.join("model.safetensors").exists() {
        return Some(dir);
    }
    let is_required = env::var_os("REQUIRE_MODEL").is_some_and(|it| it == "1");
    assert!(!is_required, "no model in {}: run scripts/get-model", dir.display());
    println!("skipped: no model in {} (scripts/get-model fetches it)", dir.display());
    None
}

/// Last logits and greedy tokens are golden, the mean NLL agrees, and at every position the distribution is nearer to
/// the reference than Hugging Face's own bf16.
#[test]
fn smollm2_matches_the_goldens() {
    let Some(model) = model() else { return };
    let dir = golden::dir().join("smollm2");
    let file = fs::read(dir.join("last_logits.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let reference = Reference::open(&model);
    let mut session = run::session(&model, Options::default());
    for name in golden::json(&dir.join("index.json"))["cases"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        let case = golden::json(&dir.join(format!("{name}.json")));
        let ids = ids(&case["input_ids"]);
        let rows = run::score(&mut session, &ids, 0..ids.len());
        let want = golden::rows(&tensors, case["last_logits_tensor"].as_str().unwrap());
        let error = golden::judge(name, &rows[rows.len() - 1..], &want, LIMITS);
        let (last_kl, theirs) = (error.mean_kl, case["hf_bf16"]["mean_kl"].as_f64().unwrap());
        print!("{name:12} {:4} tokens  last row: max abs {:.4} KL {last_kl:.2e}", ids.len(), error.max_abs);
        if let Some(want) = case["mean_nll"].as_f64() {
            let got = mean_nll(&rows, &ids);
            print!("  NLL {:+.5}", got - want);
            assert!((got - want).abs() < 0.02, "{name}: mean NLL {got} for {want}");
        }
        let exact = reference.logits(&ids);
        let mean_kl = rows.iter().zip(&exact).map(|(got, want)| golden::kl(want, got)).sum::<f64>() / rows.len() as f64;
        println!("  mean KL {mean_kl:.2e}, HF bf16 {theirs:.2e}");
        assert!(golden::kl(&want[0], exact.last().unwrap()) < 1e-6, "{name}: the reference agrees with the golden");
        assert!(mean_kl < theirs, "{name}: mean KL {mean_kl:e} is worse than Hugging Face's bf16 {theirs:e}");
        let greedy = golden::ids(&case["greedy_48"]);
        let got = run::generate(&mut session, &ids, greedy.len());
        golden::judge_greedy(name, &got, &greedy, &numbers(&case["greedy_margins"]), LIMITS);
    }
}

/// Mean negative log-likelihood of each token after the first.
fn mean_nll(rows: &[Vec<f32>], ids: &[u32]) -> f64 {
    let nll = |(row, &next): (&Vec<f32>, &u32)| golden::log_sum_exp(row) - f64::from(row[next as usize]);
    rows.iter().zip(&ids[1..]).map(nll).sum::<f64>() / (ids.len() - 1) as f64
}
