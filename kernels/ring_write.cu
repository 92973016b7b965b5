// Puts a chunk's keys and values into the rolling buffer, once attention has read what they replace.
//
//   k_chunk, v_chunk  [n_tokens, n_kv_heads, head_dim]  n_tokens <= n_slots; head_dim a multiple of 8
//   position          [1]                               of token 0
//   k_ring, v_ring    [n_slots, n_kv_heads, head_dim]   slot = position % n_slots
//
//   n_slots = 4, position = 6, n_tokens = 3      slot       0   1   2   3
//                                                position  [8]  5  [6] [7]
//
// Right for every grid; a block a token is fastest.
#include "common.cuh"

extern "C" __global__ __launch_bounds__(256) void ring_write(
    const bf16* __restrict__ k_chunk, const bf16* __restrict__ v_chunk, const uint64_t* __restrict__ position,
    bf16* __restrict__ k_ring, bf16* __restrict__ v_ring,
    uint32_t n_tokens, uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_slots)
{
    const uint32_t row_dim = n_kv_heads * head_dim;
    for (uint32_t token = blockIdx.x; token < n_tokens; token += gridDim.x) {
        const size_t from = size_t(token) * row_dim, to = (*position + token) % n_slots * row_dim;
        for (uint32_t i = threadIdx.x * 8; i < row_dim; i += blockDim.x * 8) {
            *reinterpret_cast<uint4*>(k_ring + to + i) = load_packed(k_chunk + from + i);
            *reinterpret_cast<uint4*>(v_ring + to + i) = load_packed(v_chunk + from + i);
        }
    }
}
