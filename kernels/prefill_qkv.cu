// The first part of a chunk's attention: the query, key and value projections of what was normed, and the turn of
// queries and keys by their positions, see turn.cuh.
//
//   weight             tiles of [(n_heads + 2*n_kv_heads) * head_dim, dim], pairs of rows i and
//                      i + head_dim/2 of a head, see tile.cu
//   h                  [n_tokens, dim]                   the normed residual stream; dim a multiple of 8
//   turn_per_position  [head_dim/2]                      theta^(-2i/head_dim) / 2 pi turns, times 2^64
//   position           [1]                               of token 0
//   q                  [n_tokens, n_heads, head_dim]     turned
//   k_chunk, v_chunk   [n_tokens, n_kv_heads, head_dim]  keys, turned, and values
//
// Tokens have the bits that qkv.cu gives them, see chunk.cuh. Right for every grid; a block has 96 KiB of dynamic
// shared memory, or 224 where a card has so much.
#include "chunk.cuh"
#include "turn.cuh"

template <typename W>
__device__ void prefill_qkv(
    const W* weight, const W* h, const uint64_t* turn_per_position, const uint64_t* position, bf16* q, bf16* k_chunk,
    bf16* v_chunk, uint32_t n_tokens, uint32_t dim, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim)
{
    const uint32_t row_dim = n_kv_heads * head_dim, n_out = n_heads * head_dim + 2 * row_dim;
    const Rows k{k_chunk, 0, n_tokens, row_dim}, v{v_chunk, 0, n_tokens, row_dim};
    multiply_chunk(
        weight, h, n_tokens, dim, ceil_div(n_out, tile_rows), NoShares(),
        TurnedHeads{turn_per_position, position, q, k, v, n_tokens, n_heads, n_kv_heads, head_dim});
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_qkv_bf16(
    const bf16* __restrict__ weight, const bf16* __restrict__ h, const uint64_t* __restrict__ turn_per_position,
    const uint64_t* __restrict__ position, bf16* __restrict__ q, bf16* __restrict__ k_chunk,
    bf16* __restrict__ v_chunk, uint32_t n_tokens, uint32_t dim, uint32_t n_heads, uint32_t n_kv_heads,
    uint32_t head_dim)
{
    prefill_qkv(
        weight, h, turn_per_position, position, q, k_chunk, v_chunk, n_tokens, dim, n_heads, n_kv_heads, head_dim);
}

extern "C" __global__ __launch_bounds__(256, 1) void prefill_qkv_f16(
    const f16* __restrict__ weight, const f16* __restrict__ h, const uint64_t* __restrict__ turn_per_position,
    const uint64_t* __restrict__ position, bf16* __restrict__ q, bf16* __restrict__ k_chunk,
    bf16* __restrict__ v_chunk, uint32_t n_tokens, uint32_t dim, uint32_t n_heads, uint32_t n_kv_heads,
    uint32_t head_dim)
{
    prefill_qkv(
        weight, h, turn_per_position, position, q, k_chunk, v_chunk, n_tokens, dim, n_heads, n_kv_heads, head_dim);
}
