//! gale generates text with Mistral-family models on one NVIDIA GPU.
//!
//! Modules in reading order; each uses only those below it, but for [`error`], which names what the device says.

pub mod server;
pub mod roofline;
pub mod synth;
pub mod session;
pub mod model;
pub mod loader;
pub mod workload;
pub mod kernels;
pub mod kernel;
pub mod device;
pub mod sampler;
pub mod prompt;
pub mod tokenizer;
pub mod perplexity;
pub mod plan;
pub mod weights;
pub mod ring;
pub mod rope;
pub mod noise;
pub mod config;
mod json;
pub mod error;
