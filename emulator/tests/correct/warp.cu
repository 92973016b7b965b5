// What the lanes of a warp do together. Every kernel is correct.

// in [n], out [n]: each warp's sum, in all of its lanes' places
extern "C" __global__ void warp_sum(const int* in, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int sum = in[i];
    for (int s = 16; s > 0; s /= 2) sum += __shfl_xor_sync(0xffffffff, sum, s);
    out[i] = sum;
}

// Inclusive sums within a warp; a lane with nothing above it reads itself, and does not use it.
extern "C" __global__ void warp_scan(const int* in, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = i % 32;
    int sum = in[i];
    for (int s = 1; s < 32; s *= 2) {
        int left = __shfl_up_sync(0xffffffff, sum, s);
        if (lane >= s) sum += left;
    }
    out[i] = sum;
}

// Lanes hand values on through shared memory, with __syncwarp in both directions.
extern "C" __global__ void warp_exchange(const int* in, int* out, int n_rounds) {
    __shared__ int tiles[4][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int value = in[threadIdx.x];
    for (int k = 0; k < n_rounds; k++) {
        tiles[warp][lane] = value;
        __syncwarp();
        value = tiles[warp][(lane + 1) % 32] * 3 + k;
        __syncwarp();
    }
    out[threadIdx.x] = value;
}

// bins [16]: lanes of one value elect the lowest of them to count.
extern "C" __global__ void match_histogram(const int* values, int* bins) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned peers = __match_any_sync(0xffffffff, values[i]);
    if (threadIdx.x % 32 == __ffs(peers) - 1) atomicAdd(&bins[values[i]], __popc(peers));
}

// bins [n_warps, 32]: bit by bit, lane b collects who has value b.
extern "C" __global__ void ballot_histogram(const int* values, int* bins) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    unsigned mine = 0xffffffff;
    for (int bit = 0; bit < 5; bit++) {
        unsigned set = __ballot_sync(0xffffffff, values[i] >> bit & 1);
        mine &= (lane >> bit & 1) ? set : ~set;
    }
    bins[i] = __popc(mine);
}

// Halves a number until no lane has work left.
extern "C" __global__ void vote_loop(const unsigned* in, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, n_steps = 0, n_rounds = 0;
    unsigned x = in[i];
    while (__any_sync(0xffffffff, x != 0)) {
        n_rounds++;
        if (x != 0) n_steps++;
        x /= 2;
    }
    out[i] = n_steps * 100 + n_rounds;
}

// Every lane goes round as often as its number asks for.
extern "C" __global__ void collatz(const unsigned* in, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, n_steps = 0;
    for (unsigned x = in[i]; x > 1; n_steps++) x = x % 2 ? 3 * x + 1 : x / 2;
    out[i] = n_steps;
}

// The two halves of a warp go separate ways, each with its own mask, and meet again.
extern "C" __global__ void halves(const int* in, int* out) {
    int i = threadIdx.x, value = in[i];
    if (i < 16) {
        for (int s = 8; s > 0; s /= 2) value += __shfl_xor_sync(0x0000ffff, value, s);
    } else {
        for (int s = 8; s > 0; s /= 2) value = max(value, __shfl_xor_sync(0xffff0000, value, s));
    }
    __syncwarp();
    out[i] = __shfl_xor_sync(0xffffffff, value, 16);
}

// The largest value and its place as one 64-bit number.
extern "C" __global__ void warp_argmax(const unsigned* in, unsigned long long* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned long long best = static_cast<unsigned long long>(in[i]) << 32 | static_cast<unsigned>(i);
    for (int s = 16; s > 0; s /= 2) best = max(best, __shfl_down_sync(0xffffffff, best, s));
    if (i % 32 == 0) out[i / 32] = best;
}

extern "C" __global__ void warp_sort(const int* in, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    int value = in[i];
    for (int size = 2; size <= 32; size *= 2) {
        for (int s = size / 2; s > 0; s /= 2) {
            int other = __shfl_xor_sync(0xffffffff, value, s);
            bool takes_less = ((lane & s) == 0) == ((lane & size) == 0);
            value = takes_less ? min(value, other) : max(value, other);
        }
    }
    out[i] = value;
}

extern "C" __global__ void redux(const unsigned* in, unsigned* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = __reduce_add_sync(0xffffffff, in[i]) + __reduce_max_sync(0xffffffff, in[i]);
}

// All lanes store the same value to the same place.
extern "C" __global__ void same_value_stores(int* out) {
    __shared__ int words[2];
    int warp = threadIdx.x / 32;
    words[warp] = warp * 10 + 1;
    __syncwarp();
    out[warp] = words[warp] + blockDim.x;
}

// The lanes that are there elect one to add for all of them.
extern "C" __global__ void aggregated_atomic(const int* in, int* total) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (in[i] % 3 == 0) return;
    unsigned here = __activemask();
    unsigned peers = __match_any_sync(here, in[i] % 3);
    if (threadIdx.x % 32 == __ffs(peers) - 1) atomicAdd(&total[in[i] % 3 - 1], __popc(peers));
}

// Lanes that left are not waited for: the last warp has 8 lanes at the shuffle.
extern "C" __global__ void shuffle_of_a_part(const int* in, int* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned mask = __ballot_sync(0xffffffff, i < n);
    if (i >= n) return;
    out[i] = in[i] + __shfl_xor_sync(mask, in[i], 4);
}
