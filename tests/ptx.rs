//! The PTX that nvcc made agrees with the prototypes that build.rs read out of the same files.

use gale::device::{Module, Pass, Prototype, prototypes};

/// A kernel as its PTX declares it.
#[derive(Debug, PartialEq)]
struct Entry {
    name: String,
    param_bytes: Vec<u32>,
    /// From `.maxntid`.
    block: [u32; 3],
}

/// Every `.entry` of a module: its name, `.param`s between parentheses, and directives up to the body.
fn entries(module: &Module) -> Vec<Entry> {
    let declarations = module.ptx.split(".entry ").skip(1).map(|it| it.split('{').next().unwrap());
    declarations.map(entry).collect()
}

fn entry(declaration: &str) -> Entry {
    let (name, rest) = declaration.split_once('(').unwrap();
    let (params, directives) = rest.split_once(')').unwrap();
    let size = |param: &str| match param.split_whitespace().nth(1).unwrap() {
        ".u64" | ".s64" | ".b64" | ".f64" => 8,
        ".u32" | ".s32" | ".b32" | ".f32" => 4,
        other => panic!("{name}: a parameter of type {other}"),
    };
    let block = directives.lines().find_map(|it| it.trim().strip_prefix(".maxntid")).unwrap();
    let block: Vec<u32> = block.split(',').map(|it| it.trim().parse().unwrap()).collect();
    Entry {
        name: name.trim().to_owned(),
        param_bytes: params.split(',').map(size).collect(),
        block: block.try_into().unwrap(),
    }
}

/// The entry that a prototype asks for.
fn expected(kernel: &Prototype) -> Entry {
    let bytes = |pass, c_type| match (pass, c_type) {
        (Pass::In | Pass::Out, _) | (Pass::Value, "uint64_t") => 8,
        _ => 4,
    };
    Entry {
        name: kernel.name.to_owned(),
        param_bytes: kernel.params.iter().map(|it| bytes(it.pass, it.c_type)).collect(),
        block: [kernel.block, 1, 1],
    }
}

#[test]
fn entries_equal_prototypes() {
    for module in prototypes::MODULES {
        let mut declared: Vec<Entry> =
            prototypes::ALL.iter().filter(|it| it.module == module.name).map(|it| expected(it)).collect();
        let mut compiled = entries(module);
        declared.sort_by(|a, b| a.name.cmp(&b.name));
        compiled.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(compiled, declared, "kernels/{}.cu", module.name);
    }
}

/// Paths in line information are relative, so that the PTX is the same wherever it is built.
#[test]
fn line_information_names_files_in_the_repository() {
    for module in prototypes::MODULES {
        let files: Vec<&str> = module.ptx.lines().filter(|it| it.trim_start().starts_with(".file")).collect();
        assert!(files.iter().any(|it| it.ends_with(&format!("\"kernels/{}.cu\"", module.name))), "{files:?}");
        assert!(files.iter().all(|it| !it.contains("\"/")), "{files:?}");
    }
}

/// What keeps the driver floor low: no module asks for more than it uses, which is PTX 8 at most.
#[test]
fn modules_are_stamped_for_old_drivers() {
    for module in prototypes::MODULES {
        assert!(
            ((7, 0)..=(7, 4)).contains(&module.ptx_version()),
            "kernels/{}.cu: {:?}",
            module.name,
            module.ptx_version()
        );
    }
}
