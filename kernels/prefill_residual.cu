// Adds a product to the residual stream of a chunk: the O and down projections of a layer.
//
//   weight        tiles of [n_out, n_in]         see tile.cu
//   h             [n_tokens, n_in]               n_in a multiple of 8
//   x             [n_tokens, n_out]              += weight h
//   squares       [n_tokens, ceil(n_out / 16)]   of the new x, for the norm that comes next
//   segment_sums  [n_tokens, 8, n_out]           of parts that blocks share (parts.cuh): room for whole parts, which
//                                                have up to 128 tokens and 256 rows, of up to 256 tokens
//   part_tickets  [n_tokens / 16, n_out / 64]    one a part, at the most; zeros before and after
//
// Tokens have the bits that residual.cu gives them, see chunk.cuh. Right for every grid; a block has 96 KiB of dynamic
// shared memory, or 224 where a card has so much.
#include "chunk.cuh"
#include "add.cuh"

extern "C" __global__ __launch_bounds__(256, 1) void prefill_residual_bf16(
    const bf16* __restrict__ weight, const bf16* __restrict__ h, float* __restrict__ x, float* __restrict__ squares,
    float* __restrict__ segment_sums, uint32_t* __restrict__ part_tickets, uint32_t n_tokens, uint32_t n_in,
    uint32_t n_out)
{
    const Shares shares{reinterpret_cast<float4*>(segment_sums), part_tickets};
    multiply_chunk(weight, h, n_tokens, n_in, ceil_div(n_out, tile_rows), shares, Added{x, squares, n_tokens, n_out});
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_residual_f16(
    const f16* __restrict__ weight, const f16* __restrict__ h, float* __restrict__ x, float* __restrict__ squares,
    float* __restrict__ segment_sums, uint32_t* __restrict__ part_tickets, uint32_t n_tokens, uint32_t n_in,
    uint32_t n_out)
{
    const Shares shares{reinterpret_cast<float4*>(segment_sums), part_tickets};
    multiply_chunk(weight, h, n_tokens, n_in, ceil_div(n_out, tile_rows), shares, Added{x, squares, n_tokens, n_out});
}
