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

fn plan(args: &[&str]) -> String {
    gale(&[&["plan", "-m", &golden("mis_nowin_v5_gqa8")], args].concat()).expect_ok().stdout
}

/// The context that is named fits to the byte, and one token more does not.
#[test]
fn plan_names_the_longest_context_that_fits() {
    let advice = |args: &[&str]| plan(args).lines().last().unwrap().to_owned();
    let before = |line: &str, word: &str| {
        let words: Vec<String> = line.split([' ', ';']).map(String::from).collect();
        words[words.iter().position(|it| it == word).unwrap() + 1].parse::<u32>().unwrap()
    };
    let too_long = advice(&["--ctx", "60000", "--memory", "8MiB"]);
    assert!(
        too_long.starts_with("in 8.00 MiB: a context of 60000 tokens takes ")
            && too_long.ends_with("is the longest that fits")
    );
    let longest = before(&too_long, "--ctx");
    let fits = advice(&["--ctx", "100", "--memory", "8MiB"]);
    assert_eq!(before(&fits, "is"), longest, "{fits}");
    for (context, fit) in [(longest, true), (longest + 1, false)] {
        let line = advice(&["--ctx", &context.to_string(), "--memory", "8MiB"]);
        assert_eq!(line.contains("the longest context that fits is"), fit, "{line}");
    }
    let small = advice(&["--memory", "1KiB"]);
    assert!(small.contains("are weights") && small.contains("take a card with more memory"), "{small}");
    let cards: Vec<String> =
        plan(&[]).lines().filter(|line| line.starts_with("in ")).map(|line| line[3..12].into()).collect();
    assert_eq!(cards, ["16.00 GiB", "24.00 GiB", "40.00 GiB", "80.00 GiB"]);
    let windowed = gale(&["plan", "-m", &golden("mis_w8_1layer"), "--memory", "1GB"]).expect_ok().stdout;
    assert!(windowed.lines().last().unwrap().contains(": fits, with "), "{windowed}");
    gale(&["plan", "-m", "x", "--memory", "lots"]).expect_usage_error("24GiB");
}

/// A device is opened when it is asked for, and its free memory is what counts.
#[test]
fn plan_asks_a_device_for_its_memory() {
    let table = plan(&["--device", "emulator"]);
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with("in ")).collect();
    let [line] = lines[..] else { panic!("{table}") };
    let (memory, advice) = line.strip_prefix("in ").unwrap().split_once(':').unwrap();
    assert!(memory.split(' ').next().unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
    assert!(advice.contains("the longest context that fits is "), "{line}");
}
