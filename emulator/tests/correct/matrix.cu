// Matrix products of one block, staged by cp.async, loaded by ldmatrix, multiplied by mma. Correct.

static __device__ __forceinline__ unsigned address(const void* shared) {
    return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}
static __device__ __forceinline__ void copy(void* shared, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address(shared)), "l"(global) : "memory");
}

// a [32, k], b [16, k], both bf16, c [32, 16] float: c = a b'. k is a multiple of 16. 4 warps of 16 x 8 each.
extern "C" __global__ void matrix_product(const unsigned short* a, const unsigned short* b, float* c, int k) {
    __shared__ __align__(16) unsigned short a_tile[2][32][24], b_tile[2][16][24];  // rows of 16, with padding
    int i = threadIdx.x, lane = i % 32, row = i / 64 * 16, column = i / 32 % 2 * 8;
    auto stage = [&](int step) {
        int half = i % 2 * 8;
        if (i < 64) copy(&a_tile[step % 2][i / 2][half], a + i / 2 * k + step * 16 + half);
        else if (i < 96) copy(&b_tile[step % 2][i / 2 - 32][half], b + (i / 2 - 32) * k + step * 16 + half);
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    float sum[4] = {0, 0, 0, 0};
    stage(0);
    for (int step = 0; step < k / 16; step++) {
        asm volatile("cp.async.wait_group 0;" ::: "memory");
        __syncthreads();
        if (step + 1 < k / 16) stage(step + 1);
        unsigned x[4], y[2];
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address(&a_tile[step % 2][row + lane % 16][lane / 16 * 8])) : "memory");
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(y[0]), "=r"(y[1])
                     : "r"(address(&b_tile[step % 2][column + lane % 8][lane / 8 % 2 * 8])) : "memory");
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
    }
    for (int part = 0; part < 2; part++) {
        float* at = c + (row + lane / 4 + 8 * part) * 16 + column + lane % 4 * 2;
        *reinterpret_cast<float2*>(at) = make_float2(sum[2 * part], sum[2 * part + 1]);
    }
}

// 16 words of 8 halves each, read as two 8 x 8 matrices turned over.
extern "C" __global__ void matrix_transposed(const unsigned short* in, unsigned* out) {
    __shared__ __align__(16) unsigned short tile[16][8];
    int i = threadIdx.x;
    for (int k = i; k < 128; k += 32) tile[k / 8][k % 8] = in[k];
    __syncthreads();
    unsigned x, y;
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(x), "=r"(y) : "r"(address(&tile[i % 16][0])) : "memory");
    out[i] = x;
    out[32 + i] = y;
}
