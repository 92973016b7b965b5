//! Arithmetic that is more than one line of the instruction table: carries, vectors of parts, comparisons of pairs.

use crate::{common::*, kernel::*};

/// The words that `body` (see [`per_thread`]) leaves in `%r0` of 32 lanes.
#[track_caller]
fn lanes(body: &str) -> Vec<u32> {
    words(&per_thread(body), 32)
}

fn each(f: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..32).map(f).collect()
}

/// Different in every lane, and of every size.
fn spread(lane: u32) -> u32 {
    lane.wrapping_mul(0x9e37_79b9)
}

const SPREAD: &str = "mul.lo.u32 %r1, %me, 0x9e3779b9; not.b32 %r2, %r1; add.u32 %r2, %r2, %me;";

#[test]
fn carries_run_through_sums_of_three_words() {
    let _context = Context::new();
    let number = |low: u32, middle: u32, high: u32| u128::from(low) | u128::from(middle) << 32 | u128::from(high) << 64;
    let a = |lane| number(spread(lane), !0, lane);
    let b = |lane| number((!spread(lane)).wrapping_add(lane), lane & 1, 5);
    // The first result takes an operand's place: its carry must be of what was there before.
    let chain = |op: &str| {
        format!(
            "{SPREAD} and.b32 %r3, %me, 1;
             {op}.cc.u32 %r1, %r1, %r2;
             {op}c.cc.u32 %r4, -1, %r3;
             {op}c.u32 %r5, %me, 5;"
        )
    };
    for (word, register) in [(0, "%r1"), (1, "%r4"), (2, "%r5")] {
        let pick = |op: &str| lanes(&format!("{} mov.u32 %r0, {register};", chain(op)));
        assert_eq!(pick("add"), each(|lane| (a(lane).wrapping_add(b(lane)) >> (32 * word)) as u32), "add, word {word}");
        assert_eq!(pick("sub"), each(|lane| (a(lane).wrapping_sub(b(lane)) >> (32 * word)) as u32), "sub, word {word}");
    }
}

#[test]
fn carries_run_through_products() {
    let _context = Context::new();
    let product = |lane: u32| {
        let b = (!spread(lane)).wrapping_add(lane);
        u64::from(spread(lane)) * u64::from(b) + u64::from(b)
    };
    let body = format!("{SPREAD} mad.lo.cc.u32 %r3, %r1, %r2, %r2; madc.hi.u32 %r4, %r1, %r2, 0;");
    assert_eq!(lanes(&format!("{body} mov.u32 %r0, %r3;")), each(|lane| product(lane) as u32));
    assert_eq!(lanes(&format!("{body} mov.u32 %r0, %r4;")), each(|lane| (product(lane) >> 32) as u32));
    let wide = "cvt.u64.u32 %rd1, %me; add.cc.u64 %rd2, %rd1, -16; addc.cc.u64 %rd3, %rd1, 0; cvt.u32.u64 %r0, %rd3;";
    assert_eq!(lanes(wide), each(|lane| lane + u32::from(lane >= 16)));
}

#[test]
fn registers_come_apart_into_two_and_four() {
    let _context = Context::new();
    let bytes = "{ .reg .b8 %b<4>; mov.b32 {%b0, %b1, %b2, %b3}, %r1; mov.b32 %r0, {%b3, %b2, %b1, %b0}; }";
    assert_eq!(lanes(&format!("{SPREAD} {bytes}")), each(|lane| spread(lane).swap_bytes()));
    let halves = "{ .reg .b16 %h<4>; mov.b64 %rd1, {%r1, %me}; mov.b64 {%h0, _, %h2, %h3}, %rd1;
                    mov.b64 %rd2, {%h3, %h2, %h2, %h0}; mov.b64 {_, %r0}, %rd2; }";
    assert_eq!(lanes(&format!("{SPREAD} {halves}")), each(|lane| lane | spread(lane) << 16));
}

