// Copies from global to shared memory that go on while the threads do something else, in groups that can be waited for.
#pragma once
#include "common.cuh"

// Starts to copy 16 bytes to shared memory past the registers, or, if not `is_there`, to write zeros: then nothing is
// read. #data-movement-and-conversion-instructions-cp-async
__device__ inline void copy_async(uint32_t to, const void* from, bool is_there)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
                 :
                 : "r"(to), "l"(from), "r"(is_there ? 16 : 0)
                 : "memory");
}

__device__ inline void copy_async(uint4* to, const void* from, bool is_there)
{
    copy_async(uint32_t(__cvta_generic_to_shared(to)), from, is_there);
}

// The policy of what is read once a launch: it leaves L2 before what others will read.
// #data-movement-and-conversion-instructions-createpolicy
__device__ inline uint64_t evicted_first()
{
    uint64_t policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(policy));
    return policy;
}

// The same with a policy.
__device__ inline void copy_async(uint4* to, const void* from, bool is_there, uint64_t policy)
{
    asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;"
                 :
                 : "r"(uint32_t(__cvta_generic_to_shared(to))), "l"(from), "r"(is_there ? 16 : 0), "l"(policy)
                 : "memory");
}

// Ends a group of copies, which may be empty.
__device__ inline void end_group() { asm volatile("cp.async.commit_group;" : : : "memory"); }

// Waits for this thread's copies, but for those of the last `n` groups.
template <uint32_t n> __device__ inline void wait_for_groups()
{
    asm volatile("cp.async.wait_group %0;" : : "n"(n) : "memory");
}
