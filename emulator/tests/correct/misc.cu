// Locals, calls, printf, assertions, constants. Every kernel is correct.
#include <cassert>
#include <cstdio>

// Counts of digits in an array of its own, indexed by data.
extern "C" __global__ void local_array(const unsigned* in, unsigned* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, counts[10];
    for (int d = 0; d < 10; d++) counts[d] = 0;
    for (unsigned x = in[i]; x > 0; x /= 10) counts[x % 10]++;
    unsigned hash = 0;
    for (int d = 0; d < 10; d++) hash = hash * 7 + counts[d];
    out[i] = hash;
}

static __device__ __noinline__ int greatest_common_divisor(int a, int b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
}

// Each lane to its own depth.
extern "C" __global__ void recursion(const int* in, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = greatest_common_divisor(in[i], 360);
}

static __device__ __noinline__ void minmax(const int* words, int n, int* low, int* high) {
    *low = *high = words[0];
    for (int k = 1; k < n; k++) {
        *low = min(*low, words[k]);
        *high = max(*high, words[k]);
    }
}

// Results through pointers to locals, words in shared memory.
extern "C" __global__ void generic_pointers(const int* in, int* out) {
    __shared__ int tile[64];
    int i = threadIdx.x, low, high;
    tile[i] = in[i];
    __syncthreads();
    minmax(tile + i / 16 * 16, 16, &low, &high);
    out[i] = high * 1000 + low;
}

extern "C" __global__ void prints(const int* in) {
    int i = threadIdx.x;
    if (in[i] > 50) printf("thread %d has %d, which is %s\n", i, in[i], in[i] % 2 ? "odd" : "even");
}

extern "C" __global__ void assertion_that_holds(const int* in, int* out) {
    int i = threadIdx.x;
    assert(in[i] < 100);
    out[i] = in[i] + 1;
}

__constant__ int table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
__device__ int n_launches;

extern "C" __global__ void module_variables(int* out) {
    int i = threadIdx.x;
    out[i] = table[i % 8] * 10 + n_launches;
    __syncthreads();
    if (i == 0) n_launches += 1;
}

struct Range {
    int first;
    long long step;
    short n;
};

extern "C" __global__ void by_value(Range range, long long* out) {
    int i = threadIdx.x;
    out[i] = i < range.n ? range.first + i * range.step : -1;
}

// Vectors for the body, words for the rest.
extern "C" __global__ void vector_tail(const float* in, float* out, int n) {
    int i = threadIdx.x;
    for (int k = i; k < n / 4; k += blockDim.x) {
        float4 v = reinterpret_cast<const float4*>(in)[k];
        reinterpret_cast<float4*>(out)[k] = make_float4(v.x * 2, v.y * 2, v.z * 2, v.w * 2);
    }
    for (int k = n / 4 * 4 + i; k < n; k += blockDim.x) out[k] = in[k] * 2;
}

// A value that only some threads have, and only they use.
extern "C" __global__ void value_of_some(const int* in, int* out) {
    int i = threadIdx.x, value;
    bool has_one = in[i] % 5 < 2;
    if (has_one) value = in[i] * 7;
    for (int k = 0; k < in[i] % 3; k++) out[i] += k;
    if (has_one) out[i] += value;
}

// scratch as allocated: each thread writes what it reads.
extern "C" __global__ void own_scratch(const int* in, int* scratch, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (int k = 0; k < 4; k++) scratch[4 * i + k] = in[i] + k * k;
    int4 v = reinterpret_cast<int4*>(scratch)[i];
    out[i] = v.x + v.y * 2 + v.z * 3 + v.w * 4;
}
