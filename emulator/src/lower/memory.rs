//! Loads, stores and atomics: modifiers to an operation, an address to a register and an offset.

use super::{
    atomic,
    micro::Reg,
    program::flag,
    translate::{Refusal, Translator},
};
use crate::{
    exec::generic,
    isa::{Class, LaneType, Op},
    ptx::ast::{Base, Operand, Symbol},
};

/// A state space as an opcode names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Global,
    Shared,
    Local,
    Param,
    Generic,
}

/// The modifiers that matter.
#[derive(Debug)]
pub struct Modifiers<'a> {
    pub space: Space,
    pub n: u8,
    pub bytes: u8,
    is_signed: bool,
    is_strong: bool,
    is_acquire: bool,
    is_release: bool,
    /// The scope is the CTA, or the cluster, which is one CTA (#scope).
    is_narrow: bool,
    is_non_coherent: bool,
    /// `add`, `cas`, ... of an atomic.
    pub operation: Option<&'a str>,
    pub ty: &'a str,
}

pub fn translate(translator: &mut Translator, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let base = opcode.split('.').next().unwrap_or_default();
    if !matches!(base, "ld" | "ldu" | "st" | "atom" | "red") {
        return translator.emit_plain(Op::Nop); // hints about caches
    }
    let modifiers = modifiers(opcode)?;
    let (operands, policy) = match operands {
        [operands @ .., policy] if opcode.contains(".L2::cache_hint") => (operands, Some(policy)),
        operands => (operands, None),
    };
    match (base, operands) {
        ("ld" | "ldu", [dst, address]) => {
            let kind = policy.map_or(0, |it| translator.policy(it));
            load(translator, &modifiers, kind, dst, address)
        }
        ("st", [address, src]) => store(translator, &modifiers, address, src),
        ("atom", [dst, address, rest @ ..]) => atomic::translate(translator, &modifiers, Some(dst), address, rest),
        ("red", [address, rest @ ..]) => atomic::translate(translator, &modifiers, None, address, rest),
        _ => Err("has a number of operands that is not supported".into()),
    }
}

/// `createpolicy`: a hint to the caches, which changes no result. The register is remembered if all that is accessed with
/// it may be the first to go ([`crate::perf::l2`]).
pub fn cache_policy(translator: &mut Translator, opcode: &str, operands: &[Operand]) -> Result<(), Refusal> {
    let [dst, fraction @ ..] = operands else { return Err("needs a result".into()) };
    let dst = translator.destination(dst, Class::Double)?;
    let is_whole = match fraction {
        [] => true,
        [Operand::Float32(bits)] => f32::from_bits(*bits) == 1.0,
        [Operand::Float64(bits)] => f64::from_bits(*bits) == 1.0,
        _ => false,
    };
    if opcode.starts_with("createpolicy.fractional.L2::evict_first") && is_whole {
        translator.evict_first.insert(dst);
    }
    let policy = translator.constant(Class::Double, 0);
    translator.emit(Op::MovB64, [dst], [policy]);
    Ok(())
}

/// Reads the modifiers; cache and eviction hints change no result.
fn modifiers(opcode: &str) -> Result<Modifiers<'_>, Refusal> {
    let mut modifiers = Modifiers {
        space: Space::Generic,
        n: 1,
        bytes: 0,
        is_signed: false,
        is_strong: false,
        is_acquire: false,
        is_release: false,
        is_narrow: false,
        is_non_coherent: false,
        operation: None,
        ty: "",
    };
    for part in opcode.split('.').skip(1) {
        modifiers.is_acquire |= matches!(part, "acquire" | "acq_rel");
        modifiers.is_release |= matches!(part, "release" | "acq_rel");
        match part {
            "global" | "const" => modifiers.space = Space::Global,
            "shared" | "shared::cta" | "shared::cluster" => modifiers.space = Space::Shared,
            "local" => modifiers.space = Space::Local,
            "param" | "param::entry" | "param::func" => modifiers.space = Space::Param,
            "volatile" | "relaxed" | "acquire" | "release" | "acq_rel" | "mmio" => modifiers.is_strong = true,
            "v2" => modifiers.n = 2,
            "v4" => modifiers.n = 4,
            "v8" if matches!(opcode.split('.').next(), Some("atom" | "red")) => modifiers.n = 8,
            "nc" => modifiers.is_non_coherent = true,
            "weak" | "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "noftz" => {}
            "cta" | "cluster" => modifiers.is_narrow = true,
            "gpu" | "sys" => {}
            "L1::no_allocate"
            | "L1::evict_normal"
            | "L1::evict_unchanged"
            | "L1::evict_first"
            | "L1::evict_last"
            | "L2::evict_normal"
            | "L2::evict_first"
            | "L2::evict_last"
            | "L2::cache_hint"
            | "L2::64B"
            | "L2::128B"
            | "L2::256B" => {}
            "add" | "min" | "max" | "and" | "or" | "xor" | "exch" | "cas" | "inc" | "dec" => {
                modifiers.operation = Some(part)
            }
            "b8" | "u8" | "s8" => modifiers.bytes = 1,
            "b16" | "u16" | "s16" | "f16" | "bf16" => modifiers.bytes = 2,
            "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => modifiers.bytes = 4,
            "b64" | "u64" | "s64" | "f64" => modifiers.bytes = 8,
            _ => return Err(format!("has the modifier .{part}, which is not supported")),
        }
        if modifiers.bytes > 0 {
            modifiers.ty = part;
            modifiers.is_signed = part.starts_with('s');
        }
    }
    if modifiers.bytes == 0 || u32::from(modifiers.bytes) * u32::from(modifiers.n) > 16 {
        return Err("has a type that is not supported".into());
    }
    Ok(modifiers)
}

