//! Where an answer is another one: the first token, or else the first value of OpenAI's objects.

use crate::json::shown;
use crate::tokenizer::Tokenizer;
use serde_json::Value;
use std::fmt::{self, Display, Formatter};

/// The first one.
#[derive(Debug, PartialEq)]
pub struct Difference {
    place: String,
    expected: String,
    found: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { place, expected, found } = self;
        write!(f, "{place}: expected {expected}, found {found}")
    }
}

/// Of all answers' tokens.
pub fn tokens(expected: &[Vec<u32>], found: &[Vec<u32>], tokenizer: &Tokenizer) -> Option<Difference> {
    let told = |id: Option<&u32>| match id {
        Some(&id) => format!("{id} {:?}", tokenizer.token(id).unwrap_or_default()),
        None => "no token any more".into(),
    };
    expected.iter().zip(found).enumerate().find_map(|(answer, (expected, found))| {
        let is_other = |at: &usize| expected.get(*at) != found.get(*at);
        let at = (0..expected.len().max(found.len())).find(is_other)?;
        let place = format!("answer {answer}, token {at}");
        Some(Difference { place, expected: told(expected.get(at)), found: told(found.get(at)) })
    })
}

/// Of all answers' objects; of what is expected, keys that were not found are nobody's business: clients add some.
pub fn choices(expected: &[Value], found: &[Value]) -> Option<Difference> {
    let all = expected.iter().zip(found).enumerate();
    all.into_iter().find_map(|(i, (expected, found))| first(format!("choices[{i}]"), expected, found))
}

fn first(place: String, expected: &Value, found: &Value) -> Option<Difference> {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => b.iter().find_map(|(key, value)| {
            first(format!("{place}.{key}"), a.get(key).unwrap_or(&Value::Null), value) // null is the same as absent
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| first(format!("{place}[{i}]"), a, b))
        }
        // Some clients write -1.0 as -1.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (Value::String(a), Value::String(b)) if a != b => {
            let at = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
            let rest = |text: &str| shown(&text.chars().skip(at).collect::<String>().into());
            let place = format!("{place}, from character {at} on");
            Some(Difference { place, expected: rest(a), found: rest(b) })
        }
        (a, b) if a == b => None,
        (a, b) => Some(Difference { place, expected: shown(a), found: shown(b) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_told() {
        let whole = json!({ "text": "a b c", "logprobs": { "top": [{ "a": -1.0 }, null] }, "finish_reason": null });
        let told = |change: &dyn Fn(&mut Value)| {
            let mut saved = whole.clone();
            change(&mut saved);
            choices(&[json!({}), saved], &[json!({}), whole.clone()]).map(|it| it.to_string())
        };
        assert_eq!(told(&|_| {}), None);
        assert_eq!(told(&|it| it["added"] = json!("by a client")), None);
        assert_eq!(told(&|it| it["logprobs"]["top"][0]["a"] = json!(-1)), None);
        assert_eq!(told(&|it| drop(it.as_object_mut().unwrap().remove("finish_reason"))), None);
        let text = told(&|it| it["text"] = json!("a B c")).unwrap();
        assert_eq!(text, "choices[1].text, from character 2 on: expected \"B c\", found \"b c\"");
        let number = told(&|it| it["logprobs"]["top"][0]["a"] = json!(-1.0000000000000002)).unwrap();
        assert_eq!(number, "choices[1].logprobs.top[0].a: expected -1.0000000000000002, found -1.0");
        let shorter = told(&|it| it["logprobs"]["top"] = json!([])).unwrap();
        assert_eq!(shorter, "choices[1].logprobs.top: expected [], found [{\"a\":-1.0},null]");
    }
}
