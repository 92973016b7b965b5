// What becomes of the products of gate and up: SwiGLU (arXiv 2002.05202, equation 6).
#pragma once
#include "product.cuh"

__device__ inline float silu(float x) { return x / (1 + expf(-x)); }

// Called with the sums of a tile's row g, a row of the gate and the same row of up, see Product::run.
template <typename W> struct SwiGlu {
    W* act;  // [n_tokens, hidden_dim]
    uint32_t n_tokens, hidden_dim;

    __device__ void operator()(uint32_t tile, uint32_t g, uint32_t token, float gate, float up) const
    {
        const uint32_t i = tile * (tile_rows / 2) + g;
        if (token < n_tokens && i < hidden_dim) narrow(silu(gate) * up, act[size_t(token) * hidden_dim + i]);
    }
};