/// An address as (space, register if there is one, offset). A device function's `.param` is its frame.
pub fn address(
    translator: &mut Translator,
    space: Space,
    operand: &Operand,
) -> Result<(Space, Option<Reg>, i32), Refusal> {
    let Operand::Address { base, offset } = operand else { return Err("needs an address in brackets".into()) };
    let is_kernel_param = matches!(base, Base::Symbol(Symbol::Param(_))) && translator.function().is_entry;
    let space = match space {
        Space::Param if matches!(base, Base::Symbol(_)) && !is_kernel_param => Space::Local,
        other => other,
    };
    let class = if space == Space::Shared { Class::Word } else { Class::Double };
    let (reg, offset) = match base {
        Base::Register(_) | Base::None if *base == Base::None => (None, *offset),
        Base::Register(reg) => {
            let ty = if class == Class::Word { LaneType::U32 } else { LaneType::U64 };
            (Some(translator.source(&Operand::Register(*reg), ty)?), *offset)
        }
        Base::Symbol(symbol) => {
            let value = translator.symbol(symbol)?.wrapping_add(*offset as u64);
            if space == Space::Param || space == Space::Local {
                (None, value as i64)
            } else {
                return Ok((space, Some(translator.constant(class, value)), 0));
            }
        }
        Base::None => (None, *offset),
    };
    let offset = i32::try_from(offset).map_err(|_| "has an offset that is too large".to_owned())?;
    // Only kernel parameters are read without a register.
    let reg = if reg.is_none() && space != Space::Param { Some(translator.constant(class, 0)) } else { reg };
    Ok((space, reg, offset))
}

/// The register and offset of an address in shared memory.
pub fn shared_address(translator: &mut Translator, operand: &Operand) -> Result<(Reg, i32), Refusal> {
    let (_, base, offset) = address(translator, Space::Shared, operand)?;
    Ok((base.ok_or("needs an address in shared memory")?, offset))
}

/// The register and offset of an address in global memory.
pub fn global_address(translator: &mut Translator, operand: &Operand) -> Result<(Reg, i32), Refusal> {
    let (_, base, offset) = address(translator, Space::Global, operand)?;
    Ok((base.ok_or("needs an address in global memory")?, offset))
}

/// As [`shared_address`], of a generic address, which has to be one of shared memory. Others become an offset that no
/// CTA has.
pub fn generic_shared_address(translator: &mut Translator, operand: &Operand) -> Result<(Reg, i32), Refusal> {
    let (_, base, offset) = address(translator, Space::Generic, operand)?;
    let base = base.ok_or("needs an address")?;
    let in_window = i64::from(offset).wrapping_sub(generic::SHARED_WINDOW as i64);
    let to_offset = translator.constant(Class::Double, in_window as u64);
    let (inside, clamped, low) =
        (translator.temporary(Class::Double), translator.temporary(Class::Double), translator.temporary(Class::Word));
    translator.emit(Op::AddU64, [inside], [base, to_offset]);
    let nowhere = translator.constant(Class::Double, 0x7fff_fff0);
    translator.emit(Op::MinU64, [clamped], [inside, nowhere]);
    translator.emit(Op::LowB32, [low], [clamped]);
    Ok((low, 0))
}

