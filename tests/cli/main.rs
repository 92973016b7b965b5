//! The program as a process, on the emulator: what it prints where, and with which status it ends.

mod bad_input;
mod bench;
mod bench_kernel;
mod chat;
mod explain;
mod generate;
mod help;
mod inspect;
mod logits;
mod perplexity;
mod moderate;
mod plan;
mod profile;
mod program;
mod synth;
