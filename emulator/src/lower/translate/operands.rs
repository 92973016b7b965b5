//! Operands to registers: immediates and special registers get registers of their own, names their addresses.

use super::{Refusal, Translator};
use crate::{
    isa::{Class, LaneType, Op},
    lower::{
        address, layout,
        micro::{Content, Reg},
        param_offsets,
        program::{EVICT_FIRST, Special},
    },
    ptx::ast::{Operand, RegisterId, Space, Symbol},
};

impl Translator<'_> {
    pub(super) fn own(&self, reg: RegisterId) -> Reg {
        self.registers[reg.0 as usize]
    }

    pub fn is_predicate(&self, operand: &Operand) -> bool {
        match operand {
            Operand::Register(reg) => self.draft.class(self.own(*reg)) == Class::Pred,
            Operand::NotRegister(_) => true,
            _ => false,
        }
    }

    /// `Inst::kind` of an access with this policy.
    pub fn policy(&self, operand: &Operand) -> u8 {
        match operand {
            Operand::Register(reg) if self.evict_first.contains(&self.own(*reg)) => EVICT_FIRST,
            _ => 0,
        }
    }

    pub fn temporary(&mut self, class: Class) -> Reg {
        self.draft.register(class, Content::Variable)
    }

    pub fn constant(&mut self, class: Class, value: u64) -> Reg {
        let value = if class == Class::Double { value } else { u64::from(value as u32) };
        if let Some(&reg) = self.constants.get(&(class, value)) {
            return reg;
        }
        let reg = self.draft.register(class, Content::Constant(value));
        self.constants.insert((class, value), reg);
        reg
    }

    fn special(&mut self, name: &str) -> Result<Reg, Refusal> {
        let special = special(name).ok_or_else(|| format!("reads {name}, which is not supported"))?;
        if let Some(&reg) = self.specials.get(&special) {
            return Ok(reg);
        }
        let reg = self.draft.register(Class::Word, Content::Special(special));
        self.specials.insert(special, reg);
        Ok(reg)
    }

    /// A register that an instruction writes.
    pub fn destination(&mut self, operand: &Operand, class: Class) -> Result<Reg, Refusal> {
        match operand {
            Operand::Register(reg) => {
                let reg = self.own(*reg);
                if self.draft.class(reg) == class { Ok(reg) } else { Err("has a result of another width".into()) }
            }
            Operand::Sink => Ok(self.temporary(class)),
            _ => Err("has a result that is no register".into()),
        }
    }

    /// A register with an operand's value; narrower and wider registers are converted.
    pub fn source(&mut self, operand: &Operand, ty: LaneType) -> Result<Reg, Refusal> {
        let class = ty.class();
        let reg = match operand {
            Operand::Register(reg) => self.own(*reg),
            Operand::NotRegister(reg) => {
                let (reg, opposite) = (self.own(*reg), self.temporary(Class::Pred));
                self.emit(Op::NotPred, [opposite], [reg]);
                opposite
            }
            Operand::Special(name) if name == "WARP_SZ" => self.constant(class, 32),
            Operand::Special(name) => match fixed(name) {
                Some(value) => return self.source(&Operand::Integer(value), ty),
                None => self.special(name)?,
            },
            Operand::Integer(value) if class == Class::Pred => {
                let (value, truth) = (self.constant(Class::Word, u64::from(*value != 0)), self.temporary(Class::Pred));
                let zero = self.constant(Class::Word, 0);
                self.emit(Op::SetNeB32, [truth], [value, zero]);
                truth
            }
            Operand::Integer(value) => self.constant(class, *value as u64),
            Operand::Float32(bits) if class == Class::Word => self.constant(class, u64::from(*bits)),
            Operand::Float32(bits) => self.constant(class, f64::from(f32::from_bits(*bits)).to_bits()),
            Operand::Float64(bits) if ty == LaneType::F32 => {
                self.constant(class, u64::from((f64::from_bits(*bits) as f32).to_bits()))
            }
            Operand::Float64(bits) => self.constant(class, *bits),
            Operand::Symbol(symbol) => {
                let value = self.symbol(symbol)?;
                self.constant(class, value)
            }
            _ => return Err("has an operand of a kind that is not supported".into()),
        };
        Ok(self.converted(reg, class))
    }

    /// `reg` in the given class: PTX lets wider registers stand for narrower operands.
    pub fn converted(&mut self, reg: Reg, class: Class) -> Reg {
        let op = match (self.draft.class(reg), class) {
            (from, to) if from == to => return reg,
            (Class::Double, _) => Op::LowB32,
            _ => Op::WidenU32,
        };
        let result = self.temporary(class);
        self.emit(op, [result], [reg]);
        result
    }

    /// The address that a name stands for, in its own state space.
    pub fn symbol(&self, symbol: &Symbol) -> Result<u64, Refusal> {
        match symbol {
            Symbol::Local(variable) => Ok(u64::from(self.layout.own(self.index, *variable))),
            Symbol::Module(index) => match self.module.variables[*index as usize].space {
                Space::Shared => Ok(u64::from(self.layout.module_shared(*index))),
                _ => Ok(self.addresses[index]),
            },
            Symbol::Param(param) if self.function().is_entry => {
                Ok(u64::from(param_offsets(&self.function().params)?[*param as usize]))
            }
            Symbol::Param(param) => Ok(u64::from(self.layout.param(self.index, *param as usize))),
            Symbol::Return(result) => Ok(u64::from(self.layout.result(self.index, *result as usize))),
            Symbol::Function(name) => layout::callee(self.module, name)
                .map(address::of_function)
                .ok_or_else(|| format!("takes the address of function {name}, which has no body here")),
        }
    }
}

