//! `gale serve` as a process, on the emulator, and clients of it.

mod clients;
mod faults;
mod hostile;
mod http;
mod logprobs;
mod same;
mod server;
mod stream;
mod wire;
