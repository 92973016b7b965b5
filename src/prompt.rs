//! A chat becomes token ids, each of which knows where it came from.
//!
//! Mistral's instruct models are asked by tokens, not by text: each turn is encoded by itself, so that what a user writes
//! can never become a control token, and the ids are those of `mistral-common`. Any other model is asked through the Jinja
//! template in its directory, as `transformers` does.

mod marks;
mod mistral;
mod template;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
pub use mistral::Version;
pub use template::ChatTemplate;

/// One turn of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

impl Message {
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    /// Its name; newer clients call the system "developer".
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "system" | "developer" => Ok(Self::System),
            "user" => Ok(Self::User),
            "assistant" => Ok(Self::Assistant),
            other => Err(format!("expected the role system, user or assistant, found {other:?}")),
        }
    }
}

/// How a chat is put to the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Begin with [`SAFE_PROMPT`], before any system message of the chat.
    pub safe_prompt: bool,
    /// The last message is the assistant's and not finished: the model goes on with it.
    pub continue_final_message: bool,
}

/// The guardrail of the Mistral 7B paper (arXiv 2310.06825, section 5.1), word for word.
pub const SAFE_PROMPT: &str = "Always assist with care, respect, and truth. Respond with utmost utility yet securely. \
                               Avoid harmful, unethical, prejudiced, or negative content. Ensure replies promote \
                               fairness and positivity.";

/// A token of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub id: u32,
    pub origin: Origin,
}

/// Who put a token into the prompt. A token that a message shares with what stands around it is the message's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The chat format.
    Template,
    /// [`SAFE_PROMPT`].
    SafePrompt,
    /// The message of this index.
    Message(usize),
}

/// The token ids of a prompt.
pub fn ids(pieces: &[Piece]) -> Vec<u32> {
    pieces.iter().map(|piece| piece.id).collect()
}

/// How a model wants to be asked.
pub enum ChatFormat {
    Mistral(Version),
    Template(Box<ChatTemplate>),
}

impl ChatFormat {
    /// Mistral's format where the vocabulary is that of its instruct models, unless the directory has a chat template that
    /// asks otherwise (Zephyr has Mistral's vocabulary); else that template. Names do not matter.
    ///
    /// # Errors
    /// No chat template and another vocabulary; a template that is broken.
    pub fn detect(dir: &Path, tokenizer: &Tokenizer) -> Result<Self> {
        let version = Version::detect(tokenizer)?;
        match (version, ChatTemplate::load(dir)?) {
            (Some(version), None) => Ok(Self::Mistral(version)),
            (Some(version), Some(template)) if mistral::is_asked_by(&template) => Ok(Self::Mistral(version)),
            (_, Some(template)) => Ok(Self::Template(Box::new(template))),
            (None, None) => Err(Error::NoChatFormat { path: dir.into() }),
        }
    }

    /// The prompt for these messages, up to where the assistant's answer begins (or goes on). BOS is in it, if the model
    /// wants one: add nothing.
    ///
    /// # Errors
    /// Messages that the format does not take.
    pub fn encode(&self, tokenizer: &Tokenizer, messages: &[Message], options: &Options) -> Result<Vec<Piece>> {
        let turns = turns(messages, options)?;
        match self {
            Self::Mistral(version) => mistral::encode(*version, tokenizer, &turns, options.continue_final_message),
            Self::Template(template) => template.encode(tokenizer, &turns, options.continue_final_message),
        }
    }
}

/// What the format is, for people.
impl fmt::Display for ChatFormat {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Mistral(version) => write!(f, "{version}"),
            Self::Template(template) => write!(f, "the chat template {}", template.path().display()),
        }
    }
}

/// What one role says at a time.
struct Turn {
    role: Role,
    text: Text,
}

/// Text whose parts know who wrote them; what lies between belongs to the format.
#[derive(Clone, Default)]
struct Text {
    text: String,
    /// In order, none of them empty.
    parts: Vec<Part>,
}

#[derive(Clone)]
struct Part {
    /// First byte, and the byte after the last.
    bytes: std::ops::Range<usize>,
    origin: Origin,
}

impl Text {
    fn of(text: &str, origin: Origin) -> Self {
        let mut it = Self::default();
        it.push_part(text, origin);
        it
    }

    fn push_part(&mut self, text: &str, origin: Origin) {
        let start = self.text.len();
        self.text += text;
        if !text.is_empty() {
            self.parts.push(Part { bytes: start..self.text.len(), origin });
        }
    }

    fn push(&mut self, other: &Text) {
        let start = self.text.len();
        self.text += &other.text;
        let moved = |part: &Part| Part { bytes: part.bytes.start + start..part.bytes.end + start, origin: part.origin };
        self.parts.extend(other.parts.iter().map(moved));
    }

    /// After a blank line, unless one of the two is empty.
    fn push_paragraph(&mut self, other: &Text) {
        if !self.text.is_empty() && !other.text.is_empty() {
            self.text += "\n\n";
        }
        self.push(other);
    }

    fn origin(&self, bytes: &std::ops::Range<usize>) -> Origin {
        let first = self.parts.partition_point(|part| part.bytes.end <= bytes.start);
        self.parts.get(first).filter(|part| part.bytes.start < bytes.end).map_or(Origin::Template, |part| part.origin)
    }
}

/// The messages as turns, with the guardrail at the head of the first one if that is the system's, else as one before it.
fn turns(messages: &[Message], options: &Options) -> Result<Vec<Turn>> {
    let wrong = |expected: &str, found: String| Err(Error::Prompt { expected: expected.into(), found });
    match messages.last() {
        None => return wrong("at least one message", "none".into()),
        Some(last)
            if options.continue_final_message && (last.role, last.content.is_empty()) != (Role::Assistant, false) =>
        {
            return wrong("a last message of the assistant's, to go on with", format!("one of the {}'s", last.role));
        }
        Some(_) => {}
    }
    let turn = |(index, message): (usize, &Message)| Turn {
        role: message.role,
        text: Text::of(&message.content, Origin::Message(index)),
    };
    let mut turns: Vec<Turn> = messages.iter().enumerate().map(turn).collect();
    if options.safe_prompt {
        let mut text = Text::of(SAFE_PROMPT, Origin::SafePrompt);
        if turns[0].role == Role::System {
            text.push_paragraph(&turns.remove(0).text);
        }
        turns.insert(0, Turn { role: Role::System, text });
    }
    Ok(turns)
}
