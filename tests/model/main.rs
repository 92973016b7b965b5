//! The whole model against golden data: logits, greedy tokens, the window, and equal bits however a sequence is run.
//!
//! The golden data are in tests/golden, or where `GALE_GOLDEN` says; more models there are tested too.

#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
mod golden;
mod run;
mod reference;
mod synth;
mod invariance;
mod window;
mod reuse;
mod smollm2;
