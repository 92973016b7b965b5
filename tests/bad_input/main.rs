//! Bad model directories give one clear line, never a panic. Each case takes a small good model and breaks one thing.

mod config;
mod fuzz;
mod model;
mod tokenizer;
mod weights;
