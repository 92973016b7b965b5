// Adds a product to the residual stream: the O and down projections of a layer.
//
//   weight   tiles of [n_out, n_in]       see tile.cu
//   h        [n_tokens, n_in]             n_tokens <= 8; n_in a multiple of 8
//   x        [n_tokens, n_out]            += weight h
//   squares  [n_tokens, ceil(n_out / 16)] of the new x, for the norm that comes next
//
// Right for every grid; product.cuh says in which order the products are added.
#include "product.cuh"

template <typename W>
__device__ void
residual(const W* weight, const W* h, float* x, float* squares, uint32_t n_tokens, uint32_t n_in, uint32_t n_out)
{
    const uint32_t n_tiles = ceil_div(n_out, tile_rows);
    Product<W> product(weight, n_in, n_tiles);
    product.run(h, n_in, n_tokens, [&](uint32_t tile, uint32_t g, uint32_t token, float low, float high) {
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
        if (g == 0 && token < n_tokens) squares[token * n_tiles + tile] = square;
    });
}

extern "C" __global__ __launch_bounds__(256, 3) void residual_bf16(
    const bf16* __restrict__ weight, const bf16* __restrict__ h, float* __restrict__ x, float* __restrict__ squares,
    uint32_t n_tokens, uint32_t n_in, uint32_t n_out)
{
    residual(weight, h, x, squares, n_tokens, n_in, n_out);
}

extern "C" __global__ __launch_bounds__(256, 3) void residual_f16(
    const f16* __restrict__ weight, const f16* __restrict__ h, float* __restrict__ x, float* __restrict__ squares,
    uint32_t n_tokens, uint32_t n_in, uint32_t n_out)
{
    residual(weight, h, x, squares, n_tokens, n_in, n_out);
}
