//! Indirect branches and calls: `ts: .branchtargets L0, L1;` and `brx.idx %r1, ts;`, `p: .callprototype ...;`.

use super::{
    super::{
        ast::{LabelId, Operand, ParseError},
        lex::{Kind, Token},
    },
    Parser,
    function::Body,
};

/// The labels of a `.branchtargets`.
pub(super) struct TargetList<'t> {
    /// The label before it, which names it.
    name: LabelId,
    scope: usize,
    labels: Vec<Token<'t>>,
}

/// A `brx.idx`, which gets the labels as its last operand when all are known.
pub(super) struct IndexedBranch<'t> {
    /// Index in `body`.
    instruction: usize,
    list: Token<'t>,
    scope: usize,
}

impl<'t> Parser<'t> {
    /// `.branchtargets L0, L1;`. The label before it is its name.
    pub(super) fn branch_targets(&mut self, body: &mut Body<'t>) -> Result<(), ParseError> {
        self.advance()?;
        let Some(last) = body.function.labels.len().checked_sub(1) else {
            return Err(self.expected("a label before `.branchtargets`"));
        };
        let mut labels = Vec::new();
        loop {
            labels.push(self.word("a label")?);
            if !self.accept(",")? {
                break;
            }
        }
        body.target_lists.push(TargetList { name: LabelId(last as u32), scope: body.scopes.current(), labels });
        self.expect(";")
    }

    /// `.callprototype` and `.calltargets`: what is called is found when it runs.
    pub(super) fn call_targets(&mut self) -> Result<(), ParseError> {
        while !self.at(";") {
            if self.token.kind == Kind::End {
                return Err(self.expected("`;`"));
            }
            self.advance()?;
        }
        self.expect(";")
    }

    /// The operands of a `brx.idx`: the index.
    pub(super) fn indexed_branch(&mut self, body: &mut Body<'t>) -> Result<Vec<Operand>, ParseError> {
        let index = self.operand(body)?;
        self.expect(",")?;
        let list = self.word("the label of a `.branchtargets`")?;
        let (instruction, scope) = (body.function.body.len(), body.scopes.current());
        body.indexed_branches.push(IndexedBranch { instruction, list, scope });
        Ok(vec![index])
    }

    /// Gives every `brx.idx` its labels.
    pub(super) fn resolve_targets(&self, body: &mut Body<'t>) -> Result<(), ParseError> {
        for &IndexedBranch { instruction, list, scope } in &body.indexed_branches {
            let name = body.scopes.label(scope, list.text);
            let targets = body.target_lists.iter().find(|it| Some(it.name) == name);
            let targets = targets.ok_or_else(|| self.undeclared(list, "list of targets"))?;
            let label = |token: &Token<'t>| {
                let id = body.scopes.label(targets.scope, token.text);
                id.map(Operand::Label).ok_or_else(|| self.undeclared(*token, "label"))
            };
            let labels = targets.labels.iter().map(label).collect::<Result<_, _>>()?;
            body.function.body[instruction].operands.push(Operand::Vector(labels));
        }
        Ok(())
    }
}
