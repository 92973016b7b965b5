//! The interpreter's loop.

#![allow(unsafe_code)]

use super::{
    async_copy, atomic, control,
    engine::{self, Engine},
    generic,
    global::by_shape,
    lane::{Lane, Words},
    local, matrix,
    observe::{At, Event},
    rendezvous,
    shared::{self, load_same},
    system_call,
    trouble::{Outcome, Trouble},
    warp::Warp,
    warp_ops,
};
use crate::{
    check::{fault::FaultKind, global::GlobalChecks, shared::SharedChecks},
    isa::Op,
    lower::program::{Inst, NO_GUARD, Program, flag},
    mem::region::{Region, Regions},
    perf::meter::Meter,
};
use std::time::Instant;

/// Instructions that a strong access counts for in a warp's turn: it may be waiting for another warp to have its own.
const POLL_FUEL: u64 = 1 << 12;

/// What the warps of one worker share while they run.
pub struct Context<'a> {
    pub program: &'a Program,
    pub engine: &'static Engine,
    /// The kernel's parameter block.
    pub params: Vec<u8>,
    pub regions: &'a Regions,
    /// For each instruction, the allocation it touched last.
    pub nearby: Vec<Region>,
    /// Shared memory of the CTA that runs now.
    pub shared: Vec<u8>,
    /// Where an `mma` leaves its product: the destination may be a source.
    pub product: [Words; 4],
    /// The parameter block is in the place of shared memory.
    pub is_in_params: bool,
    /// Where the interpreter is, while somebody listens.
    pub at: At,
    /// Somebody listens: one of the three below is there.
    pub is_observed: bool,
    pub meter: Option<Box<Meter>>,
    pub global_checks: Option<Box<GlobalChecks>>,
    /// Of the CTA that runs now.
    pub shared_checks: Option<Box<SharedChecks>>,
    /// Strong accesses to global memory since the warp's turn began.
    pub n_polls: u64,
    pub n_warp_instructions: u64,
    pub n_lane_instructions: u64,
    pub started: Instant,
    /// What `vprintf` wrote and nobody took yet.
    pub printed: Vec<u8>,
}

impl<'a> Context<'a> {
    pub fn new(program: &'a Program, params: &[u8], regions: &'a Regions) -> Context<'a> {
        let nowhere = Region { start: 1, end: 0, host: 0, id: 0, is_constant: false };
        Context {
            program,
            engine: Engine::chosen(),
            params: params.to_vec(),
            regions,
            nearby: vec![nowhere; program.code.len()],
            shared: Vec::new(),
            product: [Words([0; 32]); 4],
            is_in_params: false,
            at: At::default(),
            is_observed: false,
            meter: None,
            global_checks: None,
            shared_checks: None,
            n_polls: 0,
            n_warp_instructions: 0,
            n_lane_instructions: 0,
            started: Instant::now(),
            printed: Vec::new(),
        }
    }

    /// Counts, and checks if `checks` is there. [`Context::shared_checks`] come with each CTA.
    pub fn observed(mut self, meter: Meter, checks: Option<GlobalChecks>) -> Context<'a> {
        self.is_observed = true;
        self.meter = Some(Box::new(meter));
        self.global_checks = checks.map(Box::new);
        self
    }

    /// Calls `read` with the parameter block in the place of shared memory: it behaves like shared memory that nobody
    /// writes.
    pub fn with_params(&mut self, read: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        std::mem::swap(&mut self.shared, &mut self.params);
        self.is_in_params = true;
        let outcome = read(self);
        self.is_in_params = false;
        std::mem::swap(&mut self.shared, &mut self.params);
        outcome
    }
}

/// A barrier that a warp has arrived at; its `pc` is already behind it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The barrier's instruction.
    pub pc: u32,
    pub id: u32,
    /// Threads to wait for; all of the CTA when absent.
    pub n_threads: Option<u32>,
}

