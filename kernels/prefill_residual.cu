// Adds a product to the residual stream of a chunk: the O and down projections of a layer.
//
//   weight   tiles of [n_out, n_in]       see tile.cu
//   h        [n_tokens, n_in]             n_in a multiple of 8
//   x        [n_tokens, n_out]            += weight h
//   squares  [n_tokens, ceil(n_out / 16)] of the new x, for the norm that comes next
//
// Tokens have the bits that residual.cu gives them, see chunk.cuh. Right for every grid; a block has 96 KiB of dynamic
// shared memory, or 224 where a card has so much.
#include "chunk.cuh"
#include "add.cuh"

extern "C" __global__ __launch_bounds__(256, 1) void prefill_residual_bf16(
    const bf16* __restrict__ weight, const bf16* __restrict__ h, float* __restrict__ x, float* __restrict__ squares,
    uint32_t n_tokens, uint32_t n_in, uint32_t n_out)
{
    multiply_chunk(weight, h, n_tokens, n_in, ceil_div(n_out, tile_rows), Added{x, squares, n_tokens, n_out});
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_residual_f16(
    const f16* __restrict__ weight, const f16* __restrict__ h, float* __restrict__ x, float* __restrict__ squares,
    uint32_t n_tokens, uint32_t n_in, uint32_t n_out)
{
    multiply_chunk(weight, h, n_tokens, n_in, ceil_div(n_out, tile_rows), Added{x, squares, n_tokens, n_out});
}
