//! Reads the kernels' prototypes out of CUDA source text, so that each is written once, in the `.cu` file.
//!
//! It accepts the one form that kernels here have, and says what is allowed when it meets another:
//!
//! ```c
//! extern "C" __global__ __launch_bounds__(128) void scale(
//!     const bf16* __restrict__ x,  // [n]
//!     float* __restrict__ y, uint32_t n)
//! ```

/// One `extern "C" __global__` function.
#[derive(Debug, PartialEq)]
pub struct Prototype {
    pub name: String,
    /// Threads a block, from `__launch_bounds__`.
    pub block: u32,
    pub params: Vec<Param>,
}

/// One parameter of a kernel.
#[derive(Debug, PartialEq)]
pub struct Param {
    pub name: String,
    pub pass: Pass,
    /// The element's type, one of [`TYPES`]' first names.
    pub c_type: &'static str,
}

/// How a parameter is passed: `T`, `const T*` or `T*`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pass {
    Value,
    In,
    Out,
}

/// What stops the build, and where.
#[derive(Debug, PartialEq)]
pub struct Problem {
    pub line: usize,
    pub what: String,
}

/// Names of the types a kernel may take; those of one row mean the same.
const TYPES: [&[&str]; 8] = [
    &["bf16", "__nv_bfloat16"],
    &["f16", "half", "__half"],
    &["float"],
    &["float2"],
    &["uint32_t"],
    &["uint64_t"],
    &["int32_t"],
    &["uint8_t"],
];

/// Those of [`TYPES`] that may be passed by value.
const VALUES: [&str; 4] = ["uint32_t", "uint64_t", "int32_t", "float"];

const FORM: &str = "write `extern \"C\" __global__ __launch_bounds__(THREADS) void name(parameters)`, \
                    where THREADS is a number or a `constexpr` integer of this file";

/// All kernels of one `.cu` file, in order.
pub fn parse(source: &str) -> Result<Vec<Prototype>, Problem> {
    let tokens = tokens(source);
    let mut kernels = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at].text != "__global__" {
            continue;
        }
        if at < 2 || tokens[at - 1].text != "\"C\"" || tokens[at - 2].text != "extern" {
            return Err(tokens[at].problem(format!("a kernel without `extern \"C\"`: {FORM}")));
        }
        kernels.push(Parser { tokens: &tokens, at: at + 1 }.kernel()?);
    }
    Ok(kernels)
}

/// An identifier, a number, a string or one character of punctuation.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

impl Token<'_> {
    fn problem(&self, what: String) -> Problem {
        Problem { line: self.line, what }
    }
}

/// The source without white space and comments.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (text, after) = rest.split_at(length);
        if !first.is_whitespace() && !text.starts_with("//") && !text.starts_with("/*") {
            tokens.push(Token { text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads one prototype from just after `__global__`.
struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
}

impl<'a> Parser<'a> {
    fn kernel(mut self) -> Result<Prototype, Problem> {
        self.expect("__launch_bounds__")?;
        self.expect("(")?;
        let threads = self.next()?;
        let block = self.integer(threads)?;
        if self.next()?.text == "," {
            self.next()?; // the least number of blocks an SM, which only ptxas needs
            self.expect(")")?;
        }
        self.expect("void")?;
        let name = self.next()?;
        self.expect("(")?;
        let mut params = Vec::new();
        while params.is_empty() || self.tokens[self.at - 1].text != ")" {
            params.push(self.param(name.text)?);
        }
        Ok(Prototype { name: name.text.to_owned(), block, params })
    }

    /// One parameter and the `,` or `)` behind it.
    fn param(&mut self, kernel: &str) -> Result<Param, Problem> {
        let first = self.at;
        let mut words = Vec::new();
        loop {
            match self.next()?.text {
                "," | ")" => break,
                word => words.push(word),
            }
        }
        let unreadable = || self.tokens[first].problem(unreadable(kernel, &words));
        let (pass, c_type, name) = match words[..] {
            ["const", c_type, "*", "__restrict__", name] | ["const", c_type, "*", name] => (Pass::In, c_type, name),
            [c_type, "*", "__restrict__", name] | [c_type, "*", name] => (Pass::Out, c_type, name),
            [c_type, name] => (Pass::Value, c_type, name),
            _ => return Err(unreadable()),
        };
        let known = TYPES.iter().find(|names| names.contains(&c_type)).map(|names| names[0]);
        match known {
            Some(c_type) if pass != Pass::Value || VALUES.contains(&c_type) => {
                Ok(Param { name: name.to_owned(), pass, c_type })
            }
            _ => Err(unreadable()),
        }
    }

    /// A number, or the name of a `constexpr` integer of this file.
    fn integer(&self, token: Token) -> Result<u32, Problem> {
        let defined = self.tokens.windows(6).find_map(|it| match it {
            [a, _, name, eq, value, end]
                if a.text == "constexpr" && name.text == token.text && eq.text == "=" && end.text == ";" =>
            {
                value.text.parse().ok()
            }
            _ => None,
        });
        token.text.parse().ok().or(defined).ok_or_else(|| token.problem(format!("`{}`: {FORM}", token.text)))
    }

    fn expect(&mut self, text: &str) -> Result<(), Problem> {
        let token = self.next()?;
        if token.text == text {
            return Ok(());
        }
        Err(token.problem(format!("expected `{text}`, found `{}`: {FORM}", token.text)))
    }

    fn next(&mut self) -> Result<Token<'a>, Problem> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token.ok_or_else(|| Problem {
            line: self.tokens.last().map_or(1, |it| it.line),
            what: format!("the file ends inside a prototype: {FORM}"),
        })
    }
}

fn unreadable(kernel: &str, words: &[&str]) -> String {
    let types = TYPES.map(|names| names[0]).join(", ");
    format!(
        "{kernel}: cannot read parameter `{}`: write `const T* __restrict__ name`, `T* __restrict__ name` or `T name`; \
         T is one of {types}, and by value one of {}",
        words.join(" "),
        VALUES.join(", ")
    )
}
