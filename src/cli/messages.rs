//! A chat in a file: `[{ "role": "user", "content": "Hi" }, ...]`, alone or under the key "messages".

use std::io::Read;
use std::path::Path;

use gale::error::Error;
use gale::prompt::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    role: String,
    content: String,
}

/// Reads a chat; `-` is stdin.
pub fn read(path: &Path) -> Result<Vec<Message>, Error> {
    let is_stdin = path == Path::new("-");
    let mut bytes = vec![];
    let read = if is_stdin {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(path).map(|it| bytes = it)
    };
    read.map_err(|error| Error::Read { path: path.into(), reason: error.to_string() })?;
    parse(&bytes).map_err(|problem| Error::Malformed { path: path.into(), problem })
}

fn parse(bytes: &[u8]) -> Result<Vec<Message>, String> {
    let mut json: Value = serde_json::from_slice(bytes).map_err(|error| format!("not valid JSON: {error}"))?;
    if let Some(object) = json.as_object_mut() {
        let Some(messages) = object.remove("messages") else {
            return Err("expected a list of messages, found an object without the key \"messages\"".into());
        };
        if let Some(key) = object.keys().next() {
            return Err(format!("key {key:?}: expected nothing beside \"messages\", since it would have no effect"));
        }
        json = messages;
    }
    let lines: Vec<Line> = serde_json::from_value(json)
        .map_err(|error| format!("expected a list of {{ \"role\": ..., \"content\": ... }}, both text: {error}"))?;
    lines.into_iter().map(|Line { role, content }| Ok(Message::new(role.parse()?, content))).collect()
}

/// The same, to be read again.
pub fn written(messages: &[Message]) -> String {
    let lines = messages.iter().map(|it| Line { role: it.role.to_string(), content: it.content.clone() });
    let json = serde_json::to_string_pretty(&lines.collect::<Vec<_>>()).expect("strings can be written");
    json + "\n"
}

#[cfg(test)]
mod tests {
    use gale::prompt::Role;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let chat =
            [Message::new(Role::System, "\"é\"\n"), Message::new(Role::User, ""), Message::new(Role::Assistant, "x")];
        assert_eq!(parse(written(&chat).as_bytes()), Ok(chat.to_vec()));
        let under_a_key = format!("{{ \"messages\": {} }}", written(&chat));
        assert_eq!(parse(under_a_key.as_bytes()), Ok(chat.to_vec()));
    }

    #[test]
    fn what_is_no_chat_is_named() {
        let said = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(said("[").contains("not valid JSON"));
        assert!(said("{}").contains("without the key \"messages\""));
        assert!(said(r#"{ "messages": [], "temperature": 1 }"#).contains("key \"temperature\""));
        assert!(said(r#"[{ "role": "user" }]"#).contains("missing field `content`"));
        assert!(said(r#"[{ "role": "user", "content": "a", "name": "b" }]"#).contains("unknown field `name`"));
        assert!(said(r#"[{ "role": "tool", "content": "a" }]"#).contains("found \"tool\""));
    }
}
