//! PTX text to tokens. Tokens borrow from the text; blanks and comments vanish.

use super::ast::ParseError;

/// The kinds that need telling apart; the rest is in [`Token::text`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// `mov`, `%r1`, `$L__BB0_2`, `_`.
    Word,
    /// A dot and what clings to it: `.reg`, `.x`, `.L2::128B`.
    Dot,
    /// Negative numbers are a `-` and one of these.
    Integer(u64),
    /// `0f3F800000`: the bits.
    Float32(u32),
    /// `0d3FF0000000000000` or `1.5`: the bits.
    Float64(u64),
    /// `"nounroll"`; the text keeps its quotes.
    Quoted,
    /// One character of punctuation.
    Mark,
    End,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub kind: Kind,
    pub text: &'t str,
    /// Byte offset in the module's text.
    pub start: usize,
    /// From 1.
    pub line: u32,
}

impl Token<'_> {
    pub fn integer(&self) -> Option<u64> {
        if let Kind::Integer(value) = self.kind { Some(value) } else { None }
    }
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    /// Byte offset of what is not read yet.
    next: usize,
    line: u32,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Self {
        Lexer { text, next: 0, line: 1 }
    }

    pub fn token(&mut self) -> Result<Token<'t>, ParseError> {
        self.skip_blanks()?;
        let (start, line) = (self.next, self.line);
        let kind = match self.byte(0) {
            None => Kind::End,
            Some(b'0'..=b'9') => self.number()?,
            Some(b'"') => self.quoted()?,
            Some(b'.') if self.byte(1).is_some_and(is_word) => self.dot(),
            Some(b'%') => self.word(),
            Some(byte) if is_word(byte) => self.word(),
            Some(byte) if byte.is_ascii_punctuation() => {
                self.next += 1;
                Kind::Mark
            }
            Some(_) => return Err(self.error(start, line, "unexpected character")),
        };
        Ok(Token { kind, text: &self.text[start..self.next], start, line })
    }

    /// An error at byte `start` of the text, which is on `line`.
    pub fn error(&self, start: usize, line: u32, message: impl Into<String>) -> ParseError {
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let column = self.text[line_start..start].chars().count() + 1;
        ParseError { line, column: column as u32, message: message.into(), excerpt: self.excerpt(line_start, start) }
    }

    /// The line that starts at `line_start`; of a long one, such as a table of constants, what surrounds byte `start`.
    fn excerpt(&self, line_start: usize, start: usize) -> String {
        const AROUND: usize = 100;
        let line = self.text[line_start..].lines().next().unwrap_or("");
        let from = line.floor_char_boundary((start - line_start).saturating_sub(AROUND));
        let to = line.ceil_char_boundary(start - line_start + AROUND);
        line[from..to].to_owned()
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.next + ahead).copied()
    }

    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\n'), _) => {
                    self.line += 1;
                    self.next += 1;
                }
                (Some(byte), _) if byte.is_ascii_whitespace() => self.next += 1,
                (Some(b'/'), Some(b'/')) => {
                    let rest = &self.text[self.next..];
                    self.next += rest.find('\n').unwrap_or(rest.len());
                }
                (Some(b'/'), Some(b'*')) => {
                    let (start, rest) = (self.next, &self.text[self.next + 2..]);
                    let Some(length) = rest.find("*/") else {
                        return Err(self.error(
                            start,
                            self.line,
                            "expected `*/` after this, found the end of the text",
                        ));
                    };
                    self.line += rest[..length].bytes().filter(|&byte| byte == b'\n').count() as u32;
                    self.next += length + 4;
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&accept) {
            self.next += 1;
        }
    }

    fn word(&mut self) -> Kind {
        self.next += 1;
        self.skip_while(is_word);
        Kind::Word
    }

    /// `.shared::cta`: `::` joins words, a single `:` does not.
    fn dot(&mut self) -> Kind {
        self.next += 1;
        self.skip_while(is_word);
        while self.byte(0) == Some(b':') && self.byte(1) == Some(b':') && self.byte(2).is_some_and(is_word) {
            self.next += 2;
            self.skip_while(is_word);
        }
        Kind::Dot
    }

    fn quoted(&mut self) -> Result<Kind, ParseError> {
        let (start, line) = (self.next, self.line);
        self.next += 1;
        self.skip_while(|byte| byte != b'"' && byte != b'\n');
        if self.byte(0) != Some(b'"') {
            return Err(self.error(start, line, "expected `\"` at the end of this, found the end of the line"));
        }
        self.next += 1;
        Ok(Kind::Quoted)
    }

    fn number(&mut self) -> Result<Kind, ParseError> {
        let start = self.next;
        self.skip_while(is_word);
        let whole = &self.text[start..self.next];
        let is_float = self.byte(0) == Some(b'.') || is_exponent_form(whole);
        if is_float && whole.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'e' | b'E')) {
            self.skip_while(|byte| is_word(byte) || byte == b'.');
            if matches!(self.text.as_bytes()[self.next - 1], b'e' | b'E') && matches!(self.byte(0), Some(b'+' | b'-')) {
                self.next += 1;
                self.skip_while(is_word);
            }
            let text = &self.text[start..self.next];
            let value = text.parse::<f64>().map_err(|_| self.malformed(start))?;
            return Ok(Kind::Float64(value.to_bits()));
        }
        literal(whole).ok_or_else(|| self.malformed(start))
    }

    fn malformed(&self, start: usize) -> ParseError {
        let text = &self.text[start..self.next];
        self.error(start, self.line, format!("expected a number of at most 64 bits, found `{text}`"))
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// `1e5`: digits, then an exponent.
fn is_exponent_form(text: &str) -> bool {
    text.trim_start_matches(|it: char| it.is_ascii_digit()).starts_with(['e', 'E'])
}

/// A literal without a point. PTX ISA `#constants`: hexadecimal `0x`, octal `0`, binary `0b`, decimal, each with an
/// optional `U`, and the bits of floats after `0f` and `0d`.
fn literal(text: &str) -> Option<Kind> {
    let hex = |digits: &str, length: usize| {
        let exact = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        exact.then(|| u64::from_str_radix(digits, 16).ok())?
    };
    let radix = |digits: &str, radix: u32| {
        let digits = digits.strip_suffix(['U', 'u']).unwrap_or(digits);
        u64::from_str_radix(digits, radix).ok().map(Kind::Integer)
    };
    match (text.as_bytes(), text.get(2..)) {
        ([b'0', b'f' | b'F', ..], Some(digits)) => hex(digits, 8).map(|bits| Kind::Float32(bits as u32)),
        ([b'0', b'd' | b'D', ..], Some(digits)) => hex(digits, 16).map(Kind::Float64),
        ([b'0', b'x' | b'X', ..], Some(digits)) => radix(digits, 16),
        ([b'0', b'b' | b'B', ..], Some(digits)) => radix(digits, 2),
        ([b'0', b'0'..=b'9', ..], _) => radix(&text[1..], 8),
        _ => radix(text, 10),
    }
}
