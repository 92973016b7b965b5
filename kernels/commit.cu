// Puts the first rows of a step that are kept, of every layer, from staging into the rolling buffer, once attention has
// read what they replace.
//
//   k_staged, v_staged  [n_layers, 8, n_kv_heads, head_dim]        head_dim a multiple of 8
//   position            [1]                                        of row 0
//   k_ring, v_ring      [n_layers, n_slots, n_kv_heads, head_dim]  slot = position % n_slots
//
//   n_slots = 10, position = 8, n_tokens = 3      slot       0   1   2  ..   7   8   9
//                                                 position [10]  1   2  ..   7  [8] [9]
//
// Right for every grid; a block a row is fastest.
#include "common.cuh"

constexpr uint32_t n_staged_rows = 8;

extern "C" __global__ __launch_bounds__(128) void commit(
    const bf16* __restrict__ k_staged, const bf16* __restrict__ v_staged, const uint64_t* __restrict__ position,
    bf16* __restrict__ k_ring, bf16* __restrict__ v_ring, uint32_t n_tokens, uint32_t n_layers, uint32_t n_kv_heads,
    uint32_t head_dim, uint32_t n_slots)
{
    const uint32_t row_dim = n_kv_heads * head_dim, first_slot = *position % n_slots;
    for (uint32_t i = blockIdx.x; i < n_layers * n_tokens; i += gridDim.x) {
        const uint32_t layer = i / n_tokens, token = i % n_tokens, slot = (first_slot + token) % n_slots;
        const size_t from = (size_t(layer) * n_staged_rows + token) * row_dim;
        const size_t to = (size_t(layer) * n_slots + slot) * row_dim;
        for (uint32_t dim = threadIdx.x * 8; dim < row_dim; dim += blockDim.x * 8) {
            const uint4 k = load_packed_once(k_staged + from + dim), v = load_packed_once(v_staged + from + dim);
            *reinterpret_cast<uint4*>(k_ring + to + dim) = k;
            *reinterpret_cast<uint4*>(v_ring + to + dim) = v;
        }
    }
}