/// Why a warp stopped.
#[derive(Debug)]
pub enum Stop {
    /// All threads exited.
    Done,
    Barrier(Arrival),
    /// The fuel ran out.
    Yield,
    Trouble(Box<Trouble>),
}

/// Runs a warp until it stops, or for about `fuel` instructions.
pub fn run(context: &mut Context, warp: &mut Warp, fuel: u64) -> Stop {
    let (program, engine) = (context.program, context.engine);
    context.at.warp = warp.index;
    let (mut n_instructions, mut n_lane_instructions) = (0, 0);
    context.n_polls = 0;
    let stop = loop {
        if n_instructions + context.n_polls * POLL_FUEL >= fuel {
            break Stop::Yield;
        }
        let pc = warp.pc as usize;
        let inst = &program.code[pc];
        if inst.flags & flag::BLOCK_START != 0 && !warp.splits.is_empty() {
            control::meet(warp);
            if warp.pc as usize != pc {
                continue;
            }
        }
        // Most instructions stand in a row of arithmetic without guards: nothing needs a look between them.
        let n_straight = usize::from(program.straight[pc]);
        if n_straight > 0 {
            let fused = &program.fused_at[pc];
            let row = match fused.is_empty() {
                true => &program.code[pc..pc + n_straight],
                false => &program.fused[fused.start as usize..fused.end as usize],
            };
            for inst in row {
                // SAFETY: `Engine::chosen` is an engine whose features this CPU has.
                unsafe { engine.arithmetic[inst.op as usize](&mut warp.registers, inst, &warp.mask) };
            }
            if let Some(meter) = &mut context.meter {
                meter.issue(pc, warp.mask.n_lanes);
            }
            warp.pc += n_straight as u32;
            n_instructions += n_straight as u64;
            n_lane_instructions += n_straight as u64 * warp.mask.n_lanes;
            continue;
        }
        n_instructions += 1;
        n_lane_instructions += warp.mask.n_lanes;
        if let Some(meter) = &mut context.meter {
            meter.issue(pc, warp.mask.n_lanes);
        }
        match step(context, engine, warp, inst) {
            Flow::Next => warp.pc += 1,
            Flow::Jumped => {}
            Flow::Stop(stop) => break stop,
        }
    };
    context.n_warp_instructions += n_instructions;
    context.n_lane_instructions += n_lane_instructions;
    stop
}

/// One instruction that may have a guard, and may be of any kind.
fn step(context: &mut Context, engine: &Engine, warp: &mut Warp, inst: &Inst) -> Flow {
    let all = warp.mask.bits;
    if inst.guard == NO_GUARD {
        return flow(context, engine, warp, inst, all);
    }
    let pred = warp.registers.preds[usize::from(inst.guard >> 1)];
    let active = all & if inst.guard & 1 == 1 { !pred } else { pred };
    if inst.op == Op::Bra {
        control::branch_or_fall(warp, active, inst.imm as u32);
        return Flow::Jumped;
    }
    if active == 0 {
        return Flow::Next;
    }
    warp.mask.set(active);
    let flow = if let Some(run) = engine.arithmetic.get(inst.op as usize) {
        // SAFETY: `Engine::chosen` is an engine whose features this CPU has.
        unsafe { run(&mut warp.registers, inst, &warp.mask) };
        Flow::Next
    } else {
        guarded_flow(context, engine, warp, inst, all)
    };
    if matches!(flow, Flow::Next) {
        warp.mask.set(all);
    }
    flow
}

/// What follows an instruction that is not arithmetic.
pub enum Flow {
    /// The next instruction, with all lanes that ran before.
    Next,
    /// `pc` and mask are set.
    Jumped,
    Stop(Stop),
}

impl From<Outcome> for Flow {
    #[inline(always)]
    fn from(outcome: Outcome) -> Flow {
        match outcome {
            Ok(()) => Flow::Next,
            Err(trouble) => Flow::Stop(Stop::Trouble(trouble)),
        }
    }
}

