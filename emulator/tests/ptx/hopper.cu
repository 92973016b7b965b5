struct alignas(64) Map { char bytes[128]; };
extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(128, 1) hopper(float* out, const __grid_constant__ Map map) {
    __shared__ alignas(128) float tile[64];
    __shared__ unsigned long long barrier;
    unsigned shared_tile = __cvta_generic_to_shared(tile), shared_barrier = __cvta_generic_to_shared(&barrier);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_barrier));
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_barrier), "n"(256));
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;"
                     ::"r"(shared_tile), "l"(&map), "r"(0), "r"(8), "r"(shared_barrier), "l"(0x14F0000000000000ull) : "memory");
    }
    for (int phase = 0; phase < 2; phase++)
        asm volatile(
            "{ .reg .pred p;\n"
            "again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
            "@p bra.uni done; bra.uni again; done: }" ::"r"(shared_barrier), "r"(phase) : "memory");
    float sum[4] = {};
    asm volatile("wgmma.fence.sync.aligned;");
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0,%1,%2,%3}, %4, %5, p, 1, 1, 0, 1;\n}"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) : "l"(1ull), "l"(2ull), "r"(1));
    asm volatile("griddepcontrol.wait;");
    out[threadIdx.x] = sum[0] + tile[threadIdx.x & 63];
}
