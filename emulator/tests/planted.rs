//! Small kernels with one bug each: the checks have to find it, and to say the right thing about it. Every kernel runs in a
//! process of its own, since a fault is sticky. `planted/*.cu` marks the lines of the faults.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // Calling C is what is tested.

#[path = "suite/judge.rs"]
mod judge;
mod suite;
#[path = "planted/host.rs"]
mod host;

use judge::*;
use suite::shape;

/// One test for each kernel, of the same name.
macro_rules! planted {
    ($($kernel:ident: $case:expr;)*) => {
        $(
            #[test]
            fn $kernel() {
                $case.judge(stringify!($kernel));
            }
        )*

        #[test]
        fn every_kernel_has_a_case() {
            let mut cases = vec!["stores_its_index", $(stringify!($kernel)),*];
            cases.sort_unstable();
            assert_eq!(judge::kernels(), cases);
        }
    };
}

/// A dynamic shared memory of `shared_bytes`.
fn with_shared(shared_bytes: u32, shape: suite::Shape) -> suite::Shape {
    suite::Shape { shared_bytes, ..shape }
}

planted! {
    global_read_past_the_end: case("memory", shape(1, 64), [ramp(64), zeros(64)], OUT_OF_BOUNDS)
        .by(0, 63).says(&["read of 4 bytes at global"]);
    global_write_past_the_end: case("memory", shape(2, 64), [zeros(100), Arg::Value(100)], OUT_OF_BOUNDS)
        .by(1, 36).says(&["write of 4 bytes at global"]);
    global_write_below: case("memory", shape(1, 32), [zeros(32)], OUT_OF_BOUNDS)
        .by(0, 0).says(&["write of 4 bytes at global"]);
    global_read_between_allocations: case("memory", shape(1, 2), [ramp(65), zeros(65)], OUT_OF_BOUNDS).by(0, 1);
    global_null: case("memory", shape(1, 64), [Arg::Value(0)], OUT_OF_BOUNDS).by(0, 9).says(&["at global 0x0"]);
    vector_read_over_the_end: case("memory", shape(1, 16), [ramp(63), zeros(16)], OUT_OF_BOUNDS)
        .by(0, 15).says(&["read of 16 bytes at global"]);
    atomic_past_the_end: case("memory", shape(1, 64), [but_one(64, 3, 41, 8), zeros(8)], OUT_OF_BOUNDS).by(0, 41);
    shared_past_the_end: case("memory", shape(1, 64), [zeros(64)], OUT_OF_BOUNDS)
        .by(0, 63).says(&["write of 4 bytes at shared 0x100"]);
    dynamic_shared_too_small: case("memory", with_shared(192, shape(1, 64)), [zeros(64)], OUT_OF_BOUNDS)
        .by(0, 48).says(&["write of 4 bytes at shared"]);
    shared_atomic_past_the_end: case("memory", shape(1, 64), [but_one(64, 2, 33, 16), zeros(16)], OUT_OF_BOUNDS).by(0, 33);
    local_past_the_end: case("memory", shape(1, 32), [but_one(32, 7, 20, 8), zeros(256)], OUT_OF_BOUNDS)
        .by(0, 20).says(&["write of 4 bytes at local"]);
    read_in_a_function: case("memory", shape(1, 32), [ramp(93), zeros(32)], OUT_OF_BOUNDS).by(0, 31);
    read_in_an_inlined_function: case("memory", shape(1, 32), [ramp(124), zeros(32)], OUT_OF_BOUNDS).by(0, 31);
    shared_past_the_end_by_a_pointer: case("memory", shape(1, 32), [zeros(32)], OUT_OF_BOUNDS)
        .by(0, 31).says(&["read of 4 bytes at shared 0x100"]);

    misaligned_vector_of_four: case("memory", shape(1, 32), [zeros(132), zeros(32)], MISALIGNED)
        .by(0, 0).says(&["read of 16 bytes at global"]);
    misaligned_vector_of_two: case("memory", shape(1, 32), [but_one(32, 6, 13, 7), zeros(64)], MISALIGNED)
        .by(0, 13).says(&["write of 8 bytes at global"]);
    misaligned_double: case("memory", shape(1, 32), [zeros(66), zeros(64)], MISALIGNED)
        .by(0, 0).says(&["read of 8 bytes at global"]);
    misaligned_shared: case("memory", shape(1, 32), [zeros(32)], MISALIGNED)
        .by(0, 1).says(&["read of 16 bytes at shared"]);
    misaligned_atomic: case("memory", shape(1, 1), [zeros(4)], MISALIGNED).by(0, 0);

    read_after_free: case("memory", shape(1, 32), [Arg::Freed(128), zeros(32)], OUT_OF_BOUNDS)
        .by(0, 0).says(&["freed"]);
    write_after_free: case("memory", shape(1, 32), [Arg::Freed(256)], OUT_OF_BOUNDS).by(0, 0).says(&["freed"]);

    uninitialised_global: case("memory", shape(1, 32), [Arg::Fresh(128, 0), zeros(32)], UNINITIALISED_GLOBAL)
        .by(0, 0).says(&["read of 4 bytes at global"]);
    uninitialised_global_tail: case("memory", shape(1, 64),
        [Arg::Fresh(256, 0), zeros(64), Arg::Value(64)], UNINITIALISED_GLOBAL).by(0, 63);
    uninitialised_global_bytes: case("memory", shape(1, 32), [Arg::Fresh(128, 126), zeros(32)], UNINITIALISED_GLOBAL)
        .by(0, 31);
    uninitialised_shared: case("memory", shape(1, 64), [zeros(64)], UNINITIALISED_SHARED)
        .by(0, 1).by(0, 33).says(&["read of 4 bytes at shared"]);
    uninitialised_shared_vector: case("memory", shape(1, 64), [zeros(128), zeros(64)], UNINITIALISED_SHARED)
        .by(0, 32).says(&["read of 16 bytes at shared 0x200"]);
    uninitialised_counter: case("memory", shape(1, 1), [Arg::Fresh(4, 0)], UNINITIALISED_GLOBAL).by(0, 0);
    uninitialised_bins: case("memory", shape(1, 32), [but_one(32, 3, 9, 4), zeros(32)], UNINITIALISED_SHARED).by(0, 0);
    uninitialised_register: case("memory", shape(1, 32), [zeros(32)], UNINITIALISED_REGISTER).by(0, 0);
    register_that_some_lanes_wrote: case("memory", shape(1, 32), [zeros(32)], UNINITIALISED_REGISTER).by(0, 0);

    no_barrier_before_the_read: case("shared_race", shape(1, 64), [ramp(64), zeros(64)], SHARED_RACE).says(READ_AND_WRITE);
    reduction_without_barriers: case("shared_race", shape(1, 128), [ramp(128), zeros(1)], SHARED_RACE).says(READ_AND_WRITE);
    one_buffer_one_barrier: case("shared_race", shape(1, 64), [ramp(384), zeros(64), Arg::Value(6)], SHARED_RACE)
        .says(READ_AND_WRITE);
    two_warps_write_one_word: case("shared_race", shape(1, 96), [zeros(96)], SHARED_RACE).says(WRITES);
    producer_arrives_before_it_writes: case("shared_race", shape(1, 64), [ramp(32), zeros(32)], SHARED_RACE)
        .says(READ_AND_WRITE);
    producer_does_not_wait: case("shared_race", shape(1, 64), [ramp(64), zeros(64)], SHARED_RACE).says(READ_AND_WRITE);
    barrier_without_the_reader: case("shared_race", shape(1, 96), [ramp(32), zeros(96)], SHARED_RACE).says(READ_AND_WRITE);
    no_syncwarp_before_the_read: case("shared_race", shape(1, 32), [ramp(32), zeros(32)], SHARED_RACE)
        .says(&["read after write"]);
    no_syncwarp_before_the_write: case("shared_race", shape(1, 32), [ramp(32), zeros(32)], SHARED_RACE)
        .says(&["write after read"]);
    byte_of_anothers_word: case("shared_race", shape(1, 64), [zeros(32)], SHARED_RACE).says(WRITES);
    total_read_before_the_barrier: case("shared_race", shape(1, 64), [ramp(64), zeros(1)], SHARED_RACE)
        .says(READ_AND_WRITE);
    counter_cleared_too_late: case("shared_race", shape(1, 64), [ramp(64), zeros(1)], SHARED_RACE).says(READS_AND_WRITES);
    conflicting_shared_stores: case("shared_race", shape(1, 32), [zeros(32)], CONFLICTING_STORES).by(0, 0).by(0, 1);
    conflicting_global_stores: case("shared_race", shape(1, 32), [zeros(32)], CONFLICTING_STORES).by(0, 16).by(0, 17);

    last_block_without_fence: case("global_race", shape(6, 64), [zeros(6), zeros(1), zeros(1)], GLOBAL_RACE)
        .says(READ_AND_WRITE);
    arrives_before_its_block_has_stored: case("global_race", shape(5, 64), [zeros(320), zeros(1), zeros(64)], GLOBAL_RACE)
        .says(READ_AND_WRITE);
    plain_flag: case("global_race", shape(2, 1), [zeros(1), zeros(1), zeros(1)], GLOBAL_RACE).says(READ_AND_WRITE);
    blocks_write_one_word: case("global_race", shape(2, 32), [zeros(1)], GLOBAL_RACE)
        .by(0, 5).by(1, 5).says(WRITES);
    reads_the_next_blocks_result: case("global_race", shape(4, 32),
        [zeros(128), zeros(128), Arg::Value(128)], GLOBAL_RACE).says(READ_AND_WRITE);
    stencil_in_place: case("global_race", shape(3, 32), [ramp(97)], GLOBAL_RACE).says(READ_AND_WRITE);
    plain_counter: case("global_race", shape(4, 32), [zeros(1)], GLOBAL_RACE).says(READS_AND_WRITES);
    clears_what_others_add_to: case("global_race", shape(4, 64), [zeros(1)], GLOBAL_RACE).says(READS_AND_WRITES);
    grid_barrier_without_fence: case("global_race", shape(3, 1), [zeros(3), zeros(1), zeros(3)], GLOBAL_RACE)
        .says(READ_AND_WRITE);
    lock_without_fence: case("global_race", shape(4, 1), [zeros(1), zeros(1)], GLOBAL_RACE).says(READS_AND_WRITES);
    read_only_load_of_a_written_word: case("global_race", shape(1, 64), [zeros(64), zeros(64)], NON_COHERENT)
        .says(&["read of 4 bytes at global"]);
    residual_in_place: case("global_race", shape(1, 64), [zeros(64), Arg::Same(0)], NON_COHERENT);

    barrier_in_a_branch: case("barrier", shape(1, 64), [zeros(64)], BARRIER_DIVERGENCE)
        .by(0, 0).by(0, 1).by(0, 32).by(0, 33);
    barrier_in_a_divergent_loop: case("barrier", shape(1, 32), [zeros(96)], BARRIER_DIVERGENCE);
    barrier_in_both_branches: case("barrier", shape(1, 64), [zeros(64)], BARRIER_DIVERGENCE).by(0, 0).by(0, 16);
    barrier_for_33_threads: case("barrier", shape(1, 64), [zeros(64)], BARRIER_MISUSE).says(&["33"]);
    barrier_16: case("barrier", shape(1, 64), [zeros(64), Arg::Value(16)], BARRIER_MISUSE).says(&["16"]);
    barrier_with_two_counts: case("barrier", shape(1, 96), [zeros(96)], BARRIER_MISUSE).says(&["64", "96"]);
    crossed_barriers: case("barrier", shape(1, 64), [zeros(64)], DEADLOCK).by(0, 0).by(0, 32);
    nobody_arrives: case("barrier", shape(1, 64), [zeros(64)], DEADLOCK).by(0, 0).by(0, 32);
    flag_that_nobody_sets: case("barrier", shape(1, 1), [zeros(1), zeros(1)], STEP_LIMIT).step_limit("20000");
    loop_without_end: case("barrier", shape(1, 1), [Arg::Words(vec![1])], STEP_LIMIT).step_limit("20000");

    shuffle_with_half_a_mask: case("warp", shape(1, 32), [zeros(32)], SYNC_MASK).by(0, 16);
    shuffle_in_a_branch: case("warp", shape(1, 32), [zeros(32)], SYNC_MASK).by(0, 15);
    syncwarp_with_half_a_mask: case("warp", shape(1, 32), [zeros(32)], SYNC_MASK).by(0, 16);
    // Lanes that wait at two places for each other are a deadlock as well.
    ballot_in_a_branch: case("warp", shape(1, 32), [zeros(64)], SYNC_MASK).or(DEADLOCK).by(0, 0).by(0, 1);
    match_with_a_lane_missing: case("warp", shape(1, 32), [zeros(32)], SYNC_MASK).by(0, 0);
    redux_in_a_branch: case("warp", shape(1, 32), [zeros(64)], SYNC_MASK).or(DEADLOCK).by(0, 0).by(0, 31);
    shuffle_from_an_absent_lane: case("warp", shape(1, 32), [zeros(32)], SYNC_MASK).by(0, 0);
    shuffle_after_half_has_left: case("warp", shape(1, 32), [but_one(32, 5, 9, u32::MAX), zeros(32)], SYNC_MASK)
        .by(0, 25);

    async_copy_without_wait: case("async", shape(1, 64), [ramp(256), zeros(64)], IN_FLIGHT)
        .says(&["read of 4 bytes at shared"]);
    async_copy_of_its_own_without_wait: case("async", shape(1, 64), [ramp(256), zeros(64)], IN_FLIGHT);
    async_wait_leaves_too_many: case("async", shape(1, 64), [ramp(512), zeros(64)], IN_FLIGHT);
    async_copy_without_commit: case("async", shape(1, 64), [ramp(256), zeros(64)], IN_FLIGHT);
    async_wait_without_barrier: case("async", shape(1, 64), [ramp(256), zeros(64)], SHARED_RACE).or(IN_FLIGHT);
    store_over_an_async_copy: case("async", shape(1, 64), [ramp(256), zeros(64)], IN_FLIGHT);
    async_refill_without_barrier: case("async", shape(1, 64), [ramp(512), zeros(64)], SHARED_RACE).or(IN_FLIGHT);
    async_copy_past_the_end: case("async", shape(1, 64), [ramp(252), zeros(64)], OUT_OF_BOUNDS)
        .by(0, 63).says(&["read of 16 bytes at global"]);
    async_copy_misaligned: case("async", shape(1, 64), [ramp(260), zeros(64)], MISALIGNED)
        .by(0, 0).says(&["read of 16 bytes at global"]);

    matrix_half_staged: case("matrix", shape(1, 32), [ramp(64), zeros(32)], UNINITIALISED_SHARED);
    matrix_without_barrier: case("matrix", shape(1, 64), [ramp(128), zeros(32)], SHARED_RACE).says(READ_AND_WRITE);
    matrix_misaligned: case("matrix", shape(1, 32), [ramp(128), zeros(32)], MISALIGNED).by(0, 0);
    matrix_past_the_end: case("matrix", shape(1, 32), [ramp(128), zeros(32)], OUT_OF_BOUNDS).by(0, 31);

    traps: case("misc", shape(1, 64), [but_one(64, 1, 45, u32::MAX)], TRAP).by(0, 45);
    assertion: case("misc", shape(2, 64), [but_one(64, 99, 37, 100), zeros(64)], ASSERTION)
        .by(0, 37).by(1, 37).says(&["in[i] < 100"]);
    constant_write: case("misc", shape(1, 4), [zeros(4)], READ_ONLY).by(0, 3).says(&["write of 4 bytes at const"]);
}
