//! A chat becomes a prompt through the model's own template, in Jinja as `transformers` runs it.
//!
//! The rendered text holds control tokens in writing, so it is encoded with them. What a message says stays text all the
//! same: a message that spells a control token is encoded by itself, without any.

mod python;

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use super::marks::{self, Place};
use super::{Message, Origin, Part, Piece, Text, Turn};
use crate::error::{Error, Result, one_line};
use crate::json::{JsonFile, is_present, read_bytes, read_error};
use crate::tokenizer::{Token, Tokenizer};

/// The chat template of a model directory.
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Where the template was found.
    path: PathBuf,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

const NAME: &str = "chat template";

impl ChatTemplate {
    /// Takes `chat_template.jinja`, else the key `chat_template` of `tokenizer_config.json`; `None` without either.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        let config = JsonFile::read_if_present(dir.join("tokenizer_config.json"))?;
        let path = dir.join("chat_template.jinja");
        let (source, path) = if is_present(&path) {
            let text = String::from_utf8(read_bytes(&path)?).map_err(|error| read_error(&path, error))?;
            (text, path)
        } else if let Some((source, config)) =
            config.as_ref().map(in_config).transpose()?.flatten().zip(config.as_ref())
        {
            (source, config.path.clone())
        } else {
            return Ok(None);
        };
        let token = |key| config.as_ref().map(|config| token_text(config, key)).transpose().map(Option::flatten);
        Self::new(source, path, token("bos_token")?, token("eos_token")?).map(Some)
    }

    fn new(source: String, path: PathBuf, bos_token: Option<String>, eos_token: Option<String>) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the usual delimiters"));
        python::add_to(&mut environment);
        match environment.add_template_owned(NAME, source) {
            Ok(()) => Ok(Self { environment, path, bos_token, eos_token }),
            Err(error) => Err(Error::Template { path, problem: one_line(error) }),
        }
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The prompt for these messages. It holds the model's special tokens as text.
    ///
    /// `add_generation_prompt` ends it where the assistant's answer begins.
    ///
    /// # Errors
    /// What the template raises, and templates that fail.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let messages = messages.iter().map(|Message { role, content }| context! { role => role.to_string(), content });
        self.render_values(messages.collect(), add_generation_prompt)
    }

    fn render_values(&self, messages: Vec<Value>, add_generation_prompt: bool) -> Result<String> {
        let context = context! {
            messages,
            add_generation_prompt,
            tools => Value::from(()),
            documents => Value::from(()),
            bos_token => or_undefined(&self.bos_token),
            eos_token => or_undefined(&self.eos_token),
        };
        let template = self.environment.get_template(NAME).expect("added in new()");
        template.render(context).map_err(|error| match error.detail() {
            Some(said) if error.kind() == ErrorKind::InvalidOperation => self.error(said),
            _ => self.error(error),
        })
    }

    /// The prompt as tokens. If `continues`, it ends with the last turn, which stays open.
    pub(super) fn encode(&self, tokenizer: &Tokenizer, turns: &[Turn], continues: bool) -> Result<Vec<Piece>> {
        let (mut text, mut places) = self.render_turns(turns, !continues)?;
        let Some(places) = &mut places else {
            return self.encode_unplaced(tokenizer, turns, continues, &text);
        };
        if continues {
            let last = places.iter().rfind(|place| place.turn + 1 == turns.len());
            let end =
                last.ok_or_else(|| self.error("it leaves the last message out, so there is no going on with it"))?;
            let said = &turns[end.turn].text.text;
            let spaces = &said[said.trim_end().len()..];
            let has_spaces = text.text[end.bytes.end..].starts_with(spaces);
            text.text.truncate(end.bytes.end + if has_spaces { spaces.len() } else { 0 });
            places.retain(|place| place.bytes.end <= text.text.len());
        }
        places.retain(|place| tokenizer.spells_special(&text.text[place.bytes.clone()]));
        let mut pieces = vec![];
        let mut add = |tokens: Vec<Token>, start: usize| {
            pieces.extend(tokens.into_iter().map(|Token { id, bytes }| {
                let origin = text.origin(&(bytes.start + start..bytes.end + start));
                Piece { id, origin }
            }));
        };
        let mut start = 0;
        for Place { bytes, .. } in places {
            add(tokenizer.encode_tokens(&text.text[start..bytes.start])?, start);
            add(tokenizer.encode_literal(&text.text[bytes.clone()])?, bytes.start);
            start = bytes.end;
        }
        add(tokenizer.encode_tokens(&text.text[start..])?, start);
        Ok(pieces)
    }

    /// The prompt of a template that changes what messages say, so that nobody knows where they are.
    fn encode_unplaced(
        &self,
        tokenizer: &Tokenizer,
        turns: &[Turn],
        continues: bool,
        text: &Text,
    ) -> Result<Vec<Piece>> {
        if continues {
            return Err(self.error("it changes messages, so there is no going on with the last"));
        }
        if turns.iter().any(|turn| tokenizer.spells_special(&turn.text.text)) {
            return Err(
                self.error("it changes messages, so the control token that one of them spells cannot stay text")
            );
        }
        let tokens = tokenizer.encode_tokens(&text.text)?;
        Ok(tokens.into_iter().map(|Token { id, .. }| Piece { id, origin: Origin::Template }).collect())
    }

    /// The rendered text and, if the template leaves messages as they are, where they stand.
    fn render_turns(&self, turns: &[Turn], add_generation_prompt: bool) -> Result<(Text, Option<Vec<Place>>)> {
        let render = |content: &dyn Fn(usize, &Turn) -> String| {
            let message =
                |(i, turn): (usize, &Turn)| context! { role => turn.role.to_string(), content => content(i, turn) };
            self.render_values(turns.iter().enumerate().map(message).collect(), add_generation_prompt)
        };
        let plain = render(&|_, turn| turn.text.text.clone())?;
        let marked =
            marks::can_mark(turns).then(|| render(&|i, turn| marks::marked(i, &turn.text.text)).ok()).flatten();
        let placed = marked.and_then(|text| marks::unmarked(&text)).filter(|(text, _)| *text == plain);
        let mut text = Text { text: plain, parts: vec![] };
        for place in placed.iter().flat_map(|(_, places)| places) {
            let said = &turns[place.turn].text;
            let n_trimmed = said.text.len() - said.text.trim_start().len();
            let here = |at: usize| (at.max(n_trimmed) - n_trimmed + place.bytes.start).min(place.bytes.end);
            let parts =
                said.parts.iter().map(|part| Part { bytes: here(part.bytes.start)..here(part.bytes.end), ..*part });
            text.parts.extend(parts.filter(|part| !part.bytes.is_empty()));
        }
        Ok((text, placed.map(|(_, places)| places)))
    }

    fn error(&self, problem: impl std::fmt::Display) -> Error {
        Error::Template { path: self.path.clone(), problem: one_line(problem) }
    }
}

/// Without the token, templates see an undefined name, which prints as nothing.
fn or_undefined(token: &Option<String>) -> Value {
    token.as_deref().map_or(Value::UNDEFINED, Value::from)
}

/// One template, or a list of named ones, of which "default" is meant.
fn in_config(config: &JsonFile) -> Result<Option<String>> {
    const KEY: &str = "chat_template";
    let Some(value) = config.value(KEY) else {
        return Ok(None);
    };
    let template = match value.as_array() {
        None => value.as_str(),
        Some(list) => list.iter().find(|it| it["name"] == "default").and_then(|it| it["template"].as_str()),
    };
    match template {
        Some(template) => Ok(Some(template.to_owned())),
        None => Err(config.wrong(KEY, "a template, or a list of templates with one named \"default\"", value)),
    }
}

/// A special token is given as its text or as an object with the key `content`.
fn token_text(config: &JsonFile, key: &str) -> Result<Option<String>> {
    let Some(value) = config.value(key) else {
        return Ok(None);
    };
    match value.as_str().or_else(|| value["content"].as_str()) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(config.wrong(key, "a token, or an object whose \"content\" is one", value)),
    }
}

#[cfg(test)]
mod tests;
