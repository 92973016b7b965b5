// Divides each token by its root mean square and scales it (RMSNorm, arXiv 1910.07467, equation 4).
//
//   x       [n_tokens, dim]  dim a multiple of 8
//   weight  [dim]
//   y       [n_tokens, dim]  x / sqrt(mean(x^2) + eps) * weight, rounded once, to the weight's type
//
// One block a token. The squares are added in an order that depends on dim alone: thread i adds its
// pieces of eight in order, a butterfly adds the lanes, and each thread adds the warps in order.
// Right for every grid; a block a token is fastest.
#include "common.cuh"

// The sum over the block, given to each thread.
__device__ float block_sum(float value)
{
    __shared__ float warp_sums[32];
    value = lane_sum(value, 32);
    __syncthreads();  // the sums of the token before have been read
    if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = value;
    __syncthreads();  // every warp has written what all read now
    float sum = 0;
    for (uint32_t warp = 0; warp < blockDim.x / 32; warp++) sum += warp_sums[warp];
    return sum;
}

template <typename W>
__device__ void rms_norm(const float* x, const W* weight, W* y, uint32_t n_tokens, uint32_t dim, float eps)
{
    for (uint32_t token = blockIdx.x; token < n_tokens; token += gridDim.x) {
        const float* from = x + size_t(token) * dim;  // [dim]
        W* to = y + size_t(token) * dim;              // [dim]

        float squares = 0;
        for (uint32_t i = threadIdx.x * 8; i < dim; i += blockDim.x * 8) {
            float row[8];
            load8(from + i, row);
#pragma unroll
            for (uint32_t j = 0; j < 8; j++) squares = fmaf(row[j], row[j], squares);
        }
        const float scale = 1 / sqrtf(block_sum(squares) / dim + eps);

        for (uint32_t i = threadIdx.x * 8; i < dim; i += blockDim.x * 8) {
            float row[8], scales[8];
            load8(from + i, row);
            load8(weight + i, scales);
#pragma unroll
            for (uint32_t j = 0; j < 8; j++) row[j] *= scale * scales[j];
            store8(to + i, row);
        }
    }
}

extern "C" __global__ __launch_bounds__(256) void rms_norm_bf16(
    const float* __restrict__ x, const bf16* __restrict__ weight, bf16* __restrict__ y,
    uint32_t n_tokens, uint32_t dim, float eps)
{
    rms_norm(x, weight, y, n_tokens, dim, eps);
}

extern "C" __global__ __launch_bounds__(256) void rms_norm_f16(
    const float* __restrict__ x, const f16* __restrict__ weight, f16* __restrict__ y,
    uint32_t n_tokens, uint32_t dim, float eps)
{
    rms_norm(x, weight, y, n_tokens, dim, eps);
}
