// cp.async whose data is used before it is there. in [n_stages, 64, 4], 64 threads, 16 bytes each.

struct Tile {
    int4 vectors[64];
};

static __device__ __forceinline__ void copy(void* shared, const void* global) {
    unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
}
static __device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> static __device__ __forceinline__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

extern "C" __global__ void async_copy_without_wait(const int4* in, int* out) {
    __shared__ Tile tile;
    int i = threadIdx.x;
    copy(&tile.vectors[i], in + i);
    commit();
    __syncthreads();
    out[i] = tile.vectors[63 - i].y;  // FAULT
}

// The thread's own vector: no barrier is needed, but the wait is.
extern "C" __global__ void async_copy_of_its_own_without_wait(const int4* in, int* out) {
    __shared__ Tile tile;
    int i = threadIdx.x;
    copy(&tile.vectors[i], in + i);
    commit();
    out[i] = tile.vectors[i].x;  // FAULT
}

// Two stages are under way, and the wait leaves one of them, the one that is read.
extern "C" __global__ void async_wait_leaves_too_many(const int4* in, int* out) {
    __shared__ Tile tiles[2];
    int i = threadIdx.x;
    copy(&tiles[0].vectors[i], in + i);
    commit();
    copy(&tiles[1].vectors[i], in + 64 + i);
    commit();
    wait<1>();
    __syncthreads();
    int first = tiles[0].vectors[63 - i].x;
    out[i] = first + tiles[1].vectors[63 - i].x;  // FAULT
}

// What is in no group is not waited for.
extern "C" __global__ void async_copy_without_commit(const int4* in, int* out) {
    __shared__ Tile tile;
    int i = threadIdx.x;
    copy(&tile.vectors[i], in + i);
    wait<0>();
    __syncthreads();
    out[i] = tile.vectors[63 - i].z;  // FAULT
}

// A thread waits for its own copies only.
extern "C" __global__ void async_wait_without_barrier(const int4* in, int* out) {
    __shared__ Tile tile;
    int i = threadIdx.x;
    tile.vectors[i] = make_int4(0, 0, 0, 0);
    __syncthreads();
    copy(&tile.vectors[i], in + i);  // OTHER
    commit();
    wait<0>();
    out[i] = tile.vectors[63 - i].w;  // FAULT
}

extern "C" __global__ void store_over_an_async_copy(const int4* in, int* out) {
    __shared__ Tile tile;
    int i = threadIdx.x;
    copy(&tile.vectors[i], in + i);
    commit();
    tile.vectors[i].x = 5;  // FAULT
    wait<0>();
    __syncthreads();
    out[i] = tile.vectors[63 - i].x;
}

// The stage is filled again while the other warp may still read it.
extern "C" __global__ void async_refill_without_barrier(const int4* in, int* out) {
    __shared__ Tile tile;
    int i = threadIdx.x;
    copy(&tile.vectors[i], in + i);
    commit();
    wait<0>();
    __syncthreads();
    int first = tile.vectors[63 - i].x;    // OTHER
    copy(&tile.vectors[i], in + 64 + i);  // FAULT
    commit();
    wait<0>();
    __syncthreads();
    out[i] = first + tile.vectors[63 - i].x;
}

extern "C" __global__ void async_copy_past_the_end(const int4* in, int* out) {
    __shared__ Tile tile;
    int i = threadIdx.x;
    copy(&tile.vectors[i], in + i);  // FAULT
    commit();
    wait<0>();
    out[i] = tile.vectors[i].x;
}

extern "C" __global__ void async_copy_misaligned(const int* in, int* out) {
    __shared__ Tile tile;
    int i = threadIdx.x;
    copy(&tile.vectors[i], in + 4 * i + 2);  // FAULT
    commit();
    wait<0>();
    out[i] = tile.vectors[i].x;
}