/// [`flow`] behind a guard.
#[inline(never)]
fn guarded_flow(context: &mut Context, engine: &Engine, warp: &mut Warp, inst: &Inst, all: u32) -> Flow {
    flow(context, engine, warp, inst, all)
}

/// Everything that touches memory, other lanes or the flow of control. `all` are the lanes that ran before the guard.
#[inline(always)]
fn flow(context: &mut Context, engine: &Engine, warp: &mut Warp, inst: &Inst, all: u32) -> Flow {
    context.at.pc = warp.pc;
    // SAFETY: `Engine::chosen` is an engine whose features this CPU has.
    let call =
        |function: engine::Memory, context: &mut Context, warp: &mut Warp| unsafe { function(context, warp, inst) };
    match inst.op {
        Op::LdGlobal => call(engine.load_global, context, warp).into(),
        Op::StGlobal => call(engine.store_global, context, warp).into(),
        Op::LdShared => call(engine.load_shared, context, warp).into(),
        Op::StShared => call(engine.store_shared, context, warp).into(),
        Op::ShflUp | Op::ShflDown | Op::ShflBfly | Op::ShflIdx => {
            rendezvous::synced(context.program, warp, inst, 3, all, |warp| call(engine.shuffle, context, warp))
        }
        Op::Mma => rendezvous::aligned(warp, all, |warp| call(engine.multiply, context, warp)),
        Op::LdMatrix => rendezvous::aligned(warp, all, |warp| call(engine.load_matrix, context, warp)),
        Op::StMatrix => rendezvous::aligned(warp, all, |warp| matrix::store(context, &warp.registers, inst)),
        Op::CpAsync => call(engine.issue_copies, context, warp).into(),
        Op::CpAsyncWait => call(engine.land_copies, context, warp).into(),
        Op::Bra => {
            control::branch_or_fall(warp, all, inst.imm as u32);
            Flow::Jumped
        }
        Op::LdLocal => {
            let addresses = local::addresses(&warp.registers, inst);
            local::load(&warp.local, &mut warp.registers, &warp.mask, inst, &addresses).into()
        }
        Op::StLocal => {
            let addresses = local::addresses(&warp.registers, inst);
            local::store(&mut warp.local, &warp.registers, &warp.mask, inst, &addresses).into()
        }
        Op::LdParam => load_param(context, warp, inst).into(),
        Op::LdGeneric => generic::load(context, warp, inst).into(),
        Op::StGeneric => generic::store(context, warp, inst).into(),
        Op::AtomGlobal => atomic::on_global(context, &mut warp.registers, &warp.mask, inst, warp.pc).into(),
        Op::AtomShared => {
            let addresses = shared::addresses(&warp.registers, inst);
            atomic::on_shared(context, &mut warp.registers, &warp.mask, inst, &addresses).into()
        }
        Op::AtomGeneric => atomic::on_generic(context, warp, inst).into(),
        _ => rare_flow(context, warp, inst, all),
    }
}

/// A kernel parameter: the same for all lanes, unless the address has a register in it.
fn load_param(context: &mut Context, warp: &mut Warp, inst: &Inst) -> Outcome {
    let is_fixed = inst.flags & flag::INDEXED == 0;
    if is_fixed && by_shape!(load_same, inst, (&context.params, &mut warp.registers, &warp.mask, inst)) {
        return Ok(());
    }
    let addresses = if is_fixed { [inst.imm as u32; 32] } else { local::addresses(&warp.registers, inst) };
    let outcome =
        context.with_params(|context| shared::load(context, &mut warp.registers, &warp.mask, inst, &addresses));
    outcome.map_err(|mut trouble| {
        trouble.access = trouble.access.map(|(_, is_write, address, bytes)| ("param", is_write, address, bytes));
        trouble
    })
}

