//! gale generates text with Mistral-family models on one NVIDIA GPU.
//!
//! Modules in reading order; each uses only those below it.

pub mod rope;
pub mod kernels;
pub mod kernel;
pub mod device;
