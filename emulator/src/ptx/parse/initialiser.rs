//! `= {1, 2, generic(table)+8}`: the initial bytes of a variable.

use super::{
    super::{ast::ParseError, lex::Kind},
    Parser,
    types::{Type, array_bytes},
};

/// A bound on the memory that a short text with a large array can ask for. Initialised device data that is larger
/// does not come out of a compiler: it would be several times larger as text.
const MAX_PADDING: u64 = 1 << 28;

/// Initial bytes, and the addresses among them as in [`super::super::ast::Variable::relocations`].
type Initialiser = (Vec<u8>, Vec<(u64, String, i64)>);

impl Parser<'_> {
    /// What follows `=`. Where there are fewer values than elements, the rest is zero; an open size becomes known.
    pub(super) fn initialiser(&mut self, element: Type, dimensions: &mut [u64]) -> Result<Initialiser, ParseError> {
        let mut values = Initialiser::default();
        if dimensions.is_empty() {
            self.value(element, &mut values)?;
            return Ok(values);
        }
        self.values(element, dimensions, &mut values)?;
        if dimensions[0] == 0 {
            let row_bytes = array_bytes(element, &dimensions[1..]);
            dimensions[0] = (values.0.len() as u64).div_ceil(row_bytes);
        }
        self.pad(&mut values, array_bytes(element, dimensions))?;
        Ok(values)
    }

    /// `{ }` around values or, if there are several dimensions, around the braces of rows.
    fn values(&mut self, element: Type, dimensions: &[u64], values: &mut Initialiser) -> Result<(), ParseError> {
        self.expect("{")?;
        while !self.at("}") {
            if self.at("{") && dimensions.len() > 1 {
                let row_end = values.0.len() as u64 + array_bytes(element, &dimensions[1..]);
                self.values(element, &dimensions[1..], values)?;
                self.pad(values, row_end)?;
            } else {
                self.value(element, values)?;
            }
            if !self.accept(",")? {
                break;
            }
        }
        self.expect("}")
    }

    /// Zeros up to `length` bytes.
    fn pad(&mut self, (init, _): &mut Initialiser, length: u64) -> Result<(), ParseError> {
        let Some(padding) = length.checked_sub(init.len() as u64) else {
            return Err(
                self.error(self.token, format!("expected at most {length} bytes of values, found {}", init.len()))
            );
        };
        self.padding += padding;
        if self.padding > MAX_PADDING {
            return Err(self.error(self.token, format!("expected at most {MAX_PADDING} bytes of initialised arrays")));
        }
        init.resize(length as usize, 0);
        Ok(())
    }

    fn value(&mut self, element: Type, (init, relocations): &mut Initialiser) -> Result<(), ParseError> {
        if self.token.kind == Kind::Word {
            if element.bytes != 8 {
                return Err(self.expected("a number: only elements of 64 bits hold an address"));
            }
            relocations.push((init.len() as u64, self.relocated_name()?, self.addend()?));
            init.extend([0; 8]);
            return Ok(());
        }
        let negative = self.accept("-")?;
        let bits = literal_bits(negative, self.token.kind, element);
        let Some(bits) = bits else {
            let kind = if element.is_float { "a float" } else { "an integer" };
            return Err(self.expected(format_args!("{kind} of {} bits", 8 * element.bytes)));
        };
        self.advance()?;
        init.extend(&bits.to_le_bytes()[..element.bytes as usize]);
        Ok(())
    }

    /// `name` or `generic(name)`.
    fn relocated_name(&mut self) -> Result<String, ParseError> {
        let is_generic = self.accept("generic")?;
        if is_generic {
            self.expect("(")?;
        }
        let name = self.word("a variable or function")?;
        self.relocated.push(name);
        if !is_generic {
            return Ok(name.text.to_owned());
        }
        self.expect(")")?;
        Ok(format!("generic({})", name.text))
    }
}

/// The bits of a literal as an element, if it fits.
fn literal_bits(negative: bool, literal: Kind, Type { bytes, is_float, .. }: Type) -> Option<i128> {
    let sign = i128::from(negative) << (8 * bytes - 1);
    Some(match (literal, bytes) {
        (Kind::Integer(magnitude), _) if !is_float => {
            let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
            let fits = bytes == 16 || (-1 << (8 * bytes - 1)..1 << (8 * bytes)).contains(&value);
            return fits.then_some(value);
        }
        (Kind::Float32(bits), 4) => i128::from(bits) ^ sign,
        (Kind::Float64(bits), 8) => i128::from(bits) ^ sign,
        (Kind::Float64(bits), 4) if is_float => i128::from((f64::from_bits(bits) as f32).to_bits()) ^ sign,
        (Kind::Float32(bits), 8) if is_float => i128::from(f64::from(f32::from_bits(bits)).to_bits()) ^ sign,
        _ => return None,
    })
}
