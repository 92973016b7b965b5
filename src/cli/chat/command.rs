//! What a line asks for.

use anyhow::bail;

#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    Say(&'a str),
    Reset,
    /// `None` takes the system message away.
    System(Option<&'a str>),
    Save(&'a str),
    Help,
}

pub const HELP: &str = "\
/reset          forget the conversation, and keep the system message
/system [TEXT]  what the model is told before everything else; nothing without a text
/save FILE      write the conversation as JSON, for gale explain --chat
/help           this
Ctrl-C stops an answer, Ctrl-D ends. A message that begins with / is written with a space before it.";

impl<'a> Command<'a> {
    pub fn parse(line: &'a str) -> anyhow::Result<Self> {
        let Some(command) = line.strip_prefix('/') else {
            return Ok(Self::Say(line));
        };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = Some(rest.trim()).filter(|rest| !rest.is_empty());
        Ok(match (name, rest) {
            ("reset", None) => Self::Reset,
            ("help", None) => Self::Help,
            ("system", text) => Self::System(text),
            ("save", Some(path)) => Self::Save(path),
            ("save", None) => bail!("/save: expected the name of a file"),
            ("reset" | "help", Some(rest)) => bail!("/{name}: expected nothing after it, found {rest:?}"),
            _ => bail!("/{name}: no such command; /help shows them"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let parse = |line: &'static str| Command::parse(line).map_err(|error| error.to_string());
        assert_eq!(parse("Hello /reset"), Ok(Command::Say("Hello /reset")));
        assert_eq!(parse(" /reset"), Ok(Command::Say(" /reset")));
        assert_eq!(parse("/reset "), Ok(Command::Reset));
        assert_eq!(parse("/system  Be brief. "), Ok(Command::System(Some("Be brief."))));
        assert_eq!(parse("/system"), Ok(Command::System(None)));
        assert_eq!(parse("/save a b.json"), Ok(Command::Save("a b.json")));
        assert!(parse("/save").unwrap_err().contains("name of a file"));
        assert!(parse("/reset all").unwrap_err().contains("found \"all\""));
        assert!(parse("/quit").unwrap_err().contains("/quit: no such command"));
    }
}
