//! The token sequences of Mistral's instruct models, as its own library `mistral-common` makes them.
//!
//! ```text
//!   v1   <s> ▁ [ INST ] ▁SYSTEM \n \n a ▁ [ / INST ] ▁b </s> ▁ [ INST ] ▁c ▁ [ / INST ]          7B v0.1, v0.2, Mixtral
//!   v3   <s> [INST] ▁a [/INST] ▁b </s> [INST] ▁SYSTEM \n \n c [/INST]                            7B v0.3
//! ```
//!
//! In v1 the markers are ordinary text and the system speaks in the first user turn; in v3 they are tokens of their own,
//! and it speaks in the last. Each turn is encoded by itself, with the space that SentencePiece puts before every text.

use std::fmt;

use super::template::ChatTemplate;
use super::{Message, Origin, Piece, Role, Text, Turn};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    /// V2 is the same, but for tools.
    V3,
}

/// What v1's vocabulary makes of the markers; Llama 2, which has as many tokens, has others: 518 25580 29962.
const V1_BEGIN_INST: [u32; 3] = [733, 16289, 28793];
const V1_END_INST: [u32; 4] = [733, 28748, 16289, 28793];

impl Version {
    /// Of the model that has this vocabulary.
    pub(super) fn detect(tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let is_special = |token| tokenizer.id(token).is_some_and(|id| tokenizer.is_special(id));
        if !is_special("<s>") || !is_special("</s>") {
            return Ok(None);
        }
        if is_special("[INST]") && is_special("[/INST]") {
            // From v7 on, the system has markers of its own.
            return Ok((tokenizer.id("[SYSTEM_PROMPT]").is_none()).then_some(Self::V3));
        }
        let is = |text, ids: &[u32]| -> Result<bool> {
            Ok(tokenizer.encode_literal(text)?.iter().map(|it| it.id).eq(ids.iter().copied()))
        };
        Ok((is("[INST]", &V1_BEGIN_INST)? && is("[/INST]", &V1_END_INST)?).then_some(Self::V1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "Mistral v1 ([INST] as text, the system in the first user turn)",
            Self::V3 => "Mistral v3 ([INST] as a token, the system in the last user turn)",
        })
    }
}

/// Whether a template asks as Mistral's does: it may differ in spaces, and may refuse a system message.
pub(super) fn is_asked_by(template: &ChatTemplate) -> bool {
    let asked = |messages: &[Message]| {
        let text = template.render(messages, true).ok()?;
        let text = text.strip_prefix("<s>").unwrap_or(&text);
        Some(text.split_whitespace().collect::<String>())
    };
    let (system, user) = (Message::new(Role::System, "S"), Message::new(Role::User, "U"));
    asked(std::slice::from_ref(&user)).is_some_and(|text| text == "[INST]U[/INST]")
        && asked(&[system, user]).is_none_or(|text| text == "[INST]SU[/INST]")
}

/// The prompt. If `continues`, the last turn is the assistant's and stays open.
pub(super) fn encode(version: Version, tokenizer: &Tokenizer, turns: &[Turn], continues: bool) -> Result<Vec<Piece>> {
    check_order(turns, continues)?;
    let system = paragraphs(turns.iter().filter(|turn| turn.role == Role::System));
    let mut turns = merged(turns);
    let told = match version {
        Version::V1 => turns.iter().position(|turn| turn.role == Role::User),
        Version::V3 => turns.iter().rposition(|turn| turn.role == Role::User),
    };
    let told = &mut turns[told.expect("the first of the merged turns is the user's")];
    if !system.text.is_empty() {
        let said = std::mem::replace(&mut told.text, system);
        told.text.text += "\n\n";
        told.text.push(&said);
    }

    let mut prompt = Prompt { tokenizer, pieces: vec![] };
    prompt.control("<s>");
    for (i, Turn { role, text }) in turns.iter().enumerate() {
        match (role, version) {
            (Role::User, Version::V1) => {
                let mut asked = Text { text: "[INST] ".into(), parts: vec![] };
                asked.push(text);
                asked.text += " [/INST]";
                prompt.text(&asked.text, &asked)?;
            }
            (Role::User, Version::V3) => {
                prompt.control("[INST]");
                prompt.text(&text.text, text)?;
                prompt.control("[/INST]");
            }
            (Role::Assistant, Version::V1) => prompt.text(&text.text, text)?,
            (Role::Assistant, Version::V3) => prompt.text(text.text.trim_end_matches(' '), text)?,
            (Role::System, _) => unreachable!("the system speaks in a user turn"),
        }
        let is_open = continues && i + 1 == turns.len();
        if *role == Role::Assistant && !is_open {
            prompt.control("</s>");
        }
    }
    Ok(prompt.pieces)
}

struct Prompt<'a> {
    tokenizer: &'a Tokenizer,
    pieces: Vec<Piece>,
}

impl Prompt<'_> {
    fn control(&mut self, token: &str) {
        let id = self.tokenizer.id(token).expect("a format is taken for its tokens");
        self.pieces.push(Piece { id, origin: Origin::Template });
    }

    /// `text` is that of `parts`, or its beginning.
    fn text(&mut self, text: &str, parts: &Text) -> Result<()> {
        let tokens = self.tokenizer.encode_literal(text)?;
        self.pieces.extend(tokens.iter().map(|token| Piece { id: token.id, origin: parts.origin(&token.bytes) }));
        Ok(())
    }
}

/// What mistral-common refuses.
fn check_order(turns: &[Turn], continues: bool) -> Result<()> {
    let wrong = |expected: &str, found: &str| Err(Error::Prompt { expected: expected.into(), found: found.into() });
    if turns.iter().any(|turn| turn.role == Role::Assistant && turn.text.text.is_empty()) {
        return wrong("every message of the assistant's to have text", "one without");
    }
    if turns.last().is_some_and(|turn| turn.role == Role::Assistant) && !continues {
        return wrong("a last message to be answered", "one of the assistant's");
    }
    if turns.windows(2).any(|two| (two[0].role, two[1].role) == (Role::Assistant, Role::System)) {
        return wrong("system messages before or beside those of the user", "one after a message of the assistant's");
    }
    Ok(())
}

/// User and assistant only: neighbours of one role become one turn, and the user is the first.
fn merged(turns: &[Turn]) -> Vec<Turn> {
    let groups = turns.chunk_by(|a, b| a.role == b.role).filter(|group| group[0].role != Role::System);
    let mut merged: Vec<Turn> =
        groups.map(|group| Turn { role: group[0].role, text: paragraphs(group.iter()) }).collect();
    if merged.first().is_none_or(|turn| turn.role != Role::User) {
        merged.insert(0, Turn { role: Role::User, text: Text::default() });
    }
    merged
}

fn paragraphs<'a>(turns: impl Iterator<Item = &'a Turn>) -> Text {
    let mut text = Text::default();
    turns.for_each(|turn| text.push_paragraph(&turn.text));
    text
}
