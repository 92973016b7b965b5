//! The C entry points, called as a program calls them, and small kernels launched through them.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // Calling C is what is tested.

#[path = "driver/common.rs"]
mod common;
#[path = "driver/kernel.rs"]
mod kernel;
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
#[path = "driver/capture.rs"]
mod capture;
#[path = "driver/graph.rs"]
mod graph;
#[path = "driver/l2.rs"]
mod l2;
#[path = "driver/launch.rs"]
mod launch;
#[path = "driver/arithmetic.rs"]
mod arithmetic;
#[path = "driver/warp.rs"]
mod warp;
#[path = "driver/grid.rs"]
mod grid;
#[path = "driver/counters.rs"]
mod counters;
#[path = "driver/fault.rs"]
mod fault;
#[path = "driver/matrix.rs"]
mod matrix;
#[path = "driver/async_copy.rs"]
mod async_copy;
#[path = "driver/atomic.rs"]
mod atomic;
#[path = "driver/indirect.rs"]
mod indirect;
#[path = "driver/hopper.rs"]
mod hopper;
#[path = "driver/compiled.rs"]
mod compiled;
#[path = "driver/environment.rs"]
mod environment;
#[path = "driver/pool.rs"]
mod pool;
#[path = "driver/pitched.rs"]
mod pitched;
#[path = "driver/graph_build.rs"]
mod graph_build;
#[path = "driver/library.rs"]
mod library;
#[path = "driver/printing.rs"]
mod printing;
#[path = "driver/leak.rs"]
mod leak;
#[path = "driver/threads.rs"]
mod threads;
#[path = "driver/lower.rs"]
mod lower;
