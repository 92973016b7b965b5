// Multiplies a weight matrix and many tokens: the bulk of prefill.
//
//   weight  [n_out, n_in]     n_in a multiple of 8
//   x       [n_tokens, n_in]
//   y       [n_tokens, n_out] y[t] = weight x[t], or y[t] += weight x[t] if `accumulate` is not 0
//
// A warp unpacks a piece of its rows once and uses it for eight tokens. The warps of a block take
// the same rows and different tokens, so L1 serves all but the first of them.
// tile.cuh says in which order the products are added; matvec gives the same bits.
// Right for every grid; a warp for each tile of rows and tokens is fastest.
#include "tile.cuh"

constexpr uint32_t n_tile_tokens = 8;

// Up to eight tokens: a full tile, or what the bits of the rest call for (7 = 4 + 2 + 1).
template <uint32_t n_at_once, typename W>
__device__ void multiply_tokens(
    const W* weight, const W* x, float* y, uint32_t n_tokens,
    uint32_t n_in, uint32_t n_out, uint32_t first_row, uint32_t accumulate)
{
    if (n_tokens & n_at_once) {
        multiply_tile<n_at_once>(weight, x, y, n_in, n_out, first_row, accumulate);
        x += size_t(n_at_once) * n_in;
        y += size_t(n_at_once) * n_out;
    }
    if constexpr (n_at_once > 1)
        multiply_tokens<n_at_once / 2>(weight, x, y, n_tokens, n_in, n_out, first_row, accumulate);
}

template <typename W>
__device__ void matmul(
    const W* weight, const W* x, float* y, uint32_t n_tokens, uint32_t n_in, uint32_t n_out, uint32_t accumulate)
{
    const uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32, n_warps = gridDim.x * blockDim.x / 32;
    const uint32_t n_tile_rows = rows_per_warp(n_in), n_token_tiles = ceil_div(n_tokens, n_tile_tokens);
    const uint32_t n_tiles = ceil_div(n_out, n_tile_rows) * n_token_tiles;

    for (uint32_t tile = warp; tile < n_tiles; tile += n_warps) {
        const uint32_t token = tile % n_token_tiles * n_tile_tokens, row = tile / n_token_tiles * n_tile_rows;
        multiply_tokens<n_tile_tokens>(
            weight, x + size_t(token) * n_in, y + size_t(token) * n_out, min(n_tokens - token, n_tile_tokens),
            n_in, n_out, row, accumulate);
    }
}

extern "C" __global__ __launch_bounds__(256) void matmul_bf16(
    const bf16* __restrict__ weight, const bf16* __restrict__ x, float* __restrict__ y,
    uint32_t n_tokens, uint32_t n_in, uint32_t n_out, uint32_t accumulate)
{
    matmul(weight, x, y, n_tokens, n_in, n_out, accumulate);
}

extern "C" __global__ __launch_bounds__(256) void matmul_f16(
    const f16* __restrict__ weight, const f16* __restrict__ x, float* __restrict__ y,
    uint32_t n_tokens, uint32_t n_in, uint32_t n_out, uint32_t accumulate)
{
    matmul(weight, x, y, n_tokens, n_in, n_out, accumulate);
}