fn load(
    translator: &mut Translator,
    modifiers: &Modifiers,
    kind: u8,
    dst: &Operand,
    at: &Operand,
) -> Result<(), Refusal> {
    let (space, base, imm) = address(translator, modifiers.space, at)?;
    let wanted: &[Operand] = if let Operand::Vector(all) = dst { all } else { std::slice::from_ref(dst) };
    if wanted.len() != usize::from(modifiers.n) {
        return Err("has a vector of another length".into());
    }
    let loaded_class = if modifiers.bytes == 8 { Class::Double } else { Class::Word };
    // A register may be wider than what is loaded: then the value is extended in a second step.
    let mut dsts = Vec::new();
    let mut extended = Vec::new();
    for operand in wanted {
        match translator.destination(operand, loaded_class) {
            Ok(reg) => dsts.push(reg),
            Err(why) if loaded_class == Class::Double => return Err(why),
            Err(_) => {
                let (narrow, wide) =
                    (translator.temporary(Class::Word), translator.destination(operand, Class::Double)?);
                dsts.push(narrow);
                extended.push((narrow, wide));
            }
        }
    }
    let (n, bytes) = (modifiers.n, modifiers.bytes);
    let op = match space {
        Space::Global => Op::LdGlobal,
        Space::Shared => Op::LdShared,
        Space::Local => Op::LdLocal,
        Space::Param => Op::LdParam,
        Space::Generic => Op::LdGeneric,
    };
    let mut flags = access_flags(modifiers);
    if space == Space::Param && base.is_some() {
        flags |= flag::INDEXED;
    }
    let loaded = dsts.clone();
    let micro = translator.emit(op, [], base.into_iter().collect::<Vec<_>>());
    (micro.dst, micro.imm, micro.n, micro.bytes, micro.flags, micro.kind) = (dsts, imm, n, bytes, flags, kind);
    let sign_extend = match modifiers.bytes {
        1 if modifiers.is_signed => Some(Op::CvtS8),
        2 if modifiers.is_signed => Some(Op::CvtU32S16),
        _ => None,
    };
    for (reg, op) in loaded.into_iter().zip(sign_extend.into_iter().cycle()) {
        translator.emit(op, [reg], [reg]);
    }
    for (narrow, wide) in extended {
        translator.emit(if modifiers.is_signed { Op::CvtU64S32 } else { Op::WidenU32 }, [wide], [narrow]);
    }
    Ok(())
}

fn store(translator: &mut Translator, modifiers: &Modifiers, at: &Operand, src: &Operand) -> Result<(), Refusal> {
    let (space, base, imm) = address(translator, modifiers.space, at)?;
    let values: &[Operand] = if let Operand::Vector(all) = src { all } else { std::slice::from_ref(src) };
    if values.len() != usize::from(modifiers.n) {
        return Err("has a vector of another length".into());
    }
    let ty = match (modifiers.bytes, modifiers.ty) {
        (8, _) => LaneType::U64,
        (4, "f32") => LaneType::F32,
        _ => LaneType::U32,
    };
    let values = values.iter().map(|it| translator.source(it, ty)).collect::<Result<Vec<_>, _>>()?;
    let op = match space {
        Space::Global => Op::StGlobal,
        Space::Shared => Op::StShared,
        Space::Local => Op::StLocal,
        Space::Generic => Op::StGeneric,
        Space::Param => return Err("writes a kernel's parameter".into()),
    };
    let (n, bytes, flags) = (modifiers.n, modifiers.bytes, access_flags(modifiers));
    let micro = translator.emit(op, [], base.into_iter().collect::<Vec<_>>());
    (micro.dst, micro.imm, micro.n, micro.bytes, micro.flags) = (values, imm, n, bytes, flags);
    Ok(())
}

pub fn access_flags(modifiers: &Modifiers) -> u8 {
    [
        (modifiers.is_strong, flag::STRONG),
        (modifiers.is_acquire, flag::ACQUIRE),
        (modifiers.is_release, flag::RELEASE),
        (modifiers.is_narrow, flag::NARROW),
        (modifiers.is_non_coherent, flag::NON_COHERENT),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .fold(0, |flags, (_, flag)| flags | flag)
}

/// Copies `bytes` bytes from one offset of the frame to another, for call arguments.
pub fn copy_in_frame(translator: &mut Translator, from: u32, to: u32, bytes: u64) {
    let zero = translator.constant(Class::Double, 0);
    let mut at = 0;
    while at < bytes as u32 {
        let step = [4u32, 2, 1]
            .into_iter()
            .find(|it| at + it <= bytes as u32 && (from + at).is_multiple_of(*it) && (to + at).is_multiple_of(*it));
        let step = step.expect("a byte always fits");
        let value = translator.temporary(Class::Word);
        let micro = translator.emit(Op::LdLocal, [value], [zero]);
        (micro.imm, micro.n, micro.bytes) = ((from + at) as i32, 1, step as u8);
        let micro = translator.emit(Op::StLocal, [value], [zero]);
        (micro.imm, micro.n, micro.bytes) = ((to + at) as i32, 1, step as u8);
        at += step;
    }
}
