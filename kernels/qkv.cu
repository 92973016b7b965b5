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
// A position is a 64-bit count that never wraps, and a turn is 2^64: their product wraps exactly where
// whole turns do, so what is left of it is the angle, as exact at position 10^9 as at 0.
//
// Turning takes registers, so that two blocks fit on a multiprocessor where the other products have three.
// Right for every grid; a block has norm_stride(dim) * n_tokens elements of dynamic shared memory.
#include "norm.cuh"

// Where a token's keys, or its values, go: [n_kv_heads, head_dim].
struct Rows {
    bf16* first;
    uint32_t first_row, n_rows, row_dim;

    __device__ bf16* of(uint32_t token) const { return first + size_t((first_row + token) % n_rows) * row_dim; }
};

template <typename W>
__device__ void qkv(
    const W* weight, const float* x, const float* squares, const W* norm_weight, const uint64_t* turn_per_position,
    const uint64_t* position, bf16* q, Rows k, Rows v, uint32_t n_tokens, uint32_t dim, uint32_t n_heads,
    uint32_t n_kv_heads, uint32_t head_dim, float eps)
{
    extern __shared__ uint4 shared[];
    W* h = reinterpret_cast<W*>(shared);
    const uint32_t n_pairs = head_dim / 2, n_turned = n_heads + n_kv_heads, n_all = n_turned + n_kv_heads;
    Product<W> product(weight, dim, ceil_div(n_all * n_pairs, tile_rows / 2));
    norm(x, squares, norm_weight, h, n_tokens, dim, eps);
    product.run(h, norm_stride(dim), n_tokens, [&](uint32_t tile, uint32_t g, uint32_t token, float low, float high) {
        const uint32_t head = (tile * (tile_rows / 2) + g) / n_pairs, pair = (tile * (tile_rows / 2) + g) % n_pairs;
        if (token >= n_tokens || head >= n_all) return;
        bf16* to = v.of(token) + (head - n_turned) * head_dim;
        if (head < n_turned) {
            const uint64_t angle = (*position + token) * turn_per_position[pair];
            float sin, cos;
            sincospif(int32_t(angle >> 32) * 0x1p-31f, &sin, &cos);  // half turns, from -1 to 1
            const float turned = fmaf(low, cos, -(high * sin));
            high = fmaf(low, sin, high * cos);
            low = turned;
            to = head < n_heads ? q + (size_t(token) * n_heads + head) * head_dim
                                : k.of(token) + (head - n_heads) * head_dim;
        }
        narrow(low, to[pair]);
        narrow(high, to[pair + n_pairs]);
    });
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
