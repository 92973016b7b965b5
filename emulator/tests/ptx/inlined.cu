namespace math {
__device__ __forceinline__ float inner(float x) { return x * x + 1.f; }
__device__ __forceinline__ float middle(float x) { return inner(x) + inner(x + 2.f); }
template <int N> __device__ __forceinline__ float outer(float x) {
    return middle(x) / N;
}
}
extern "C" __global__ void inlined(float* x) {
    x[0] = math::outer<3>(x[1]);
    x[2] = math::middle(x[3]);
}
