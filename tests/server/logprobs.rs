//! What evaluations ask for: how likely the tokens of a prompt were. The requests are those of lm-evaluation-harness.

use crate::server::{MODEL, Server, gale};
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// As its `local-completions` sends them.
fn request(prompts: &[Vec<u32>]) -> Value {
    json!({
        "model": "tiny", "prompt": prompts, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": true,
    })
}

/// The logarithms of the probabilities that follow from `gale logits`: [ids, vocab_size].
fn log_softmax(ids: &[u32]) -> Vec<Vec<f64>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("logits.safetensors");
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let args = ["logits", "-m", MODEL.dir(), "--ids", &ids.join(","), "-o", file.to_str().unwrap()];
    assert!(gale(&args).status().unwrap().success());
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let logits = tensors.tensor("logits").unwrap();
    let [_, vocab_size] = *logits.shape() else { panic!("{:?}", logits.shape()) };
    let values = logits.data().as_chunks::<4>().0.iter().map(|it| f64::from(f32::from_le_bytes(*it)));
    let values: Vec<f64> = values.collect();
    let log_softmax = |row: &[f64]| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = row.iter().map(|it| (it - max).exp()).sum::<f64>().ln();
        row.iter().map(|it| it - max - log_sum).collect()
    };
    values.chunks(vocab_size).map(log_softmax).collect()
}

#[test]
fn echoed_tokens_have_the_probabilities_of_their_logits() {
    let server = Server::start(&[]);
    let prompts: Vec<Vec<u32>> =
        vec![(1..40).map(|i| 17 * i % 600).collect(), vec![1, 75, 104, 111], vec![259], vec![5; 70]];
    let answer = server.completion(&request(&prompts));
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), prompts.len());
    for (i, (ids, choice)) in prompts.iter().zip(choices).enumerate() {
        assert_eq!(choice["index"], i);
        let logprobs = &choice["logprobs"];
        let lists =
            ["tokens", "token_logprobs", "top_logprobs", "text_offset"].map(|key| logprobs[key].as_array().unwrap());
        assert!(lists.iter().all(|it| it.len() == ids.len() + 1), "{logprobs}");
        let [_, token_logprobs, top_logprobs, _] = lists;
        assert!(token_logprobs[0].is_null() && top_logprobs[0].is_null());
        let want = log_softmax(ids);
        for at in 1..ids.len() {
            let (row, id) = (&want[at - 1], ids[at] as usize);
            let got = token_logprobs[at].as_f64().unwrap();
            assert!((got - row[id]).abs() < 1e-9, "{got} for {}", row[id]);
            // As the harness finds out whether a token is the likeliest: by equality of numbers.
            let top = top_logprobs[at].as_object().unwrap().values().map(|it| it.as_f64().unwrap());
            let is_greedy = got == top.fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(is_greedy, row.iter().all(|it| *it <= row[id]));
        }
        // The token that was generated, of which the kernel has told the probability.
        let last = want.last().unwrap();
        let best = last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let got = token_logprobs[ids.len()].as_f64().unwrap();
        assert!((got - best).abs() < 1e-4, "{got} for {best}");
    }
    assert_eq!(answer["usage"]["completion_tokens"], prompts.len());
}

/// What was generated and is then part of a prompt is as likely as it was.
#[test]
fn answers_are_as_likely_as_the_same_prompts() {
    let server = Server::start(&[]);
    let prompt = [1, 75, 104, 111];
    let ask = json!({ "prompt": prompt, "max_tokens": 12, "logprobs": 3, "seed": 3, "ignore_eos": true });
    let answer = server.completion(&ask);
    let text = answer["choices"][0]["text"].as_str().unwrap();
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 12);
    for top in logprobs["top_logprobs"].as_array().unwrap() {
        assert!((3..=4).contains(&top.as_object().unwrap().len()), "{top}");
    }
    let offsets: Vec<u64> = logprobs["text_offset"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    assert!(offsets[0] == 0 && offsets.is_sorted() && offsets[11] <= text.chars().count() as u64);

    // The ids, by the command line, which has the same seed.
    let args = [
        "generate",
        "-m",
        MODEL.dir(),
        "--ids",
        "1,75,104,111",
        "--print-ids",
        "-n",
        "12",
        "--seed",
        "3",
        "--temperature",
        "1",
        "--top-p",
        "1",
        "--ignore-eos",
    ];
    let output = gale(&args).output().unwrap();
    let ids = String::from_utf8(output.stdout).unwrap();
    let ids: Vec<u32> = prompt.into_iter().chain(ids.trim_end().split(',').map(|id| id.parse().unwrap())).collect();
    let again = server.completion(&json!({ "prompt": ids, "max_tokens": 0, "logprobs": 3, "echo": true }));
    let again = &again["choices"][0]["logprobs"];
    assert_eq!(again["tokens"].as_array().unwrap().len(), 16, "nothing was generated");
    for at in 0..12 {
        let [a, b] = [&logprobs["token_logprobs"][at], &again["token_logprobs"][4 + at]].map(|it| it.as_f64().unwrap());
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
        assert_eq!(logprobs["tokens"][at], again["tokens"][4 + at]);
    }
}

#[test]
fn chats_tell_bytes_and_likeliest_tokens() {
    let server = Server::start(&[]);
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    for n in [0, 2, 20] {
        let request = json!({ "messages": messages, "max_tokens": 6, "logprobs": true, "top_logprobs": n, "seed": 2,
            "ignore_eos": true });
        let answer = server.chat(&request);
        let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
        assert_eq!(content.len(), 6);
        for token in content {
            let top = token["top_logprobs"].as_array().unwrap();
            assert_eq!(top.len(), n);
            assert!(top.is_sorted_by_key(|it| -it["logprob"].as_f64().unwrap()), "{top:?}");
            for it in top.iter().chain([token]) {
                let bytes: Vec<u8> =
                    it["bytes"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap() as u8).collect();
                match String::from_utf8(bytes.clone()) {
                    Ok(text) => assert_eq!(it["token"], text),
                    Err(_) => assert!(it["token"].as_str().unwrap().starts_with("bytes:\\x"), "{it}"),
                }
                assert!(it["logprob"].as_f64().unwrap() <= 0.0);
            }
            if let Some(same) = top.iter().find(|it| it["token"] == token["token"]) {
                assert_eq!(same["logprob"], token["logprob"], "the same number, bit for bit");
            }
        }
    }
}

/// An end-of-sequence token counts as one, or else whoever cuts off the generated token would cut off another.
#[test]
fn the_token_that_ends_an_answer_is_one() {
    let server = Server::start(&[]);
    let request = json!({ "prompt": [1, 75], "max_tokens": 1, "logprobs": 1, "echo": true, "logit_bias": { "2": 1000 },
        "temperature": 0 });
    let answer = server.completion(&request);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["choices"][0]["logprobs"]["tokens"], json!(["<s>", "H", "</s>"]));
    assert_eq!(answer["choices"][0]["text"], "H");
    assert_eq!(answer["usage"]["completion_tokens"], 1);
}
