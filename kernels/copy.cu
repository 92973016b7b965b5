// Copies a buffer, 16 bytes a thread and step: what the memory system gives at best.
//
//   from  [n]   bytes, n a multiple of 16
//   to    [n]
//
// A copy reads and writes each byte once, so that 2*n bytes over its time is the bandwidth which every other
// kernel is measured against. Four independent loads are in flight per thread before the first store waits
// for one, and the cache is asked to let the lines go first (.cs), since nothing reads them again.
//
// Correct for every grid and block; a few blocks an SM are fastest.
#include <cstdint>

extern "C" __global__ __launch_bounds__(256) void copy(
    const uint8_t* __restrict__ from, uint8_t* __restrict__ to, uint64_t n)
{
    constexpr uint32_t n_unrolled = 4;
    const uint64_t n_vectors = n / sizeof(uint4), n_threads = uint64_t(gridDim.x) * blockDim.x;
    const uint4* in = reinterpret_cast<const uint4*>(from);  // [n_vectors]
    uint4* out = reinterpret_cast<uint4*>(to);               // [n_vectors]

    for (uint64_t first = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; first < n_vectors;
         first += n_unrolled * n_threads) {
        uint4 vectors[n_unrolled];
#pragma unroll
        for (uint32_t i = 0; i < n_unrolled; i++)
            if (first + i * n_threads < n_vectors) vectors[i] = __ldcs(&in[first + i * n_threads]);
#pragma unroll
        for (uint32_t i = 0; i < n_unrolled; i++)
            if (first + i * n_threads < n_vectors) __stcs(&out[first + i * n_threads], vectors[i]);
    }
}
