// Multiplies a weight matrix and one token: the bulk of decoding.
//
//   weight  [n_out, n_in]  n_in a multiple of 8
//   x       [n_in]
//   y       [n_out]        y = weight x, or y += weight x if `accumulate` is not 0
//
// Every weight is read once, 16 bytes a lane, four independent loads at a time; x stays in L1.
// tile.cuh says in which order the products are added; matmul gives the same bits.
// Right for every grid; a warp for each tile of rows is fastest.
#include "tile.cuh"

template <typename W>
__device__ void matvec(const W* weight, const W* x, float* y, uint32_t n_in, uint32_t n_out, uint32_t accumulate)
{
    const uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32, n_warps = gridDim.x * blockDim.x / 32;
    const uint32_t n_tile_rows = rows_per_warp(n_in), n_tiles = ceil_div(n_out, n_tile_rows);
    for (uint32_t tile = warp; tile < n_tiles; tile += n_warps)
        multiply_tile<1>(weight, x, y, n_in, n_out, tile * n_tile_rows, accumulate);
}

extern "C" __global__ __launch_bounds__(256) void matvec_bf16(
    const bf16* __restrict__ weight, const bf16* __restrict__ x, float* __restrict__ y,
    uint32_t n_in, uint32_t n_out, uint32_t accumulate)
{
    matvec(weight, x, y, n_in, n_out, accumulate);
}

extern "C" __global__ __launch_bounds__(256) void matvec_f16(
    const f16* __restrict__ weight, const f16* __restrict__ x, float* __restrict__ y,
    uint32_t n_in, uint32_t n_out, uint32_t accumulate)
{
    matvec(weight, x, y, n_in, n_out, accumulate);
}
