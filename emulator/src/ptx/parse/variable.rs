//! Variables, at module scope and in bodies.

use super::{
    super::{
        ast::{ParseError, Space, Symbol, Variable, VariableId},
        lex::Token,
    },
    Linkage, ModuleName, Parser,
    function::Body,
    scope::Name,
    types::{Type, array_bytes},
};

impl<'t> Parser<'t> {
    /// `.global .align 4 .u32 a[2] = {1, 2}, b;` from the space on.
    pub(super) fn module_variables(&mut self, linkage: Linkage) -> Result<(), ParseError> {
        let (space, element) = (self.space()?, self.declared_type()?);
        loop {
            let (name, variable) = self.variable(space, element, linkage)?;
            self.declare_module_variable(name, variable)?;
            if !self.accept(",")? {
                return self.expect(";");
            }
        }
    }

    /// A definition takes the place of an `.extern` declaration.
    fn declare_module_variable(&mut self, name: Token<'t>, variable: Variable) -> Result<(), ParseError> {
        match self.names.get(name.text) {
            None => {
                let index = self.variables.len() as u32;
                self.names.insert(name.text, ModuleName::Variable(index));
                self.variables.push(variable);
            }
            Some(&ModuleName::Variable(index)) if self.variables[index as usize].is_extern => {
                self.variables[index as usize] = variable;
            }
            Some(ModuleName::Variable(_)) if variable.is_extern => {}
            Some(_) => return Err(self.declared_twice(name)),
        }
        Ok(())
    }

    /// `.shared .align 16 .b8 tile[1024];` from the linkage on.
    pub(super) fn body_variables(&mut self, body: &mut Body<'t>) -> Result<(), ParseError> {
        let linkage = self.linkage()?;
        if !matches!(self.token.text, ".shared" | ".local" | ".param") {
            return Err(self.expected("an instruction or one of `.reg`, `.shared`, `.local`, `.param`"));
        }
        let (space, element) = (self.space()?, self.declared_type()?);
        loop {
            let (name, variable) = self.variable(space, element, linkage)?;
            let id = VariableId(body.function.variables.len() as u32);
            body.function.variables.push(variable);
            if !body.scopes.declare(name.text, Name::Symbol(Symbol::Local(id))) {
                return Err(self.declared_twice(name));
            }
            if !self.accept(",")? {
                return self.expect(";");
            }
        }
    }

    fn space(&mut self) -> Result<Space, ParseError> {
        Ok(match self.advance()?.text {
            ".global" => Space::Global,
            ".const" => Space::Const,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            _ => Space::Param,
        })
    }

    /// `name[4][8] = {1, 2}`.
    fn variable(
        &mut self,
        space: Space,
        element: Type,
        Linkage { is_extern }: Linkage,
    ) -> Result<(Token<'t>, Variable), ParseError> {
        let name = self.word("a variable's name")?;
        let mut dimensions = self.dimensions(element)?;
        let (mut init, mut relocations) = (Vec::new(), Vec::new());
        if matches!(space, Space::Global | Space::Const) && self.accept("=")? {
            (init, relocations) = self.initialiser(element, &mut dimensions)?;
        }
        let bytes = array_bytes(element, &dimensions);
        if bytes == 0 && !is_extern {
            return Err(self.error(name, format!("expected a size for `{}`, found none", name.text)));
        }
        Ok((
            name,
            Variable { name: name.text.into(), space, align: element.align, bytes, is_extern, init, relocations },
        ))
    }
}
