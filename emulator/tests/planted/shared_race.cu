// Threads of a block that meet in shared memory without the synchronisation that would order them.
// `FAULT` and `OTHER` mark the two sides; which of them is found second depends on the order of the warps.

// 64 threads
extern "C" __global__ void no_barrier_before_the_read(const int* in, int* out) {
    __shared__ int tile[64];
    int i = threadIdx.x;
    tile[i] = 0;
    __syncthreads();
    tile[i] = in[i];         // OTHER
    out[i] = tile[63 - i];  // FAULT
}

// 128 threads: warp 0 adds what warp 1 has added.
extern "C" __global__ void reduction_without_barriers(const int* in, int* out) {
    __shared__ int tile[128];
    int i = threadIdx.x;
    tile[i] = in[i];
    __syncthreads();
    for (int s = 64; s > 0; s /= 2) {
        if (i < s) tile[i] += tile[i + s];  // FAULT
    }
    if (i == 0) *out = tile[0];
}

// 64 threads, one buffer where two are needed: the next tile comes while the slow warp reads.
extern "C" __global__ void one_buffer_one_barrier(const int* in, int* out, int n_tiles) {
    __shared__ int tile[64];
    int i = threadIdx.x, sum = 0;
    for (int k = 0; k < n_tiles; k++) {
        tile[i] = in[64 * k + i];  // FAULT
        __syncthreads();
        sum += tile[63 - i] * (k + 1);  // OTHER
    }
    out[i] = sum;
}

// 96 threads
extern "C" __global__ void two_warps_write_one_word(int* out) {
    __shared__ int last;
    int i = threadIdx.x;
    if (i % 32 == 0) last = i;  // FAULT
    __syncthreads();
    out[i] = last;
}

// 64 threads: warp 0 produces, but says so too early.
extern "C" __global__ void producer_arrives_before_it_writes(const int* in, int* out) {
    __shared__ int tile[32];
    int i = threadIdx.x, lane = i % 32;
    if (i < 32) tile[i] = 0;
    __syncthreads();
    if (i < 32) {
        asm volatile("bar.arrive 1, 64;" ::: "memory");
        tile[lane] = in[lane];  // OTHER
    } else {
        asm volatile("bar.sync 1, 64;" ::: "memory");
        out[lane] = tile[lane];  // FAULT
    }
}

// 64 threads: warp 0 overwrites the tile that warp 1 may still read; there is no barrier back.
extern "C" __global__ void producer_does_not_wait(const int* in, int* out) {
    __shared__ int tile[32];
    int i = threadIdx.x, lane = i % 32;
    if (i < 32) {
        tile[lane] = in[lane];
        asm volatile("bar.arrive 1, 64;" ::: "memory");
        tile[lane] = in[32 + lane];  // FAULT
        asm volatile("bar.arrive 2, 64;" ::: "memory");
    } else {
        asm volatile("bar.sync 1, 64;" ::: "memory");
        out[lane] = tile[lane];  // OTHER
        asm volatile("bar.sync 2, 64;" ::: "memory");
        out[32 + lane] = tile[lane];
    }
}

// 96 threads: the barrier joins warps 0 and 1, but warp 2 reads as well.
extern "C" __global__ void barrier_without_the_reader(const int* in, int* out) {
    __shared__ int tile[32];
    int i = threadIdx.x, lane = i % 32;
    if (i < 32) tile[i] = 0;
    __syncthreads();
    if (i < 32) tile[lane] = in[lane];  // OTHER
    if (i < 64) asm volatile("bar.sync 1, 64;" ::: "memory");
    out[i] = tile[lane];  // FAULT
}

// 32 threads
extern "C" __global__ void no_syncwarp_before_the_read(const int* in, int* out) {
    __shared__ int tile[32];
    int i = threadIdx.x;
    tile[i] = in[i];         // OTHER
    out[i] = tile[31 - i];  // FAULT
}

// 32 threads
extern "C" __global__ void no_syncwarp_before_the_write(const int* in, int* out) {
    __shared__ int tile[32];
    int i = threadIdx.x;
    tile[i] = in[i];
    __syncwarp();
    int left = tile[i ^ 1];  // OTHER
    tile[i] = left + i;      // FAULT
    __syncwarp();
    out[i] = tile[31 - i];
}

// 64 threads: warp 1 changes one byte of a word that warp 0 writes whole.
extern "C" __global__ void byte_of_anothers_word(unsigned* out) {
    __shared__ unsigned words[32];
    int i = threadIdx.x, lane = i % 32;
    if (i < 32) {
        words[lane] = 0x01010101u * lane;  // OTHER
    } else {
        reinterpret_cast<unsigned char*>(words)[4 * lane + 2] = 0xff;  // FAULT
    }
    __syncthreads();
    if (i < 32) out[i] = words[i];
}

// 64 threads: the total is read while the other warp adds to it.
extern "C" __global__ void total_read_before_the_barrier(const int* in, int* out) {
    __shared__ int total;
    int i = threadIdx.x;
    if (i == 0) total = 0;
    __syncthreads();
    atomicAdd(&total, in[i]);   // OTHER
    if (i == 40) *out = total;  // FAULT
}

// 64 threads: the counter is set to zero while the other warp may already count.
extern "C" __global__ void counter_cleared_too_late(const int* in, int* out) {
    __shared__ int total;
    int i = threadIdx.x;
    if (i == 0) total = 7;
    __syncthreads();
    if (i == 32) total = 0;                // FAULT
    if (i < 32) atomicAdd(&total, in[i]);  // OTHER
    __syncthreads();
    if (i == 0) *out = total;
}

// 32 threads
extern "C" __global__ void conflicting_shared_stores(int* out) {
    __shared__ int tile[16];
    int i = threadIdx.x;
    tile[i / 2] = i;  // FAULT
    __syncwarp();
    out[i] = tile[i / 2];
}

// 32 threads: two lanes write word 16.
extern "C" __global__ void conflicting_global_stores(int* out) {
    int i = threadIdx.x;
    out[i == 17 ? 16 : i] = i;  // FAULT
}
