// Moves the position past the tokens of a step, so that a CUDA graph which ends with it can replay.
//
//   position  [1]
//
// Right for every grid: one thread does it.
#include "common.cuh"

extern "C" __global__ __launch_bounds__(32) void advance(uint64_t* __restrict__ position, uint32_t n_tokens)
{
    if (blockIdx.x == 0 && threadIdx.x == 0) *position += n_tokens;
}
