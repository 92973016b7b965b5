//! What the outside world can do to us: files, options, requests. A bug of ours is an assert instead.
//!
//! Every message says, in one line (but for a compiler's log from the driver), where, what was expected, what was found, and what to do.

use crate::device::DeviceError;
use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory that cannot be read at all.
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: String },

    /// A file that we cannot write.
    #[error("cannot write {}: {reason}", path.display())]
    Write { path: PathBuf, reason: String },

    /// A file whose content breaks the rules of its own format.
    #[error("{}: {problem}", path.display())]
    Malformed { path: PathBuf, problem: String },

    /// A key of a JSON file with a value that cannot be.
    #[error("{}: key \"{key}\": expected {expected}, found {found}", path.display())]
    Key { path: PathBuf, key: String, expected: String, found: String },

    /// Something well-formed that gale does not do.
    #[error("{}: {asked} is not supported; {supported}", path.display())]
    Unsupported { path: PathBuf, asked: String, supported: String },

    /// A tensor that is missing, unexpected, or not of the shape or type that the config asks for.
    #[error("{}: tensor \"{tensor}\": expected {expected}, found {found}", path.display())]
    Tensor { path: PathBuf, tensor: String, expected: String, found: String },

    /// An option of the command line or a field of a request.
    #[error("{option}: expected {expected}, found {found}")]
    Option { option: &'static str, expected: String, found: String },

    /// What the chat template itself raised, or how it failed.
    #[error("chat template {}: {problem}", path.display())]
    Template { path: PathBuf, problem: String },

    /// A model that nobody has told how to be asked.
    #[error(
        "{}: it holds no chat template, and its vocabulary is none of Mistral's instruct models; take an instruct model, \
         or write on from a plain prompt",
        path.display()
    )]
    NoChatFormat { path: PathBuf },

    /// The tokenizer failed on text or ids.
    #[error("tokenizer: cannot {doing}: {problem}")]
    Tokenize { doing: &'static str, problem: String },

    /// A prompt that cannot be run.
    #[error("prompt: expected {expected}, found {found}")]
    Prompt { expected: String, found: String },

    /// A sequence longer than the cache of a model without a window.
    #[error(
        "the context is full: it holds {max} tokens, and the text needs {needed} \
         (this model has no sliding window; --ctx sets the context)"
    )]
    Context { max: u64, needed: u64 },

    /// The driver, the card or its memory.
    #[error(transparent)]
    Device(#[from] DeviceError),

    /// Whoever asked for it does not want it any more.
    #[error("interrupted")]
    Interrupted,

    /// The model's output leaves nothing to choose from.
    #[error(
        "no token can be chosen at position {position}: all {n_logits} logits are NaN or -inf; \
         the weights or the kernels are broken (gale doctor tests the kernels)"
    )]
    Logits { position: u64, n_logits: usize },
}

impl Error {
    /// An [`Error::Malformed`], kept to one line.
    pub(crate) fn malformed(path: impl Into<PathBuf>, problem: impl std::fmt::Display) -> Self {
        Self::Malformed { path: path.into(), problem: one_line(problem) }
    }
}

/// Messages of other crates may span lines; ours never do.
pub(crate) fn one_line(text: impl std::fmt::Display) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
