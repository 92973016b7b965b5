//! Operands: `%r1`, `{%r1, %r2}`, `[tile+4]`, `%r1|%p1`, `(param0)`.
//!
//! Nothing nests further than an address in a list does, so that no text can make this recurse.

use super::{
    super::{
        ast::{Base, Operand, ParseError, RegisterId, RegisterKind, Symbol},
        lex::{Kind, Token},
    },
    ModuleName, Parser,
    function::Body,
    scope::Name,
};

impl<'t> Parser<'t> {
    /// Up to the `;`.
    pub(super) fn operands(&mut self, body: &Body<'t>) -> Result<Vec<Operand>, ParseError> {
        let mut operands = Vec::new();
        if self.at(";") {
            return Ok(operands);
        }
        loop {
            operands.push(self.operand(body)?);
            if !self.accept(",")? {
                return Ok(operands);
            }
        }
    }

    pub(super) fn operand(&mut self, body: &Body<'t>) -> Result<Operand, ParseError> {
        match self.token.text {
            "{" => Ok(Operand::Vector(self.list(body, "}")?)),
            "(" => Ok(Operand::Arguments(self.list(body, ")")?)),
            "[" => self.address(body),
            _ => {
                let first = self.scalar(body)?;
                if !self.accept("|")? {
                    return Ok(first);
                }
                Ok(Operand::Pair(first.into(), self.scalar(body)?.into()))
            }
        }
    }

    /// Scalars between the current bracket and `end`.
    fn list(&mut self, body: &Body<'t>, end: &str) -> Result<Vec<Operand>, ParseError> {
        self.advance()?;
        let mut scalars = Vec::new();
        if self.accept(end)? {
            return Ok(scalars);
        }
        loop {
            scalars.push(self.scalar(body)?);
            if !self.accept(",")? {
                self.expect(end)?;
                return Ok(scalars);
            }
        }
    }

    fn scalar(&mut self, body: &Body<'t>) -> Result<Operand, ParseError> {
        match (self.token.text, self.token.kind) {
            ("!", _) => {
                self.advance()?;
                Ok(Operand::NotRegister(self.predicate(body)?))
            }
            ("_", _) => {
                self.advance()?;
                Ok(Operand::Sink)
            }
            (_, Kind::Word) => {
                let name = self.advance()?;
                match self.lookup(body, name) {
                    Some(Name::Register(id)) => Ok(Operand::Register(id)),
                    Some(Name::Symbol(symbol)) => Ok(Operand::Symbol(symbol)),
                    // The prototype of a call through a pointer.
                    None => match body.scopes.label(body.scopes.current(), name.text) {
                        Some(label) => Ok(Operand::Label(label)),
                        None => self.special_register(name),
                    },
                }
            }
            _ => self.literal(),
        }
    }

    fn literal(&mut self) -> Result<Operand, ParseError> {
        let negative = self.accept("-")?;
        let literal = match self.token.kind {
            Kind::Integer(value) if negative => Operand::Integer((value as i64).wrapping_neg()),
            Kind::Integer(value) => Operand::Integer(value as i64),
            Kind::Float32(bits) => Operand::Float32(bits ^ u32::from(negative) << 31),
            Kind::Float64(bits) => Operand::Float64(bits ^ u64::from(negative) << 63),
            _ => return Err(self.expected("an operand")),
        };
        self.advance()?;
        Ok(literal)
    }

    /// The register of `@%p1` or `!%p1`.
    pub(super) fn predicate(&mut self, body: &Body<'t>) -> Result<RegisterId, ParseError> {
        let name = self.word("a predicate register")?;
        match self.lookup(body, name) {
            Some(Name::Register(id)) if body.function.registers[id.0 as usize].kind == RegisterKind::Pred => Ok(id),
            _ => Err(self.undeclared(name, "predicate register")),
        }
    }

    /// `[%rd1+-8]`, `[tile+4]`, `[16]`. Where coordinates follow, as in `[%rd1, {%r1, %r2}]`, the operand becomes a
    /// vector of the address and the vector of coordinates.
    fn address(&mut self, body: &Body<'t>) -> Result<Operand, ParseError> {
        self.advance()?;
        let base = if self.token.kind == Kind::Word { self.base(body)? } else { Base::None };
        let offset = if base == Base::None { self.signed("a register, a name or a number")? } else { self.addend()? };
        let mut operand = Operand::Address { base, offset };
        if self.accept(",")? {
            if !self.at("{") {
                return Err(self.expected("`{`"));
            }
            operand = Operand::Vector(vec![operand, Operand::Vector(self.list(body, "}")?)]);
        }
        self.expect("]")?;
        Ok(operand)
    }

    fn base(&mut self, body: &Body<'t>) -> Result<Base, ParseError> {
        let name = self.advance()?;
        match self.lookup(body, name) {
            Some(Name::Register(id)) => Ok(Base::Register(id)),
            Some(Name::Symbol(symbol)) => Ok(Base::Symbol(symbol)),
            None => Err(self.undeclared(name, "name")),
        }
    }

    /// A name of this function, or else of the module.
    fn lookup(&self, body: &Body<'t>, name: Token<'t>) -> Option<Name> {
        body.scopes.lookup(name.text).or_else(|| {
            Some(Name::Symbol(match *self.names.get(name.text)? {
                ModuleName::Variable(index) => Symbol::Module(index),
                ModuleName::Function(_) => Symbol::Function(name.text.to_owned()),
            }))
        })
    }

    /// `%laneid` or `%tid.x`; `name` is read already.
    fn special_register(&mut self, name: Token<'t>) -> Result<Operand, ParseError> {
        if VECTOR_REGISTERS.contains(&name.text) {
            if !matches!(self.token.text, ".x" | ".y" | ".z") {
                return Err(self.expected("`.x`, `.y` or `.z`"));
            }
            return Ok(Operand::Special(format!("{}{}", name.text, self.advance()?.text)));
        }
        if SCALAR_REGISTERS.contains(&name.text)
            || is_numbered(name.text, "%envreg", 32)
            || is_numbered(name.text, "%pm", 8)
            || name.text.starts_with("%reserved_smem_offset_")
        {
            return Ok(Operand::Special(name.text.to_owned()));
        }
        Err(self.undeclared(name, "name"))
    }
}

/// PTX ISA: `#special-registers`.
const VECTOR_REGISTERS: [&str; 8] =
    ["%tid", "%ntid", "%ctaid", "%nctaid", "%clusterid", "%nclusterid", "%cluster_ctaid", "%cluster_nctaid"];
const SCALAR_REGISTERS: [&str; 25] = [
    "WARP_SZ",
    "%laneid",
    "%warpid",
    "%nwarpid",
    "%smid",
    "%nsmid",
    "%gridid",
    "%is_explicit_cluster",
    "%cluster_ctarank",
    "%cluster_nctarank",
    "%lanemask_eq",
    "%lanemask_le",
    "%lanemask_lt",
    "%lanemask_ge",
    "%lanemask_gt",
    "%clock",
    "%clock_hi",
    "%clock64",
    "%globaltimer",
    "%globaltimer_lo",
    "%globaltimer_hi",
    "%total_smem_size",
    "%aggr_smem_size",
    "%dynamic_smem_size",
    "%current_graph_exec",
];

/// `%envreg3`.
fn is_numbered(name: &str, prefix: &str, count: u32) -> bool {
    name.strip_prefix(prefix).and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| number < count)
}
