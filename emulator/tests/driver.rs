//! The C entry points, called as a program calls them. Kernels have their own tests: here is everything around them.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // Calling C is what is tested.

#[path = "driver/common.rs"]
mod common;
#[path = "driver/device.rs"]
mod device;
#[path = "driver/context.rs"]
mod context;
#[path = "driver/memory.rs"]
mod memory;
#[path = "driver/copy.rs"]
mod copy;
#[path = "driver/stream.rs"]
mod stream;
#[path = "driver/event.rs"]
mod event;
#[path = "driver/module.rs"]
mod module;
#[path = "driver/environment.rs"]
mod environment;
