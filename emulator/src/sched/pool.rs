//! Threads that stay: starting one costs as much as a small kernel.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// Calls `work` on `n_workers` threads at once, the caller's among them, and returns when all calls have. There are never
/// more than `n_threads`, which is the same for all calls.
pub fn run(n_workers: usize, n_threads: usize, work: &(dyn Fn() + Sync)) {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    if n_workers <= 1 {
        return work();
    }
    let pool = POOL.get_or_init(|| {
        ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|it| format!("cuda-emulator-{it}"))
            .build()
            .expect("the host can start threads")
    });
    pool.in_place_scope(|scope| {
        (1..n_workers).for_each(|_| scope.spawn(|_| work()));
        work();
    });
}
