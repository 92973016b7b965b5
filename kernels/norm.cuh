// The input of a layer's products: RMSNorm (arXiv 1910.07467, equation 4) of up to eight tokens, into shared
// memory. Each block does it for itself: the rows come from L2, while the first weights are on their way.
//
// Whoever writes the residual stream x also writes the sums of its squares, one for every 16 elements, so
// that x is read once. They are added in an order that depends on dim alone.
#pragma once
#include "product.cuh"

// From one row of h to the next, in elements: an odd number of 64-byte pieces, so that the eight tokens which
// mma takes at once lie in different banks.
__device__ inline uint32_t norm_stride(uint32_t dim) { return (ceil_div(dim, 32) | 1) * 32; }

// 1 / sqrt(mean of x^2 + eps) of a token, given to every lane of a warp.
__device__ inline float norm_scale(const float* squares, uint32_t dim, float eps)
{
    const uint32_t n_sums = ceil_div(dim, tile_rows);
    float sum = 0;
    for (uint32_t i = threadIdx.x % 32; i < n_sums; i += 32) sum += squares[i];
    return 1 / sqrtf(lane_sum(sum, 32) / dim + eps);
}

// Four neighbouring elements, scaled and rounded once.
template <typename W> __device__ inline uint2 normed(float4 row, uint2 weight, float scale)
{
    const float2 low = unpack_pair(weight.x, W()), high = unpack_pair(weight.y, W());
    alignas(8) W it[4];
    narrow(row.x * (scale * low.x), it[0]);
    narrow(row.y * (scale * low.y), it[1]);
    narrow(row.z * (scale * high.x), it[2]);
    narrow(row.w * (scale * high.y), it[3]);
    return reinterpret_cast<uint2&>(it);
}

template <typename W>
__device__ void norm(
    const float* x,        // [n_tokens, dim]
    const float* squares,  // [n_tokens, ceil(dim / 16)]
    const W* weight,       // [dim]
    W* h,                  // [n_tokens, norm_stride(dim)] in shared memory
    uint32_t n_tokens, uint32_t dim, float eps)
{
    __shared__ float scales[max_tokens];
    const uint32_t warp = threadIdx.x / 32;
    if (warp < n_tokens) {
        const float scale = norm_scale(squares + warp * ceil_div(dim, tile_rows), dim, eps);
        if (threadIdx.x % 32 == 0) scales[warp] = scale;
    }
    __syncthreads();  // every token's scale is there

    const uint32_t stride = norm_stride(dim), n_quads = dim / 4, n_items = n_tokens * n_quads;
    constexpr uint32_t n_batch = 4;  // items of a thread whose loads are under way together
    for (uint32_t first = threadIdx.x; first < n_items; first += n_batch * blockDim.x) {
        float4 rows[n_batch];
        uint2 packed[n_batch];
#pragma unroll
        for (uint32_t i = 0; i < n_batch; i++) {
            const uint32_t item = first + i * blockDim.x;
            if (item >= n_items) break;
            rows[i] = reinterpret_cast<const float4*>(x)[item];
            packed[i] = reinterpret_cast<const uint2*>(weight)[item % n_quads];
        }
#pragma unroll
        for (uint32_t i = 0; i < n_batch; i++) {
            const uint32_t item = first + i * blockDim.x, token = item / n_quads, column = item % n_quads * 4;
            if (item >= n_items) break;
            *reinterpret_cast<uint2*>(h + token * stride + column) = normed<W>(rows[i], packed[i], scales[token]);
        }
    }
    __syncthreads();  // h is whole
}
