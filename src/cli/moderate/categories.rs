//! What the model is asked, and what it can answer.

use std::path::Path;

use gale::error::Error;

/// The category of what belongs to none.
pub const NOT_MODERATED: &str = "not moderated";
const BUILT_IN: &str = include_str!("prompt.txt");
const PLACE: &str = "{text}";

pub struct Question {
    /// With [`PLACE`] where the text goes.
    template: String,
    /// The names, in order; one of them is [`NOT_MODERATED`].
    pub categories: Vec<String>,
}

impl Question {
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("it names categories")
    }

    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::Read { path: path.into(), reason: error.to_string() })?;
        Self::parse(&text).map_err(|problem| Error::Malformed { path: path.into(), problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut template = text.trim().to_owned();
        if !template.contains(PLACE) {
            template += "\n\n";
            template += PLACE;
        }
        let mut categories: Vec<String> = vec![];
        let named = template.lines().filter_map(|line| Some(line.strip_prefix("- ")?.split_once(':')?.0.trim()));
        for name in named.filter(|name| !name.is_empty()) {
            if categories.iter().any(|other| other == name) {
                return Err(format!("expected each category once, found {name:?} twice"));
            }
            categories.push(name.into());
        }
        if categories.iter().all(|name| name == NOT_MODERATED) {
            return Err("expected a line `- NAME: DESCRIPTION` for each category, found none".into());
        }
        if !categories.iter().any(|name| name == NOT_MODERATED) {
            categories.push(NOT_MODERATED.into());
        }
        // The likelihood of the shorter would hold that of the longer.
        let begins = |a: &&String| categories.iter().any(|b| b != *a && b.starts_with(a.as_str()));
        if let Some(name) = categories.iter().find(begins) {
            return Err(format!("expected no category to begin with the name of another, as one does with {name:?}"));
        }
        Ok(Self { template, categories })
    }

    /// The question about this text.
    pub fn about(&self, text: &str) -> String {
        self.template.replace(PLACE, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_categories() {
        let question = Question::built_in();
        assert_eq!((question.categories.len(), question.categories.last().unwrap().as_str()), (14, NOT_MODERATED));
        assert!(question.about("{text} x").ends_with("\n\n{text} x"));
    }

    #[test]
    fn categories_are_the_names_of_a_list() {
        let question = Question::parse("Which?\n- a b: what: ever\n- not moderated: fine\nno - c: d\n").unwrap();
        assert_eq!(question.categories, ["a b", NOT_MODERATED]);
        assert!(question.about("T").ends_with("no - c: d\n\nT"));
        assert!(Question::parse("Which?").err().unwrap().contains("found none"));
        assert!(Question::parse("- law: b\n- lawless: c").err().unwrap().contains("\"law\""));
        assert!(Question::parse("- a: b\n- a: c").err().unwrap().contains("\"a\" twice"));
    }
}
