// The first half of a layer's feed-forward network: norm, the gate and up projections, and SwiGLU.
//
//   weight   tiles of [2 * hidden_dim, dim]  pairs of a gate's row and an up row, see tile.cu
//   x        [n_tokens, dim]                 the residual stream; n_tokens <= 8, dim a multiple of 8
//   squares  [n_tokens, ceil(dim / 16)]      of x
//   norm     [dim]
//   act      [n_tokens, hidden_dim]          gate / (1 + exp(-gate)) * up, rounded once
//
// Right for every grid; a block has norm_stride(dim) * n_tokens elements of dynamic shared memory.
#include "norm.cuh"
#include "swiglu.cuh"

template <typename W>
__device__ void gate_up(
    const W* weight, const float* x, const float* squares, const W* norm_weight, W* act, uint32_t n_tokens,
    uint32_t dim, uint32_t hidden_dim, float eps)
{
    extern __shared__ uint4 shared[];
    W* h = reinterpret_cast<W*>(shared);
    Product<W> product(weight, dim, ceil_div(hidden_dim, tile_rows / 2));
    norm(x, squares, norm_weight, h, n_tokens, dim, eps);
    product.run(h, norm_stride(dim), n_tokens, SwiGlu<W>{act, n_tokens, hidden_dim});
}

extern "C" __global__ __launch_bounds__(256, 3) void gate_up_bf16(
    const bf16* __restrict__ weight, const float* __restrict__ x, const float* __restrict__ squares,
    const bf16* __restrict__ norm, bf16* __restrict__ act, uint32_t n_tokens, uint32_t dim, uint32_t hidden_dim,
    float eps)
{
    gate_up(weight, x, squares, norm, act, n_tokens, dim, hidden_dim, eps);
}

extern "C" __global__ __launch_bounds__(256, 3) void gate_up_f16(
    const f16* __restrict__ weight, const float* __restrict__ x, const float* __restrict__ squares,
    const f16* __restrict__ norm, f16* __restrict__ act, uint32_t n_tokens, uint32_t dim, uint32_t hidden_dim,
    float eps)
{
    gate_up(weight, x, squares, norm, act, n_tokens, dim, hidden_dim, eps);
}