#[test]
fn pairs_compare_half_by_half() {
    let _context = Context::new();
    // Lower half 2.0 against 1.0, upper half NaN against 1.0; %p3 in the odd lanes.
    let pairs = "mov.b32 %r1, 0x7fff4000; mov.b32 %r2, 0x3c003c00; and.b32 %r3, %me, 1; setp.ne.u32 %p3, %r3, 0;";
    let both = "selp.u32 %r4, 1, 0, %p1; selp.u32 %r5, 2, 0, %p2; or.b32 %r0, %r4, %r5;";
    let setp = |text: &str| lanes(&format!("{pairs} setp.{text}; {both}"));
    assert_eq!(setp("gt.f16x2 %p1|%p2, %r1, %r2"), [1; 32]);
    assert_eq!(setp("gtu.f16x2 %p1|%p2, %r1, %r2"), [3; 32]);
    assert_eq!(setp("gtu.and.f16x2 %p1|%p2, %r1, %r2, %p3"), each(|lane| 3 * (lane & 1)));
    assert_eq!(setp("gt.xor.f16x2 %p3|%p2, %r1, %r2, %p3; mov.pred %p1, %p3"), each(|lane| 1 + (lane & 1)));
    let set = |text: &str| lanes(&format!("{pairs} set.{text};"));
    assert_eq!(set("gt.f16x2.f16x2 %r0, %r1, %r2"), [0x3c00; 32]);
    assert_eq!(set("leu.u32.f16x2 %r0, %r1, %r2"), [0xffff_0000; 32]);
    assert_eq!(set("gtu.and.bf16x2.bf16x2 %r0, %r1, %r2, %p3"), each(|lane| 0x3f80_3f80 * (lane & 1)));
    assert_eq!(set("lt.f32.u32 %r0, %me, 5"), each(|lane| if lane < 5 { 1f32.to_bits() } else { 0 }));
}

#[test]
fn a_logic_result_is_a_condition_too() {
    let _context = Context::new();
    let lop3 = |text: &str| {
        let body = format!("setp.lt.u32 %p2, %me, 8; {text}; selp.u32 %r0, 1, 0, %p1;");
        lanes(&body)
    };
    assert_eq!(lop3("lop3.or.b32 _|%p1, %me, 16, -1, 0x80, %p2"), each(|lane| u32::from(lane < 8 || lane & 16 != 0)));
    assert_eq!(lop3("lop3.and.b32 %r1|%p1, %me, 1, -1, 0x80, %p2"), each(|lane| u32::from(lane < 8 && lane & 1 != 0)));
}

#[test]
fn a_launch_without_clusters_has_clusters_of_one() {
    let _context = Context::new();
    let read = |register: &str| lanes(&format!("mov.u32 %r0, {register};"));
    assert_eq!(read("%cluster_nctaid.y"), [1; 32]);
    assert_eq!(read("%cluster_ctarank"), [0; 32]);
    assert_eq!(read("%nclusterid.x"), [1; 32]);
    assert_eq!(read("%envreg31"), [0; 32]);
    assert_eq!(lanes("mov.pred %p1, %is_explicit_cluster; selp.u32 %r0, 1, 0, %p1;"), [0; 32]);
    assert_eq!(lanes("mov.u32 %r1, %clock_hi; mov.u32 %r0, 3;"), [3; 32]);
}

#[test]
fn rare_modifiers_reach_their_instruction() {
    let _context = Context::new();
    let third = "mov.f32 %r1, 0f3F800000; mov.f32 %r2, 0f40400000;";
    let div = |rounding: &str| lanes(&format!("{third} div.{rounding}.f32 %r0, %r1, %r2;"))[0];
    assert_eq!(["rn", "rz", "rm", "rp"].map(div), [0x3eaa_aaab, 0x3eaa_aaaa, 0x3eaa_aaaa, 0x3eaa_aaab]);
    let nan = "mov.b32 %r1, 0xff812345; add.f32 %r0, %r1, %r1;";
    assert_eq!(lanes(nan), [0x7fff_ffff; 32]);
    let flushed = |ftz: &str| {
        lanes(&format!("mov.b32 %r1, 5; setp.gt{ftz}.f32 %p1, %r1, 0f00000000; selp.u32 %r0, 1, 0, %p1;"))[0]
    };
    assert_eq!(["", ".ftz"].map(flushed), [1, 0]);
}
