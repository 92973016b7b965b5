//! One token of lookahead, and the errors that say what was expected and what was found.

use super::{
    super::{ast::ParseError, lex::Kind, lex::Token},
    Parser,
};

impl<'t> Parser<'t> {
    /// Moves past the current token and returns it.
    pub(super) fn advance(&mut self) -> Result<Token<'t>, ParseError> {
        let next = self.lexer.token()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    pub(super) fn at(&self, text: &str) -> bool {
        self.token.text == text
    }

    /// Moves past `text` if it comes next.
    pub(super) fn accept(&mut self, text: &str) -> Result<bool, ParseError> {
        let here = self.at(text);
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    pub(super) fn expect(&mut self, text: &str) -> Result<(), ParseError> {
        if self.accept(text)? { Ok(()) } else { Err(self.expected(format_args!("`{text}`"))) }
    }

    pub(super) fn word(&mut self, what: &str) -> Result<Token<'t>, ParseError> {
        if self.token.kind == Kind::Word { self.advance() } else { Err(self.expected(what)) }
    }

    /// A directive or type such as `.b32`.
    pub(super) fn dot(&mut self, what: &str) -> Result<Token<'t>, ParseError> {
        if self.token.kind == Kind::Dot { self.advance() } else { Err(self.expected(what)) }
    }

    pub(super) fn unsigned(&mut self, what: &str) -> Result<u64, ParseError> {
        let Some(value) = self.token.integer() else { return Err(self.expected(what)) };
        self.advance()?;
        Ok(value)
    }

    /// An unsigned integer of 32 bits.
    pub(super) fn count(&mut self, what: &str) -> Result<u32, ParseError> {
        let token = self.token;
        let value = self.unsigned(what)?;
        u32::try_from(value).map_err(|_| self.error(token, format!("expected {what} below 2^32, found {value}")))
    }

    /// An integer with an optional minus; from 2^63 on it stands for the negative number of the same bits.
    pub(super) fn signed(&mut self, what: &str) -> Result<i64, ParseError> {
        let negative = self.accept("-")?;
        let value = self.unsigned(what)? as i64;
        Ok(if negative { value.wrapping_neg() } else { value })
    }

    /// `+4`, `-8` or nvcc's `+-8`; 0 when neither sign comes next.
    pub(super) fn addend(&mut self) -> Result<i64, ParseError> {
        if self.accept("+")? || self.at("-") { self.signed("an offset") } else { Ok(0) }
    }

    pub(super) fn error(&self, token: Token<'t>, message: impl Into<String>) -> ParseError {
        self.lexer.error(token.start, token.line, message)
    }

    pub(super) fn undeclared(&self, token: Token<'t>, what: &str) -> ParseError {
        self.error(token, format!("expected a declared {what}, found `{}`", token.text))
    }

    pub(super) fn unsupported(&self, token: Token<'t>, what: &str) -> ParseError {
        self.error(token, format!("`{}` is refused: {what} are not supported", token.text))
    }

    pub(super) fn declared_twice(&self, name: Token<'t>) -> ParseError {
        self.error(name, format!("expected a new name, found `{}`, which is declared already", name.text))
    }

    /// "expected `what`, found" the current token.
    pub(super) fn expected(&self, what: impl std::fmt::Display) -> ParseError {
        let found = match self.token.kind {
            Kind::End => "the end of the text".to_owned(),
            _ => format!("`{}`", self.token.text),
        };
        self.error(self.token, format!("expected {what}, found {found}"))
    }
}
