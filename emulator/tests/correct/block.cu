// What the warps of a block do together. Every kernel is correct.

// 128 threads a block; out [n_blocks]
extern "C" __global__ void block_sum(const int* in, int* out) {
    __shared__ int tile[128];
    int i = threadIdx.x;
    tile[i] = in[blockIdx.x * 128 + i];
    for (int s = 64; s > 0; s /= 2) {
        __syncthreads();
        if (i < s) tile[i] += tile[i + s];
    }
    if (i == 0) out[blockIdx.x] = tile[0];
}

// The last warp goes on alone, with __syncwarp.
extern "C" __global__ void block_sum_with_a_warp_tail(const int* in, int* out) {
    __shared__ int tile[128];
    int i = threadIdx.x;
    tile[i] = in[blockIdx.x * 128 + i];
    __syncthreads();
    if (i < 64) tile[i] += tile[i + 64];
    __syncthreads();
    if (i >= 32) return;
    for (int s = 32; s > 0; s /= 2) {
        int sum = tile[i] + tile[i + s];
        __syncwarp();
        tile[i] = sum;
        __syncwarp();
    }
    if (i == 0) out[blockIdx.x] = tile[0];
}

// 128 threads: inclusive sums, from one buffer to the other and back
extern "C" __global__ void block_scan(const int* in, int* out) {
    __shared__ int sums[2][128];
    int i = threadIdx.x, from = 0;
    sums[0][i] = in[i];
    for (int s = 1; s < 128; s *= 2) {
        __syncthreads();
        sums[1 - from][i] = sums[from][i] + (i >= s ? sums[from][i - s] : 0);
        from = 1 - from;
    }
    __syncthreads();
    out[i] = sums[from][127 - i];
}

// in [n_tiles, 64], 64 threads: two buffers, and with them one barrier for each tile
extern "C" __global__ void double_buffer(const int* in, int* out, int n_tiles) {
    __shared__ int tiles[2][64];
    int i = threadIdx.x, sum = 0;
    for (int k = 0; k < n_tiles; k++) {
        tiles[k % 2][i] = in[64 * k + i];
        __syncthreads();
        sum = sum * 3 + tiles[k % 2][63 - i];
    }
    out[i] = sum;
}

// in [64, 64] to out [64, 64], blocks of 32 x 8 threads laid flat, tiles of 32 x 32
extern "C" __global__ void transpose(const int* in, int* out) {
    __shared__ int tile[32][33];
    int x = threadIdx.x % 32, y = threadIdx.x / 32;
    int left = blockIdx.x % 2 * 32, top = blockIdx.x / 2 * 32;
    for (int k = y; k < 32; k += 8) tile[k][x] = in[(top + k) * 64 + left + x];
    __syncthreads();
    for (int k = y; k < 32; k += 8) out[(left + k) * 64 + top + x] = tile[x][k];
}

// 256 threads
extern "C" __global__ void bitonic_sort(int* words) {
    __shared__ int tile[256];
    int i = threadIdx.x;
    tile[i] = words[i];
    for (int size = 2; size <= 256; size *= 2) {
        for (int s = size / 2; s > 0; s /= 2) {
            __syncthreads();
            int other = i ^ s;
            if (other > i && (tile[i] > tile[other]) == ((i & size) == 0)) {
                int higher = tile[i];
                tile[i] = tile[other];
                tile[other] = higher;
            }
        }
    }
    __syncthreads();
    words[i] = tile[i];
}

// 128 threads: one bit after the other, zeros before ones, 12 bits
extern "C" __global__ void radix_sort(unsigned* words) {
    __shared__ unsigned tile[128];
    __shared__ int n_zeros_of_warp[4];
    int i = threadIdx.x, lane = i % 32, warp = i / 32;
    tile[i] = words[i];
    for (int bit = 0; bit < 12; bit++) {
        __syncthreads();
        unsigned value = tile[i];
        bool is_one = value >> bit & 1;
        unsigned zeros = __ballot_sync(0xffffffff, !is_one);
        if (lane == 0) n_zeros_of_warp[warp] = __popc(zeros);
        __syncthreads();
        int zeros_before = __popc(zeros & ((1u << lane) - 1)), n_zeros = 0;
        for (int w = 0; w < 4; w++) {
            if (w < warp) zeros_before += n_zeros_of_warp[w];
            n_zeros += n_zeros_of_warp[w];
        }
        tile[is_one ? n_zeros + i - zeros_before : zeros_before] = value;
    }
    __syncthreads();
    words[i] = tile[i];
}

// values [n], bins [32]: counted in shared memory, added up in global memory
extern "C" __global__ void shared_histogram(const int* values, int* bins, int n) {
    __shared__ int counts[32];
    int i = threadIdx.x;
    if (i < 32) counts[i] = 0;
    __syncthreads();
    for (int k = blockIdx.x * blockDim.x + i; k < n; k += gridDim.x * blockDim.x) atomicAdd(&counts[values[k]], 1);
    __syncthreads();
    if (i < 32 && counts[i] > 0) atomicAdd(&bins[i], counts[i]);
}

// 128 threads: the four bytes of a word come from four warps.
extern "C" __global__ void bytes_of_a_word(const int* in, unsigned* out) {
    __shared__ __align__(4) unsigned char bytes[128];
    int i = threadIdx.x;
    bytes[i % 32 * 4 + i / 32] = in[i];
    __syncthreads();
    if (i < 32) out[i] = reinterpret_cast<unsigned*>(bytes)[i];
}

