//! Drafts to a program: slots for registers, one code vector, targets as indexes in it.

use super::{
    fuse,
    micro::{Content, Draft, Fused, Fusion, Reg, Target},
    program::{Inst, NO_GUARD, Program, Site, flag},
    slots::{self, Slots, class_index},
};
use crate::isa::{self, Class};

/// Puts the functions one behind the other, the kernel first. There is no recursion, so each function has slots of its
/// own. Fails when there are more registers than a slot number can count.
pub fn link(drafts: &[Draft]) -> Result<Program, String> {
    let mut program = Program::default();
    let mut starts = Vec::new();
    let mut n_ops = 0;
    for draft in drafts {
        starts.push(n_ops);
        n_ops += draft.ops.len();
    }
    for (index, draft) in drafts.iter().enumerate() {
        append(&mut program, draft, starts[index], &starts)?;
    }
    program.straight = straight(&program.code);
    Ok(program)
}

/// [`Program::straight`].
fn straight(code: &[Inst]) -> Vec<u16> {
    let mut straight = vec![0u16; code.len()];
    for at in (0..code.len()).rev() {
        let is_plain = (code[at].op as usize) < isa::FORMS.len() && code[at].guard == NO_GUARD;
        let goes_on = code.get(at + 1).is_some_and(|next| next.flags & flag::BLOCK_START == 0);
        straight[at] = match (is_plain, goes_on) {
            (false, _) => 0,
            (true, true) => straight[at + 1].saturating_add(1),
            (true, false) => 1,
        };
    }
    straight
}

fn append(program: &mut Program, draft: &Draft, start: usize, starts: &[usize]) -> Result<(), String> {
    let slots = slots::allocate(draft);
    let base = [program.n_words, program.n_doubles, program.n_preds];
    program.n_words += slots.counts[0];
    program.n_doubles += slots.counts[1];
    program.n_preds += slots.counts[2];
    // A guard keeps twice the slot in 16 bits.
    if program.n_words.max(program.n_doubles).max(program.n_preds * 2 + 2) > usize::from(u16::MAX) {
        return Err("too many registers are live at once".into());
    }
    let slot_of = |reg: Reg| slot(draft, &slots, base, reg);
    for (reg, &(class, content)) in draft.registers.iter().enumerate() {
        if slots.of[reg].is_none() {
            continue;
        }
        let slot = slot_of(Reg(reg as u32));
        match (content, class) {
            (Content::Variable, _) => {}
            (Content::Constant(value), Class::Double) => program.double_constants.push((slot, value)),
            (Content::Constant(value), _) => program.word_constants.push((slot, value as u32)),
            (Content::Special(special), _) => program.specials.push((slot, special)),
        }
    }
    let block_starts = slots::block_starts(draft);
    let first_table = program.tables.len();
    program.tables.extend(draft.tables.iter().map(|it| it.iter().map(|target| (start + target) as u32).collect()));
    for (op, is_start) in draft.ops.iter().zip(block_starts) {
        let fill = |regs: &[Reg]| {
            let mut filled = [0; 4];
            regs.iter().zip(&mut filled).for_each(|(&reg, slot)| *slot = slot_of(reg));
            filled
        };
        assert!(op.dst.len() <= 4, "{:?} has too many results", op.op);
        let (s, imm) = if op.src.len() <= 4 {
            (fill(&op.src), op.imm)
        } else {
            let first = program.operands.len() as i32;
            program.operands.extend(op.src.iter().map(|&reg| slot_of(reg)));
            ([0; 4], first)
        };
        program.code.push(Inst {
            op: op.op,
            guard: op.guard.map_or(NO_GUARD, |(reg, negated)| slot_of(reg) * 2 + u16::from(negated)),
            d: fill(&op.dst),
            s,
            imm: match op.target {
                Target::None => imm,
                Target::Op(target) => (start + target) as i32,
                Target::Table(table) => (first_table + table) as i32,
                Target::Function(function) => starts[function] as i32,
            },
            bytes: op.bytes,
            n: op.n,
            kind: op.kind,
            flags: op.flags | if is_start { flag::BLOCK_START } else { 0 },
        });
        program.sites.push(Site { line: op.line, source: op.source.clone() });
    }
    append_fused(program, draft, start, slot_of);
    Ok(())
}

/// The rows of plain operations in which some are fused.
fn append_fused(program: &mut Program, draft: &Draft, start: usize, slot_of: impl Fn(Reg) -> u16) {
    program.fused_at.resize(start + draft.ops.len(), 0..0);
    for row in fuse::rows(draft) {
        let is_fused = row.clone().any(|at| !matches!(draft.fused[at], Fused::Itself));
        // A longer row runs in parts.
        if !is_fused || row.len() > usize::from(u16::MAX) {
            continue;
        }
        let first = program.fused.len() as u32;
        for at in row.clone() {
            let inst = program.code[start + at];
            match &draft.fused[at] {
                Fused::Itself => program.fused.push(inst),
                Fused::Nothing => {}
                Fused::Into(Fusion { op, dst, src }) => {
                    let mut slots = [0; 7];
                    src.iter().zip(&mut slots).for_each(|(&reg, slot)| *slot = slot_of(reg));
                    let [s @ .., d1, d2, d3] = slots;
                    program.fused.push(Inst { op: *op, d: [slot_of(*dst), d1, d2, d3], s, ..inst });
                }
            }
        }
        program.fused_at[start + row.start] = first..program.fused.len() as u32;
    }
}

fn slot(draft: &Draft, slots: &Slots, base: [usize; 3], reg: Reg) -> u16 {
    let own = slots.of[reg.0 as usize].expect("a register that an operation names has a slot");
    own + base[class_index(draft.class(reg))] as u16
}
