//! The bare name of a function from its mangled one, for messages.
//!
//! Only what device code commonly has of the Itanium C++ ABI's `#mangling`: source names, nested names, and template
//! arguments that are skipped. In doubt there is no answer.

/// `_ZN2ns4lvl1Ef` is `lvl1`, `_Z2opILi3EEvRf` is `op`.
pub(super) fn bare_name(mangled: &str) -> Option<&str> {
    let rest = mangled.strip_prefix("_Z")?;
    if let Some(nested) = rest.strip_prefix('N') {
        return last_of_nested(nested.trim_start_matches(['r', 'V', 'K']));
    }
    let rest = rest.strip_prefix("St").unwrap_or(rest);
    let rest = rest.strip_prefix('L').unwrap_or(rest);
    source_name(rest).map(|(name, _)| name)
}

/// The last source name before the `E` that ends a nested name.
fn last_of_nested(mut rest: &str) -> Option<&str> {
    let mut last = None;
    loop {
        rest = match rest.as_bytes().first()? {
            b'E' => return last,
            b'0'..=b'9' => {
                let (name, rest) = source_name(rest)?;
                last = Some(name);
                rest
            }
            b'I' => skip_template_arguments(&rest[1..])?,
            b'S' => skip_substitution(&rest[1..])?,
            // Internal linkage.
            b'L' => &rest[1..],
            // A constructor is called like its class.
            b'C' => rest[1..].strip_prefix(['1', '2', '3'])?,
            _ => return None,
        }
    }
}

/// `4lvl1` and what follows.
fn source_name(rest: &str) -> Option<(&str, &str)> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let length = rest[..digits].parse::<usize>().ok().filter(|&length| length > 0)?;
    rest[digits..].split_at_checked(length)
}

/// What follows the `E` of template arguments whose `I` is already skipped.
fn skip_template_arguments(mut rest: &str) -> Option<&str> {
    let mut n_open = 1;
    while n_open > 0 {
        rest = match rest.as_bytes().first()? {
            b'E' => {
                n_open -= 1;
                &rest[1..]
            }
            b'I' | b'J' | b'N' => {
                n_open += 1;
                &rest[1..]
            }
            b'0'..=b'9' => source_name(rest)?.1,
            b'L' => skip_literal(&rest[1..])?,
            b'S' => skip_substitution(&rest[1..])?,
            b'P' | b'R' | b'O' | b'K' | b'V' => &rest[1..],
            &byte if is_builtin_type(byte) => &rest[1..],
            _ => return None,
        }
    }
    Some(rest)
}

/// `i3E` of `Li3E`: a builtin type, a number, `E`.
fn skip_literal(rest: &str) -> Option<&str> {
    let value = rest.strip_prefix(|it: char| it.is_ascii() && is_builtin_type(it as u8))?;
    value.trim_start_matches(|it: char| it == 'n' || it.is_ascii_digit()).strip_prefix('E')
}

/// What follows the `S` of `S_`, `S0_` or `St`.
fn skip_substitution(rest: &str) -> Option<&str> {
    if let Some(rest) = rest.strip_prefix(['t', 'a', 'b', 's', 'i', 'o', 'd']) {
        return Some(rest);
    }
    rest.trim_start_matches(|it: char| it.is_ascii_digit() || it.is_ascii_uppercase()).strip_prefix('_')
}

fn is_builtin_type(byte: u8) -> bool {
    b"vwbcahstijlmxynofdegz".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::bare_name;

    #[test]
    fn the_bare_name_of_a_function() {
        for (mangled, bare) in [
            ("_Z3fooPfi", "foo"),
            ("_ZL4sillv", "sill"),
            ("_ZN2ns4lvl1Ef", "lvl1"),
            ("_ZNK2ns1SIfE3getEi", "get"),
            ("_Z2opILi3EEvRf", "op"),
            ("_ZN2ns3runINS_3PodIfLin4EEEPKS1_EEvT_", "run"),
            ("_ZSt4moveIRKjEONSt16remove_referenceIT_E4typeEOS3_", "move"),
            ("_ZN13__nv_bfloat16C1Ei", "__nv_bfloat16"),
            ("_ZN32_INTERNAL_6a2affba_5_ex_cu_nodes12__half2floatE6__half", "__half2float"),
        ] {
            assert_eq!(bare_name(mangled), Some(bare), "{mangled}");
        }
    }

    #[test]
    fn no_answer_in_doubt() {
        for mangled in
            ["", "foo", "_Z", "_ZmLR13__nv_bfloat16RKS_", "_ZZ2k1E2st", "_Z9short", "_ZN", "_ZN3fooI", "_ZN3fooILX"]
        {
            assert_eq!(bare_name(mangled), None, "{mangled}");
        }
    }
}
