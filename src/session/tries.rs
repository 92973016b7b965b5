//! Tokens that may not stay: several are tried at once, for about the cost of one, and some of them are kept.

use super::Session;
use crate::{
    config::Config,
    error::{Error, Result},
    kernels::max_step_tokens,
    model::Keep,
};

impl Session {
    /// The most tokens that [`Session::decode_many`] takes at once.
    pub fn max_decode(&self) -> usize {
        let Config { n_heads, n_kv_heads, .. } = self.config;
        self.ring.n_slots().min(max_step_tokens(n_heads, n_kv_heads)) as usize
    }

    /// Tries tokens that may not stay: each has the logits ([`Session::logits_of`]) that decoding it after those before
    /// it would give, bit for bit, and the sequence is as long as before until [`Session::commit`]. All of them cost
    /// about as much as one.
    ///
    /// # Errors
    /// No ids or more than [`Session::max_decode`], an id outside the vocabulary, a context that is too short.
    pub fn decode_many(&mut self, ids: &[u32]) -> Result<()> {
        self.check(ids)?;
        self.settle()?;
        let max = self.max_decode();
        if ids.len() > max {
            return Err(Error::Prompt {
                expected: format!("at most {max} tokens at once"),
                found: ids.len().to_string(),
            });
        }
        self.model.set_tokens(ids)?;
        self.model.step(0..ids.len() as u32, Keep::Staged)?;
        self.model.head(0..ids.len() as u32)?;
        self.staged.extend(ids);
        Ok(())
    }

    /// Keeps the first `n_accepted` tokens of the last [`Session::decode_many`] and forgets the others; then
    /// [`Session::logits`] are those of the last that stays. Once for each, and before anything else that moves the
    /// sequence: that forgets them all.
    ///
    /// # Errors
    /// The driver's.
    pub fn commit(&mut self, n_accepted: usize) -> Result<()> {
        assert!(n_accepted <= self.staged.len(), "{n_accepted} tokens cannot stay of {}", self.staged.len());
        if n_accepted > 0 {
            self.model.commit(n_accepted as u32)?;
            self.model.advance(n_accepted as u32)?;
            self.history.extend(&self.staged[..n_accepted]);
            self.position.0 += n_accepted as u64;
            self.last_row = n_accepted - 1;
        }
        self.staged.clear();
        Ok(self.model.forget_best()?)
    }

    /// The logits of a token of the last [`Session::decode_many`]: [vocab_size].
    ///
    /// # Errors
    /// As [`Session::logits`].
    pub fn logits_of(&self, token: usize) -> Result<Vec<f32>> {
        assert!(token < self.staged.len(), "there is no token {token} of {}", self.staged.len());
        self.row_logits(token)
    }
}
