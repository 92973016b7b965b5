// Looks up each token's row of the embedding table.
//
//   tokens  [n_tokens]         ids below vocab_size
//   table   [vocab_size, dim]  dim a multiple of 8
//   x       [n_tokens, dim]    the residual stream, f32 from here on: widening is exact
//
// Right for every grid; a block a token is fastest.
#include "common.cuh"

template <typename W>
__device__ void embed(const uint32_t* tokens, const W* table, float* x, uint32_t n_tokens, uint32_t dim)
{
    for (uint32_t token = blockIdx.x; token < n_tokens; token += gridDim.x) {
        const W* from = table + size_t(tokens[token]) * dim;  // [dim]
        float* to = x + size_t(token) * dim;                  // [dim]
        for (uint32_t i = threadIdx.x * 8; i < dim; i += blockDim.x * 8) {
            float row[8];
            load8(from + i, row);
            store8(to + i, row);
        }
    }
}

extern "C" __global__ __launch_bounds__(256) void embed_bf16(
    const uint32_t* __restrict__ tokens, const bf16* __restrict__ table, float* __restrict__ x,
    uint32_t n_tokens, uint32_t dim)
{
    embed(tokens, table, x, n_tokens, dim);
}

extern "C" __global__ __launch_bounds__(256) void embed_f16(
    const uint32_t* __restrict__ tokens, const f16* __restrict__ table, float* __restrict__ x,
    uint32_t n_tokens, uint32_t dim)
{
    embed(tokens, table, x, n_tokens, dim);
}
