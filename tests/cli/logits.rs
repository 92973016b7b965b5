use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::program::{cases, comma_separated, emulated, golden};

/// [rows, vocab_size] of a tensor in a file.
fn read(path: &Path, tensor: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(tensor).unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    (view.shape().to_vec(), bytemuck::pod_collect_to_vec(view.data()))
}

/// Past the first wrap of the window, whatever the chunk, all rows or some: near the golden, and the same bits.
#[test]
fn logits_are_those_of_the_golden() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("logits.safetensors");
    for model in ["mis_w8_1layer", "mis_w16_f16", "mis_nowin_v5_gqa8"] {
        let case = cases(model).into_iter().rfind(|it| it["length"].as_u64() < Some(40)).unwrap();
        let (dir, ids) = (golden(model), comma_separated(&case["input_ids"]));
        let logits = |args: &[&str]| {
            let run = [&["logits", "-m", &dir, "--ids", &ids, "-o", path.to_str().unwrap()], args].concat();
            assert_eq!(emulated(&run).expect_ok().stdout, "");
            read(&path, "logits")
        };
        let (shape, all) = logits(&[]);
        let (golden_shape, want) = read(&Path::new(&dir).join("golden.safetensors"), case["tensor"].as_str().unwrap());
        assert_eq!(shape, golden_shape);
        let worst = all.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        assert!(worst < 0.5, "{model}: {worst}");

        let vocab_size = shape[1];
        for args in [&["--last", "2"][..], &["--last", "2", "--chunk", "1"], &["--last", "2", "--no-graph"]] {
            let (shape, last) = logits(args);
            assert_eq!(shape, [2, vocab_size]);
            assert_eq!(last, all[all.len() - 2 * vocab_size..], "{args:?}");
        }
    }
}

/// After an error the old file is as it was, and nothing lies beside it.
#[test]
fn an_error_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logits.safetensors");
    fs::write(&path, "precious").unwrap();
    let model = golden("mis_w8_1layer");
    emulated(&["logits", "-m", &model, "--ids", "1,512", "-o", path.to_str().unwrap()]).expect_error(&["512"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn bad_places_and_numbers_of_rows_are_named() {
    let model = golden("mis_w8_1layer");
    let run = |args: &[&str]| emulated(&[&["logits", "-m", &model], args].concat());
    run(&["--ids", "1", "-o", "/no/such/file"]).expect_error(&["cannot write /no/such/file", "no directory /no/such"]);
    run(&["--ids", "1", "-o", "/"]).expect_error(&["cannot write /: it is a directory"]);
    run(&["--ids", "1,2", "--last", "3", "-o", "x"]).expect_error(&["--last: expected a number up to", "2, found 3"]);
    run(&["--ids", "", "-o", "x"]).expect_error(&["prompt"]);
    run(&["--ids", "1,b", "-o", "x"]).expect_usage_error("\"b\"");
    run(&["--ids", "1", "--last", "0", "-o", "x"]).expect_usage_error("--last");
}
