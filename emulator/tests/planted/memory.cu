// Addresses that are wrong: outside of every allocation, not aligned, freed, never written.
// `FAULT` marks the line of the faulting access; each kernel has one bug.

// in [n], out [n] with one thread each: the last thread reads in[n].
extern "C" __global__ void global_read_past_the_end(const int* in, int* out) {
    int i = threadIdx.x;
    out[i] = in[i + 1];  // FAULT
}

// out [n]: `<=` lets one thread too many through.
extern "C" __global__ void global_write_past_the_end(int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) out[i] = i;  // FAULT
}

extern "C" __global__ void global_write_below(int* out) {
    int i = threadIdx.x;
    out[i - 1] = i;  // FAULT
}

// in [65]: thread 1 reads in[80], which no allocation holds, with others below and above it.
extern "C" __global__ void global_read_between_allocations(const int* in, int* out) {
    int i = threadIdx.x;
    out[i] = in[i * 80];  // FAULT
}

extern "C" __global__ void global_null(int* out) {
    int i = threadIdx.x;
    if (i == 9) *out = i;  // FAULT
}

// in [4 * n - 1]: the last vector ends one word behind the array.
extern "C" __global__ void vector_read_over_the_end(const float4* in, float* out) {
    int i = threadIdx.x;
    float4 v = in[i];  // FAULT
    out[i] = v.x + v.y + v.z + v.w;
}

// values [n], bins [8]: one value is 8.
extern "C" __global__ void atomic_past_the_end(const int* values, int* bins) {
    int value = values[threadIdx.x];
    atomicAdd(&bins[value], 1);  // FAULT
}

extern "C" __global__ void shared_past_the_end(int* out) {
    __shared__ int tile[64];
    int i = threadIdx.x;
    tile[i + 1] = i;  // FAULT
    __syncthreads();
    out[i] = tile[63 - i];
}

// A word for each thread, of which the launch gives fewer.
extern "C" __global__ void dynamic_shared_too_small(int* out) {
    extern __shared__ int words[];
    int i = threadIdx.x;
    words[i] = i * 3;  // FAULT
    __syncthreads();
    out[i] = words[i ^ 1];
}

// values [n], bins [16]: one value is 16.
extern "C" __global__ void shared_atomic_past_the_end(const int* values, int* out) {
    __shared__ int bins[16];
    int i = threadIdx.x;
    if (i < 16) bins[i] = 0;
    __syncthreads();
    atomicAdd(&bins[values[i]], 1);  // FAULT
    __syncthreads();
    if (i < 16) out[i] = bins[i];
}

// at [n], values below 8, but for one.
extern "C" __global__ void local_past_the_end(const int* at, int* out) {
    int slots[8];
    int i = threadIdx.x;
    for (int k = 0; k < 8; k++) slots[k] = out[k] + i;
    slots[at[i]] = i;  // FAULT
    for (int k = 0; k < 8; k++) out[8 * i + k] = slots[k];
}

static __device__ __noinline__ int third(const int* words, int i) {
    return words[3 * i];  // FAULT
}

// words [3 * n - 3]: the last thread reads behind it, in a function.
extern "C" __global__ void read_in_a_function(const int* words, int* out) {
    out[threadIdx.x] = third(words, threadIdx.x) + 1;
}

static __device__ __forceinline__ int quarter(const int* words, int i) {
    return words[4 * i];  // FAULT
}

extern "C" __global__ void read_in_an_inlined_function(const int* words, int* out) {
    out[threadIdx.x] = quarter(words, threadIdx.x) + 1;
}

static __device__ __noinline__ int sum(const int* words, int n) {
    int total = 0;
    for (int k = 0; k < n; k++) total += words[k];  // FAULT
    return total;
}

// 32 threads: a function gets shared memory by a generic pointer, and thread 31 says one word too many.
extern "C" __global__ void shared_past_the_end_by_a_pointer(int* out) {
    __shared__ int tile[64];
    int i = threadIdx.x;
    tile[i] = tile[i + 32] = i;
    __syncthreads();
    out[i] = sum(tile + 2 * i, i == 31 ? 3 : 2);
}

