//! Kernels and device functions: the head, and the statements of the body.

use super::{
    super::{
        ast::{Function, Instruction, LabelId, Operand, Param, ParseError, Register, RegisterId, RegisterKind, Symbol},
        lex::{Kind, Token},
    },
    LocatedFunction, ModuleName, Parser,
    scope::{Name, Scopes},
    source::LocationId,
    targets::{IndexedBranch, TargetList},
    types::{array_bytes, register_kind},
};

/// In a module. Far above what any has; a bound on memory, whatever the text says.
const MAX_REGISTERS: u32 = 1 << 21;

/// A function whose body is being parsed.
pub(super) struct Body<'t> {
    pub function: Function,
    pub scopes: Scopes<'t>,
    /// The `.loc` of each instruction.
    locations: Vec<Option<LocationId>>,
    /// The `.loc` that the next instruction has.
    location: Option<LocationId>,
    branches: Vec<Branch<'t>>,
    pub(super) indexed_branches: Vec<IndexedBranch<'t>>,
    pub(super) target_lists: Vec<TargetList<'t>>,
}

/// A branch whose label may be defined further down: its only operand is to become that label.
struct Branch<'t> {
    /// Index in `body`.
    instruction: usize,
    label: Token<'t>,
    scope: usize,
}

impl<'t> Parser<'t> {
    /// `.entry` or `.func`, a declaration or a definition.
    pub(super) fn function(&mut self) -> Result<(), ParseError> {
        let is_entry = self.advance()?.text == ".entry";
        let mut scopes = Scopes::new();
        let returns = if is_entry { Vec::new() } else { self.parameters(&mut scopes, Symbol::Return)? };
        let name = self.word("a function's name")?;
        let mut function = Function {
            name: name.text.to_owned(),
            is_entry,
            is_extern: true,
            params: self.parameters(&mut scopes, Symbol::Param)?,
            returns,
            max_ntid: None,
            req_ntid: None,
            registers: Vec::new(),
            variables: Vec::new(),
            labels: Vec::new(),
            body: Vec::new(),
        };
        self.attributes(&mut function)?;
        // Its name is known in its own body, which may call it.
        let slot = self.function_slot(name)?;
        let known = &mut self.functions[slot];
        if self.token.text == ";" {
            // A definition, wherever it stands, counts more than a declaration.
            known.get_or_insert(LocatedFunction { function, locations: Vec::new() });
            self.advance()?;
            return Ok(());
        }
        if known.as_ref().is_some_and(|known| !known.function.is_extern) {
            return Err(self.declared_twice(name));
        }
        function.is_extern = false;
        self.functions[slot] = Some(self.body(function, scopes)?);
        Ok(())
    }

    fn function_slot(&mut self, name: Token<'t>) -> Result<usize, ParseError> {
        match self.names.get(name.text) {
            Some(&ModuleName::Function(slot)) => Ok(slot),
            Some(ModuleName::Variable(_)) => Err(self.declared_twice(name)),
            None => {
                let slot = self.functions.len();
                self.names.insert(name.text, ModuleName::Function(slot));
                self.functions.push(None);
                Ok(slot)
            }
        }
    }

    /// `(.param .b32 a, .param .b64 b)`, which may be missing.
    fn parameters(&mut self, scopes: &mut Scopes<'t>, symbol: fn(u32) -> Symbol) -> Result<Vec<Param>, ParseError> {
        let mut params = Vec::new();
        if !self.accept("(")? || self.accept(")")? {
            return Ok(params);
        }
        loop {
            let (name, param) = self.parameter()?;
            let is_new = scopes.declare(name.text, Name::Symbol(symbol(params.len() as u32)));
            if !is_new && name.text != "_" {
                return Err(self.declared_twice(name));
            }
            params.push(param);
            if !self.accept(",")? {
                self.expect(")")?;
                return Ok(params);
            }
        }
    }

    /// `.param .u64 .ptr .global .align 1 name` or `.param .align 16 .b8 name[112]`.
    fn parameter(&mut self) -> Result<(Token<'t>, Param), ParseError> {
        self.expect(".param")?;
        let element = self.declared_type()?;
        if self.accept(".ptr")? {
            if matches!(self.token.text, ".global" | ".const" | ".shared" | ".local" | ".param" | ".generic") {
                self.advance()?;
            }
            if self.at(".align") {
                // Of what it points to.
                self.alignment()?;
            }
        }
        let name = self.word("a parameter's name")?;
        let bytes = array_bytes(element, &self.dimensions(element)?);
        if bytes == 0 {
            return Err(self.error(name, format!("expected a size for `{}`, found none", name.text)));
        }
        Ok((name, Param { name: name.text.to_owned(), align: element.align, bytes }))
    }

    /// What may stand between the parameters and the body.
    fn attributes(&mut self, function: &mut Function) -> Result<(), ParseError> {
        while self.token.kind == Kind::Dot {
            match self.token.text {
                ".maxntid" => function.max_ntid = Some(self.extent()?),
                ".reqntid" => function.req_ntid = Some(self.extent()?),
                // Advice to ptxas, and clusters, which the tree does not keep.
                ".minnctapersm" | ".maxnctapersm" | ".maxnreg" | ".reqnctapercluster" | ".maxclusterrank" => {
                    self.extent()?;
                }
                ".explicitcluster" | ".blocksareclusters" | ".noreturn" => {
                    self.advance()?;
                }
                ".pragma" => self.pragma()?,
                _ => return Err(self.expected("`{`, `;` or a directive such as `.maxntid`")),
            }
        }
        Ok(())
    }

