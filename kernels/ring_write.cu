// Puts a chunk's keys and values of one layer into the rolling buffer, once attention has read what they replace.
//
//   k_chunk, v_chunk  [n_tokens, n_kv_heads, head_dim]           n_tokens <= n_slots; head_dim a multiple of 8
//   position          [1]                                        of token 0
//   k_ring, v_ring    [n_layers, n_slots, n_kv_heads, head_dim]  slot = position % n_slots
//
//   n_slots = 10, position = 18, n_tokens = 5     slot       0   1   2   3  ..   7   8   9
//                                                 position [20][21][22] 13  ..  17 [18][19]
//
// commit.cu does this for all layers of a step at once, for as many of its rows as are kept; a chunk has rows of one
// layer only, since the next layer's take their place.
//
// Right for every grid; a thread for 16 bytes of both is fastest.
#include "common.cuh"

extern "C" __global__ __launch_bounds__(256) void ring_write(
    const bf16* __restrict__ k_chunk, const bf16* __restrict__ v_chunk, const uint64_t* __restrict__ position,
    bf16* __restrict__ k_ring, bf16* __restrict__ v_ring, uint32_t n_tokens, uint32_t n_kv_heads, uint32_t head_dim,
    uint32_t n_slots, uint32_t layer)
{
    const uint32_t n_row_pieces = n_kv_heads * head_dim / 8, first_slot = *position % n_slots;
    const size_t layer_piece = size_t(layer) * n_slots * n_row_pieces;
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n_tokens * n_row_pieces; i += gridDim.x * blockDim.x) {
        const uint32_t token = i / n_row_pieces, slot = first_slot + token;
        const size_t to = layer_piece + size_t(slot < n_slots ? slot : slot - n_slots) * n_row_pieces + i % n_row_pieces;
        const uint4 k = load_packed_once(k_chunk + size_t(i) * 8), v = load_packed_once(v_chunk + size_t(i) * 8);
        reinterpret_cast<uint4*>(k_ring)[to] = k;
        reinterpret_cast<uint4*>(v_ring)[to] = v;
    }
}
