// Looks up each token's row of the embedding table, whose rows are in tiles, see tiles.cuh.
//
//   tokens   [n_tokens]                         ids below vocab_size
//   table    [n_row_tiles, n_groups, 2, 32, 8]  of [vocab_size, dim], dim a multiple of 8
//   x        [n_tokens, dim]                    the residual stream, f32 from here on: widening is exact
//   squares  [n_tokens, ceil(dim / 16)]         the sums of squares of x, for the norm that comes next
//
// A lane widens four elements, half a piece, so that a warp reads four runs of 64 bytes and stores 512 contiguous
// bytes; four lanes make a sum of squares. Right for every grid; one step of the loop is fastest.
#include "tiles.cuh"

template <typename W>
__device__ void
embed_tiled(const uint32_t* tokens, const W* table, float* x, float* squares, uint32_t n_tokens, uint32_t dim)
{
    const uint32_t n_sums = ceil_div(dim, 16), n_quads = dim / 4, n_groups = n_column_groups(dim);
    const uint32_t n = n_tokens * n_sums * 4, n_threads = gridDim.x * blockDim.x, lane = threadIdx.x % 32;
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i - lane < n; i += n_threads) {  // whole warps
        const uint32_t token = i / 4 / n_sums, sum = i / 4 % n_sums, quad = sum * 4 + i % 4;
        float square = 0;
        if (i < n && quad < n_quads) {
            const W* from = table + tiled_piece(tokens[token], quad / 2, n_groups) + quad % 2 * 4;
            const uint2 pairs = *reinterpret_cast<const uint2*>(from);
            const float2 low = unpack_pair(pairs.x, W()), high = unpack_pair(pairs.y, W());
            reinterpret_cast<float4*>(x)[token * n_quads + quad] = make_float4(low.x, low.y, high.x, high.y);
            square = fmaf(low.x, low.x, fmaf(low.y, low.y, fmaf(high.x, high.x, high.y * high.y)));
        }
        square = lane_sum(square, 4);
        if (i < n && i % 4 == 0) squares[token * n_sums + sum] = square;
    }
}

extern "C" __global__ __launch_bounds__(256) void embed_tiled_bf16(
    const uint32_t* __restrict__ tokens, const bf16* __restrict__ table, float* __restrict__ x,
    float* __restrict__ squares, uint32_t n_tokens, uint32_t dim)
{
    embed_tiled(tokens, table, x, squares, n_tokens, dim);
}

extern "C" __global__ __launch_bounds__(256) void embed_tiled_f16(
    const uint32_t* __restrict__ tokens, const f16* __restrict__ table, float* __restrict__ x,
    float* __restrict__ squares, uint32_t n_tokens, uint32_t dim)
{
    embed_tiled(tokens, table, x, squares, n_tokens, dim);
}
