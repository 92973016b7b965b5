// Turns queries and keys by their positions (RoPE, arXiv 2104.09864, section 3.2.2), and rounds them
// and the values to bf16, as the cache holds them.
//
//   qkv                [n_tokens, n_heads + 2*n_kv_heads, head_dim]  as the projection left it
//   turn_per_position  [head_dim/2]                     theta^(-2i/head_dim) / 2 pi turns, times 2^64
//   position           [1]                              of token 0; in memory, so one CUDA graph
//                                                       replays for every token
//   q                  [n_tokens, n_heads, head_dim]    turned
//   k_chunk            [n_tokens, n_kv_heads, head_dim] turned
//   v_chunk            [n_tokens, n_kv_heads, head_dim] as given
//
// A position is a 64-bit count that never wraps, and a turn is 2^64: their product wraps exactly where
// whole turns do, so what is left of it is the angle, as exact at position 10^9 as at 0.
//
// Element i pairs with i + head_dim/2, the order of Hugging Face checkpoints.
// Right for every grid. Blocks along x take tokens, and along y heads: a block computes the sines of a
// token once for all of its heads.
#include "common.cuh"

extern "C" __global__ __launch_bounds__(64) void rope(
    const float* __restrict__ qkv, const uint64_t* __restrict__ turn_per_position,
    const uint64_t* __restrict__ position,
    bf16* __restrict__ q, bf16* __restrict__ k_chunk, bf16* __restrict__ v_chunk,
    uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim)
{
    const uint32_t n_pairs = head_dim / 2, n_turned = n_heads + n_kv_heads, n_all = n_turned + n_kv_heads;

    for (uint32_t token = blockIdx.x; token < n_tokens; token += gridDim.x) {
        bf16* q_out = q + size_t(token) * n_heads * head_dim;           // [n_heads, head_dim]
        bf16* k_out = k_chunk + size_t(token) * n_kv_heads * head_dim;  // [n_kv_heads, head_dim]
        bf16* v_out = v_chunk + size_t(token) * n_kv_heads * head_dim;  // [n_kv_heads, head_dim]
        for (uint32_t pair = threadIdx.x; pair < n_pairs; pair += blockDim.x) {
            const uint64_t angle = (*position + token) * turn_per_position[pair];
            float sin, cos;
            sincospif(int32_t(angle >> 32) * 0x1p-31f, &sin, &cos);  // half turns, from -1 to 1

            for (uint32_t head = blockIdx.y; head < n_all; head += gridDim.y) {
                const float* in = qkv + (size_t(token) * n_all + head) * head_dim + pair;
                float x = in[0], y = in[n_pairs];
                if (head < n_turned) {
                    const float turned_x = fmaf(x, cos, -(y * sin));
                    y = fmaf(x, sin, y * cos);
                    x = turned_x;
                }
                bf16* out = head < n_heads  ? q_out + head * head_dim
                          : head < n_turned ? k_out + (head - n_heads) * head_dim
                                            : v_out + (head - n_turned) * head_dim;
                narrow(x, out[pair]);
                narrow(y, out[pair + n_pairs]);
            }
        }
    }
}
