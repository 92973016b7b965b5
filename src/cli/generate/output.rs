//! Where the tokens go: to stdout, each as soon as it is known.

use std::io::{self, Write};

use gale::sampler::Record;
use gale::tokenizer::{StopFilter, TextStream, Tokenizer};
use serde_json::json;

pub enum Output<'a> {
    Text {
        stream: TextStream<'a>,
        stop: StopFilter,
    },
    /// `1,2,3`
    Ids {
        n_written: usize,
    },
    /// A line of JSON for each token, with so many likeliest ones.
    Logprobs {
        tokenizer: &'a Tokenizer,
        n: usize,
    },
}

impl Output<'_> {
    /// Gives out how likely a token was, where that is wanted; the one that ends the text, too.
    pub fn tell(&mut self, record: &Record) -> io::Result<()> {
        let Self::Logprobs { tokenizer, n } = self else { return Ok(()) };
        let line = |id, logprob: Option<f64>| json!({ "id": id, "token": tokenizer.token(id), "logprob": logprob });
        let Some(id) = record.token else { return Ok(()) };
        let mut token = line(id, record.logprob);
        token["top_logprobs"] = record.top.iter().take(*n).map(|it| line(it.token, Some(it.logprob))).collect();
        write(&format!("{token}\n"))
    }

    /// Gives out a token, or what is complete of the text. True if a stop string ends the text here.
    pub fn push(&mut self, id: u32) -> anyhow::Result<bool> {
        match self {
            Self::Text { stream, stop } => {
                let (text, stopped) = stop.push(&stream.step(id)?);
                write(&text)?;
                Ok(stopped)
            }
            Self::Ids { n_written } => {
                let comma = if *n_written == 0 { "" } else { "," };
                write(&format!("{comma}{id}"))?;
                *n_written += 1;
                Ok(false)
            }
            Self::Logprobs { .. } => Ok(false),
        }
    }

    /// Gives out what was held back, and ends the line. After a stop string nothing is held back.
    pub fn finish(&mut self, stopped: bool) -> anyhow::Result<()> {
        if let Self::Logprobs { .. } = self {
            return Ok(());
        }
        if let (Self::Text { stream, stop }, false) = (self, stopped) {
            let (mut text, stopped) = stop.push(&stream.flush()?);
            if !stopped {
                text += &stop.flush();
            }
            write(&text)?;
        }
        Ok(write("\n")?)
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
