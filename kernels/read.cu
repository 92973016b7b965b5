// Reads a buffer and does nothing else: what the memory system gives to kernels that write next to nothing, such as the
// products of a step.
//
//   from  [n]  bytes, n a multiple of 16
//   sum   [1]  becomes the exclusive or of itself and all words of `from`, so that no load can be left out
//
// Eight independent loads are in flight per thread before the first is used, and they are those of product.cuh.
//
// Right for every grid; a few blocks a multiprocessor are fastest.
#include <stdint.h>

__device__ inline uint4 load_once(const uint4* from)
{
    uint4 it;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(it.x), "=r"(it.y), "=r"(it.z), "=r"(it.w)
                 : "l"(from));
    return it;
}

extern "C" __global__ __launch_bounds__(256) void read(
    const uint8_t* __restrict__ from, uint32_t* __restrict__ sum, uint64_t n)
{
    constexpr uint32_t n_unrolled = 8;
    const uint64_t n_vectors = n / sizeof(uint4), n_threads = uint64_t(gridDim.x) * blockDim.x;
    const uint4* in = reinterpret_cast<const uint4*>(from);  // [n_vectors]
    __shared__ uint32_t of_block;
    if (threadIdx.x == 0) of_block = 0;
    __syncthreads();  // nobody adds to it before

    uint32_t words = 0;
    for (uint64_t first = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; first < n_vectors;
         first += n_unrolled * n_threads) {
        uint4 vectors[n_unrolled] = {};
#pragma unroll
        for (uint32_t i = 0; i < n_unrolled; i++)
            if (first + i * n_threads < n_vectors) vectors[i] = load_once(&in[first + i * n_threads]);
#pragma unroll
        for (uint32_t i = 0; i < n_unrolled; i++) words ^= vectors[i].x ^ vectors[i].y ^ vectors[i].z ^ vectors[i].w;
    }
    words = __reduce_xor_sync(~0u, words);
    if (threadIdx.x % 32 == 0) atomicXor(&of_block, words);
    __syncthreads();  // all of the block are in it
    if (threadIdx.x == 0) atomicXor(sum, of_block);
}
