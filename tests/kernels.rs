//! Every kernel against f64, on random shapes that straddle tiles, warps and the ring.

mod common;

mod kernels {
    mod product;
    mod qkv;
    mod residual;
    mod gate_up;
    mod lm_head;
    mod copy;
    mod tile;
    mod embed;
    mod decode_attention;
    mod commit;
    mod prefill_attention;
    mod ring_write;
    mod advance;
    mod sample;
}
