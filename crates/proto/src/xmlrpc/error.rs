//! Why a document was refused.

use std::fmt;

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// There is no root element.
    NoElement,
    /// Text before the root element.
    Syntax,
    /// It is not well-formed: a byte that cannot stand here, or no character of the encoding.
    InvalidToken,
    /// It ends inside of a tag, a comment or a reference.
    UnclosedToken,
    /// It ends before its elements do.
    UnclosedElement,
    /// An end tag that closes another element than the one that is open.
    MismatchedTag,
    /// An attribute that is given twice.
    DuplicateAttribute,
    /// Something behind the root element.
    JunkAfterDocument,
    /// A reference to an entity: without a DOCTYPE there are only `lt`, `gt`, `amp`, `apos` and `quot`.
    UndefinedEntity,
    /// A reference to a character that XML does not have.
    BadCharacterReference,
    /// An XML declaration that is not at the start.
    MisplacedDeclaration,
    /// An XML declaration that is none.
    BadDeclaration,
    /// The declared encoding is not known.
    UnknownEncoding,
    /// The declared encoding is not that of the document.
    WrongEncoding,
    /// A DOCTYPE. Entities are what it is good for, and what it is abused for.
    Doctype,
    /// More than the limits allow; which of them.
    Limit(&'static str),
    /// An element that XML-RPC does not have stands where a type is expected.
    UnknownTag(String),
    /// The document has neither parameters nor a fault nor a method's name.
    NotXmlRpc,
    /// A boolean other than 0 and 1.
    BadBoolean,
    /// A number that is none, or too large for its type.
    BadNumber,
    /// Base64 that is cut off.
    BadBase64,
    /// A struct with a name and no value.
    Unpaired,
    /// A struct whose name is not a string, or a fault that is no fault.
    BadStruct,
}

impl fmt::Display for Problem {
    /// In expat's words, where it has some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "syntax error",
            Self::InvalidToken => "not well-formed (invalid token)",
            Self::UnclosedToken => "unclosed token",
            Self::NoElement | Self::UnclosedElement => "no element found",
            Self::MismatchedTag => "mismatched tag",
            Self::DuplicateAttribute => "duplicate attribute",
            Self::JunkAfterDocument => "junk after document element",
            Self::UndefinedEntity => "undefined entity",
            Self::BadCharacterReference => "reference to invalid character number",
            Self::MisplacedDeclaration => "XML or text declaration not at start of entity",
            Self::BadDeclaration => "XML declaration not well-formed",
            Self::UnknownEncoding => "unknown encoding",
            Self::WrongEncoding => "encoding specified in XML declaration is incorrect",
            Self::Doctype => "a DOCTYPE is not accepted",
            Self::Limit(which) => return write!(f, "more {which} than allowed"),
            Self::UnknownTag(tag) => return write!(f, "unknown tag '{tag}'"),
            Self::NotXmlRpc => "neither a call nor a response",
            Self::BadBoolean => "bad boolean value",
            Self::BadNumber => "bad number",
            Self::BadBase64 => "bad base64",
            Self::Unpaired => "a member without a value",
            Self::BadStruct => "bad struct",
        })
    }
}

impl Problem {
    /// The number that expat has for the problem; `None` where the document is XML, and no XML-RPC.
    pub fn expat_code(&self) -> Option<u32> {
        Some(match self {
            Self::Syntax => 2,
            Self::NoElement | Self::UnclosedElement => 3,
            Self::InvalidToken => 4,
            Self::UnclosedToken => 5,
            Self::MismatchedTag => 7,
            Self::DuplicateAttribute => 8,
            Self::JunkAfterDocument => 9,
            Self::UndefinedEntity => 11,
            Self::BadCharacterReference => 14,
            Self::MisplacedDeclaration => 17,
            Self::UnknownEncoding => 18,
            Self::WrongEncoding => 19,
            Self::BadDeclaration => 30,
            // What expat answers when an application stops it, and when entities grow too large.
            Self::Doctype => 35,
            Self::Limit(_) => 43,
            Self::UnknownTag(_)
            | Self::NotXmlRpc
            | Self::BadBoolean
            | Self::BadNumber
            | Self::BadBase64
            | Self::Unpaired
            | Self::BadStruct => return None,
        })
    }
}

/// A problem, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub problem: Problem,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in bytes of UTF-8, counted from 0.
    pub column: usize,
}

impl DecodeError {
    /// `problem` at the byte `at` of `text`.
    pub(super) fn new(problem: Problem, text: &[u8], at: usize) -> Self {
        let before = &text[..at.min(text.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        Self { problem, line, column }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: line {}, column {}", self.problem, self.line, self.column)
    }
}

impl std::error::Error for DecodeError {}
