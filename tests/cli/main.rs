//! The program as a process, on the emulator: what it prints where, and with which status it ends.

mod bad_input;
mod bench;
mod generate;
mod help;
mod logits;
mod plan;
mod profile;
mod program;
mod synth;
