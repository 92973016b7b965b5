//! Tokens to a tree, by recursive descent with one token of lookahead.

mod cursor;
mod function;
mod initialiser;
mod operand;
mod scope;
mod source;
mod targets;
mod types;
mod variable;

use super::{
    ast::{Function, Module, ParseError, Variable},
    lex::{Kind, Lexer, Token},
};
use source::{LocationId, Sources};
use std::collections::HashMap;

/// Parses the text of a `.ptx` file.
///
/// # Errors
///
/// The first place that is not PTX, or that is PTX outside of what [the module](super) lists. No text makes it panic.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    let mut lexer = Lexer::new(text);
    let token = lexer.token()?;
    let mut parser = Parser {
        lexer,
        token,
        variables: Vec::new(),
        functions: Vec::new(),
        names: HashMap::new(),
        sources: Sources::default(),
        n_registers: 0,
        padding: 0,
        relocated: Vec::new(),
    };
    let (version, target) = parser.header()?;
    while parser.token.kind != Kind::End {
        parser.item()?;
    }
    parser.finish(version, target)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The token that comes next.
    token: Token<'t>,
    variables: Vec<Variable>,
    /// `None` only while the first body of that name is being parsed.
    functions: Vec<Option<LocatedFunction>>,
    names: HashMap<&'t str, ModuleName>,
    sources: Sources<'t>,
    /// In the ranges of all functions so far.
    n_registers: u32,
    /// The zeros added to all initialisers so far, in bytes.
    padding: u64,
    /// Names in initialisers, which may be declared later.
    relocated: Vec<Token<'t>>,
}

#[derive(Clone, Copy)]
enum ModuleName {
    Variable(u32),
    Function(usize),
}

/// A function whose instructions know only the number of their `.loc`, one for each of the body.
struct LocatedFunction {
    function: Function,
    locations: Vec<Option<LocationId>>,
}

/// `.extern .visible` and the like. Only `.extern` has a meaning without a linker.
#[derive(Clone, Copy, Default)]
struct Linkage {
    is_extern: bool,
}

impl<'t> Parser<'t> {
    /// `.version 9.0 .target sm_80 .address_size 64`.
    fn header(&mut self) -> Result<((u32, u32), String), ParseError> {
        self.expect(".version")?;
        let numbers = self.token.text.split_once('.');
        let version = numbers.and_then(|(major, minor)| major.parse().ok().zip(minor.parse().ok()));
        let Some(version) = version else { return Err(self.expected("a version such as 9.0")) };
        self.advance()?;
        self.expect(".target")?;
        let target = self.word("a target such as sm_80")?.text.to_owned();
        while self.accept(",")? {
            self.word("an option of .target such as debug")?;
        }
        if self.accept(".address_size")? && !self.accept("64")? {
            return Err(self.expected("`64`: other addresses are not supported"));
        }
        Ok((version, target))
    }

    /// Whatever may stand outside of functions.
    fn item(&mut self) -> Result<(), ParseError> {
        let here = self.token;
        match here.text {
            ".file" => self.file(),
            ".section" => self.section(),
            ".pragma" => self.pragma(),
            _ => {
                let linkage = self.linkage()?;
                match self.token.text {
                    ".entry" | ".func" => self.function(),
                    ".global" | ".const" | ".shared" => self.module_variables(linkage),
                    ".alias" | ".tex" => Err(self.unsupported(here, "aliases and textures")),
                    _ => Err(self.expected("a function, a variable, `.file` or `.section`")),
                }
            }
        }
    }

    fn linkage(&mut self) -> Result<Linkage, ParseError> {
        let mut linkage = Linkage::default();
        while matches!(self.token.text, ".visible" | ".weak" | ".extern" | ".common") {
            linkage.is_extern |= self.advance()?.text == ".extern";
        }
        Ok(linkage)
    }

    /// `.pragma "nounroll";` is advice to an optimiser.
    fn pragma(&mut self) -> Result<(), ParseError> {
        self.advance()?;
        while self.token.kind == Kind::Quoted {
            self.advance()?;
            self.accept(",")?;
        }
        self.expect(";")
    }

    /// Resolves what needed the whole text.
    fn finish(self, version: (u32, u32), target: String) -> Result<Module, ParseError> {
        if let Some(&token) = self.relocated.iter().find(|token| !self.names.contains_key(token.text)) {
            return Err(self.undeclared(token, "name"));
        }
        let sources = self.resolve_sources()?;
        let mut functions = Vec::with_capacity(self.functions.len());
        for LocatedFunction { mut function, locations } in self.functions.into_iter().flatten() {
            for (instruction, location) in function.body.iter_mut().zip(locations) {
                instruction.source = location.map(|id| sources[id].clone());
            }
            functions.push(function);
        }
        Ok(Module { version, target, variables: self.variables, functions })
    }
}
