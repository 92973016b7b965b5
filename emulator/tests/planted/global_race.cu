// Blocks of one launch that meet in global memory without the synchronisation that would order them.
// `FAULT` and `OTHER` mark the two sides; which of them is found second depends on the order of the blocks.

// partials [n_blocks], counter [1] zero, 64 threads: nothing orders the partial sum before the counter.
extern "C" __global__ void last_block_without_fence(int* partials, unsigned* counter, int* out) {
    __shared__ bool is_last;
    int i = threadIdx.x;
    if (i == 0) {
        partials[blockIdx.x] = blockIdx.x * 7 + 1;  // OTHER
        is_last = atomicAdd(counter, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    if (i == 0) {
        int sum = 0;
        for (int b = 0; b < gridDim.x; b++) sum += partials[b];  // FAULT
        *out = sum;
    }
}

// parts [n_blocks, 64]: thread 0 says that the block is done before its other warp is.
extern "C" __global__ void arrives_before_its_block_has_stored(int* parts, unsigned* counter, int* out) {
    __shared__ bool is_last;
    int i = threadIdx.x;
    parts[64 * blockIdx.x + i] = i + blockIdx.x;  // OTHER
    if (i == 0) {
        __threadfence();
        is_last = atomicAdd(counter, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    int sum = 0;
    for (int b = 0; b < gridDim.x; b++) sum += parts[64 * b + i];  // FAULT
    out[i] = sum;
}

// 1 thread, 2 blocks: the flag is a plain word.
extern "C" __global__ void plain_flag(int* data, int* flag, int* out) {
    if (blockIdx.x == 0) {
        *data = 42;
        __threadfence();
        *flag = 1;  // OTHER
    } else {
        int is_set = *flag;  // FAULT
        __threadfence();
        if (is_set) *out = *data;
    }
}

// 32 threads
extern "C" __global__ void blocks_write_one_word(int* out) {
    if (threadIdx.x == 5) *out = blockIdx.x;  // FAULT
}

// words [n_blocks, 32]
extern "C" __global__ void reads_the_next_blocks_result(int* words, int* out, int n) {
    int i = blockIdx.x * 32 + threadIdx.x;
    words[i] = i * i;                  // OTHER
    out[i] = words[(i + 32) % n] + 1;  // FAULT
}

// words [n_blocks, 32 + 1], 32 threads: the last thread of a block reads what the next block's first one writes.
extern "C" __global__ void stencil_in_place(int* words) {
    int i = blockIdx.x * 32 + threadIdx.x;
    words[i] += words[i + 1];  // FAULT
}

extern "C" __global__ void plain_counter(int* counter) {
    if (threadIdx.x == 0) *counter += 1;  // FAULT
}

extern "C" __global__ void clears_what_others_add_to(int* total) {
    if (blockIdx.x == 0 && threadIdx.x == 0) *total = 0;  // FAULT
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(total, blockIdx.x + 1);  // OTHER
}

// words [n_blocks], counter [1] zero, 1 thread: every block waits for all, but fences nothing.
extern "C" __global__ void grid_barrier_without_fence(int* words, unsigned* counter, int* out) {
    int b = blockIdx.x, n = gridDim.x;
    words[b] = b * 3;  // OTHER
    atomicAdd(counter, 1);
    while (*(volatile unsigned*)counter < n) {}
    out[b] = words[(b + 1) % n];  // FAULT
}

// 1 thread: the lock is taken and given back, but no fence ties the total to it.
extern "C" __global__ void lock_without_fence(int* lock, int* total) {
    while (atomicCAS(lock, 0, 1) != 0) {}
    int before = *total;              // OTHER
    *total = before + blockIdx.x + 1;  // FAULT
    atomicExch(lock, 0);
}

// words [n], 64 threads
extern "C" __global__ void read_only_load_of_a_written_word(int* words, int* out) {
    int i = threadIdx.x;
    words[i] = i * 5;
    __syncthreads();
    out[i] = __ldg(words + 63 - i);  // FAULT
}

// `x` and `y` are the same buffer, although both are said to be alone.
extern "C" __global__ void residual_in_place(const float* __restrict__ x, float* __restrict__ y) {
    int i = threadIdx.x;
    y[i] = x[i] + 1.0f;  // FAULT
}
