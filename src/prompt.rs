//! A chat becomes a prompt through the model's own template, in Jinja as `transformers` runs it.

mod python;

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use crate::error::{Error, Result, one_line};
use crate::json::{JsonFile, is_present, read_bytes, read_error};

/// One turn of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// "system", "user" or "assistant"; the template decides what it takes.
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: &str, content: &str) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

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

    /// The prompt for these messages. It holds the model's special tokens as text: encode it without adding more.
    ///
    /// `add_generation_prompt` ends it where the assistant's answer begins.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let messages: Vec<Value> =
            messages.iter().map(|Message { role, content }| context! { role, content }).collect();
        let context = context! {
            messages,
            add_generation_prompt,
            tools => Value::from(()),
            documents => Value::from(()),
            bos_token => or_undefined(&self.bos_token),
            eos_token => or_undefined(&self.eos_token),
        };
        let template = self.environment.get_template(NAME).expect("added in new()");
        template.render(context).map_err(|error| {
            let problem = match error.detail() {
                Some(said) if error.kind() == ErrorKind::InvalidOperation => said.to_owned(),
                _ => error.to_string(),
            };
            Error::Template { path: self.path.clone(), problem: one_line(problem) }
        })
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
