// What becomes of the products of O and down: they are added to the residual stream, whose squares are summed.
#pragma once
#include "product.cuh"

// Called by whole warps with the sums of a tile's rows g and g + 8, see Product::run.
struct Added {
    float* x;        // [n_tokens, n_out]
    float* squares;  // [n_tokens, ceil(n_out / 16)]
    uint32_t n_tokens, n_out;

    __device__ void operator()(uint32_t tile, uint32_t g, uint32_t token, float low, float high) const
    {
        float square = 0;
        const auto add = [&](uint32_t row, float sum) {
            if (token >= n_tokens || row >= n_out) return;
            float& to = x[size_t(token) * n_out + row];
            to += sum;
            square = fmaf(to, to, square);
        };
        add(tile * tile_rows + g, low);
        add(tile * tile_rows + g + 8, high);
#pragma unroll
        for (uint32_t step = 4; step < 32; step *= 2) square += __shfl_xor_sync(~0u, square, step);  // over g
        const uint32_t n_tiles = ceil_div(n_out, tile_rows);
        if (g == 0 && token < n_tokens && tile < n_tiles) squares[size_t(token) * n_tiles + tile] = square;
    }
};