#[inline(never)]
fn rare_flow(context: &mut Context, warp: &mut Warp, inst: &Inst, all: u32) -> Flow {
    let active = warp.mask.bits;
    match inst.op {
        Op::VoteAll | Op::VoteAny | Op::VoteUni | Op::VoteBallot => {
            rendezvous::synced(context.program, warp, inst, 1, all, |warp| {
                warp_ops::vote(&mut warp.registers, &warp.mask, inst);
                Ok(())
            })
        }
        Op::MatchAny | Op::MatchAll => rendezvous::synced(context.program, warp, inst, 1, all, |warp| {
            warp_ops::matching(&mut warp.registers, &warp.mask, inst);
            Ok(())
        }),
        Op::Redux => rendezvous::synced(context.program, warp, inst, 1, all, |warp| {
            warp_ops::reduce(&mut warp.registers, &warp.mask, inst);
            Ok(())
        }),
        Op::BarWarpSync => rendezvous::synced(context.program, warp, inst, 0, all, |warp| {
            context.observe(Event::WarpSync { lanes: warp.mask.bits });
            Ok(())
        }),
        Op::Elect => rendezvous::synced(context.program, warp, inst, 0, all, |warp| {
            warp_ops::elect(&mut warp.registers, &warp.mask, inst);
            Ok(())
        }),
        Op::MovMatrix => rendezvous::aligned(warp, all, |warp| {
            matrix::transpose(&mut warp.registers, inst);
            Ok(())
        }),
        Op::CpAsyncCommit => {
            async_copy::commit(warp);
            Flow::Next
        }
        Op::BraIndexed => {
            warp.mask.set(all);
            match control::branch_indexed(context.program, warp, inst, active) {
                Ok(()) => Flow::Jumped,
                wrong => wrong.into(),
            }
        }
        Op::ActiveMask => {
            u32::write(&mut warp.registers, inst.d[0], [active; 32], &warp.mask);
            Flow::Next
        }
        Op::BarSync | Op::BarArrive | Op::BarRed => rendezvous::barrier(context.program, warp, inst, all),
        Op::Membar => {
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            context.observe(Event::Fence { lanes: active });
            Flow::Next
        }
        Op::Call => {
            warp.mask.set(all);
            control::call(warp, active, inst.imm as u32);
            Flow::Jumped
        }
        Op::Ret if !warp.stack.is_empty() => {
            warp.mask.set(all);
            control::return_from_call(warp, active);
            Flow::Jumped
        }
        Op::Ret | Op::Exit => {
            warp.mask.set(all);
            if context.shared_checks.is_some()
                && let Err(trouble) = rendezvous::desert(context.program, warp, active)
            {
                return Flow::Stop(Stop::Trouble(trouble));
            }
            if control::exit(warp, active) { Flow::Jumped } else { Flow::Stop(Stop::Done) }
        }
        Op::CheckWritten => {
            let unwritten = active & !warp.registers.preds[usize::from(inst.s[0])];
            if unwritten == 0 {
                return Flow::Next;
            }
            let lane = unwritten.trailing_zeros() as usize;
            Flow::Stop(Stop::Trouble(Trouble::because(FaultKind::UninitRegister, lane, "")))
        }
        Op::Trap => {
            let lane = active.trailing_zeros() as usize;
            Flow::Stop(Stop::Trouble(Trouble::because(FaultKind::Trap, lane, "")))
        }
        Op::Printf => system_call::printf(context, warp, inst).into(),
        Op::AssertFail => system_call::assert_fail(context, warp, inst).into(),
        Op::ReadClock | Op::ReadClock64 | Op::ReadGlobalTimer => {
            let now = context.started.elapsed().as_nanos() as u64;
            match inst.op {
                Op::ReadClock => u32::write(&mut warp.registers, inst.d[0], [now as u32; 32], &warp.mask),
                _ => u64::write(&mut warp.registers, inst.d[0], [now; 32], &warp.mask),
            }
            Flow::Next
        }
        Op::Nop => Flow::Next,
        other => unreachable!("{other:?} is arithmetic or was handled"),
    }
}