extern "C" __global__ void misaligned_vector_of_four(const float* in, float* out) {
    int i = threadIdx.x;
    float4 v = reinterpret_cast<const float4*>(in + 1)[i];  // FAULT
    out[i] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void misaligned_vector_of_two(const int* in, int2* out) {
    int i = threadIdx.x;
    int at = in[i];  // even, but for one
    reinterpret_cast<int2*>(reinterpret_cast<int*>(out) + at)[0] = make_int2(i, i);  // FAULT
}

extern "C" __global__ void misaligned_double(const int* in, double* out) {
    int i = threadIdx.x;
    out[i] = *reinterpret_cast<const double*>(in + 2 * i + 1);  // FAULT
}

extern "C" __global__ void misaligned_shared(int* out) {
    __shared__ __align__(16) int tile[128];
    int i = threadIdx.x;
    for (int k = i; k < 128; k += 32) tile[k] = k;
    __syncthreads();
    int4 v = *reinterpret_cast<int4*>(tile + 2 * i);  // FAULT
    out[i] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void misaligned_atomic(int* out) {
    atomicAdd(reinterpret_cast<unsigned long long*>(out + 1), 1ull);  // FAULT
}

extern "C" __global__ void read_after_free(const int* freed, int* out) {
    int i = threadIdx.x;
    out[i] = freed[i];  // FAULT
}

extern "C" __global__ void write_after_free(int* freed) {
    int i = threadIdx.x;
    freed[2 * i] = i;  // FAULT
}

// in [n] as allocated.
extern "C" __global__ void uninitialised_global(const int* in, int* out) {
    int i = threadIdx.x;
    out[i] = in[i] + 1;  // FAULT
}

// scratch [n] as allocated: the last thread leaves its word out.
extern "C" __global__ void uninitialised_global_tail(int* scratch, int* out, int n) {
    int i = threadIdx.x;
    if (i < n - 1) scratch[i] = i;
    out[i] = scratch[i];  // FAULT
}

// in [4 * n] bytes, of which the host wrote all but the last two.
extern "C" __global__ void uninitialised_global_bytes(const int* in, int* out) {
    int i = threadIdx.x;
    out[i] = in[i];  // FAULT
}

// counter [1] as allocated
extern "C" __global__ void uninitialised_counter(int* counter) {
    atomicAdd(counter, 1);  // FAULT
}

// 32 threads: nobody clears the bins.
extern "C" __global__ void uninitialised_bins(const int* values, int* out) {
    __shared__ int bins[32];
    int i = threadIdx.x;
    atomicAdd(&bins[values[i]], 1);  // FAULT
    __syncthreads();
    out[i] = bins[values[i]];
}

extern "C" __global__ void uninitialised_shared(int* out) {
    __shared__ int tile[64];
    int i = threadIdx.x;
    if (i % 2 == 0) tile[i] = i;
    __syncthreads();
    out[i] = tile[i];  // FAULT
}

// Only half of the row is staged, the vector reads go over all of it.
extern "C" __global__ void uninitialised_shared_vector(const float* in, float* out) {
    __shared__ __align__(16) float row[256];
    int i = threadIdx.x;
    for (int k = i; k < 128; k += 64) row[k] = in[k];
    __syncthreads();
    float4 v = reinterpret_cast<float4*>(row)[i];  // FAULT
    out[i] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void uninitialised_register(int* out) {
    int i = threadIdx.x, x;
    asm volatile("{ .reg .b32 t; add.s32 %0, %1, t; }" : "=r"(x) : "r"(i));  // FAULT
    out[i] = x;
}

// The register is written by the odd threads, and read by all.
extern "C" __global__ void register_that_some_lanes_wrote(int* out) {
    int i = threadIdx.x, x;
    const int odd = i & 1;
    asm volatile("{.reg .b32 t; .reg .pred p; setp.ne.u32 p, %2, 0; @p mov.b32 t, 7; add.s32 %0, %1, t;}" : "=r"(x) : "r"(i), "r"(odd));  // FAULT
    out[i] = x;
}