    /// `.maxntid 128, 1, 1`; missing dimensions are 1.
    fn extent(&mut self) -> Result<[u32; 3], ParseError> {
        self.advance()?;
        let mut extent = [1; 3];
        for (dimension, size) in extent.iter_mut().enumerate() {
            if dimension > 0 && !self.accept(",")? {
                break;
            }
            *size = self.count("a size")?;
        }
        Ok(extent)
    }

    fn body(&mut self, function: Function, scopes: Scopes<'t>) -> Result<LocatedFunction, ParseError> {
        self.sources.start_function();
        self.expect("{")?;
        let mut body = Body {
            function,
            scopes,
            locations: Vec::new(),
            location: None,
            branches: Vec::new(),
            indexed_branches: Vec::new(),
            target_lists: Vec::new(),
        };
        while self.statement(&mut body)? {}
        for &Branch { instruction, label, scope } in &body.branches {
            let id = body.scopes.label(scope, label.text).ok_or_else(|| self.undeclared(label, "label"))?;
            body.function.body[instruction].operands = vec![Operand::Label(id)];
        }
        self.resolve_targets(&mut body)?;
        Ok(LocatedFunction { function: body.function, locations: body.locations })
    }

    /// False after the brace that ends the body.
    fn statement(&mut self, body: &mut Body<'t>) -> Result<bool, ParseError> {
        match (self.token.text, self.token.kind) {
            ("{", _) => {
                if !body.scopes.open() {
                    return Err(self.error(self.token, "expected fewer braces inside each other"));
                }
                self.advance()?;
            }
            ("}", _) => {
                self.advance()?;
                return Ok(body.scopes.close());
            }
            (";", _) => drop(self.advance()?),
            ("@", _) => {
                let line = self.advance()?.line;
                let negated = self.accept("!")?;
                let guard = self.predicate(body)?;
                let opcode = self.word("an instruction")?;
                self.instruction(body, Some((guard, negated)), opcode, line)?;
            }
            (_, Kind::Word) => {
                let word = self.advance()?;
                if self.accept(":")? { self.label(body, word)? } else { self.instruction(body, None, word, word.line)? }
            }
            (_, Kind::Dot) => self.body_directive(body)?,
            _ => return Err(self.expected("an instruction or `}`")),
        }
        Ok(true)
    }

    fn label(&mut self, body: &mut Body<'t>, name: Token<'t>) -> Result<(), ParseError> {
        let id = LabelId(body.function.labels.len() as u32);
        body.function.labels.push(body.function.body.len());
        if body.scopes.declare_label(name.text, id) { Ok(()) } else { Err(self.declared_twice(name)) }
    }

    fn body_directive(&mut self, body: &mut Body<'t>) -> Result<(), ParseError> {
        match self.token.text {
            ".reg" => self.registers(body)?,
            ".loc" => body.location = Some(self.loc()?),
            ".file" => self.file()?,
            ".pragma" => self.pragma()?,
            ".branchtargets" => self.branch_targets(body)?,
            ".callprototype" | ".calltargets" => self.call_targets()?,
            _ => self.body_variables(body)?,
        }
        Ok(())
    }

    /// `.reg .b32 %r<214>, x;`.
    fn registers(&mut self, body: &mut Body<'t>) -> Result<(), ParseError> {
        self.advance()?;
        if matches!(self.token.text, ".v2" | ".v4") {
            return Err(self.unsupported(self.token, "vector registers"));
        }
        let Some(kind) = register_kind(self.token.text) else {
            return Err(self.expected("a register's type such as `.b32`"));
        };
        self.advance()?;
        loop {
            self.register(body, kind)?;
            if !self.accept(",")? {
                return self.expect(";");
            }
        }
    }

    /// `%r<214>`, the registers `%r0` to `%r213`, or a plain name.
    fn register(&mut self, body: &mut Body<'t>, kind: RegisterKind) -> Result<(), ParseError> {
        let name = self.word("a register's name")?;
        let registers = &mut body.function.registers;
        let first = registers.len() as u32;
        let is_new = if self.accept("<")? {
            let count = self.count("a number of registers")?;
            self.expect(">")?;
            self.n_registers = self.n_registers.saturating_add(count);
            if self.n_registers > MAX_REGISTERS {
                return Err(self.error(name, format!("expected at most {MAX_REGISTERS} registers in a module")));
            }
            registers.extend((0..count).map(|number| Register { name: format!("{}{number}", name.text), kind }));
            body.scopes.declare_range(name.text, first, count)
        } else {
            registers.push(Register { name: name.text.to_owned(), kind });
            body.scopes.declare(name.text, Name::Register(RegisterId(first)))
        };
        if is_new { Ok(()) } else { Err(self.declared_twice(name)) }
    }

    fn instruction(
        &mut self,
        body: &mut Body<'t>,
        guard: Option<(RegisterId, bool)>,
        name: Token<'t>,
        line: u32,
    ) -> Result<(), ParseError> {
        let mut opcode = name.text.to_owned();
        while self.token.kind == Kind::Dot {
            opcode.push_str(self.advance()?.text);
        }
        let operands = match name.text {
            "brx" => self.indexed_branch(body)?,
            "bra" => {
                let label = self.word("a label")?;
                let instruction = body.function.body.len();
                body.branches.push(Branch { instruction, label, scope: body.scopes.current() });
                Vec::new()
            }
            _ => self.operands(body)?,
        };
        self.expect(";")?;
        body.function.body.push(Instruction { guard, opcode, operands, line, source: None });
        body.locations.push(body.location);
        Ok(())
    }
}
