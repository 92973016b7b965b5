struct Node { const char* name; int value; float weight; };
__device__ int scratch[100];
__device__ Node nodes[2] = {{"first", -1, -1.5f}, {"second", 2, 3e8f}};
__device__ Node* second = &nodes[1];
__device__ float pi = 3.25f;
__device__ double e[2] = {2.5, -1};
__device__ short halves[3] = {-1, 2};
__device__ long long minus_five = -5;
__device__ bool flag = true;
__constant__ int table[2][3] = {{1, 2, 3}, {-4, 5}};
__noinline__ __device__ int twice(int x) { return 2 * x; }
__device__ int (*function)(int) = twice;
extern "C" __global__ void variables(int* out, int i) {
    out[0] = scratch[i] + nodes[i].value + second->value + (int)pi + (int)e[i] + halves[i] + (int)minus_five + flag + table[i][1];
    out[1] = twice(i) + nodes[i].name[0] + (function == nullptr);
}