// 64 threads: the halves of a word come from two warps.
extern "C" __global__ void halves_of_a_word(const int* in, unsigned* out) {
    __shared__ __align__(4) unsigned short parts[64];
    int i = threadIdx.x;
    parts[i % 32 * 2 + i / 32] = in[i];
    __syncthreads();
    if (i < 32) out[i] = reinterpret_cast<unsigned*>(parts)[i];
}

// 64 threads: warp 0 fills two buffers in turn, warp 1 empties them. Barriers 1 and 2 say full, 3 and 4 empty.
extern "C" __global__ void named_barriers(const int* in, int* out, int n_rounds) {
    __shared__ int tiles[2][32];
    int lane = threadIdx.x % 32;
    if (threadIdx.x < 32) {
        for (int k = 0; k < n_rounds; k++) {
            int at = k % 2;
            if (k >= 2) asm volatile("bar.sync %0, 64;" ::"r"(3 + at) : "memory");
            tiles[at][lane] = in[32 * k + lane];
            asm volatile("bar.arrive %0, 64;" ::"r"(1 + at) : "memory");
        }
    } else {
        int sum = 0;
        for (int k = 0; k < n_rounds; k++) {
            int at = k % 2;
            asm volatile("bar.sync %0, 64;" ::"r"(1 + at) : "memory");
            sum = sum * 5 + tiles[at][31 - lane];
            if (k + 2 < n_rounds) asm volatile("bar.arrive %0, 64;" ::"r"(3 + at) : "memory");
        }
        out[lane] = sum;
    }
}

// 128 threads: pairs of warps use a barrier each, at different times.
extern "C" __global__ void barriers_of_pairs(const int* in, int* out) {
    __shared__ int tiles[2][64];
    int i = threadIdx.x % 64, pair = threadIdx.x / 64, sum = 0;
    for (int k = 0; k < 3 + 2 * pair; k++) {
        tiles[pair][i] = in[64 * pair + i] + k;
        asm volatile("bar.sync %0, 64;" ::"r"(1 + pair) : "memory");
        sum = sum * 3 + tiles[pair][63 - i];
        asm volatile("bar.sync %0, 64;" ::"r"(1 + pair) : "memory");
    }
    out[threadIdx.x] = sum;
}

// One piece of dynamic shared memory for two uses, one after the other. 64 threads, 256 bytes.
extern "C" __global__ void dynamic_shared_twice(const int* in, int* out) {
    extern __shared__ int words[];
    unsigned short* halves = reinterpret_cast<unsigned short*>(words);
    int i = threadIdx.x;
    words[i] = in[i];
    __syncthreads();
    int sum = words[i] + words[63 - i];
    __syncthreads();
    halves[i] = sum;
    halves[64 + i] = sum * 3;
    __syncthreads();
    out[i] = halves[127 - i];
}

// Threads without work leave, the rest needs no barrier.
extern "C" __global__ void early_exit(const int* in, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[i] = in[i] * 2 + 1;
}

// 96 threads, of which 40 stay: barriers wait for who has not exited.
extern "C" __global__ void barrier_after_exits(const int* in, int* out, int n) {
    __shared__ int tile[96];
    int i = threadIdx.x;
    if (i >= n) return;
    tile[i] = in[i];
    __syncthreads();
    out[i] = tile[n - 1 - i];
}

// Votes of a block.
extern "C" __global__ void block_votes(const int* in, int* out) {
    int value = in[threadIdx.x];
    int n_odd = __syncthreads_count(value % 2), all = __syncthreads_and(value < 100), any = __syncthreads_or(value == 77);
    out[threadIdx.x] = n_odd * 4 + (all != 0) * 2 + (any != 0);
}

// One thread writes, all read after the barrier, and the next round writes after another.
extern "C" __global__ void broadcast(const int* in, int* out, int n_rounds) {
    __shared__ int word;
    int sum = 0;
    for (int k = 0; k < n_rounds; k++) {
        if (threadIdx.x == k * 32 % blockDim.x) word = in[k];
        __syncthreads();
        sum = sum * 7 + word;
        __syncthreads();
    }
    out[threadIdx.x] = sum;
}

// 64 threads: warp 0 passes a value to warp 1 by a flag, with fences and no barrier.
extern "C" __global__ void shared_flag(const int* in, int* out) {
    __shared__ int tile[32];
    __shared__ int flag;
    int lane = threadIdx.x % 32;
    if (threadIdx.x == 0) flag = 0;
    __syncthreads();
    if (threadIdx.x < 32) {
        tile[lane] = in[lane];
        __syncwarp();
        if (lane == 0) {
            __threadfence_block();
            atomicExch(&flag, 1);
        }
    } else {
        if (lane == 0) {
            while (atomicAdd(&flag, 0) == 0) {}
            __threadfence_block();
        }
        __syncwarp();
        out[lane] = tile[31 - lane];
    }
}

// Words read by many warps, written by none in between.
extern "C" __global__ void shared_table(const int* in, int* out) {
    __shared__ int table[32];
    if (threadIdx.x < 32) table[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    int at = threadIdx.x % 32;
    for (int k = 0; k < 8; k++) at = table[at];
    out[threadIdx.x] = at;
}
