// What the host waits for, or forgets to wait for.

extern "C" __global__ void doubles(const int* in, int* out, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) out[i] = in[i] * 2;
}

// data [32] and flag [1] in pinned memory, for a host that polls; one warp
extern "C" __global__ void raises_a_flag(int* data, int* flag, int value) {
    data[threadIdx.x] = value + threadIdx.x;
    __syncwarp();
    if (threadIdx.x == 0) {
        __threadfence_system();
        *(volatile int*)flag = value;
    }
}
