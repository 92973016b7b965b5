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

template <typename W>
__device__ void norm(
    const float* x,        // [n_tokens, dim]
    const float* squares,  // [n_tokens, ceil(dim / 16)]
    const W* weight,       // [dim]
    W* h,                  // [n_tokens, norm_stride(dim)] in shared memory
    uint32_t n_tokens, uint32_t dim, float eps)
{
    __shared__ float scales[max_tokens];
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, n_sums = ceil_div(dim, tile_rows);
    if (warp < n_tokens) {
        float sum = 0;
        for (uint32_t i = lane; i < n_sums; i += 32) sum += squares[warp * n_sums + i];
        sum = lane_sum(sum, 32);
        if (lane == 0) scales[warp] = 1 / sqrtf(sum / dim + eps);
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
            const float2 low = unpack_pair(packed[i].x, W()), high = unpack_pair(packed[i].y, W());
            const float scale = scales[token];
            alignas(8) W it[4];
            narrow(rows[i].x * (scale * low.x), it[0]);
            narrow(rows[i].y * (scale * low.y), it[1]);
            narrow(rows[i].z * (scale * high.x), it[2]);
            narrow(rows[i].w * (scale * high.y), it[3]);
            *reinterpret_cast<uint2*>(h + token * stride + column) = reinterpret_cast<uint2&>(it);
        }
    }
    __syncthreads();  // h is whole
}
