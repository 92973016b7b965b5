//! Prompts: many tokens at once, in chunks.

use super::Session;
use crate::{device::Launched, error::Result, kernels::MAX_TOKENS, model::Forward, ring::Position};
use std::ops::ControlFlow;

impl Session {
    /// Begins a sequence with these ids, like [`Session::reset`] and [`Session::prefill`], but does not compute again what
    /// the cache holds of them: the bits are the same. Gives the number of ids that were there. `progress` hears of the
    /// tokens done, those included, and may stop between chunks.
    ///
    /// # Errors
    /// As [`Session::prefill`]; the sequence is as it was then.
    pub fn start(&mut self, ids: &[u32], progress: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Result<usize> {
        self.check_from(Position(0), ids)?;
        let n_kept = self.history.n_reusable(ids);
        self.history.truncate(n_kept);
        self.position = Position(n_kept as u64);
        self.prefill(&ids[n_kept..], &mut |n_done| progress(n_kept + n_done))?;
        Ok(n_kept)
    }

    /// Takes a prompt, or more of the sequence, in chunks; then [`Session::logits`] are those of its last token.
    /// `progress` hears of the tokens done and may stop between chunks.
    ///
    /// # Errors
    /// No ids, an id outside the vocabulary, more than a model without a window has slots for; nothing was run then.
    pub fn prefill(&mut self, ids: &[u32], progress: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Result<()> {
        self.check(ids)?;
        self.settle()?;
        let mut n_done = 0;
        for chunk in ids.chunks(self.sizes.max_chunk as usize) {
            n_done += chunk.len();
            self.run_chunk(chunk, n_done == ids.len())?;
            // Launches return at once: wait, so that progress means done.
            self.device.synchronize()?;
            if progress(n_done).is_break() {
                break;
            }
        }
        self.has_choice = n_done == ids.len();
        self.unread = self.position;
        self.last_row = 0;
        Ok(())
    }

    /// Takes a chunk of a prompt and chooses the token after it, launch by launch, and says what each took.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn trace_chunk(&mut self, ids: &[u32]) -> Result<Vec<Launched>> {
        assert!(ids.len() <= self.sizes.max_chunk as usize, "{} ids are more than a chunk", ids.len());
        self.check(ids)?;
        self.settle()?;
        let (device, position) = (self.device.clone(), self.position.0);
        let launches = device.trace(position, || self.run_chunk(ids, true))?;
        self.has_choice = true;
        self.unread = self.position;
        self.last_row = 0;
        Ok(launches)
    }

    /// Takes a sequence from its beginning and gives `row` the logits of each of its last `n_last` positions, in order.
    ///
    /// # Errors
    /// As [`Session::prefill`], and those of `row`.
    pub fn score(&mut self, ids: &[u32], n_last: usize, row: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        self.check_from(Position(0), ids)?;
        self.reset()?;
        let vocab_size = self.config.vocab_size as usize;
        let first_wanted = ids.len().saturating_sub(n_last);
        let (mut n_done, mut n_rows) = (0, 1);
        for chunk in ids.chunks(self.sizes.max_chunk as usize) {
            self.run_chunk(chunk, false)?;
            let mut first = first_wanted.saturating_sub(n_done);
            n_done += chunk.len();
            while first < chunk.len() {
                n_rows = (chunk.len() - first).min(MAX_TOKENS as usize);
                self.model.head(first as u32..(first + n_rows) as u32)?;
                let mut rows = vec![0.0; n_rows * vocab_size];
                self.model.logits().read_into(0, &mut rows)?;
                rows.chunks(vocab_size).try_for_each(&mut *row)?;
                first += n_rows;
            }
        }
        self.last_row = n_rows - 1;
        self.settle()
    }

    /// Takes a chunk through the model.
    fn run_chunk(&mut self, chunk: &[u32], is_last: bool) -> Result<()> {
        self.model.set_tokens(chunk)?;
        launch_chunk(&mut *self.model, chunk.len() as u32, is_last)?;
        self.history.extend(chunk);
        self.position.0 += chunk.len() as u64;
        Ok(())
    }
}

/// What a chunk of a prompt takes. After the last one, a token is chosen; its position is left to that.
pub(super) fn launch_chunk(model: &mut dyn Forward, n_tokens: u32, is_last: bool) -> Result<()> {
    model.prefill(n_tokens)?;
    match n_tokens - u32::from(is_last) {
        0 => {}
        n_positions => model.advance(n_positions)?,
    }
    if is_last {
        model.head(n_tokens - 1..n_tokens)?;
        model.sample()?;
    }
    Ok(())
}
