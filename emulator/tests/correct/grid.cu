// What the blocks of a grid do together. Every kernel is correct.

// in [n_blocks, 64], partials [n_blocks], counter [1] zero, out [1]: the last block adds up.
extern "C" __global__ void last_block_sums(const int* in, int* partials, unsigned* counter, int* out) {
    __shared__ int tile[64];
    __shared__ bool is_last;
    int i = threadIdx.x;
    tile[i] = in[blockIdx.x * 64 + i];
    for (int s = 32; s > 0; s /= 2) {
        __syncthreads();
        if (i < s) tile[i] += tile[i + s];
    }
    if (i == 0) {
        partials[blockIdx.x] = tile[0];
        __threadfence();
        is_last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    if (i == 0) {
        int sum = 0;
        for (int b = 0; b < gridDim.x; b++) sum = sum * 3 + partials[b];
        *out = sum;
    }
}

// parts [n_blocks, 64]: all threads store, all fence, then the barrier, then one says so, as PyTorch's reductions do.
extern "C" __global__ void last_block_of_all_threads(const int* in, int* parts, unsigned* counter, int* out) {
    __shared__ bool is_last;
    int i = threadIdx.x;
    parts[64 * blockIdx.x + i] = in[64 * blockIdx.x + i] * 2;
    __threadfence();
    __syncthreads();
    if (i == 0) is_last = atomicAdd(counter, 1) == gridDim.x - 1;
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    int sum = 0;
    for (int b = 0; b < gridDim.x; b++) sum = sum * 3 + parts[64 * b + (i + b) % 64];
    out[i] = sum;
}

// parts [n_blocks, 64], out [64], semaphore [1] zero: the blocks add in their order.
extern "C" __global__ void semaphore_split(const int* parts, int* out, int* semaphore) {
    int i = threadIdx.x;
    int part = parts[64 * blockIdx.x + i];
    if (i == 0) {
        while (*(volatile int*)semaphore != blockIdx.x) {}
        __threadfence();
    }
    __syncthreads();
    out[i] = (blockIdx.x == 0 ? 0 : out[i] * 3) + part;
    __syncthreads();
    if (i == 0) {
        __threadfence();
        atomicExch(semaphore, blockIdx.x + 1);
    }
}

// words [n_blocks, 32], counter [1] zero: a barrier of all blocks, written by hand, for each of the rounds
extern "C" __global__ void grid_barrier(int* words, unsigned* counter, int n_rounds) {
    int i = threadIdx.x, n_blocks = gridDim.x;
    int next = (blockIdx.x + 1) % n_blocks * 32 + i;
    for (int k = 0; k < n_rounds; k++) {
        int value = words[next];
        for (int step = 0; step < 2; step++) {
            __syncthreads();
            if (i == 0) {
                __threadfence();
                atomicAdd(counter, 1);
                while (*(volatile unsigned*)counter < (2 * k + step + 1) * n_blocks) {}
                __threadfence();
            }
            __syncthreads();
            if (step == 0) words[blockIdx.x * 32 + i] = value * 3 + 1;
        }
    }
}

// partial sums by look-back: a block waits for the one before it. state [n_blocks] zero; 1: has its own sum, 2: has all
extern "C" __global__ void lookback_scan(const int* in, int* out, int* own, int* all, int* state) {
    __shared__ int before;
    int i = threadIdx.x, b = blockIdx.x;
    int sum = in[b * 32 + i];
    for (int s = 1; s < 32; s *= 2) {
        int left = __shfl_up_sync(0xffffffff, sum, s);
        if (i >= s) sum += left;
    }
    if (i == 31) {
        own[b] = sum;
        __threadfence();
        ((volatile int*)state)[b] = 1;
        int sum_before = 0;
        for (int k = b - 1; k >= 0; k--) {
            int is;
            while ((is = ((volatile int*)state)[k]) == 0) {}
            __threadfence();
            sum_before += is == 2 ? all[k] : own[k];
            if (is == 2) break;
        }
        all[b] = sum_before + sum;
        __threadfence();
        ((volatile int*)state)[b] = 2;
        before = sum_before;
    }
    __syncthreads();
    out[b * 32 + i] = before + sum;
}

// lock [1] zero: thread 0 of every block changes two words together.
extern "C" __global__ void spin_lock(int* lock, int* words) {
    if (threadIdx.x != 0) return;
    while (atomicCAS(lock, 0, 1) != 0) {}
    __threadfence();
    words[0] += blockIdx.x + 1;
    words[1] += words[0] % 2;
    words[2] += 1;
    __threadfence();
    atomicExch(lock, 0);
}

// Every lane of every warp takes the lock once: the losers must not keep the winner from giving it back.
extern "C" __global__ void spin_lock_of_lanes(int* lock, int* count) {
    bool is_done = false;
    while (!is_done) {
        if (atomicCAS(lock, 0, 1) == 0) {
            __threadfence();
            *count += 1;
            __threadfence();
            atomicExch(lock, 0);
            is_done = true;
        }
    }
}

// With acquire and release in the instructions: block 0 passes 32 words on to the others.
extern "C" __global__ void release_acquire(int* words, int* flag, int* out) {
    int i = threadIdx.x;
    if (blockIdx.x == 0) {
        words[i] = i * 11;
        __syncthreads();
        if (i == 0) asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(flag), "r"(1) : "memory");
    } else {
        if (i == 0) {
            int is_set;
            do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(is_set) : "l"(flag) : "memory");
            while (!is_set);
        }
        __syncthreads();
        out[32 * (blockIdx.x - 1) + i] = words[31 - i] + blockIdx.x;
    }
}

