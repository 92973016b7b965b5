//! `.file`, `.loc` and `.section .debug_str`: where in the CUDA source an instruction comes from.
//!
//! nvcc writes `.file` and the names of inlined functions at the end of the text, so that each `.loc` is kept as
//! numbers until then. PTX ISA: `#debugging-directives-loc`.

use super::{
    super::{
        ast::{ParseError, Source},
        demangle::bare_name,
        lex::{Kind, Token},
    },
    Parser,
};
use std::{collections::HashMap, sync::Arc};

/// Index in [`Sources::locations`].
pub(super) type LocationId = usize;
/// File number, line and column.
type Place = (u32, u32, u32);

/// More callers than this around inlined code are not told: a [`Source`] is dropped and shown recursively.
const MAX_CALLERS: u32 = 64;

/// A `.loc`.
struct Location<'t> {
    token: Token<'t>,
    place: Place,
    /// The inlined function, and the `.loc` it was inlined at.
    inlined: Option<(Call<'t>, LocationId)>,
    n_callers: u32,
}

/// `, function_name $L__info_string0+4, inlined_at 1 18 3`.
#[derive(Clone, Copy)]
struct Call<'t> {
    label: Token<'t>,
    addend: i64,
    at: Place,
}

/// What the debugging directives of a module say.
#[derive(Default)]
pub(super) struct Sources<'t> {
    files: HashMap<u32, &'t str>,
    locations: Vec<Location<'t>>,
    /// The most recent `.loc` of this function at each place, for `inlined_at`.
    recent: HashMap<Place, LocationId>,
    debug_str: Vec<u8>,
    /// Labels in `debug_str` and their offsets.
    labels: HashMap<&'t str, usize>,
}

impl<'t> Sources<'t> {
    /// An `inlined_at` does not look into the function before.
    pub fn start_function(&mut self) {
        self.recent.clear();
    }

    fn add(&mut self, location: Location<'t>) -> LocationId {
        let id = self.locations.len();
        self.recent.insert(location.place, id);
        self.locations.push(location);
        id
    }

    fn add_plain(&mut self, token: Token<'t>, place: Place) -> LocationId {
        self.add(Location { token, place, inlined: None, n_callers: 0 })
    }

    /// Where a function is inlined into itself, all levels of the recursion are at one place. When nvcc comes back to
    /// a level it repeats the `.loc` of that level, which is then among the callers: it must not add one more.
    fn add_inlined(&mut self, token: Token<'t>, place: Place, call: Call<'t>) -> LocationId {
        let at = self.recent.get(&call.at).copied();
        let caller = |&id: &LocationId| self.locations[id].inlined.map(|(_, at)| at);
        if let Some(id) = std::iter::successors(at, caller).find(|&id| self.is(id, place, call)) {
            self.recent.insert(place, id);
            return id;
        }
        let known = at.filter(|&id| self.locations[id].n_callers < MAX_CALLERS);
        let at = known.unwrap_or_else(|| self.add_plain(token, call.at));
        let n_callers = self.locations[at].n_callers + 1;
        self.add(Location { token, place, inlined: Some((call, at)), n_callers })
    }

    /// Whether the location is that of the same directive.
    fn is(&self, id: LocationId, place: Place, call: Call<'t>) -> bool {
        let Location { place: known_place, inlined, .. } = &self.locations[id];
        let is_call =
            |known: Call| (known.label.text, known.addend, known.at) == (call.label.text, call.addend, call.at);
        *known_place == place && inlined.is_some_and(|(known, _)| is_call(known))
    }
}

impl<'t> Parser<'t> {
    /// `.file 1 "path"`, optionally with a time stamp and a size.
    pub(super) fn file(&mut self) -> Result<(), ParseError> {
        self.advance()?;
        let number = self.count("a file number")?;
        let Kind::Quoted = self.token.kind else { return Err(self.expected("a path in quotes")) };
        let quoted = self.advance()?.text;
        self.sources.files.insert(number, &quoted[1..quoted.len() - 1]);
        while self.accept(",")? {
            self.unsigned("a time stamp or a size")?;
        }
        Ok(())
    }

    /// `.loc 1 4 73`, optionally with `, function_name label, inlined_at 1 18 3`.
    pub(super) fn loc(&mut self) -> Result<LocationId, ParseError> {
        let token = self.advance()?;
        let place = self.place()?;
        if !self.accept(",")? {
            return Ok(self.sources.add_plain(token, place));
        }
        let call = self.call()?;
        Ok(self.sources.add_inlined(token, place, call))
    }

    fn place(&mut self) -> Result<Place, ParseError> {
        Ok((self.count("a file number")?, self.count("a line")?, self.count("a column")?))
    }

    fn call(&mut self) -> Result<Call<'t>, ParseError> {
        self.expect("function_name")?;
        let label = self.word("a label of .debug_str")?;
        let addend = self.addend()?;
        self.expect(",")?;
        self.expect("inlined_at")?;
        Ok(Call { label, addend, at: self.place()? })
    }

    /// `.section .debug_str { $L__info_string0: .b8 95,90,0 }`. Other sections are skipped.
    pub(super) fn section(&mut self) -> Result<(), ParseError> {
        self.advance()?;
        let name = self.dot("a section's name")?;
        self.expect("{")?;
        while !self.at("}") {
            match self.token.kind {
                Kind::End => return Err(self.expected("`}` after the section")),
                Kind::Word if name.text == ".debug_str" => {
                    let label = self.advance()?.text;
                    self.expect(":")?;
                    self.sources.labels.insert(label, self.sources.debug_str.len());
                }
                Kind::Integer(byte) if name.text == ".debug_str" => {
                    self.advance()?;
                    self.sources.debug_str.push(byte as u8);
                }
                _ => drop(self.advance()?),
            }
        }
        self.expect("}")
    }

    /// Every `.loc` with its file's and functions' names.
    pub(super) fn resolve_sources(&self) -> Result<Vec<Arc<Source>>, ParseError> {
        let mut names = HashMap::new();
        let mut sources: Vec<Arc<Source>> = Vec::with_capacity(self.sources.locations.len());
        let mut paths: HashMap<u32, Arc<str>> = HashMap::new();
        for location in &self.sources.locations {
            let (number, line, column) = location.place;
            let Some(&path) = self.sources.files.get(&number) else {
                return Err(self.error(location.token, format!("expected `.file {number}` in this module, found none")));
            };
            let file = paths.entry(number).or_insert_with(|| path.into()).clone();
            let inlined = match location.inlined {
                None => None,
                Some((call, at)) => {
                    let offset = self.debug_str_offset(call)?;
                    let name = names.entry(offset).or_insert_with(|| self.function_name(offset)).clone();
                    Some((name, sources[at].clone()))
                }
            };
            sources.push(Arc::new(Source { file, line, column, inlined }));
        }
        Ok(sources)
    }

    fn debug_str_offset(&self, Call { label, addend, .. }: Call) -> Result<usize, ParseError> {
        let base = self.sources.labels.get(label.text);
        let offset = base.and_then(|base| base.checked_add_signed(isize::try_from(addend).ok()?));
        offset.filter(|&offset| offset < self.sources.debug_str.len()).ok_or_else(|| {
            self.lexer.error(label.start, label.line, format!("expected `{}` in .debug_str, found none", label.text))
        })
    }

    /// The zero-terminated name at `offset` of `.debug_str`.
    fn function_name(&self, offset: usize) -> Arc<str> {
        let bytes = &self.sources.debug_str[offset..];
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let mangled = String::from_utf8_lossy(&bytes[..end]);
        bare_name(&mangled).unwrap_or(&mangled).into()
    }
}
