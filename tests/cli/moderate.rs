use safetensors::SafeTensors;
use serde_json::Value;

use crate::program::{Broken, emulated, emulated_reading};

/// "b" is short; the other names have more tokens than are tried at once, so that they take the other way.
const QUESTION: &str = "Which?\n- b: one\n- a long name, in bytes: two\n";

fn model() -> Broken {
    let template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
    Broken::new("mis_w16_gqa2_hd128").write("chat_template.jinja", template).write("question.txt", QUESTION)
}

/// The likelihood of `answer` after the question, from the logits of the whole sequence.
fn log_likelihood(model: &Broken, answer: &str) -> f64 {
    let ids = |answer: &str| {
        let chat = serde_json::json!([{ "role": "user", "content": format!("{}\n\nHello", QUESTION.trim()) },
                                      { "role": "assistant", "content": answer }]);
        let path = model.path("chat.json");
        std::fs::write(&path, chat.to_string()).unwrap();
        let table = emulated(&["explain", "-m", model.dir(), "--chat", path.to_str().unwrap()]).expect_ok().stdout;
        table.lines().map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect::<Vec<usize>>()
    };
    let (all, other) = (ids(answer), ids(if answer == "b" { "not moderated" } else { "b" }));
    let n_prompt = all.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let listed = all.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let path = model.path("logits.safetensors");
    emulated(&["logits", "-m", model.dir(), "--ids", &listed, "--no-graph", "-o", path.to_str().unwrap()]).expect_ok();
    let file = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let tensor = tensors.tensor("logits").unwrap();
    let vocab_size = tensor.shape()[1];
    let values: Vec<f64> =
        tensor.data().chunks(4).map(|it| f64::from(f32::from_le_bytes(it.try_into().unwrap()))).collect();
    (n_prompt..all.len())
        .map(|i| {
            let row = &values[(i - 1) * vocab_size..i * vocab_size];
            row[all[i]] - row.iter().map(|it| it.exp()).sum::<f64>().ln()
        })
        .sum()
}

/// Scores are the likelihoods of the names, taken from the logits.
#[test]
fn scores_are_the_likelihoods_of_the_categories() {
    let model = model();
    let question = model.path("question.txt");
    let args = ["moderate", "-m", model.dir(), "--no-graph", "--prompt-file", question.to_str().unwrap()];
    let run = emulated(&[&args[..], &["Hello"]].concat()).expect_ok();
    let verdict: Value = serde_json::from_str(&run.stdout).unwrap();
    let names = ["b", "a long name, in bytes", "not moderated"];
    let likelihoods = names.map(|name| log_likelihood(&model, name));
    let sum: f64 = likelihoods.iter().map(|it| it.exp()).sum();
    for (name, likelihood) in names.iter().zip(likelihoods) {
        let (got, want) = (verdict["scores"][name].as_f64().unwrap(), likelihood.exp() / sum);
        assert!((got - want).abs() <= 1e-4 * want, "{name}: {got} for {want}");
    }
    let likeliest = (0..3).max_by(|&a, &b| likelihoods[a].total_cmp(&likelihoods[b])).unwrap();
    assert_eq!(verdict["category"], names[likeliest]);
    assert_eq!(verdict["moderated"], names[likeliest] != "not moderated");
    assert_eq!(verdict["text"], "Hello");

    // Each line of stdin by itself, whatever came before.
    let lines = emulated_reading(&args, "Goodbye\n\nHello\r\n".as_bytes()).expect_ok().stdout;
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!((lines.len(), lines[2]), (3, run.stdout.trim_end()));
    assert_eq!(serde_json::from_str::<Value>(lines[1]).unwrap()["text"], "");
    let order =
        ["\"scores\":{\"b\":", "\"a long name, in bytes\":", "\"not moderated\":"].map(|it| lines[0].find(it).unwrap());
    assert!(order.is_sorted(), "{}", lines[0]);
}

#[test]
fn what_cannot_be_judged_is_an_error() {
    let model = model().write("none.txt", "Which?");
    let none = model.path("none.txt");
    emulated(&["moderate", "-m", model.dir(), "--prompt-file", none.to_str().unwrap(), "x"])
        .expect_error(&["none.txt", "- NAME: DESCRIPTION"]);
    emulated_reading(&["moderate", "-m", model.dir(), "--no-graph"], b"\xE9\n")
        .expect_error(&["line 1 of stdin", "UTF-8"]);
    let mute = model.remove("chat_template.jinja");
    emulated(&["moderate", "-m", mute.dir(), "x"]).expect_error(&["it holds no chat template"]);
}
