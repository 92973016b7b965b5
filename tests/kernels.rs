//! Every kernel against f64, on random shapes that straddle tiles, warps and the ring.

mod common;

mod kernels {
    mod checks;
    mod product;
    mod qkv;
    mod residual;
    mod gate_up;
    mod lm_head;
    mod copy;
    mod read;
    mod tile;
    mod noise;
    mod embed;
    mod attention;
    mod decode_attention;
    mod commit;
    mod prefill_attention;
    mod ring_write;
    mod advance;
    mod sample;
    mod chunk;
    mod norm;
    mod prefill_qkv;
    mod prefill_residual;
    mod prefill_gate_up;
}
