//! Tensors, with those of all layers on one line where they are alike; and how they differ from what a config asks for.

use std::collections::BTreeMap;

use gale::config::Config;
use gale::weights::{Listed, names};

/// More differences than this are counted only.
const MAX_SHOWN: usize = 20;

/// `model.layers.*.mlp.up_proj.weight    32 x [14336, 4096] BF16`, in the order of first layers and names.
pub fn rows(listed: &[Listed]) -> Vec<String> {
    let mut alike: BTreeMap<(String, &[usize], &str), usize> = BTreeMap::new();
    for Listed { name, shape, dtype, .. } in listed {
        *alike.entry((without_layer(name), shape, dtype)).or_default() += 1;
    }
    let width = alike.keys().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let row = |((name, shape, dtype), n): (&(String, &[usize], &str), &usize)| {
        let count = if name.contains('*') { format!("{n} x ") } else { String::new() };
        format!("{name:<width$}  {count}{shape:?} {dtype}")
    };
    alike.iter().map(row).collect()
}

/// The name with `*` for the number of the layer.
fn without_layer(name: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name.split('.').map(|part| if is_number(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join(".").escape_debug().to_string()
}

/// What is missing or has another shape, and what is there beyond the model's tensors.
pub fn differences(config: &Config, listed: &[Listed]) -> Vec<String> {
    let found: BTreeMap<&str, &Listed> = listed.iter().map(|it| (it.name.as_str(), it)).collect();
    let wanted = names::tensors(config);
    let mut differences = vec![];
    for spec in &wanted {
        let (name, shape) = (&spec.name, &spec.shape);
        match found.get(name.as_str()) {
            None => differences.push(format!("tensor {name}: expected {shape:?} by config.json, found no such tensor")),
            Some(it) if it.shape != *shape => {
                differences.push(format!("tensor {name}: expected {shape:?} by config.json, found {:?}", it.shape));
            }
            Some(_) => {}
        }
    }
    let is_known =
        |name: &str| names::is_ignored(name) || name == names::LM_HEAD || wanted.iter().any(|it| it.name == name);
    for name in found.keys().filter(|name| !is_known(name)) {
        differences.push(format!("tensor {}: not one of the architecture's", name.escape_debug()));
    }
    let n = differences.len();
    if n > MAX_SHOWN {
        differences.truncate(MAX_SHOWN);
        differences.push(format!("and {} more tensors", n - MAX_SHOWN));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, shape: &[usize]) -> Listed {
        Listed { name: name.into(), path: "x".into(), dtype: "BF16".into(), shape: shape.into(), n_bytes: 0 }
    }

    #[test]
    fn layers_that_are_alike_share_a_line() {
        let all =
            [listed("norm", &[8]), listed("l.0.up", &[2, 8]), listed("l.1.up", &[2, 8]), listed("l.2.up", &[8, 2])];
        assert_eq!(rows(&all), ["l.*.up  2 x [2, 8] BF16", "l.*.up  1 x [8, 2] BF16", "norm    [8] BF16"]);
    }
}
