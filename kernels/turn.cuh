// What becomes of the products of a layer's attention: queries and keys are turned by their positions (RoPE, arXiv
// 2104.09864, section 3.2.2), and all are rounded to bf16 and go to their rows.
//
// A position is a 64-bit count that never wraps, and a turn is 2^64: their product wraps exactly where
// whole turns do, so what is left of it is the angle, as exact at position 10^9 as at 0.
#pragma once
#include "product.cuh"

// Where a token's keys, or its values, go: [n_kv_heads, head_dim].
struct Rows {
    bf16* first;
    uint32_t first_row, n_rows, row_dim;

    __device__ bf16* of(uint32_t token) const { return first + size_t((first_row + token) % n_rows) * row_dim; }
};

// Called with the sums of a tile's row g, a pair of elements i and i + head_dim/2 of a head, see Product::run.
struct TurnedHeads {
    const uint64_t* turn_per_position;  // [head_dim/2]
    const uint64_t* position;           // [1], of token 0
    bf16* q;                            // [n_tokens, n_heads, head_dim]
    Rows k, v;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim;

    __device__ void operator()(uint32_t tile, uint32_t g, uint32_t token, float low, float high) const
    {
        const uint32_t n_pairs = head_dim / 2, n_turned = n_heads + n_kv_heads, n_all = n_turned + n_kv_heads;
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
    }
};
