use super::*;
use crate::config::shapes::shape;

fn mistral_7b() -> Config {
    shape("mistral-7b").unwrap()
}

const SIZES: Sizes = Sizes { n_slots: 4096, max_chunk: 512 };

#[test]
fn mistral_7b_has_its_published_size() {
    let plan = Plan::new(&mistral_7b(), WeightType::Bf16, SIZES);
    assert_eq!(plan.group_bytes(Group::Weights), 2 * 7_241_732_096, "two bytes a parameter");
    assert_eq!(plan.group_bytes(Group::Cache), 4096 * 128 * 1024, "128 KiB a slot");
    assert_eq!(plan.buffer("layers.31.qkv").shape, [6144, 4096]);
    assert_eq!(plan.buffer("layers.0.gate_up").shape, [28672, 4096]);
    assert_eq!(plan.buffer("k_ring").shape, [32, 4096, 8, 128]);
}

/// Every buffer counted once, by hand, for a model whose head_dim is not dim / n_heads.
#[test]
fn scratch_is_what_the_kernels_pass_on() {
    let config =
        Config { dim: 128, hidden_dim: 256, n_layers: 1, n_heads: 4, n_kv_heads: 2, vocab_size: 512, ..mistral_7b() };
    let plan = Plan::new(&config, WeightType::F16, Sizes { n_slots: 16, max_chunk: 12 });
    let bytes = |name| plan.buffer(name).bytes();
    assert_eq!([bytes("tokens"), bytes("position"), bytes("rope_turns")], [12 * 4, 8, 64 * 8]);
    assert_eq!([bytes("x"), bytes("squares")], [12 * 128 * 4, 12 * 8 * 4]);
    assert_eq!([bytes("h"), bytes("q")], [12 * 128 * 2, 12 * 512 * 2]);
    assert_eq!([bytes("k_chunk"), bytes("v_chunk")], [12 * 256 * 2; 2]);
    assert_eq!([bytes("k_staged"), bytes("v_staged")], [8 * 256 * 2; 2]);
    assert_eq!([bytes("attended"), bytes("act")], [12 * 512 * 2, 12 * 256 * 2]);
    assert_eq!([bytes("partials"), bytes("softmaxes"), bytes("tickets")], [8 * 512 * 17 * 4, 8 * 4 * 17 * 8, 6 * 4]);
    assert_eq!([bytes("logits"), bytes("best")], [8 * 512 * 4, 8 * 8]);
    assert_eq!([bytes("params"), bytes("stop")], [30 * 4, 4]);
    assert_eq!([bytes("bias"), bytes("scores"), bytes("counts")], [512 * 4; 3]);
    assert_eq!(plan.buffer("act").element, Element::F16);
    assert_eq!(plan.buffer("k_ring").element, Element::Bf16);
    assert_eq!(plan.buffer("norm").shape, [128]);
}

/// Tiles of 16 rows and 32 columns.
#[test]
fn matrices_are_padded_and_vectors_are_not() {
    let config = Config { dim: 40, vocab_size: 17, ..mistral_7b() };
    let plan = Plan::new(&config, WeightType::Bf16, SIZES);
    assert_eq!(plan.buffer("embedding").bytes(), 32 * 64 * 2);
    assert_eq!(plan.buffer("norm").bytes(), 40 * 2);
}

#[test]
fn tied_embeddings_have_no_head_of_their_own() {
    let tied = Config { tie_embeddings: true, ..mistral_7b() };
    let [plan, tied] = [mistral_7b(), tied].map(|config| Plan::new(&config, WeightType::Bf16, SIZES));
    assert_eq!(plan.total_bytes() - tied.total_bytes(), plan.buffer("lm_head").bytes());
    assert!(!tied.buffers().iter().any(|buffer| buffer.name == "lm_head"));
}

#[test]
fn names_are_unique_and_groups_sum_up() {
    let plan = Plan::new(&mistral_7b(), WeightType::Bf16, SIZES);
    let names: std::collections::BTreeSet<_> = plan.buffers().iter().map(|buffer| &buffer.name).collect();
    assert_eq!(names.len(), plan.buffers().len());
    let groups = [Group::Weights, Group::Cache, Group::Scratch].map(|group| plan.group_bytes(group));
    assert_eq!(groups.iter().sum::<u64>(), plan.total_bytes());
}

#[test]
fn the_table_shows_each_kind_once() {
    let table = Plan::new(&mistral_7b(), WeightType::Bf16, SIZES).to_string();
    let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{table}"));
    assert!(line("weights").ends_with("13.49 GiB"));
    assert!(line("cache").ends_with("512.00 MiB"));
    assert!(line("  qkv").contains("32 x [6144, 4096] bf16"));
    assert!(line("  k_ring").contains("[32, 4096, 8, 128] bf16"));
    assert!(line("  position").ends_with("8 B"));
    assert!(line("total").ends_with("bytes"));
    assert_eq!(table.lines().count(), 3 + 9 + 2 + 27 + 1, "{table}");
}
