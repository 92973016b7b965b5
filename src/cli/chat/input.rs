//! Lines from a terminal, with editing and history, or from a pipe.

use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

const PROMPT: &str = "> ";

pub enum Line {
    /// Not empty.
    Text(String),
    Nothing,
    Unreadable(String),
    End,
}

pub enum Input {
    Terminal(Box<Editor<(), MemHistory>>),
    Pipe {
        /// While it waits.
        idle: Arc<AtomicBool>,
    },
}

impl Input {
    /// A terminal if people are on both sides. `idle` is set while a pipe has to be waited for.
    pub fn open(idle: Arc<AtomicBool>) -> anyhow::Result<Self> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(Self::Pipe { idle });
        }
        let mut editor = Editor::with_history(Config::default(), MemHistory::new())?;
        editor.set_auto_add_history(true);
        Ok(Self::Terminal(Box::new(editor)))
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    pub fn next(&mut self) -> anyhow::Result<Line> {
        let text = match self {
            Self::Terminal(editor) => match editor.readline(PROMPT) {
                Ok(text) => text,
                Err(ReadlineError::Interrupted) => return Ok(Line::Nothing), // Ctrl-C drops the line
                Err(ReadlineError::Eof) => return Ok(Line::End),
                Err(error) => return Err(error.into()),
            },
            Self::Pipe { idle } => {
                let mut bytes = vec![];
                idle.store(true, Ordering::Relaxed);
                let n_read = io::stdin().lock().read_until(b'\n', &mut bytes);
                idle.store(false, Ordering::Relaxed);
                if n_read? == 0 {
                    return Ok(Line::End);
                }
                match String::from_utf8(bytes) {
                    Ok(text) => text.trim_end_matches(['\n', '\r']).to_owned(),
                    Err(_) => return Ok(Line::Unreadable("stdin: expected UTF-8, found a line of other bytes".into())),
                }
            }
        };
        Ok(if text.trim().is_empty() { Line::Nothing } else { Line::Text(text) })
    }
}
