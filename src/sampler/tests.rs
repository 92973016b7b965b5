use super::*;

#[test]
fn options_out_of_range_are_named() {
    let bad = [
        (Sampling { temperature: -0.5, ..Sampling::default() }, "temperature: expected", "found -0.5"),
        (Sampling { temperature: f32::INFINITY, ..Sampling::default() }, "temperature: expected", "found inf"),
        (Sampling { top_p: 0.0, ..Sampling::default() }, "top_p: expected", "found 0"),
        (Sampling { top_p: f32::NAN, ..Sampling::default() }, "top_p: expected", "found NaN"),
        (Sampling { min_p: 1.5, ..Sampling::default() }, "min_p: expected", "found 1.5"),
        (Sampling { repetition_penalty: 0.0, ..Sampling::default() }, "repetition_penalty: expected", "found 0"),
        (Sampling { frequency_penalty: f32::NAN, ..Sampling::default() }, "frequency_penalty: expected", "found NaN"),
        (
            Sampling { presence_penalty: f32::INFINITY, ..Sampling::default() },
            "presence_penalty: expected",
            "found inf",
        ),
        (Sampling { logit_bias: vec![(3, f32::INFINITY)], ..Sampling::default() }, "logit_bias: expected", "found inf"),
    ];
    for (sampling, option, found) in bad {
        let said = sampling.validate().expect_err(option).to_string();
        assert!(said.contains(option) && said.contains(found), "{said}");
    }
}