/// Special registers that are the same in every kernel: launches have no explicit clusters, no environment for `%envreg`,
/// no performance monitors and no device graph.
fn fixed(name: &str) -> Option<i64> {
    match name {
        "%cluster_nctaid.x" | "%cluster_nctaid.y" | "%cluster_nctaid.z" | "%cluster_nctarank" => Some(1),
        "%cluster_ctaid.x" | "%cluster_ctaid.y" | "%cluster_ctaid.z" | "%cluster_ctarank" => Some(0),
        "%is_explicit_cluster" | "%current_graph_exec" => Some(0),
        "%envreg1" | "%envreg2" => None,
        _ if name.starts_with("%envreg") || name.starts_with("%pm") => Some(0),
        _ => None,
    }
}

fn special(name: &str) -> Option<Special> {
    if let Some((base, axis)) = name.rsplit_once('.') {
        let axis = ["x", "y", "z"].iter().position(|it| *it == axis)?;
        return match base {
            "%tid" => Some(Special::Tid(axis)),
            "%ntid" => Some(Special::Ntid(axis)),
            // Every cluster is one CTA.
            "%ctaid" | "%clusterid" => Some(Special::Ctaid(axis)),
            "%nctaid" | "%nclusterid" => Some(Special::Nctaid(axis)),
            _ => None,
        };
    }
    Some(match name {
        "%laneid" => Special::LaneId,
        // What cooperative_groups reads to find the barrier of its grid.
        "%envreg1" => Special::WorkspaceHigh,
        "%envreg2" => Special::WorkspaceLow,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::WarpCount,
        "%smid" => Special::SmId,
        "%nsmid" => Special::SmCount,
        "%gridid" => Special::GridId,
        "%lanemask_eq" => Special::LaneMaskEq,
        "%lanemask_lt" => Special::LaneMaskLt,
        "%lanemask_le" => Special::LaneMaskLe,
        "%lanemask_gt" => Special::LaneMaskGt,
        "%lanemask_ge" => Special::LaneMaskGe,
        "%reserved_smem_offset_begin" | "%reserved_smem_offset_0" | "%reserved_smem_offset_1" => {
            Special::ReservedSharedStart
        }
        "%reserved_smem_offset_end" | "%reserved_smem_offset_cap" => Special::ReservedSharedEnd,
        "%dynamic_smem_size" => Special::DynamicSharedBytes,
        "%total_smem_size" | "%aggr_smem_size" => Special::TotalSharedBytes,
        _ => return None,
    })
}
