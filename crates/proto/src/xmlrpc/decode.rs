//! From XML to values: CPython's `Unmarshaller` as a machine that keeps no values itself.

use super::error::{DecodeError, Problem};
use super::limits::Limits;
use super::number::{plain_double, plain_integer};
use super::scan::{Scanner, Tag, Token};

/// Receives the values of a document, each when it is complete: an array after its items, a struct after its members.
///
/// Think of a stack. Every method but the last two puts one value on it. [`array`](Self::array) and
/// [`structure`](Self::structure) take what was put there since it had `first` values, and put one value in its place.
///
/// `*_text` methods are called for what is not in the plain notation of XML-RPC. What to make of it is the builder's
/// choice; Python's takes what `int()` and `float()` take.
pub trait Build {
    /// Why a document is refused: an error of the decoder, or one of the builder's own.
    type Error: From<DecodeError>;

    /// `<nil/>`
    fn nil(&mut self) -> Result<(), Self::Error>;
    /// `<boolean>`
    fn boolean(&mut self, value: bool) -> Result<(), Self::Error>;
    /// `<int>`, `<i4>`, `<i1>`, `<i2>`, `<i8>`, `<biginteger>`: the document's word on the size is not checked.
    fn integer(&mut self, value: i64) -> Result<(), Self::Error>;
    /// An integer of more than 18 digits, or none at all.
    fn integer_text(&mut self, text: &str) -> Result<(), Self::Error>;
    /// `<double>`, `<float>`
    fn double(&mut self, value: f64) -> Result<(), Self::Error>;
    /// A double that is none in plain notation.
    fn double_text(&mut self, text: &str) -> Result<(), Self::Error>;
    /// `<bigdecimal>`
    fn decimal(&mut self, text: &str) -> Result<(), Self::Error>;
    /// `<string>`, or a value without a type.
    fn string(&mut self, text: &str) -> Result<(), Self::Error>;
    /// The name of a struct's member. Its value follows.
    fn name(&mut self, text: &str) -> Result<(), Self::Error>;
    /// `<base64>`: its text; see [`base64`](super::base64).
    fn base64(&mut self, text: &str) -> Result<(), Self::Error>;
    /// `<dateTime.iso8601>`: its text.
    fn date_time(&mut self, text: &str) -> Result<(), Self::Error>;
    /// All values from the one numbered `first` on are the items of an array.
    fn array(&mut self, first: usize) -> Result<(), Self::Error>;
    /// All values from the one numbered `first` on are names and values of a struct, in turns; their number is even.
    fn structure(&mut self, first: usize) -> Result<(), Self::Error>;
}

/// What kind of document it was. As CPython's, the decoder goes by the last of the elements that tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has parameters: a call, or an answer, whose one parameter is the result.
    Params,
    /// It has a fault; the first value is its struct.
    Fault,
    /// It has a method's name and no parameters.
    MethodName,
}

/// What a document was, beside its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What kind of document it was.
    pub kind: Kind,
    /// The name of the method: for calls.
    pub method: Option<String>,
}

/// Text since the last start tag: as it stands in the document where it can be.
#[derive(Default)]
struct Text<'a> {
    slice: &'a str,
    /// In use when it is not empty.
    joined: String,
}

impl<'a> Text<'a> {
    fn clear(&mut self) {
        self.slice = "";
        self.joined.clear();
    }

    fn get(&self) -> &str {
        if self.joined.is_empty() { self.slice } else { &self.joined }
    }

    fn len(&self) -> usize {
        self.get().len()
    }

    fn push(&mut self, piece: &'a str) {
        if self.len() == 0 {
            self.slice = piece;
        } else {
            self.join();
            self.joined.push_str(piece);
        }
    }

    fn push_character(&mut self, character: char) {
        self.join();
        self.joined.push(character);
    }

    fn join(&mut self) {
        if self.joined.is_empty() {
            self.joined.push_str(self.slice);
        }
    }
}

/// Reads `text`, all of it, and tells `build` its values.
pub fn decode<B: Build>(text: &str, limits: &Limits, build: &mut B) -> Result<Outcome, B::Error> {
    let mut scanner = Scanner::new(text, limits)?;
    let mut data = Text::default();
    // Where the arrays and structs that are open begin, in values.
    let mut marks: Vec<usize> = Vec::new();
    let mut count = 0_usize;
    // The last thing that was said is that a value begins.
    let mut in_value = false;
    let (mut kind, mut method) = (None, None);
    loop {
        match scanner.next()? {
            Token::Text(piece) => data.push(piece),
            Token::Character(character) => data.push_character(character),
            Token::Start { tag, name } => {
                if matches!(tag, Tag::Array | Tag::Struct) {
                    if marks.len() >= limits.depth {
                        return Err(scanner.error(Problem::Limit("depth")).into());
                    }
                    marks.push(count);
                }
                data.clear();
                if in_value && tag == Tag::Other {
                    let name = name.rsplit(':').next().unwrap_or(name);
                    return Err(scanner.error(Problem::UnknownTag(name.chars().take(100).collect())).into());
                }
                in_value = tag == Tag::Value;
            }
            Token::End(tag) => {
                if data.len() > limits.string {
                    return Err(scanner.error(Problem::Limit("bytes in a string")).into());
                }
                let text = data.get();
                match tag {
                    Tag::Other => {}
                    Tag::Params => kind = Some(Kind::Params),
                    Tag::Fault => kind = Some(Kind::Fault),
                    Tag::MethodName => {
                        method = Some(text.to_owned());
                        kind = Some(Kind::MethodName);
                    }
                    Tag::Value if !in_value => {}
                    Tag::Array | Tag::Struct => {
                        // Every end has had its start.
                        let first = marks.pop().unwrap_or(0);
                        if tag == Tag::Array {
                            build.array(first)?;
                        } else if (count - first).is_multiple_of(2) {
                            build.structure(first)?;
                        } else {
                            return Err(scanner.error(Problem::Unpaired).into());
                        }
                        count = first + 1;
                        in_value = false;
                    }
                    _ => {
                        match tag {
                            Tag::Nil => build.nil()?,
                            Tag::Boolean => match text {
                                "0" => build.boolean(false)?,
                                "1" => build.boolean(true)?,
                                _ => return Err(scanner.error(Problem::BadBoolean).into()),
                            },
                            Tag::Integer => match plain_integer(text) {
                                Some(value) => build.integer(value)?,
                                None => build.integer_text(text)?,
                            },
                            Tag::Double => match plain_double(text) {
                                Some(value) => build.double(value)?,
                                None => build.double_text(text)?,
                            },
                            Tag::Decimal => build.decimal(text)?,
                            Tag::Name => build.name(text)?,
                            Tag::Base64 => build.base64(text)?,
                            Tag::DateTime => build.date_time(text)?,
                            _ => build.string(text)?,
                        }
                        count += 1;
                        in_value = false;
                    }
                }
            }
            Token::Done => break,
        }
    }
    match kind {
        Some(kind) => Ok(Outcome { kind, method }),
        None => Err(scanner.error(Problem::NotXmlRpc).into()),
    }
}
