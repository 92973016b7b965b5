// Traps, assertions, memory that is read-only, and launches that a card refuses.
#include <cassert>

extern "C" __global__ void traps(const int* in) {
    if (in[threadIdx.x] < 0) __trap();  // FAULT
}

extern "C" __global__ void assertion(const int* in, int* out) {
    int i = threadIdx.x;
    assert(in[i] < 100);  // FAULT
    out[i] = in[i];
}

__constant__ int table[4];

extern "C" __global__ void constant_write(int* out) {
    int i = threadIdx.x;
    out[i] = table[i];
    // A plain assignment the compiler would see through.
    if (i == 3) asm volatile("st.u32 [%0], %1;" ::"l"(&table[i]), "r"(5) : "memory");  // FAULT
}

extern "C" __global__ void stores_its_index(int* out, int n) {
    extern __shared__ int words[];
    int i = threadIdx.x;
    if (i < n) {
        words[i] = i;
        out[i] = words[i];
    }
}
