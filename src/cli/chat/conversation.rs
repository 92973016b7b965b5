//! What was said, and the model that answers.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gale::prompt::{self, ChatFormat, Message, Role};
use gale::ring::Position;
use gale::sampler::{Finished, Limits, Sampling};
use gale::session::Session;
use gale::tokenizer::{TextStream, Tokenizer};

use crate::cli::generate::take_prompt;
use crate::cli::generate::timing::Timing;
use crate::cli::say;

pub struct Conversation<'a> {
    pub session: Session,
    pub tokenizer: &'a Tokenizer,
    pub format: ChatFormat,
    pub safe_prompt: bool,
    pub system: Option<String>,
    /// Questions and answers, in turn.
    pub messages: Vec<Message>,
    pub sampling: Sampling,
    pub max_tokens: u32,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
    pub verbose: bool,
}

impl Conversation<'_> {
    /// Says something to the model and shows its answer. After an error, the conversation is as it was before.
    pub fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.messages.push(Message::new(Role::User, text));
        let answer = self.ids().and_then(|ids| self.answer(&ids));
        match answer {
            Ok(text) if !text.is_empty() => {
                self.messages.push(Message::new(Role::Assistant, text));
                Ok(())
            }
            nothing => {
                self.messages.pop();
                nothing.map(|_| say("gale: no answer, so the message is forgotten"))
            }
        }
    }

    /// The system message, if there is one, and all others.
    pub fn all_messages(&self) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::new(Role::System, text.as_str()));
        system.chain(self.messages.iter().cloned()).collect()
    }

    /// The prompt of the whole conversation.
    fn ids(&self) -> anyhow::Result<Vec<u32>> {
        let options = prompt::Options { safe_prompt: self.safe_prompt, continue_final_message: false };
        Ok(prompt::ids(&self.format.encode(self.tokenizer, &self.all_messages(), &options)?))
    }

    /// Shows what the model says after these ids, up to its end, or Ctrl-C, or the most tokens an answer can have.
    fn answer(&mut self, ids: &[u32]) -> anyhow::Result<String> {
        self.interrupted.store(false, Ordering::Relaxed);
        let interrupted = self.interrupted.clone();
        let is_interrupted = || interrupted.load(Ordering::Relaxed);
        let max_tokens = self.max_tokens(ids.len());
        let mut timing = Timing::start(ids.len());

        let end = Position((ids.len() + max_tokens) as u64);
        let limits = Limits { eos_ids: self.session.config().eos_ids.clone(), ignore_eos: false, end, n_logprobs: 0 };
        self.session.begin(&self.sampling, &limits, ids)?;
        timing.cached(take_prompt(&mut self.session, ids, &is_interrupted)?);

        let mut stream = TextStream::new(self.tokenizer);
        let mut answer = String::new();
        let generated = self.generate(max_tokens, &is_interrupted, &mut |id| {
            timing.token();
            show(&mut answer, &stream.step(id)?)
        });
        show(&mut answer, &stream.flush()?)?;
        writeln!(io::stdout())?;
        if generated? == Ended::Limit {
            say(format_args!(
                "gale: stopped after {max_tokens} tokens, which is all that --max-tokens or the context allows"
            ));
        }
        if self.verbose {
            say(timing);
        }
        // Another answer is another choice, but the same in another run with the same seed.
        self.sampling.seed = self.sampling.seed.wrapping_add(1);
        Ok(answer)
    }

    /// What an answer can have; less than asked for where the context ends before. Its last token needs no slot.
    fn max_tokens(&self, n_prompt: usize) -> usize {
        let most = self.max_tokens as usize;
        match self.session.config().window {
            Some(_) => most,
            None => most.min((self.session.memory().n_slots() as usize + 1).saturating_sub(n_prompt)),
        }
    }

    fn generate(
        &mut self,
        max_tokens: usize,
        is_interrupted: &dyn Fn() -> bool,
        show: &mut dyn FnMut(u32) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ended> {
        for _ in 0..max_tokens {
            if is_interrupted() {
                return Ok(Ended::Otherwise);
            }
            let record = self.session.next_token()?;
            let id = record.token.ok_or_else(|| self.session.no_choice())?;
            if record.finished == Some(Finished::Eos) {
                return Ok(Ended::Otherwise);
            }
            show(id)?;
        }
        Ok(Ended::Limit)
    }
}

#[derive(PartialEq)]
enum Ended {
    /// As many tokens as allowed.
    Limit,
    /// The model, or Ctrl-C.
    Otherwise,
}

/// On stdout, at once.
fn show(answer: &mut String, text: &str) -> anyhow::Result<()> {
    answer.push_str(text);
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
