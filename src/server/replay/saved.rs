//! An answer in a file: as JSON, or as the lines of a stream.

use super::Replay;
use crate::error::{Error, Result};
use crate::json::{read_bytes, shown};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The last event of a stream.
const DONE: &str = "[DONE]";

/// An answer that can be repeated.
#[derive(Debug)]
pub struct Saved {
    pub(super) path: PathBuf,
    pub(super) replay: Replay,
    /// As a whole answer has them, in order.
    pub(super) choices: Vec<Value>,
}

impl Saved {
    /// # Errors
    /// A file that cannot be read, or is no such answer.
    pub fn read(path: &Path) -> Result<Saved> {
        let bad = |problem: String| Error::malformed(path, problem);
        let bytes = read_bytes(path)?;
        let text = str::from_utf8(&bytes).map_err(|error| bad(format!("not UTF-8: {error}")))?;
        let objects = objects(text).map_err(bad)?;
        let Some(replay) = objects.iter().map(|it| &it["replay"]).find(|it| !it.is_null()) else {
            let why = match ends_early(text) {
                true => "the stream ends early, without [DONE], and the last chunk before that has the key",
                false => "only an answer to a request with \"replay\": true can be repeated",
            };
            return Err(bad(format!("key \"replay\": expected an object, found no such key; {why}")));
        };
        let replay = Replay::deserialize(replay).map_err(|error| bad(format!("key \"replay\": {error}")))?;
        let choices = choices(&objects, replay.tokens.len()).map_err(|it| bad(format!("key \"choices\": {it}")))?;
        Ok(Saved { path: path.into(), replay, choices })
    }
}

/// The one object of an answer, or all chunks of a stream.
fn objects(text: &str) -> Result<Vec<Value>, String> {
    let parse = |text: &str| match serde_json::from_str(text) {
        Ok(it @ Value::Object(_)) => Ok(it),
        Ok(other) => Err(format!("expected a JSON object, found {}", shown(&other))),
        Err(error) => Err(format!("not valid JSON: {error}")),
    };
    if !is_stream(text) {
        return Ok(vec![parse(text)?]);
    }
    let chunks = events(text).filter(|(_, event)| *event != DONE);
    chunks.map(|(i, event)| parse(event).map_err(|it| format!("line {}: {it}", i + 1))).collect()
}

fn is_stream(text: &str) -> bool {
    text.trim_start().starts_with("data:")
}

/// What the events of a stream say, each with the index of its line.
fn events(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(i, line)| Some((i, line.strip_prefix("data:")?.trim())))
}

/// Whether it is a stream that was cut.
fn ends_early(text: &str) -> bool {
    is_stream(text) && events(text).all(|(_, event)| event != DONE)
}

/// What the objects have of each answer, put together.
fn choices(objects: &[Value], n: usize) -> Result<Vec<Value>, String> {
    let mut all = vec![json!({}); n];
    for choice in objects.iter().filter_map(|it| it["choices"].as_array()).flatten() {
        let index = choice["index"].as_u64().and_then(|it| all.get_mut(it as usize));
        let whole = index.ok_or_else(|| format!("expected an index below {n} in each, found {}", choice["index"]))?;
        add(whole, choice);
    }
    Ok(all)
}

/// Texts and lists go on; of anything else, what is said last counts. A chunk's "delta" is a part of the "message".
fn add(whole: &mut Value, part: &Value) {
    match (&mut *whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, part) in part {
                let key = if key == "delta" { "message" } else { key };
                add(whole.entry(key).or_insert(Value::Null), part);
            }
        }
        (Value::Array(whole), Value::Array(part)) => whole.extend(part.iter().cloned()),
        (Value::String(whole), Value::String(part)) => whole.push_str(part),
        (_, Value::Null) => {}
        _ => *whole = part.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_make_the_whole() {
        let chunk = |index: u32, content: &str, token: &str, reason: Value| {
            let logprobs = json!({ "content": [{ "token": token }], "refusal": null });
            let choice = json!({ "index": index, "delta": { "content": content }, "logprobs": logprobs,
                                 "finish_reason": reason });
            format!("data: {}\n\n", json!({ "choices": [choice] }))
        };
        let parts = [
            ("data: {\"choices\": [{ \"index\": 0, \"delta\": { \"role\": \"assistant\" } }]}\n\n").to_owned(),
            chunk(0, "a", "x", Value::Null),
            chunk(1, "z", "q", json!("stop")),
            chunk(0, "b", "y", json!("length")),
            "data: {\"choices\": [], \"usage\": null}\n\ndata: [DONE]\n\n".into(),
        ];
        let found = choices(&objects(&parts.concat()).unwrap(), 2).unwrap();
        let logprobs = json!({ "content": [{ "token": "x" }, { "token": "y" }], "refusal": null });
        let message = json!({ "role": "assistant", "content": "ab" });
        let want = json!({ "index": 0, "message": message, "logprobs": logprobs, "finish_reason": "length" });
        assert_eq!(found[0], want);
        assert_eq!(found[1]["message"]["content"], "z");
    }

    #[test]
    fn damage_is_named() {
        let told = |text: &str| objects(text).map(|it| choices(&it, 1));
        assert!(told("[]").unwrap_err().contains("expected a JSON object, found []"));
        assert!(told("{").unwrap_err().contains("not valid JSON"));
        assert!(told("data: {}\n\ndata: {").unwrap_err().contains("line 3: not valid JSON"));
        let index = told(r#"{ "choices": [{ "index": 1 }] }"#).unwrap().unwrap_err();
        assert_eq!(index, "expected an index below 1 in each, found 1");
    }
}
