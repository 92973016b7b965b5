// Finds the most likely token of each row: greedy decoding.
//
//   logits  [n_rows, vocab_size]
//   tokens  [n_rows]  the lowest id among equals; NaN never wins, and a row of nothing else gives 2^32 - 1
//
// "Better" is a total order on what can win, so the result does not depend on who compares with whom.
// Right for every grid; a block a row is fastest.
#include "common.cuh"

struct Best {
    float logit;
    uint32_t token;
};

constexpr uint32_t no_token = ~0u;

__device__ inline Best better(Best a, Best b)
{
    return b.logit > a.logit || (b.logit == a.logit && b.token < a.token) ? b : a;
}

__device__ inline Best best_in_warp(Best best)
{
    for (uint32_t step = 16; step > 0; step /= 2)
        best = better(best, {__shfl_xor_sync(~0u, best.logit, step), __shfl_xor_sync(~0u, best.token, step)});
    return best;
}

extern "C" __global__ __launch_bounds__(1024) void argmax(
    const float* __restrict__ logits, uint32_t* __restrict__ tokens, uint32_t n_rows, uint32_t vocab_size)
{
    __shared__ Best warp_bests[32];
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
    const Best none = {-INFINITY, no_token};  // loses to every token, even one with a logit of -infinity

    for (uint32_t row = blockIdx.x; row < n_rows; row += gridDim.x) {
        Best best = none;
        for (uint32_t token = threadIdx.x; token < vocab_size; token += blockDim.x)
            best = better(best, {logits[size_t(row) * vocab_size + token], token});
        best = best_in_warp(best);

        if (lane == 0) warp_bests[warp] = best;
        __syncthreads();  // warp 0 reads what every warp has written
        if (warp == 0) {
            best = best_in_warp(lane < n_warps ? warp_bests[lane] : none);
            if (lane == 0) tokens[row] = best.token;
        }
        __syncthreads();  // warp 0 has read it before the next row writes it
    }
}
