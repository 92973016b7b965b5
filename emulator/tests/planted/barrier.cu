// Barriers that some threads miss, or that are used against their rules, and waits that never end.

// 64 threads: the odd ones wait here, the even ones at the next barrier.
extern "C" __global__ void barrier_in_a_branch(int* out) {
    int i = threadIdx.x;
    out[i] = i;
    if (i % 2) __syncthreads();  // FAULT
    out[i] += 5;
    __syncthreads();  // FAULT
    out[i] += out[i ^ 1];
}

// 32 threads: odd lanes go round once more, the even ones wait behind the loop.
extern "C" __global__ void barrier_in_a_divergent_loop(int* out) {
    int i = threadIdx.x, sum = 0;
    for (int k = 0; k < 4 + i % 2; k++) {
        sum += out[k];
        __syncthreads();  // FAULT
    }
    out[32 + i] = sum;
    __syncthreads();  // FAULT
    out[64 + i] = out[63 - i];
}

// 64 threads: the halves of warp 0 wait at different places.
extern "C" __global__ void barrier_in_both_branches(int* out) {
    int i = threadIdx.x;
    if (i < 16) {
        out[i] = 1;
        __syncthreads();  // FAULT
        out[i] += 2;
    } else {
        out[i] = 5;
        __syncthreads();  // FAULT
        out[i] *= 3;
    }
}

// 64 threads
extern "C" __global__ void barrier_for_33_threads(int* out) {
    asm volatile("bar.sync 1, 33;" ::: "memory");  // FAULT
    out[threadIdx.x] = 1;
}

// 64 threads; id 16
extern "C" __global__ void barrier_16(int* out, int id) {
    asm volatile("bar.sync %0;" ::"r"(id) : "memory");  // FAULT
    out[threadIdx.x] = 1;
}

// 96 threads: the warps do not agree on how many they are.
extern "C" __global__ void barrier_with_two_counts(int* out) {
    int n_threads = threadIdx.x < 32 ? 64 : 96;
    asm volatile("bar.sync 1, %0;" ::"r"(n_threads) : "memory");  // FAULT
    out[threadIdx.x] = 1;
}

// 64 threads: each warp waits where the other is not yet.
extern "C" __global__ void crossed_barriers(int* out) {
    if (threadIdx.x < 32) {
        asm volatile("bar.sync 1, 64;" ::: "memory");  // FAULT
        asm volatile("bar.sync 2, 64;" ::: "memory");
    } else {
        asm volatile("bar.sync 2, 64;" ::: "memory");  // FAULT
        asm volatile("bar.sync 1, 64;" ::: "memory");
    }
    out[threadIdx.x] = 1;
}

// 64 threads: warp 0 forgets to arrive.
extern "C" __global__ void nobody_arrives(int* out) {
    if (threadIdx.x >= 32) {
        asm volatile("bar.sync 1, 64;" ::: "memory");  // FAULT
        out[threadIdx.x] = 1;
    }
    __syncthreads();  // FAULT
    out[threadIdx.x] = 2;
}

// flag [1] zero
extern "C" __global__ void flag_that_nobody_sets(int* flag, int* out) {
    while (*(volatile int*)flag == 0) {}  // FAULT
    *out = 1;
}

// x [1] odd
extern "C" __global__ void loop_without_end(unsigned* x) {
    unsigned v = *x;
    while (v % 2) v = v * 5 + 2;  // FAULT
    *x = v;
}
