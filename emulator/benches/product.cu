// y = x weight^T on tensor cores: the kernel that the speed of cp.async, ldmatrix and mma is measured on. A block has a
// tile of 64 x 64 of y, a warp a quarter of it; the depth comes by pieces of 32 through three stages of shared memory.
//
//   x       [n_rows, depth]  bf16, depth a multiple of 32 and at least 96
//   weight  [n_cols, depth]  bf16
//   y       [n_rows, n_cols]
//
// The grid is [n_cols / 64, n_rows / 64], a block 128 threads.
// nvcc -ptx -O3 -lineinfo -arch=compute_80 product.cu
#include <stdint.h>

constexpr uint32_t tile = 64, piece = 32, n_stages = 3;

// The place of eight elements of a row in a stage, in units of 16 bytes: no eight rows below each other meet in banks.
__device__ uint32_t place(uint32_t row, uint32_t eight) { return row * (piece / 8) + (eight ^ row / 2 % 4); }

__device__ void copy(uint4* to, const uint4* from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(to)), "l"(from));
}

__device__ void load(uint32_t (&it)[4], const uint4* from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(it[0]), "=r"(it[1]), "=r"(it[2]), "=r"(it[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(from)));
}

__device__ void multiply(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Begins to copy piece `p` of a tile's rows.
__device__ void stage(uint4* to, const uint4* from, uint32_t depth, uint32_t p)
{
    for (uint32_t i = threadIdx.x; i < tile * piece / 8; i += blockDim.x) {
        const uint32_t row = i / (piece / 8), eight = i % (piece / 8);
        copy(to + place(row, eight), from + row * (depth / 8) + p * (piece / 8) + eight);
    }
}

extern "C" __global__ __launch_bounds__(128) void product(
    const uint4* __restrict__ x, const uint4* __restrict__ weight, float* __restrict__ y, uint32_t depth, uint32_t n_cols)
{
    __shared__ uint4 left[n_stages][tile * piece / 8], right[n_stages][tile * piece / 8];
    const uint32_t lane = threadIdx.x % 32, row = threadIdx.x / 64 * 32, col = threadIdx.x / 32 % 2 * 32;
    x += size_t(blockIdx.y) * tile * (depth / 8);
    weight += size_t(blockIdx.x) * tile * (depth / 8);
    const uint32_t n_pieces = depth / piece;
    for (uint32_t p = 0; p < n_stages - 1; p++) {
        stage(left[p], x, depth, p);
        stage(right[p], weight, depth, p);
        asm volatile("cp.async.commit_group;");
    }
    float sums[2][4][4] = {};
    for (uint32_t p = 0; p < n_pieces; p++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(n_stages - 2));
        __syncthreads();  // all see the piece, and nobody reads the one before any more
        if (p + n_stages - 1 < n_pieces) {
            const uint32_t next = p + n_stages - 1;
            stage(left[next % n_stages], x, depth, next);
            stage(right[next % n_stages], weight, depth, next);
        }
        asm volatile("cp.async.commit_group;");
        const uint4 *a = left[p % n_stages], *b = right[p % n_stages];
#pragma unroll
        for (uint32_t k = 0; k < piece / 8; k += 2) {
            uint32_t as[2][4], bs[2][4];
#pragma unroll
            for (uint32_t i = 0; i < 2; i++) {
                load(as[i], a + place(row + 16 * i + lane % 16, k + lane / 16));
                load(bs[i], b + place(col + 16 * i + lane % 8 + lane / 16 * 8, k + lane / 8 % 2));
            }
#pragma unroll
            for (uint32_t i = 0; i < 2; i++)
#pragma unroll
                for (uint32_t j = 0; j < 4; j++) multiply(sums[i][j], as[i], bs[j / 2][j % 2 * 2], bs[j / 2][j % 2 * 2 + 1]);
        }
    }
    const uint32_t first_row = blockIdx.y * tile + row + lane / 4, first_col = blockIdx.x * tile + col + lane % 4 * 2;
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t j = 0; j < 4; j++)
            for (uint32_t half = 0; half < 2; half++) {
                float* to = y + size_t(first_row + 16 * i + 8 * half) * n_cols + first_col + 8 * j;
                *(float2*)to = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
            }
}
