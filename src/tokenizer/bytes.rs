//! The bytes of a single token, which need not be whole characters.
//!
//! Three spellings are in use. A decoder knows the first two, but for tokens that are parts of characters:
//!
//! ```text
//!   ▁Paris   a word with a space before it        (SentencePiece)
//!   <0xC3>   one byte                             (SentencePiece, what has no token)
//!   ĠParis   a letter for each byte, Ġ is 0x20    (GPT-2's byte-level alphabet)
//! ```

use super::Tokenizer;
use std::sync::OnceLock;

impl Tokenizer {
    /// What the token adds to a text that it stands within. A special token is its name; an id that only the model has is
    /// nothing.
    pub fn bytes(&self, id: u32) -> &[u8] {
        let Spellings { anchor, of_id } = self.spellings.get_or_init(|| self.no_spellings());
        let spelling = of_id.get(id as usize);
        spelling.map_or(&[], |it| it.get_or_init(|| self.spell(id, anchor.as_ref()).into()))
    }

    fn no_spellings(&self) -> Spellings {
        let n_ids = self.inner.get_vocab(true).into_values().max().map_or(0, |last| last + 1);
        Spellings { anchor: self.anchor(), of_id: (0..n_ids).map(|_| OnceLock::new()).collect() }
    }

    fn spell(&self, id: u32, anchor: Option<&Anchor>) -> Vec<u8> {
        let Some(token) = self.token(id) else { return vec![] };
        if self.is_special(id) {
            return token.into_bytes();
        }
        let is_literal = || self.decode(&[id], true).is_ok_and(|it| it == token);
        if let Some(byte) = hex_byte(&token).filter(|_| !is_literal()) {
            return vec![byte];
        }
        let decoded = anchor.and_then(|it| self.after(it, id)).unwrap_or_else(|| token.clone());
        if decoded.contains(char::REPLACEMENT_CHARACTER) {
            return letters_to_bytes(&token).unwrap_or_else(|| decoded.into_bytes());
        }
        decoded.into_bytes()
    }

    fn anchor(&self) -> Option<Anchor> {
        let id = *self.encode("a", false).ok()?.last()?;
        Some(Anchor { id, text: self.decode(&[id], true).ok()? })
    }

    fn after(&self, anchor: &Anchor, id: u32) -> Option<String> {
        self.decode(&[anchor.id, id], true).ok()?.strip_prefix(&anchor.text).map(str::to_owned)
    }
}

/// The bytes of each id, found out when they are first asked for: it takes the decoding of several texts.
pub(super) struct Spellings {
    anchor: Option<Anchor>,
    of_id: Vec<OnceLock<Box<[u8]>>>,
}

/// A token that others are decoded after, since decoders strip the first space of a text.
struct Anchor {
    id: u32,
    text: String,
}

/// `<0xC3>`
fn hex_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>').filter(|it| it.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

/// GPT-2's alphabet: printable bytes of Latin-1 are themselves, the others are the letters from U+0100 on.
fn letters_to_bytes(token: &str) -> Option<Vec<u8>> {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let byte = |letter: char| match u32::from(letter) {
        code @ 0..=0xFF => Some(code as u8).filter(is_printable),
        code => (0..=255u8).filter(|byte| !is_printable(byte)).nth(code as usize - 0x100),
    };
    token.chars().map(byte).collect()
}
