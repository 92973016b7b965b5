// Calls through pointers and virtual tables.
struct Shape { __device__ virtual int area(int x) const = 0; };
struct Square : Shape { __device__ int area(int x) const override; };
struct Strip : Shape { int width; __device__ Strip(int w) : width(w) {} __device__ int area(int x) const override; };
__noinline__ __device__ int Square::area(int x) const { return x * x; }
__noinline__ __device__ int Strip::area(int x) const { return width * x; }
__noinline__ __device__ int add(int a, int b) { return a + b; }
__noinline__ __device__ int subtract(int a, int b) { return a - b; }
typedef int (*Operation)(int, int);
__device__ Operation operations[2] = {add, subtract};

extern "C" __global__ void through_pointers(const int* in, int* out) {
    int i = threadIdx.x;
    out[i] = operations[in[i] & 1](i, in[i]);
    Square square;
    Strip strip(in[i] + 1);
    const Shape* shape = in[i] & 2 ? (const Shape*)&square : (const Shape*)&strip;
    out[i + blockDim.x] = shape->area(i);
}
