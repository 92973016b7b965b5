//! gale generates text with Mistral-family models on one NVIDIA GPU.
//!
//! Modules in reading order, from the ground up.

pub mod error;
mod json;
pub mod config;
pub mod ring;
pub mod weights;
pub mod plan;
pub mod tokenizer;
pub mod prompt;
pub mod sampler;
