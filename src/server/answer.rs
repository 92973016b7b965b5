//! From tokens to the text of an answer.

use super::job::{Begin, Piece, TokenInfo, Work};
use super::logprobs::Scored;
use crate::error::Result;
use crate::tokenizer::{StopFilter, TextStream, Tokenizer};

pub struct Answer<'a> {
    stream: TextStream<'a>,
    stop: StopFilter,
    /// Characters that the stream has given out, whether they are shown or held back.
    n_chars: usize,
}

impl<'a> Answer<'a> {
    pub fn new(tokenizer: &'a Tokenizer, work: &Work, prompt: &[u32]) -> Result<Answer<'a>> {
        let stream = match work.begin {
            Begin::After => TextStream::after(tokenizer, prompt)?,
            Begin::Fresh | Begin::Echo => TextStream::new(tokenizer),
        };
        Ok(Answer { stream, stop: StopFilter::new(work.stop.clone()), n_chars: 0 })
    }

    /// Characters before the next token.
    pub fn n_chars(&self) -> usize {
        self.n_chars
    }

    /// The text of a prompt, of which nothing is a stop string; `scores` are those of all tokens but the first.
    pub fn echo(&mut self, choice: usize, prompt: &[u32], scores: Option<Vec<Scored>>) -> Result<Piece> {
        let mut piece = Piece { choice, id: None, text: String::new(), tokens: vec![] };
        let mut offsets = Vec::with_capacity(prompt.len());
        for &id in prompt {
            offsets.push(self.n_chars);
            piece.text += &self.step(id)?;
        }
        if let Some(scores) = scores {
            let scores = [Scored::default()].into_iter().chain(scores);
            let tokens = prompt.iter().zip(offsets).zip(scores);
            piece.tokens =
                tokens.map(|((&id, offset), Scored { logprob, top })| TokenInfo { id, logprob, top, offset }).collect();
        }
        Ok(piece)
    }

    /// What a token adds, and whether a stop string ends the text here.
    pub fn push(&mut self, choice: usize, id: u32) -> Result<(Piece, bool)> {
        let text = self.step(id)?;
        let (text, is_stopped) = self.stop.push(&text);
        Ok((Piece { choice, id: None, text, tokens: vec![] }, is_stopped))
    }

    /// What was held back, and whether there is a stop string in it after all.
    pub fn finish(&mut self, choice: usize) -> Result<(Piece, bool)> {
        let (mut text, is_stopped) = self.stop.push(&self.stream.flush()?);
        if !is_stopped {
            text += &self.stop.flush();
        }
        Ok((Piece { choice, id: None, text, tokens: vec![] }, is_stopped))
    }

    fn step(&mut self, id: u32) -> Result<String> {
        let text = self.stream.step(id)?;
        self.n_chars += text.chars().count();
        Ok(text)
    }
}
