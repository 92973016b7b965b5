// A small cuBLAS for tests of what calls it: it multiplies on the host, as NVIDIA documents cublasGemmEx, and takes nothing
// but bf16 with sums in f32. Matrices have their columns first. The driver is the one that the process has loaded.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t n_bytes);
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t n_bytes);
int cuStreamSynchronize(void *stream);

static struct { void *stream; } library;

int cublasCreate_v2(void **handle) { *handle = &library; return 0; }
int cublasDestroy_v2(void *handle) { return handle == &library ? 0 : 1; }
int cublasSetStream_v2(void *handle, void *stream) { library.stream = stream; return handle == &library ? 0 : 1; }
int cublasGetVersion_v2(void *handle, int *version) { *version = 120903; return handle == &library ? 0 : 1; }

static float widened(uint16_t bits)
{
    union { uint32_t bits; float value; } it = {(uint32_t)bits << 16};
    return it.value;
}

static uint16_t rounded(float value)
{
    union { float value; uint32_t bits; } it = {value};
    return (it.bits + 0x7fff + (it.bits >> 16 & 1)) >> 16;
}

static uint16_t *fetched(uint64_t from, size_t n)
{
    uint16_t *to = malloc(2 * n);
    if (cuMemcpyDtoH_v2(to, from, 2 * n)) exit(9);
    return to;
}

// c[i + j ldc] = alpha sum of a(i, l) b(l, j) + beta c, where a(i, l) is a[i + l lda], or a[l + i lda] transposed.
int cublasGemmEx(
    void *handle, int transposed_a, int transposed_b, int m, int n, int k, const float *alpha, uint64_t a, int a_type,
    int lda, uint64_t b, int b_type, int ldb, const float *beta, uint64_t c, int c_type, int ldc, int compute, int algorithm)
{
    const int is_known = a_type == 14 && b_type == 14 && c_type == 14 && compute == 68 && algorithm == -1 && *beta == 0;
    const int is_inside = lda >= (transposed_a ? k : m) && ldb >= (transposed_b ? n : k) && ldc >= m;
    if (handle != &library || !is_known || !is_inside || cuStreamSynchronize(library.stream)) return 7;
    uint16_t *as = fetched(a, (size_t)lda * (transposed_a ? m : k)), *bs = fetched(b, (size_t)ldb * (transposed_b ? k : n));
    uint16_t *cs = fetched(c, (size_t)ldc * n);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int l = 0; l < k; l++)
                sum += widened(as[transposed_a ? l + i * lda : i + l * lda]) *
                       widened(bs[transposed_b ? j + l * ldb : l + j * ldb]);
            cs[i + j * ldc] = rounded(*alpha * sum);
        }
    const int status = cuMemcpyHtoD_v2(c, cs, 2 * (size_t)ldc * n);
    free(as), free(bs), free(cs);
    return status;
}
