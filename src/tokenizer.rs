//! Text to token ids and back, by the model's `tokenizer.json`.

mod bytes;
mod stop;
mod stream;

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::normalizers::{Prepend, Replace, Sequence};
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};

use crate::error::{Error, Result, one_line};
use crate::json::{is_present, read_bytes};
use bytes::Spellings;
pub use stop::StopFilter;
pub use stream::TextStream;

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The same, but blind to special tokens; made when it is first used.
    literal: OnceLock<tokenizers::Tokenizer>,
    spellings: OnceLock<Spellings>,
}

/// A token of a text, and the bytes of that text which it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: u32,
    /// Empty for what the post-processor adds. The space that SentencePiece adds has the bytes of the character behind it.
    pub bytes: Range<usize>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`. `None` if there is none: the model then takes and gives ids only.
    ///
    /// Refused if it can emit an id that the model has no embedding for. Fewer ids than the model has are fine.
    pub fn load(dir: &Path, vocab_size: u32) -> Result<Option<Self>> {
        let path = dir.join("tokenizer.json");
        if !is_present(&path) {
            return Ok(None);
        }
        let tokenizer = parse(&read_bytes(&path)?)
            .map_err(|it| Error::malformed(&path, format!("not a usable tokenizer: {it}")))?;
        tokenizer.check_ids(&path, vocab_size)?;
        Ok(Some(tokenizer))
    }

    /// Token ids of `text`. Special tokens spelled out in it (`</s>`) become their ids, as in `transformers`.
    ///
    /// `add_special` runs the post-processor of `tokenizer.json`, which for most models puts BOS in front. Use it
    /// for a plain prompt, and not for a rendered chat template: that has its BOS already.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, add_special);
        Ok(encoding.map_err(|error| failed("encode the text", error))?.get_ids().to_vec())
    }

    /// As [`Tokenizer::encode`] without `add_special`, with the place of each token.
    pub fn encode_tokens(&self, text: &str) -> Result<Vec<Token>> {
        tokens(&self.inner, text, false)
    }

    /// As [`Tokenizer::encode`] with `add_special`, with the place of each token.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<Token>> {
        tokens(&self.inner, text, true)
    }

    /// Tokens of text that is nothing else: special tokens spelled out in it are spelled. A tokenizer of SentencePiece's
    /// kind puts a space before it, whatever it begins with, as SentencePiece itself does.
    pub fn encode_literal(&self, text: &str) -> Result<Vec<Token>> {
        tokens(self.literal.get_or_init(|| literal(&self.inner)), text, false)
    }

    /// Whether the text spells a special token, which [`Tokenizer::encode`] would take for one.
    pub fn spells_special(&self, text: &str) -> bool {
        let added = self.inner.get_added_tokens_decoder();
        added.values().any(|token| token.special && !token.content.is_empty() && text.contains(&token.content))
    }

    /// The text of `ids`, without special tokens if `skip_special`. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner.decode(ids, skip_special).map_err(|error| failed("decode the ids", error))
    }

    /// The id of a token by its exact name, such as `</s>` or `[INST]`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token as the vocabulary spells it (`▁Hello`, `<0x0A>`). `None` for ids that only the model has.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether the token is a control token, such as BOS: not part of any text.
    pub fn is_special(&self, id: u32) -> bool {
        self.token(id).is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
    }

    /// How many tokens there are, special ones included.
    pub fn n_tokens(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// How many of them are control tokens.
    pub fn n_special(&self) -> usize {
        self.inner.get_added_tokens_decoder().values().filter(|token| token.special).count()
    }

    fn check_ids(&self, path: &Path, vocab_size: u32) -> Result<()> {
        let vocabulary = self.inner.get_vocab(true).into_iter();
        let post_processed = self.encode("", true)?.into_iter().map(|id| ("of the post-processor".to_owned(), id));
        let Some((token, id)) =
            vocabulary.chain(post_processed).filter(|(_, id)| *id >= vocab_size).min_by_key(|it| it.1)
        else {
            return Ok(());
        };
        let problem = format!(
            "the tokenizer can emit id {id} (token {token:?}): expected ids below vocab_size = {vocab_size} of \
             config.json; take the tokenizer that belongs to this model"
        );
        Err(Error::malformed(path, problem))
    }
}

/// The crate panics on broken JSON, so that is looked for first, and on good JSON with some broken values (a
/// `Precompiled` normalizer, a template with a token it does not define): those come out when the tokenizer is
/// built and tried, and are caught. Nothing half-built survives.
fn parse(bytes: &[u8]) -> Result<Tokenizer, String> {
    serde_json::from_slice::<Value>(bytes).map_err(|error| format!("not valid JSON: {error}"))?;
    let build_and_try = || {
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes)?;
        // A file may ask for both; a prompt is never cut or filled up behind the user's back.
        inner.with_truncation(None)?;
        inner.with_padding(None);
        inner.encode_fast(TRIAL, true).map(|_| Tokenizer {
            inner,
            literal: OnceLock::new(),
            spellings: OnceLock::new(),
        })
    };
    // The panic's own lines would come before our one.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let built = std::panic::catch_unwind(build_and_try);
    std::panic::set_hook(hook);
    match built {
        Ok(built) => built.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizers crate cannot work with it".into()),
    }
}

/// A word, a space, a digit, punctuation, and characters of two to four bytes.
const TRIAL: &str = "Hello wörld, 日本 😀 1!\n";

fn tokens(tokenizer: &tokenizers::Tokenizer, text: &str, add_special: bool) -> Result<Vec<Token>> {
    let encoding = tokenizer.encode(text, add_special).map_err(|error| failed("encode the text", error))?;
    let places = encoding.get_offsets().iter().zip(encoding.get_special_tokens_mask());
    let places = places.map(|(&(start, end), &is_added)| if is_added == 1 { 0..0 } else { start..end });
    Ok(encoding.get_ids().iter().zip(places).map(|(&id, bytes)| Token { id, bytes }).collect())
}

/// `Metaspace` as a pre-tokenizer puts no space before a text that begins with one; `Prepend` does, and SentencePiece did
/// when the models were trained.
fn literal(tokenizer: &tokenizers::Tokenizer) -> tokenizers::Tokenizer {
    let mut literal = tokenizer.clone();
    literal.set_encode_special_tokens(true);
    let Some(PreTokenizerWrapper::Metaspace(metaspace)) = literal.get_pre_tokenizer() else {
        return literal;
    };
    if metaspace.get_prepend_scheme() == PrependScheme::Never || metaspace.get_split() {
        return literal;
    }
    let space = metaspace.get_replacement().to_string();
    let replace = Replace::new(" ", space.clone()).expect("a space is no pattern");
    let normalizers: Vec<NormalizerWrapper> =
        literal.get_normalizer().cloned().into_iter().chain([Prepend::new(space).into(), replace.into()]).collect();
    literal.with_normalizer(Some(Sequence::new(normalizers))).expect("normalizers that are there already, and two");
    literal.with_pre_tokenizer(None::<PreTokenizerWrapper>);
    literal
}

fn failed(doing: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Tokenize { doing, problem: one_line(error) }
}
