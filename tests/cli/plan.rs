use crate::program::{Broken, gale, golden};

#[test]
fn plan_shows_the_bytes_of_each_buffer() {
    let table = gale(&["plan", "-m", &golden("mis_w8_1layer")]).expect_ok().stdout;
    for line in
        ["  k_ring             [1, 8, 2, 64] bf16", "  embedding          [512, 128] bf16", "window of 8 tokens"]
    {
        assert!(table.contains(line), "no {line:?} in {table}");
    }
}

#[test]
fn plan_follows_context_and_chunk() {
    let model = golden("mis_nowin_v5_gqa8");
    let total = |args: &[&str]| {
        let table = gale(&[&["plan", "-m", &model], args].concat()).expect_ok().stdout;
        let line = table.lines().find(|line| line.starts_with("total")).unwrap().to_owned();
        line.split_whitespace().rev().nth(1).unwrap().parse::<u64>().unwrap()
    };
    // Two layers of keys and values with one head of 64 in bf16.
    assert_eq!(
        total(&["--ctx", "300", "--chunk", "8"]) - total(&["--ctx", "200", "--chunk", "8"]),
        100 * 2 * 2 * 64 * 2
    );
    assert!(total(&["--ctx", "200", "--chunk", "9"]) > total(&["--ctx", "200", "--chunk", "8"]));
}

/// The values of the weights are not looked at: a file of zeros does as well.
#[test]
fn plan_reads_headers_only() {
    let model = Broken::new("mis_w8_1layer");
    let mut bytes = std::fs::read(model.path("model.safetensors")).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[start..].fill(0);
    let zeros = model.write("model.safetensors", bytes);
    let [a, b] = [golden("mis_w8_1layer"), zeros.dir().to_owned()].map(|dir| gale(&["plan", "-m", &dir]).expect_ok());
    assert_eq!(a.stdout, b.stdout);
}
