// Warp instructions whose member mask is not the lanes that arrive, one warp each. Lanes that exited count as arrived
// (PTX ISA, #parallel-synchronization-and-communication-instructions-shfl-sync), but nothing can be read from them.

extern "C" __global__ void shuffle_with_half_a_mask(int* out) {
    int i = threadIdx.x;
    out[i] = __shfl_xor_sync(0x0000ffff, i, 1);  // FAULT
}

// The other half leaves, and lane 15 reads from lane 16.
extern "C" __global__ void shuffle_in_a_branch(int* out) {
    int i = threadIdx.x;
    if (i < 16) out[i] = __shfl_down_sync(0xffffffff, i, 1);  // FAULT
}

extern "C" __global__ void syncwarp_with_half_a_mask(int* out) {
    __shared__ int tile[32];
    int i = threadIdx.x;
    tile[i] = i;
    __syncwarp(0x0000ffff);  // FAULT
    out[i] = tile[i ^ 1];
}

extern "C" __global__ void ballot_in_a_branch(unsigned* out) {
    int i = threadIdx.x;
    if (i % 4 == 1) out[i] = __ballot_sync(0xffffffff, i > 8);  // FAULT
    __syncwarp();                                                // FAULT
    out[32 + i] = out[i ^ 1];
}

extern "C" __global__ void match_with_a_lane_missing(unsigned* out) {
    int i = threadIdx.x;
    out[i] = __match_any_sync(0xfffffffe, i / 3);  // FAULT
}

extern "C" __global__ void redux_in_a_branch(unsigned* out) {
    unsigned i = threadIdx.x;
    if (i != 31) out[i] = __reduce_add_sync(0xffffffff, i);  // FAULT
    __syncwarp();                                             // FAULT
    out[32 + i] = out[i ^ 1];
}

// The mask is right, but the value comes from a lane that is not there.
extern "C" __global__ void shuffle_from_an_absent_lane(int* out) {
    int i = threadIdx.x;
    if (i < 16) out[i] = __shfl_sync(0x0000ffff, i, 20);  // FAULT
}

extern "C" __global__ void shuffle_after_half_has_left(const int* in, int* out) {
    int i = threadIdx.x;
    if (in[i] < 0) return;
    out[i] = __shfl_xor_sync(0xffffffff, in[i], 16);  // FAULT
}
