//! A launcher's fields must be its kernel's parameters: what `kernel!` asserts when gale is compiled.

use gale::device::{Param, Pass, Prototype, prototypes};

const fn param(name: &'static str, pass: Pass, c_type: &'static str) -> Param {
    Param { name, pass, c_type }
}

const PARAMS: [Param; 4] = [
    param("x", Pass::In, "bf16"),
    param("y", Pass::Out, "float"),
    param("n_heads", Pass::Value, "uint32_t"),
    param("n_kv_heads", Pass::Value, "uint32_t"),
];
const KERNEL: Prototype = Prototype { name: "kernel", module: "kernel", block: 128, params: &PARAMS };

fn matches_after(change: impl FnOnce(&mut Vec<Param>)) -> bool {
    let mut fields = PARAMS.to_vec();
    change(&mut fields);
    KERNEL.matches(&fields)
}

#[test]
fn the_same_parameters_match() {
    assert!(matches_after(|_| ()));
}

#[test]
fn every_difference_is_seen() {
    assert!(!matches_after(|it| it[0].name = "z"), "another name");
    assert!(!matches_after(|it| it[0].name = "xs"), "a longer name");
    assert!(!matches_after(|it| it[2].name = "n_head"), "a shorter name");
    assert!(!matches_after(|it| it[0].pass = Pass::Out), "Out for In");
    assert!(!matches_after(|it| it[1].pass = Pass::In), "In for Out");
    assert!(!matches_after(|it| it[0].c_type = "f16"), "another type");
    assert!(!matches_after(|it| it.swap(2, 3)), "parameters of one type swapped");
    assert!(!matches_after(|it| it.truncate(3)), "one missing");
    assert!(!matches_after(|it| it.push(param("n", Pass::Value, "uint32_t"))), "one too many");
    assert!(!KERNEL.matches(&[]));
}

#[test]
fn build_rs_reads_the_kernels() {
    let copy = &prototypes::copy;
    assert_eq!((copy.name, copy.module, copy.block), ("copy", "copy", 256));
    assert!(copy.matches(&[
        param("from", Pass::In, "uint8_t"),
        param("to", Pass::Out, "uint8_t"),
        param("n", Pass::Value, "uint64_t"),
    ]));
    assert!(prototypes::ALL.iter().any(|it| it.name == "copy"));
    assert!(prototypes::MODULES.iter().any(|it| it.name == "copy"));
}
