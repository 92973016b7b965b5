//! Where in a rendered template the messages are.
//!
//! A template is a program, and may put a message anywhere. So it runs once more on messages with marks around what they
//! say; if taking the marks away gives the same text as before, the marks tell the truth. Marks are noncharacters, which
//! Unicode keeps for such use inside of programs, and stand inside of the spaces that templates like to trim.
//!
//! ```text
//!   message 1  "\n Hello "        marked  "\n ⟨1⟩Hello⟨/⟩ "
//! ```

use super::Turn;

const BEGIN: char = '\u{FDD0}';
const END: char = '\u{FDD1}';
/// The first of sixteen, which are the digits of a turn's index.
const DIGIT: u32 = 0xFDD2;

/// What a turn says in the rendered text, without spaces around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub turn: usize,
    pub bytes: std::ops::Range<usize>,
}

/// A turn's text with marks.
pub fn marked(turn: usize, text: &str) -> String {
    let core = text.trim();
    if core.is_empty() {
        return text.into();
    }
    let (before, after) = text.split_once(core).expect("a part of the text");
    let digits: String = format!("{turn:x}").chars().map(to_mark).collect();
    format!("{before}{BEGIN}{digits}{BEGIN}{core}{END}{after}")
}

/// The text without marks, and where they were; `None` if the template has torn them apart.
pub fn unmarked(text: &str) -> Option<(String, Vec<Place>)> {
    let mut plain = String::with_capacity(text.len());
    let mut places = vec![];
    let mut rest = text;
    while let Some((before, marked)) = rest.split_once(BEGIN) {
        let (digits, marked) = marked.split_once(BEGIN)?;
        let (core, after) = marked.split_once(END)?;
        let digits: Option<String> = digits.chars().map(from_mark).collect();
        plain += before;
        let start = plain.len();
        plain += core;
        places.push(Place { turn: usize::from_str_radix(&digits?, 16).ok()?, bytes: start..plain.len() });
        rest = after;
    }
    plain += rest;
    Some((plain, places))
}

/// Whether the turns have none of the marks themselves.
pub fn can_mark(turns: &[Turn]) -> bool {
    let is_mark = |char: char| ('\u{FDD0}'..='\u{FDEF}').contains(&char);
    !turns.iter().any(|turn| turn.text.text.contains(is_mark))
}

fn to_mark(digit: char) -> char {
    let digit = digit.to_digit(16).expect("printed so");
    char::from_u32(DIGIT + digit).expect("a noncharacter is a char")
}

fn from_mark(mark: char) -> Option<char> {
    char::from_digit((mark as u32).checked_sub(DIGIT)?, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_and_taken_away() {
        let text = format!("<{}|{}>", marked(0, " a\n"), marked(300, "bé"));
        let (plain, places) = unmarked(&text).unwrap();
        assert_eq!(plain, "< a\n|bé>");
        assert_eq!(places, [Place { turn: 0, bytes: 2..3 }, Place { turn: 300, bytes: 5..8 }]);
        assert_eq!(marked(1, " \n"), " \n");
    }

    #[test]
    fn marks_that_are_torn_tell_nothing() {
        let text = marked(7, "ab");
        assert_eq!(unmarked(&text.replace(END, "")), None);
        assert_eq!(unmarked(&text[..BEGIN.len_utf8()]), None);
    }
}
