// Adds a product to the residual stream: the O and down projections of a layer.
//
//   weight   tiles of [n_out, n_in]       see tile.cu
//   h        [n_tokens, n_in]             n_tokens <= 8; n_in a multiple of 8
//   x        [n_tokens, n_out]            += weight h
//   squares  [n_tokens, ceil(n_out / 16)] of the new x, for the norm that comes next
//
// Right for every grid; product.cuh says in which order the products are added.
#include "add.cuh"

template <typename W>
__device__ void
residual(const W* weight, const W* h, float* x, float* squares, uint32_t n_tokens, uint32_t n_in, uint32_t n_out)
{
    Product<W> product(weight, n_in, ceil_div(n_out, tile_rows));
    product.run(h, n_in, n_tokens, Added{x, squares, n_tokens, n_out});
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
