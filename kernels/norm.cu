// The input of a chunk's products: RMSNorm of every token, see norm.cuh. Decoding norms up to eight tokens within the
// product; for more it is done once and not by every block.
//
//   x        [n_tokens, dim]             the residual stream; dim a multiple of 8
//   squares  [n_tokens, ceil(dim / 16)]  of x
//   norm     [dim]
//   h        [n_tokens, dim]             x / sqrt(mean(x^2) + eps) * norm, rounded once
//
// A warp takes 512 columns of a token, and sums the token's squares for itself: no warp waits for another. Right for
// every grid.
#include "norm.cuh"

template <typename W>
__device__ void norm_chunk(
    const float* x, const float* squares, const W* norm, W* h, uint32_t n_tokens, uint32_t dim, float eps)
{
    constexpr uint32_t n_batch = 4;  // loads of a lane under way together
    constexpr uint32_t step = 32 * 4, n_item_columns = n_batch * step;
    const uint32_t n_token_items = ceil_div(dim, n_item_columns), n_grid_warps = gridDim.x * n_block_warps;
    for (uint32_t item = blockIdx.x * n_block_warps + threadIdx.x / 32; item < n_tokens * n_token_items;
         item += n_grid_warps) {
        const uint32_t token = item / n_token_items;
        const uint32_t first = item % n_token_items * n_item_columns + threadIdx.x % 32 * 4;
        float4 rows[n_batch];
        uint2 weights[n_batch];
#pragma unroll
        for (uint32_t i = 0; i < n_batch; i++) {
            if (first + i * step >= dim) break;
            rows[i] = *reinterpret_cast<const float4*>(x + size_t(token) * dim + first + i * step);
            weights[i] = *reinterpret_cast<const uint2*>(norm + first + i * step);
        }
        const float scale = norm_scale(squares + size_t(token) * ceil_div(dim, tile_rows), dim, eps);
#pragma unroll
        for (uint32_t i = 0; i < n_batch; i++) {
            if (first + i * step >= dim) break;
            uint2* to = reinterpret_cast<uint2*>(h + size_t(token) * dim + first + i * step);
            *to = normed<W>(rows[i], weights[i], scale);
        }
    }
}

extern "C" __global__ __launch_bounds__(256) void norm_bf16(
    const float* __restrict__ x, const float* __restrict__ squares, const bf16* __restrict__ norm,
    bf16* __restrict__ h, uint32_t n_tokens, uint32_t dim, float eps)
{
    norm_chunk(x, squares, norm, h, n_tokens, dim, eps);
}

extern "C" __global__ __launch_bounds__(256) void norm_f16(
    const float* __restrict__ x, const float* __restrict__ squares, const f16* __restrict__ norm,
    f16* __restrict__ h, uint32_t n_tokens, uint32_t dim, float eps)
{
    norm_chunk(x, squares, norm, h, n_tokens, dim, eps);
}
