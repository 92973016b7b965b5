//! `gale serve` as a process, on the emulator, and clients of it.

mod api;
mod clients;
mod deploy;
mod faults;
mod hostile;
mod http;
mod logprobs;
mod real;
mod replay;
mod reuse;
mod same;
mod server;
mod stream;
mod wire;
