// y = weight x: the kernel that the interpreter's speed is measured on. One warp a row; x is staged in shared memory.
//
//   weight  [n_out, n_in]  bf16, n_in a multiple of 8
//   x       [n_in]         bf16
//   y       [n_out]
//
// nvcc -ptx -O3 -lineinfo -arch=compute_80 matvec.cu
#include <stdint.h>

__device__ float low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ float high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000); }

__device__ uint4 load_once(const uint4* from)
{
    uint4 it;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(it.x), "=r"(it.y), "=r"(it.z), "=r"(it.w)
        : "l"(from));
    return it;
}

extern "C" __global__ __launch_bounds__(256) void matvec(
    const uint4* __restrict__ weight, const uint4* __restrict__ x, float* __restrict__ y, uint32_t n_in, uint32_t n_out)
{
    extern __shared__ uint4 staged[];  // [n_in/8]
    const uint32_t n_pieces = n_in / 8, lane = threadIdx.x % 32;
    for (uint32_t i = threadIdx.x; i < n_pieces; i += blockDim.x) staged[i] = x[i];
    __syncthreads();  // every warp reads all of x

    const uint32_t row = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
    if (row >= n_out) return;
    weight += size_t(row) * n_pieces;
    float sum = 0;
#pragma unroll 4
    for (uint32_t i = lane; i < n_pieces; i += 32) {
        const uint4 w = load_once(weight + i), v = staged[i];
        const uint32_t ws[4] = {w.x, w.y, w.z, w.w}, vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (uint32_t pair = 0; pair < 4; pair++) {
            sum = fmaf(low(ws[pair]), low(vs[pair]), sum);
            sum = fmaf(high(ws[pair]), high(vs[pair]), sum);
        }
    }
    for (uint32_t step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (lane == 0) y[row] = sum;
}
