// The first half of a chunk's feed-forward network: the gate and up projections of what was normed, and SwiGLU.
//
//   weight   tiles of [2 * hidden_dim, dim]  pairs of a gate's row and an up row, see tile.cu
//   h        [n_tokens, dim]                 the normed residual stream; dim a multiple of 8
//   act      [n_tokens, hidden_dim]          gate / (1 + exp(-gate)) * up, rounded once
//
// Tokens have the bits that gate_up.cu gives them, see chunk.cuh. Right for every grid; a block has 96 KiB of dynamic
// shared memory, or 224 where a card has so much.
#include "chunk.cuh"
#include "swiglu.cuh"

extern "C" __global__ __launch_bounds__(256, 1) void prefill_gate_up_bf16(
    const bf16* __restrict__ weight, const bf16* __restrict__ h, bf16* __restrict__ act, uint32_t n_tokens,
    uint32_t dim, uint32_t hidden_dim)
{
    multiply_chunk(
        weight, h, n_tokens, dim, ceil_div(2 * hidden_dim, tile_rows), NoShares(),
        SwiGlu<bf16>{act, n_tokens, hidden_dim});
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_gate_up_f16(
    const f16* __restrict__ weight, const f16* __restrict__ h, f16* __restrict__ act, uint32_t n_tokens, uint32_t dim,
    uint32_t hidden_dim)
{
    multiply_chunk(
        weight, h, n_tokens, dim, ceil_div(2 * hidden_dim, tile_rows), NoShares(),
        SwiGlu<f16>{act, n_tokens, hidden_dim});
}
