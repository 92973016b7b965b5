//! Rows of results, which are objects of JSON, as CSV.

use serde_json::Value;

/// The names in the first line, then a line a row. What is in an object within a row has both names: `full_p50_ms`. Of
/// lists there are only those of words.
pub fn csv(rows: &[Value]) -> String {
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let head = line(cells("", &rows[0]).into_iter().map(|(name, _)| name).collect());
    let lines = rows.iter().map(|row| line(cells("", row).into_iter().map(|(_, cell)| cell).collect()));
    head + &lines.collect::<String>()
}

fn cells(prefix: &str, row: &Value) -> Vec<(String, String)> {
    let of = |(key, value): (&String, &Value)| {
        let name = format!("{prefix}{key}");
        match value {
            Value::Object(_) => cells(&format!("{name}_"), value),
            Value::Array(items) => words(items).map(|it| (name, quoted(&it))).into_iter().collect(),
            value => vec![(name, cell(value))],
        }
    };
    row.as_object().expect("a row has names").iter().flat_map(of).collect()
}

fn words(items: &[Value]) -> Option<String> {
    let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    Some(words?.join("; "))
}

/// Nothing for what is not known.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// As RFC 4180 has it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_within_has_both_names() {
        let row = |name: &str, ms: Value| {
            let health = json!({ "throttled_by": ["heat", "power"], "readings": [{ "celsius": 80 }] });
            json!({ "a": name, "full": { "ms": ms, "n": 2 }, "health": health, "samples": [1, 2], "z": false })
        };
        let text = csv(&[row("say \"hi\", \\", json!(1.5)), row("", Value::Null)]);
        assert_eq!(
            text,
            "a,full_ms,full_n,health_throttled_by,z\n\
             \"say \"\"hi\"\", \\\",1.5,2,\"heat; power\",false\n\
             \"\",,2,\"heat; power\",false\n"
        );
    }
}
