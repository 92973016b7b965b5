// The first part of a layer's attention: norm, the query, key and value projections, and the turn of queries
// and keys by their positions (RoPE, arXiv 2104.09864, section 3.2.2). Keys and values go into the ring,
// or to staging if it is not yet known whether the tokens stay.
//
//   weight              tiles of [(n_heads + 2*n_kv_heads) * head_dim, dim], pairs of rows i and
//                       i + head_dim/2 of a head, see tile.cu
//   x                   [n_tokens, dim]             the residual stream; n_tokens <= 8, dim a multiple of 8
//   squares             [n_tokens, ceil(dim / 16)]  of x
//   norm                [dim]
//   turn_per_position   [head_dim/2]                theta^(-2i/head_dim) / 2 pi turns, times 2^64
//   position            [1]                         of token 0; in memory, so one CUDA graph replays for
//                                                   every token
//   q                   [n_tokens, n_heads, head_dim]              turned
//   k_ring, v_ring      [n_layers, n_slots, n_kv_heads, head_dim]  slot = position % n_slots
//   k_staged, v_staged  [n_layers, 8, n_kv_heads, head_dim]        row = token
//
// Turning takes registers, so that two blocks fit on a multiprocessor where the other products have three.
// Right for every grid; a block has norm_stride(dim) * n_tokens elements of dynamic shared memory.
#include "norm.cuh"
#include "turn.cuh"

template <typename W>
__device__ void qkv(
    const W* weight, const float* x, const float* squares, const W* norm_weight, const uint64_t* turn_per_position,
    const uint64_t* position, bf16* q, Rows k, Rows v, uint32_t n_tokens, uint32_t dim, uint32_t n_heads,
    uint32_t n_kv_heads, uint32_t head_dim, float eps)
{
    extern __shared__ uint4 shared[];
    W* h = reinterpret_cast<W*>(shared);
    Product<W> product(weight, dim, ceil_div((n_heads + 2 * n_kv_heads) * head_dim, tile_rows));
    norm(x, squares, norm_weight, h, n_tokens, dim, eps);
    product.run(
        h, norm_stride(dim), n_tokens,
        TurnedHeads{turn_per_position, position, q, k, v, n_tokens, n_heads, n_kv_heads, head_dim});
}

// The layer's part of a ring or of staging.
__device__ inline Rows rows_of(
    bf16* ring, bf16* staged, const uint64_t* position, uint32_t layer, uint32_t n_slots, uint32_t n_staged,
    uint32_t row_dim)
{
    if (n_staged > 0) return {staged + size_t(layer) * max_tokens * row_dim, 0, max_tokens, row_dim};
    return {ring + size_t(layer) * n_slots * row_dim, uint32_t(*position % n_slots), n_slots, row_dim};
}

extern "C" __global__ __launch_bounds__(256, 2) void qkv_bf16(
    const bf16* __restrict__ weight, const float* __restrict__ x, const float* __restrict__ squares,
    const bf16* __restrict__ norm, const uint64_t* __restrict__ turn_per_position,
    const uint64_t* __restrict__ position, bf16* __restrict__ q, bf16* __restrict__ k_ring, bf16* __restrict__ v_ring,
    bf16* __restrict__ k_staged, bf16* __restrict__ v_staged, uint32_t n_tokens, uint32_t n_staged, uint32_t layer,
    uint32_t dim, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_slots, float eps)
{
    const uint32_t row_dim = n_kv_heads * head_dim;
    qkv(weight, x, squares, norm, turn_per_position, position, q,
        rows_of(k_ring, k_staged, position, layer, n_slots, n_staged, row_dim),
        rows_of(v_ring, v_staged, position, layer, n_slots, n_staged, row_dim), n_tokens, dim, n_heads, n_kv_heads,
        head_dim, eps);
}

extern "C" __global__ __launch_bounds__(256, 2) void qkv_f16(
    const f16* __restrict__ weight, const float* __restrict__ x, const float* __restrict__ squares,
    const f16* __restrict__ norm, const uint64_t* __restrict__ turn_per_position,
    const uint64_t* __restrict__ position, bf16* __restrict__ q, bf16* __restrict__ k_ring, bf16* __restrict__ v_ring,
    bf16* __restrict__ k_staged, bf16* __restrict__ v_staged, uint32_t n_tokens, uint32_t n_staged, uint32_t layer,
    uint32_t dim, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_slots, float eps)
{
    const uint32_t row_dim = n_kv_heads * head_dim;
    qkv(weight, x, squares, norm, turn_per_position, position, q,
        rows_of(k_ring, k_staged, position, layer, n_slots, n_staged, row_dim),
        rows_of(v_ring, v_staged, position, layer, n_slots, n_staged, row_dim), n_tokens, dim, n_heads, n_kv_heads,
        head_dim, eps);
}
