#include <cassert>
#include <cstdio>
struct Pair { int first[3]; double second; };
__noinline__ __device__ Pair make(int i, float x) { return {{i, i + 1, i + 2}, x * 2.0}; }
__noinline__ __device__ void note(int* p) { atomicAdd(p, 1); }
__noinline__ __device__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
extern "C" __global__ void __launch_bounds__(64, 2) calls(Pair by_value, int* out, char c, const float* __restrict__ in) {
    __shared__ float tile[64];
    extern __shared__ double dynamic[];
    int local[4];
    for (int i = 0; i < 4; i++) local[i] = out[i];
    tile[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    Pair p = make(out[5], tile[63 - threadIdx.x]);
    note(out);
    assert(p.first[0] != 7);
    if (c == 3) printf("%d %f\n", p.first[1], p.second);
    out[6] = fibonacci(p.first[2]) + local[out[7] & 3] + by_value.first[out[8] % 3] + (int)dynamic[threadIdx.x];
}
