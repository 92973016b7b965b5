//! What templates expect of Python beyond Jinja: string and list methods, and the three names that
//! `transformers` adds (`raise_exception`, `strftime_now`, its own `tojson`).

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, filters};

pub fn add_to(environment: &mut Environment) {
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> { Err(invalid(message)) });
    environment.add_function("strftime_now", |format: String| strftime(&format, now_s()));
    environment.add_filter("tojson", tojson);
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// JSON as Python writes it: Jinja's filter escapes `<`, `>`, `&` and `'` for HTML, which is no good in a prompt.
fn tojson(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let json = filters::tojson(value, indent, options)?.to_string();
    let mut plain = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let html = [("\\u003c", '<'), ("\\u003e", '>'), ("\\u0026", '&'), ("\\u0027", '\'')];
        rest = match html.iter().find(|(escaped, _)| escape.starts_with(escaped)) {
            Some((escaped, char)) => {
                plain.push(*char);
                &escape[escaped.len()..]
            }
            None => {
                // Both characters of the escape, so that the second backslash of "\\" starts no new one.
                plain.push_str(&escape[..2]);
                &escape[2..]
            }
        };
    }
    plain.push_str(rest);
    Ok(Value::from(plain))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The date in UTC, in the directives that templates use; any other is an error.
fn strftime(format: &str, unix_s: u64) -> Result<String, Error> {
    let (n_days, second) = (unix_s / 86400, unix_s % 86400);
    let (year, month, day) = civil(n_days);
    let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[(n_days as usize + 4) % 7]);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            text.push(char);
            continue;
        }
        let directive = chars.next();
        text += &match directive {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('H') => format!("{:02}", second / 3600),
            Some('M') => format!("{:02}", second / 60 % 60),
            Some('S') => format!("{:02}", second % 60),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name[..3].to_owned(),
            Some('%') => "%".to_owned(),
            _ => {
                let directive = directive.map(String::from).unwrap_or_default();
                return Err(invalid(format!(
                    "strftime_now: %{directive} is not supported; use %Y %y %m %d %H %M %S %B %b %A %a %%"
                )));
            }
        };
    }
    Ok(text)
}

/// Days since 1970-01-01 to (year, month, day) in the Gregorian calendar. Years are counted from March, so that the
/// leap day comes last (Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
fn civil(n_days: u64) -> (u64, u64, u64) {
    let n_days = n_days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (n_days / 146_097, n_days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    #[test]
    fn strftime_matches_known_dates() {
        // `date -u -d @N`
        let date = |unix_s| strftime("%a %A %d %b %B %Y %y-%m-%d %H:%M:%S %%", unix_s).unwrap();
        assert_eq!(date(0), "Thu Thursday 01 Jan January 1970 70-01-01 00:00:00 %");
        assert_eq!(date(951_782_399), "Mon Monday 28 Feb February 2000 00-02-28 23:59:59 %");
        assert_eq!(date(951_782_400), "Tue Tuesday 29 Feb February 2000 00-02-29 00:00:00 %");
        assert_eq!(date(4_107_542_400), "Mon Monday 01 Mar March 2100 00-03-01 00:00:00 %");
        assert_eq!(date(1_735_689_599), "Tue Tuesday 31 Dec December 2024 24-12-31 23:59:59 %");
        assert!(strftime("%Q", 0).unwrap_err().to_string().contains("%Q is not supported"));
        assert!(strftime("%", 0).is_err());
    }

    #[test]
    fn tojson_is_pythons() {
        let mut environment = Environment::new();
        add_to(&mut environment);
        let json = |value: Value| environment.render_str("{{ value | tojson }}", context! { value }).unwrap();
        assert_eq!(json("a<b>&'c' \"é\"\n".into()), r#""a<b>&'c' \"é\"\n""#);
        assert_eq!(json(r"\u003c".into()), r#""\\u003c""#, "a backslash in the text stays one");
        assert_eq!(json(vec![1, 2].into()), "[1, 2]");
        let indented = environment.render_str("{{ [1] | tojson(indent=2) }}", ()).unwrap();
        assert_eq!(indented, "[\n  1\n]");
    }
}
