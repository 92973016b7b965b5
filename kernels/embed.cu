// Looks up each token's row of the embedding table.
//
//   tokens   [n_tokens]                         ids below vocab_size
//   table    [n_row_tiles, n_groups, 2, 32, 8]  tiles of [vocab_size, dim], dim a multiple of 8; see tiles.cuh
//   x        [n_tokens, dim]                    the residual stream, f32 from here on: widening is exact
//   squares  [n_tokens, ceil(dim / 16)]         of x, for the norm that comes next
//
// A lane widens four elements, half a piece, so that a warp reads four runs of 64 bytes and stores 512 contiguous
// bytes; four lanes have the elements of one sum. Right for every grid; one step of the loop is fastest.
#include "tiles.cuh"

template <typename W>
__device__ void
embed(const uint32_t* tokens, const W* table, float* x, float* squares, uint32_t n_tokens, uint32_t dim)
{
    const uint32_t n_quads = dim / 4, n_sums = ceil_div(n_quads, 4), n_items = n_tokens * n_sums * 4;
    const uint32_t n_groups = n_column_groups(dim), n_threads = gridDim.x * blockDim.x;
    const uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    for (uint32_t first = thread - lane; first < n_items; first += n_threads) {  // of the warp
        const uint32_t item = first + lane, token = item / (n_sums * 4), quad = item % (n_sums * 4);
        float4 row = make_float4(0, 0, 0, 0);
        if (item < n_items && quad < n_quads) {
            const W* from = table + tiled_piece(tokens[token], quad / 2, n_groups) + quad % 2 * 4;
            const uint2 pairs = *reinterpret_cast<const uint2*>(from);
            const float2 low = unpack_pair(pairs.x, W()), high = unpack_pair(pairs.y, W());
            row = make_float4(low.x, low.y, high.x, high.y);
            reinterpret_cast<float4*>(x)[size_t(token) * n_quads + quad] = row;
        }
        const float square = fmaf(row.x, row.x, fmaf(row.y, row.y, fmaf(row.z, row.z, row.w * row.w)));
        const float sum = lane_sum(square, 4);
        if (item < n_items && quad % 4 == 0) squares[token * n_sums + quad / 4] = sum;
    }
}

extern "C" __global__ __launch_bounds__(256) void embed_bf16(
    const uint32_t* __restrict__ tokens, const bf16* __restrict__ table, float* __restrict__ x,
    float* __restrict__ squares, uint32_t n_tokens, uint32_t dim)
{
    embed(tokens, table, x, squares, n_tokens, dim);
}

extern "C" __global__ __launch_bounds__(256) void embed_f16(
    const uint32_t* __restrict__ tokens, const f16* __restrict__ table, float* __restrict__ x,
    float* __restrict__ squares, uint32_t n_tokens, uint32_t dim)
{
    embed(tokens, table, x, squares, n_tokens, dim);
}
