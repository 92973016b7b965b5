// How the last of several blocks finds out that it is the last, and may read what the others have stored.
#pragma once
#include "common.cuh"

// Draws a ticket, by one thread behind a barrier of the block: whether `n_others` blocks have been here before. The ticket
// is then zero again. (PTX ISA, #memory-consistency-model, release and acquire patterns)
__device__ inline bool draws_last(uint32_t* ticket, uint32_t n_others)
{
    uint32_t n_before;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
                 : "=r"(n_before)
                 : "l"(ticket), "r"(n_others)
                 : "memory");
    return n_before == n_others;
}

// The same for all threads of a block, after what they have stored.
__device__ inline bool is_last_block(uint32_t* ticket, uint32_t n_others)
{
    __syncthreads();
    const bool is_last = threadIdx.x == 0 && draws_last(ticket, n_others);
    return __syncthreads_or(is_last);
}