// out [2]: the sum in one word and the largest in another, by atomics alone
extern "C" __global__ void atomic_sum_and_max(const int* in, int* out, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        atomicAdd(&out[0], in[i]);
        atomicMax(&out[1], in[i]);
    }
}

// The largest float by compare and swap.
extern "C" __global__ void cas_max(const float* in, float* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int* bits = reinterpret_cast<int*>(out);
    int old = atomicAdd(bits, 0);
    while (__int_as_float(old) < in[i]) {
        int seen = atomicCAS(bits, old, __float_as_int(in[i]));
        if (seen == old) break;
        old = seen;
    }
}

// next [1] zero: blocks take tiles of 32 from a counter until there are none.
extern "C" __global__ void work_counter(const int* in, int* out, int* next, int n_tiles) {
    __shared__ int tile;
    while (true) {
        if (threadIdx.x == 0) tile = atomicAdd(next, 1);
        __syncthreads();
        int mine = tile;
        __syncthreads();
        if (mine >= n_tiles) break;
        int i = mine * 32 + threadIdx.x;
        out[i] = in[i] * in[i] + mine;
    }
}

extern "C" __global__ void grid_stride(const float* __restrict__ x, float* y, float a, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] += a * x[i];
}

// Each thread reads and writes its own word, again and again.
extern "C" __global__ void in_place(int* words, int n_rounds) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (int k = 0; k < n_rounds; k++) {
        words[i] = words[i] * 3 + k;
        __syncthreads();
    }
}

// out [n], count [1] zero: what is kept gets the next free place, in any order.
extern "C" __global__ void compact(const int* in, int* out, int* count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (in[i] % 3 == 0) out[atomicAdd(count, 1)] = in[i];
}

// Threads of two blocks write neighbouring bytes.
extern "C" __global__ void neighbouring_bytes(unsigned char* bytes) {
    bytes[2 * threadIdx.x + blockIdx.x] = threadIdx.x + 100 * blockIdx.x;
}

// One launch writes, and the next one reads as read-only.
extern "C" __global__ void reads_the_last_launch(const int* __restrict__ from, int* __restrict__ to) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
    to[i] = from[(i + 1) % n] * 3 + from[i];
}
