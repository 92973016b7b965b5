// cp.async, waited for as it has to be. Every kernel is correct. 64 threads.

static __device__ __forceinline__ unsigned address(void* shared) {
    return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}
static __device__ __forceinline__ void copy(void* shared, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address(shared)), "l"(global) : "memory");
}
static __device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> static __device__ __forceinline__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// in [n_tiles, 64]: N_STAGES tiles are under way; a stage is filled again after the barrier behind its last read.
template <int N_STAGES> static __device__ __forceinline__ void pipeline(const int4* in, int* out, int n_tiles) {
    __shared__ int4 stages[N_STAGES][64];
    int i = threadIdx.x, sum = 0;
    for (int k = 0; k < N_STAGES - 1; k++) {
        if (k < n_tiles) copy(&stages[k][i], in + 64 * k + i);
        commit();
    }
    for (int k = 0; k < n_tiles; k++) {
        wait<N_STAGES - 2>();
        __syncthreads();
        int next = k + N_STAGES - 1;
        if (next < n_tiles) copy(&stages[next % N_STAGES][i], in + 64 * next + i);
        commit();
        int4 v = stages[k % N_STAGES][63 - i];
        sum = sum * 3 + v.x + 2 * v.y + 4 * v.z + 8 * v.w;
    }
    out[i] = sum;
}

extern "C" __global__ void pipeline_of_2(const int4* in, int* out, int n_tiles) { pipeline<2>(in, out, n_tiles); }
extern "C" __global__ void pipeline_of_3(const int4* in, int* out, int n_tiles) { pipeline<3>(in, out, n_tiles); }
extern "C" __global__ void pipeline_of_4(const int4* in, int* out, int n_tiles) { pipeline<4>(in, out, n_tiles); }

// A thread's own copies need its own wait and no barrier.
extern "C" __global__ void async_copy_of_its_own(const int4* in, int* out) {
    __shared__ int4 tile[64];
    int i = threadIdx.x;
    copy(&tile[i], in + i);
    commit();
    wait<0>();
    out[i] = tile[i].y + tile[i].w;
}

// in [n]: behind n come zeros, and nothing is read there.
extern "C" __global__ void async_zero_fill(const int4* in, int* out, int n) {
    __shared__ int4 tile[64];
    int i = threadIdx.x, n_bytes = i < n ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(&tile[i])), "l"(in + i), "r"(n_bytes)
                 : "memory");
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
    out[i] = tile[63 - i].x;
}

// Copies of 4 and 8 bytes, those of one thread next to those of another.
extern "C" __global__ void async_small_copies(const int* in, int* out) {
    __shared__ __align__(16) int words[192];
    int i = threadIdx.x;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(address(&words[i])), "l"(in + i) : "memory");
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(address(&words[64 + 2 * i])), "l"(in + 64 + 2 * i)
                 : "memory");
    commit();
    wait<0>();
    __syncthreads();
    out[i] = words[i] + 3 * words[191 - i];
}
