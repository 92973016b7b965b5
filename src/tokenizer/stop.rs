//! Stop strings in a stream of text: found across tokens, and no part of one ever given out.

/// Holds text back for as long as it may be the beginning of a stop string.
pub struct StopFilter {
    stops: Vec<String>,
    held: String,
}

impl StopFilter {
    /// None of `stops` may be empty: it would stop everything.
    pub fn new(stops: Vec<String>) -> Self {
        assert!(stops.iter().all(|stop| !stop.is_empty()), "a stop string says where to stop");
        Self { stops, held: String::new() }
    }

    /// Takes more text. Gives what can be shown, and whether a stop string came after it.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held += text;
        if let Some(start) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(start);
            return (std::mem::take(&mut self.held), true);
        }
        let rest = self.held.split_off(self.n_shown());
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, once no more text comes.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the first suffix starts that is the beginning of a stop string.
    fn n_shown(&self) -> usize {
        let may_become_stop = |&start: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[start..]));
        let starts = self.held.char_indices().map(|(start, _)| start);
        starts.into_iter().find(may_become_stop).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of the pieces, and whether it stopped.
    fn shown(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut filter = StopFilter::new(stops.iter().map(|it| it.to_string()).collect());
        let mut all = String::new();
        for piece in pieces {
            let (text, stopped) = filter.push(piece);
            all += &text;
            if stopped {
                return (all, true);
            }
        }
        (all + &filter.flush(), false)
    }

    #[test]
    fn a_stop_string_is_found_however_it_is_cut() {
        for text in ["one\n\nUser: two", "one\n\nUser:", "one\n\n\n\nUser:\n\nUser:"] {
            let cut: Vec<&str> = text.split_inclusive("").collect();
            let want = &text[..text.find("\n\nUser:").unwrap()];
            for pieces in [vec![text], cut, text.split_inclusive('\n').collect()] {
                assert_eq!(shown(&["\n\nUser:"], &pieces), (want.to_owned(), true), "{pieces:?}");
            }
        }
    }

    #[test]
    fn what_is_no_stop_string_comes_out_in_the_end() {
        assert_eq!(shown(&["abc"], &["xa", "b", "abd", "ab"]), ("xababdab".into(), false));
        assert_eq!(shown(&[], &["a", "b"]), ("ab".into(), false));
    }

    #[test]
    fn text_is_held_back_no_longer_than_needed() {
        let mut filter = StopFilter::new(vec!["ENDE".into()]);
        assert_eq!(filter.push("the E"), ("the ".into(), false));
        assert_eq!(filter.push("NDE"), (String::new(), true));
        assert_eq!(filter.push("EN"), (String::new(), false));
        assert_eq!(filter.push("EN"), ("EN".into(), false));
        assert_eq!(filter.push("é"), ("ENé".into(), false));
    }

    #[test]
    fn the_earliest_of_several_stops() {
        assert_eq!(shown(&["yy", "x"], &["aayyx"]), ("aa".into(), true));
        assert_eq!(shown(&["日本", "本"], &["a日", "本"]), ("a".into(), true));
    }
}
