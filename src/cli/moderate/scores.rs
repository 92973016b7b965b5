//! How likely each answer is, were the model to choose among these only.

use std::ops::ControlFlow;

use gale::perplexity::nll;
use gale::prompt::{self, ChatFormat, Message, Options, Role};
use gale::session::Session;
use gale::tokenizer::Tokenizer;

use super::categories::Question;

pub struct Scorer<'a> {
    pub session: Session,
    pub tokenizer: &'a Tokenizer,
    pub format: &'a ChatFormat,
}

impl Scorer<'_> {
    /// A probability for each category; they sum to one.
    ///
    /// The prompt goes through the model once, and each answer is tried after it and not kept: at most a few tokens, which
    /// cost about as much as one.
    pub fn scores(&mut self, question: &Question, text: &str) -> anyhow::Result<Vec<f64>> {
        let question_ids = |answer: &str| {
            let messages = [Message::new(Role::User, question.about(text)), Message::new(Role::Assistant, answer)];
            let options = Options { continue_final_message: true, ..Options::default() };
            Ok(prompt::ids(&self.format.encode(self.tokenizer, &messages, &options)?))
        };
        let sequences: Vec<Vec<u32>> =
            question.categories.iter().map(|name| question_ids(name)).collect::<anyhow::Result<_>>()?;
        let n_common = n_common(&sequences);
        // The question stands before every text, and the cache still holds it.
        self.session.start(&sequences[0][..n_common], &mut |_| ControlFlow::Continue(()))?;
        let first = self.session.logits()?;
        let max_tried = self.session.max_decode();
        let mut likelihoods = vec![0.0; sequences.len()];
        // Those with too many tokens come last: for them, the sequence is run from its beginning.
        let (short, long): (Vec<usize>, Vec<usize>) =
            (0..sequences.len()).partition(|&i| sequences[i].len() - n_common - 1 <= max_tried);
        for i in short {
            likelihoods[i] = self.tried(&first, &sequences[i][n_common..])?;
        }
        for i in long {
            likelihoods[i] = self.scored(&sequences[i], n_common)?;
        }
        Ok(normalised(&likelihoods))
    }

    /// The log-likelihood of an answer after the prompt, whose last logits are `first`.
    fn tried(&mut self, first: &[f32], answer: &[u32]) -> anyhow::Result<f64> {
        let mut sum = -nll(first, answer[0]);
        if answer.len() > 1 {
            self.session.decode_many(&answer[..answer.len() - 1])?;
        }
        for (i, &id) in answer[1..].iter().enumerate() {
            sum -= nll(&self.session.logits_of(i)?, id);
        }
        Ok(sum)
    }

    /// The same for an answer of any length, with the prompt before it.
    fn scored(&mut self, ids: &[u32], n_prompt: usize) -> anyhow::Result<f64> {
        let (mut sum, mut at) = (0.0, n_prompt);
        self.session.score(&ids[..ids.len() - 1], ids.len() - n_prompt, &mut |logits| {
            sum -= nll(logits, ids[at]);
            at += 1;
            Ok(())
        })?;
        Ok(sum)
    }
}

/// How many ids all sequences begin with; each has one more at least.
fn n_common(sequences: &[Vec<u32>]) -> usize {
    let first = &sequences[0];
    let shared = |other: &Vec<u32>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    let shortest = sequences.iter().map(Vec::len).min().expect("at least two");
    sequences.iter().map(shared).min().expect("at least two").min(shortest - 1)
}

/// Log-likelihoods as probabilities that sum to one.
fn normalised(log_likelihoods: &[f64]) -> Vec<f64> {
    let max = log_likelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let likelihoods: Vec<f64> = log_likelihoods.iter().map(|it| (it - max).exp()).collect();
    let sum: f64 = likelihoods.iter().sum();
    likelihoods.iter().map(|it| it / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_become_probabilities() {
        let probabilities = normalised(&[-1000.0, -1000.0 + 3f64.ln()]);
        assert!((probabilities[0] - 0.25).abs() < 1e-12 && (probabilities[1] - 0.75).abs() < 1e-12);
    }

    #[test]
    fn what_all_share_is_the_prompt() {
        assert_eq!(n_common(&[vec![1, 2, 3, 4], vec![1, 2, 5], vec![1, 2, 3]]), 2);
        assert_eq!(n_common(&[vec![1, 2, 3], vec![1, 2]]), 1);
    }
}
