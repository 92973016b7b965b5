//! Text as it is generated, token by token: never half a character, never a space lost.
//!
//! The text of a token depends on its neighbours: a decoder may strip the space of the first token, and a
//! character may be spread over several byte tokens. So each token is decoded together with those before it, back
//! to the last place where text was complete, and only what that adds is given out:
//!
//! ```text
//!   ids      ... │ ▁The   ▁caf   <0xC3> │ <0xA9>
//!                └ prefix ┘ └ pending ──────────┘     decode(prefix) = "The", decode(all) = "The café"
//! ```

use super::Tokenizer;
use crate::error::Result;

/// A character has at most 4 bytes, each of which may be a token. What is still incomplete after twice that
/// many is not going to be one.
const MAX_PENDING: usize = 8;
/// Tokens of a prompt that are enough to know how the next one is decoded.
const MAX_CONTEXT: usize = 8;
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Turns generated ids into text. The pieces together are [`Tokenizer::decode`] of all ids, special tokens
/// skipped, as long as that is valid UTF-8.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// `ids[..n_prefix]` have been given out and are kept for their effect on the rest, which has not.
    ids: Vec<u32>,
    n_prefix: usize,
    /// The text of the prefix.
    prefix: String,
}

impl<'a> TextStream<'a> {
    /// A text of its own: a decoder that strips the first space does so.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, ids: vec![], n_prefix: 0, prefix: String::new() }
    }

    /// A text that goes on after `context`: "The capital is" is followed by " Paris", with the space.
    pub fn after(tokenizer: &'a Tokenizer, context: &[u32]) -> Result<Self> {
        let mut stream = Self::new(tokenizer);
        let mut tail: Vec<u32> =
            context.iter().rev().copied().filter(|&id| stream.has_text(id)).take(MAX_CONTEXT).collect();
        tail.reverse();
        stream.ids = tail;
        stream.complete()?;
        Ok(stream)
    }

    /// Takes the next id; gives the text that is now complete, which may be empty.
    pub fn step(&mut self, id: u32) -> Result<String> {
        if !self.has_text(id) {
            return Ok(String::new());
        }
        self.ids.push(id);
        let text = self.pending()?;
        let may_go_on = text.is_empty() || (text.ends_with(REPLACEMENT) && !self.is_whole());
        if may_go_on && self.ids.len() - self.n_prefix < MAX_PENDING {
            return Ok(String::new());
        }
        self.complete()?;
        Ok(text)
    }

    /// What is left when generation ends: an unfinished character becomes U+FFFD.
    pub fn flush(&mut self) -> Result<String> {
        let text = self.pending()?;
        self.complete()?;
        Ok(text)
    }

    /// The text that the pending ids add to the prefix.
    fn pending(&self) -> Result<String> {
        let all = self.tokenizer.decode(&self.ids, true)?;
        match all.strip_prefix(&self.prefix) {
            Some(text) => Ok(text.to_owned()),
            // An invalid byte can change how those before it are decoded, but what is given out stays.
            None => self.tokenizer.decode(&self.ids[self.n_prefix..], true),
        }
    }

    /// Whether the pending ids are whole characters, of which the last may be U+FFFD itself.
    fn is_whole(&self) -> bool {
        let bytes: Vec<u8> =
            self.ids[self.n_prefix..].iter().flat_map(|&id| self.tokenizer.bytes(id)).copied().collect();
        str::from_utf8(&bytes).is_ok()
    }

    /// The pending ids become the prefix.
    fn complete(&mut self) -> Result<()> {
        if self.ids.len() > self.n_prefix {
            self.ids.drain(..self.n_prefix);
            self.n_prefix = self.ids.len();
            self.prefix = self.tokenizer.decode(&self.ids, true)?;
        }
        Ok(())
    }

    /// Special tokens, and ids that only the model has, are no text.
    fn has_text(&self, id: u32) -> bool {
        self.tokenizer.token(id).is_some() && !self.tokenizer.is_special(id)
    }
}
