// ldmatrix of shared memory that is not ready, not there or not aligned.

static __device__ __forceinline__ int load(const void* row) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row)), a, b, c, d;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(address) : "memory");
    return a + 3 * b + 5 * c + 7 * d;
}

// 32 threads: the upper 8 of 16 rows are staged.
extern "C" __global__ void matrix_half_staged(const int4* in, int* out) {
    __shared__ int4 tile[16][2];
    int i = threadIdx.x;
    if (i < 16) tile[i / 2][i % 2] = in[i];
    __syncthreads();
    out[i] = load(&tile[i % 16][i / 16]);  // FAULT
}

// 64 threads: warp 1 stages, warp 0 does not wait for it.
extern "C" __global__ void matrix_without_barrier(const int4* in, int* out) {
    __shared__ int4 tile[16][2];
    int i = threadIdx.x;
    if (i < 32) tile[i / 2][i % 2] = make_int4(0, 0, 0, 0);
    __syncthreads();
    if (i < 32) {
        out[i] = load(&tile[i % 16][i / 16]);  // FAULT
    } else {
        tile[i % 32 / 2][i % 2] = in[i % 32];  // OTHER
    }
}

// 32 threads: rows of 8 halves that begin in the middle of one.
extern "C" __global__ void matrix_misaligned(const int4* in, int* out) {
    __shared__ int4 tile[33];
    int i = threadIdx.x;
    tile[i] = in[i];
    if (i == 0) tile[32] = in[0];
    __syncthreads();
    out[i] = load(reinterpret_cast<char*>(tile) + 16 * i + 8);  // FAULT
}

// 32 threads: the last row is behind the tile.
extern "C" __global__ void matrix_past_the_end(const int4* in, int* out) {
    __shared__ int4 tile[32];
    int i = threadIdx.x;
    tile[i] = in[i];
    __syncthreads();
    out[i] = load(&tile[i + 1]);  // FAULT
}
