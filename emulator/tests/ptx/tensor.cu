// A product of bf16 matrices on tensor cores: cp.async into two buffers, ldmatrix, mma.
//
//   a  [64 * gridDim.y, depth]   c  [64 * gridDim.y, 32 * gridDim.x] = a b
//   b  [depth, 32 * gridDim.x]
//
// A block of four warps makes 64 x 32; a warp 16 x 32. depth is a multiple of 32.
#include <cstdint>

constexpr int K = 32, A_PITCH = K + 8, B_PITCH = 32 + 8;

__device__ uint32_t offset_of(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

__device__ void copy16(void* to, const void* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(offset_of(to)), "l"(from));
}

extern "C" __global__ void __launch_bounds__(128) multiply(
    const uint16_t* __restrict__ a, const uint16_t* __restrict__ b, float* __restrict__ c, int depth)
{
    __shared__ alignas(16) uint16_t a_tile[2][64][A_PITCH];
    __shared__ alignas(16) uint16_t b_tile[2][K][B_PITCH];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, width = 32 * gridDim.x;
    a += (size_t)blockIdx.y * 64 * depth;
    b += blockIdx.x * 32;

    auto fetch = [&](int buffer, int k) {
        for (int i = threadIdx.x; i < 64 * K / 8; i += 128)
            copy16(&a_tile[buffer][i / (K / 8)][i % (K / 8) * 8], a + (size_t)(i / (K / 8)) * depth + k + i % (K / 8) * 8);
        for (int i = threadIdx.x; i < K * 32 / 8; i += 128)
            copy16(&b_tile[buffer][i / 4][i % 4 * 8], b + (size_t)(k + i / 4) * width + i % 4 * 8);
        asm volatile("cp.async.commit_group;");
    };

    float sum[4][4] = {};
    fetch(0, 0);
    for (int k = 0; k < depth; k += K) {
        const int buffer = k / K % 2;
        if (k + K < depth) {
            fetch(buffer ^ 1, k + K);
            asm volatile("cp.async.wait_group 1;");
        } else {
            asm volatile("cp.async.wait_group 0;");
        }
        __syncthreads();
        for (int step = 0; step < K; step += 16) {
            uint32_t x[4];
            const void* rows = &a_tile[buffer][warp * 16 + lane % 16][step + lane / 16 * 8];
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(offset_of(rows)));
            for (int n = 0; n < 4; n++) {
                uint32_t y[2];
                asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                    : "=r"(y[0]), "=r"(y[1]) : "r"(offset_of(&b_tile[buffer][step + lane % 16][n * 8])));
                asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                    "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                    : "+f"(sum[n][0]), "+f"(sum[n][1]), "+f"(sum[n][2]), "+f"(sum[n][3])
                    : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
            }
        }
        __syncthreads();
    }
    float* row = c + (size_t)(blockIdx.y * 64 + warp * 16 + lane / 4) * width + blockIdx.x * 32 + lane % 4 * 2;
    for (int n = 0; n < 4; n++) {
        *(float2*)(row + n * 8) = make_float2(sum[n][0], sum[n][1]);
        *(float2*)(row + 8 * width + n * 8) = make_float2(sum[n][2], sum[n][3]);
    }
}
