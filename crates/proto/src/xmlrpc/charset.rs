//! The encoding of a document: its bytes become UTF-8, once, before anything is read.

use std::borrow::Cow;

use super::error::{DecodeError, Problem};

/// What each of the 256 bytes of an encoding stands for; `None`: nothing.
pub type ByteTable = [Option<char>; 256];

/// How far into a document an XML declaration may reach, in bytes.
const DECLARATION: usize = 1024;

/// The text of `document`: by its byte order mark, else by its XML declaration, else UTF-8 (XML 1.0, appendix F).
///
/// UTF-8, UTF-16, ISO-8859-1 and US-ASCII are known here. `table` is asked for any other name; it answers with an
/// encoding of one byte a character, whose ASCII half is ASCII, or `None`.
pub fn to_utf8(
    document: &[u8],
    table: impl FnOnce(&str) -> Option<Box<ByteTable>>,
) -> Result<Cow<'_, str>, DecodeError> {
    let refuse = |problem, at| Err(DecodeError::new(problem, document, at));
    let (wide, rest) = match document {
        [0xfe, 0xff, rest @ ..] => (Some(u16::from_be_bytes as fn([u8; 2]) -> u16), rest),
        [0xff, 0xfe, rest @ ..] => (Some(u16::from_le_bytes as fn([u8; 2]) -> u16), rest),
        [0, b'<', ..] => (Some(u16::from_be_bytes as fn([u8; 2]) -> u16), document),
        [b'<', 0, ..] => (Some(u16::from_le_bytes as fn([u8; 2]) -> u16), document),
        [0xef, 0xbb, 0xbf, rest @ ..] => (None, rest),
        _ => (None, document),
    };
    if let Some(unit) = wide {
        let (units, rest_of_unit) = rest.as_chunks::<2>();
        let text: Result<String, _> = char::decode_utf16(units.iter().map(|pair| unit(*pair))).collect();
        let Ok(text) = text else { return refuse(Problem::InvalidToken, 0) };
        if !rest_of_unit.is_empty() {
            return refuse(Problem::UnclosedToken, document.len());
        }
        let name = declared(text.as_bytes()).unwrap_or("UTF-16").to_ascii_uppercase();
        return match &*name {
            "UTF-16" | "UTF-16BE" | "UTF-16LE" => Ok(Cow::Owned(text)),
            "UTF-8" | "US-ASCII" | "ISO-8859-1" => refuse(Problem::WrongEncoding, 0),
            _ if table(&name).is_some() => refuse(Problem::WrongEncoding, 0),
            _ => refuse(Problem::UnknownEncoding, 0),
        };
    }
    let name = declared(rest).unwrap_or("UTF-8").to_ascii_uppercase();
    match &*name {
        "UTF-8" => {}
        "UTF-16" | "UTF-16BE" | "UTF-16LE" => return refuse(Problem::WrongEncoding, 0),
        "US-ASCII" => {
            if let Some(at) = rest.iter().position(|byte| !byte.is_ascii()) {
                return refuse(Problem::InvalidToken, at);
            }
        }
        "ISO-8859-1" => {
            if !rest.is_ascii() {
                return Ok(Cow::Owned(rest.iter().map(|&byte| char::from(byte)).collect()));
            }
        }
        _ => {
            let known = declared(rest).and_then(table);
            let Some(table) = known.filter(|table| is_like_ascii(table)) else {
                return refuse(Problem::UnknownEncoding, 0);
            };
            let mut text = String::with_capacity(rest.len() + rest.len() / 4);
            for (at, &byte) in rest.iter().enumerate() {
                let Some(character) = table[usize::from(byte)] else {
                    return refuse(Problem::InvalidToken, at);
                };
                text.push(character);
            }
            return Ok(Cow::Owned(text));
        }
    }
    match std::str::from_utf8(rest) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) => Err(DecodeError::new(Problem::InvalidToken, rest, error.valid_up_to())),
    }
}

fn is_like_ascii(table: &ByteTable) -> bool {
    (0..128_u8).all(|byte| table[usize::from(byte)] == Some(char::from(byte)))
}

/// `EncName` of XML 1.0, §4.3.3.
pub(super) fn is_encoding_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The name in `encoding="…"` of an XML declaration. That the declaration is well-formed is checked later.
fn declared(document: &[u8]) -> Option<&str> {
    let rest = document.strip_prefix(b"<?xml")?;
    let rest = &rest[..rest.len().min(DECLARATION)];
    let rest = &rest[..memchr::memmem::find(rest, b"?>")?];
    let rest = &rest[memchr::memmem::find(rest, b"encoding")? + 8..];
    let rest = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (quote, rest) = rest.split_first()?;
    let name = &rest[..memchr::memchr(*quote, rest)?];
    let name = std::str::from_utf8(name).ok()?;
    is_encoding_name(name).then_some(name)
}
