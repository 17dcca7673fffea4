//! The XML beneath: a document becomes start tags, end tags and text.
//!
//! Well-formedness is checked as expat checks it, but for what a DOCTYPE would bring, which is refused. Names are not
//! copied; text is handed out in the pieces in which it stands.

use super::charset::is_encoding_name;
use super::error::{DecodeError, Problem};
use super::limits::Limits;

/// How many attributes a tag may have. XML-RPC has none; a root may declare name spaces.
const ATTRIBUTES: usize = 64;

/// An element that means something to XML-RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Nil,
    Boolean,
    Integer,
    Double,
    Decimal,
    String,
    Name,
    Array,
    Struct,
    Base64,
    DateTime,
    Value,
    Params,
    Fault,
    MethodName,
    /// Any other: `param`, `member` and `data` among them.
    Other,
}

impl Tag {
    /// A prefix, such as that of Apache's `ex:nil`, is not looked at.
    fn of(name: &str) -> Self {
        match Self::plain(name.as_bytes()) {
            Self::Other => match memchr::memrchr(b':', name.as_bytes()) {
                Some(colon) => Self::plain(&name.as_bytes()[colon + 1..]),
                None => Self::Other,
            },
            tag => tag,
        }
    }

    /// On bytes: the compiler then makes a tree of comparisons, where text is compared name by name.
    fn plain(name: &[u8]) -> Self {
        match name {
            b"value" => Self::Value,
            b"name" => Self::Name,
            b"string" => Self::String,
            b"int" | b"i4" | b"i8" | b"i1" | b"i2" | b"biginteger" => Self::Integer,
            b"double" | b"float" => Self::Double,
            b"boolean" => Self::Boolean,
            b"struct" => Self::Struct,
            b"array" => Self::Array,
            b"nil" => Self::Nil,
            b"dateTime.iso8601" => Self::DateTime,
            b"base64" => Self::Base64,
            b"bigdecimal" => Self::Decimal,
            b"params" => Self::Params,
            b"fault" => Self::Fault,
            b"methodName" => Self::MethodName,
            _ => Self::Other,
        }
    }
}

/// A piece of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Start {
        tag: Tag,
        name: &'a str,
    },
    End(Tag),
    Text(&'a str),
    /// A character that was written as a reference.
    Character(char),
    /// The document is complete.
    Done,
}

#[derive(Debug)]
struct Open<'a> {
    name: &'a str,
    tag: Tag,
}

/// Reads a document from its first character to its last.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open<'a>>,
    /// An empty element, `<nil/>`, whose end is still to be told.
    empty: bool,
    /// What of a CDATA section is still to be told.
    data: &'a str,
    seen_root: bool,
    deepest: usize,
    elements_left: usize,
}

// What a byte is in text.
const PLAIN: u8 = 0;
/// `<`, `&` and the carriage return: text goes on otherwise behind them.
const STOP: u8 = 1;
/// `]`, which `]>` may follow, and the first byte of U+FFFE and U+FFFF.
const LOOK: u8 = 2;
const FORBIDDEN: u8 = 3;

const IN_TEXT: [u8; 256] = {
    let mut class = [PLAIN; 256];
    let mut byte = 0;
    while byte < 0x20 {
        class[byte] = FORBIDDEN;
        byte += 1;
    }
    class[b'\t' as usize] = PLAIN;
    class[b'\n' as usize] = PLAIN;
    class[b'\r' as usize] = STOP;
    class[b'<' as usize] = STOP;
    class[b'&' as usize] = STOP;
    class[b']' as usize] = LOOK;
    class[0xef] = LOOK;
    class
};

const fn is_ascii_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.')
}

/// Beyond ASCII: `NameStartChar` and `NameChar` of XML 1.0 (fifth edition), §2.3.
fn is_wide_name(character: char, first: bool) -> bool {
    let start = matches!(character,
        '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}'
        | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
        | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}');
    start || !first && matches!(character, '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

type Scanned<T> = Result<T, DecodeError>;

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, limits: &Limits) -> Scanned<Self> {
        let mut scanner = Self {
            text,
            at: 0,
            open: Vec::with_capacity(16),
            empty: false,
            data: "",
            seen_root: false,
            // A value in a struct is three elements deep, and so is one in an array; the rest is what is around.
            deepest: limits.depth.saturating_mul(3).saturating_add(16),
            elements_left: limits.elements,
        };
        if text.len() > limits.body {
            return Err(scanner.error(Problem::Limit("bytes")));
        }
        if text.starts_with("<?xml") && scanner.byte(5).is_none_or(is_space) {
            scanner.declaration()?;
        }
        Ok(scanner)
    }

    pub(super) fn error(&self, problem: Problem) -> DecodeError {
        DecodeError::new(problem, self.text.as_bytes(), self.at)
    }

    fn refuse<T>(&self, problem: Problem) -> Scanned<T> {
        Err(self.error(problem))
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// A byte that cannot stand here, or the end of the document where more was to come.
    fn unexpected<T>(&self) -> Scanned<T> {
        self.refuse(if self.at >= self.text.len() { Problem::UnclosedToken } else { Problem::InvalidToken })
    }

    pub(super) fn next(&mut self) -> Scanned<Token<'a>> {
        if self.empty {
            self.empty = false;
            return Ok(self.close());
        }
        if !self.data.is_empty() {
            return Ok(Token::Text(self.piece_of_data()));
        }
        loop {
            match self.byte(0) {
                Some(b'<') => {
                    if let Some(token) = self.markup()? {
                        return Ok(token);
                    }
                }
                Some(byte) if self.open.is_empty() => {
                    if !is_space(byte) {
                        let outside =
                            if self.seen_root { Problem::JunkAfterDocument } else { Problem::Syntax };
                        return self.refuse(outside);
                    }
                    self.at += 1;
                }
                Some(b'&') => return self.reference().map(Token::Character),
                Some(b'\r') => {
                    // XML 1.0, §2.11: every end of a line is read as a newline.
                    self.at += if self.byte(1) == Some(b'\n') { 2 } else { 1 };
                    return Ok(Token::Text("\n"));
                }
                Some(_) => return self.text().map(Token::Text),
                None if !self.open.is_empty() => return self.refuse(Problem::UnclosedElement),
                None if !self.seen_root => return self.refuse(Problem::NoElement),
                None => return Ok(Token::Done),
            }
        }
    }

    fn text(&mut self) -> Scanned<&'a str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match IN_TEXT[usize::from(byte)] {
                PLAIN => self.at += 1,
                STOP => break,
                LOOK => {
                    let rest = self.rest();
                    let bad = [b"]]>".as_slice(), "\u{fffe}".as_bytes(), "\u{ffff}".as_bytes()];
                    if bad.iter().any(|bad| rest.starts_with(bad)) {
                        return self.unexpected();
                    }
                    self.at += 1;
                }
                _ => return self.unexpected(),
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// `&lt;`, `&#65;`, `&#x41;`.
    fn reference(&mut self) -> Scanned<char> {
        let rest = self.rest();
        let known: [(&[u8], char); 5] =
            [(b"&lt;", '<'), (b"&gt;", '>'), (b"&amp;", '&'), (b"&quot;", '"'), (b"&apos;", '\'')];
        for (written, character) in known {
            if rest.starts_with(written) {
                self.at += written.len();
                return Ok(character);
            }
        }
        if let Some(digits) = rest.strip_prefix(b"&#") {
            return self.numbered(digits);
        }
        self.at += 1;
        self.name()?;
        if self.byte(0) == Some(b';') { self.refuse(Problem::UndefinedEntity) } else { self.unexpected() }
    }

    fn numbered(&mut self, digits: &[u8]) -> Scanned<char> {
        let (digits, radix, before) = match digits {
            [b'x', digits @ ..] => (digits, 16, 3),
            digits => (digits, 10, 2),
        };
        let mut number = 0_u32;
        for (count, &byte) in digits.iter().enumerate() {
            if byte == b';' && count > 0 {
                let character = char::from_u32(number)
                    .filter(|&character| character >= ' ' || matches!(character, '\t' | '\n' | '\r'))
                    .filter(|&character| !matches!(character, '\u{fffe}' | '\u{ffff}'));
                let Some(character) = character else { return self.refuse(Problem::BadCharacterReference) };
                self.at += before + count + 1;
                return Ok(character);
            }
            let Some(digit) = char::from(byte).to_digit(radix) else {
                self.at += before + count;
                return self.unexpected();
            };
            // Too large stays too large.
            number = number.saturating_mul(radix).saturating_add(digit).min(0x11_0000);
        }
        self.at = self.text.len();
        self.unexpected()
    }

    fn name(&mut self) -> Scanned<&'a str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if is_ascii_name(byte) {
                self.at += 1;
            } else if byte.is_ascii() {
                break;
            } else {
                let Some(character) = self.text[self.at..].chars().next() else { break };
                if !is_wide_name(character, self.at == start) {
                    break;
                }
                self.at += character.len_utf8();
            }
        }
        match bytes.get(start) {
            Some(b'-' | b'.' | b'0'..=b'9') => {
                self.at = start;
                self.unexpected()
            }
            _ if self.at == start => self.unexpected(),
            _ => Ok(&self.text[start..self.at]),
        }
    }

    fn skip_spaces(&mut self) -> bool {
        let start = self.at;
        while self.byte(0).is_some_and(is_space) {
            self.at += 1;
        }
        self.at > start
    }

    /// What begins with `<`; `None` for what says nothing.
    fn markup(&mut self) -> Scanned<Option<Token<'a>>> {
        match self.byte(1) {
            Some(b'/') => self.end_tag().map(Some),
            Some(b'?') => self.instruction().map(|()| None),
            Some(b'!') => {
                let rest = self.rest();
                if rest.starts_with(b"<!--") {
                    return self.comment().map(|()| None);
                }
                if rest.starts_with(b"<![CDATA[") && !self.open.is_empty() {
                    return self.character_data().map(Some);
                }
                if rest.starts_with(b"<!DOCTYPE") {
                    return self.refuse(Problem::Doctype);
                }
                self.refuse(Problem::InvalidToken)
            }
            Some(_) if self.seen_root && self.open.is_empty() => self.refuse(Problem::JunkAfterDocument),
            _ => self.start_tag().map(Some),
        }
    }

    fn start_tag(&mut self) -> Scanned<Token<'a>> {
        self.at += 1;
        let name = self.name()?;
        if self.byte(0) != Some(b'>') {
            self.attributes()?;
        }
        match (self.byte(0), self.byte(1)) {
            (Some(b'>'), _) => self.at += 1,
            (Some(b'/'), Some(b'>')) => {
                self.at += 2;
                self.empty = true;
            }
            (Some(b'/'), None) => return self.refuse(Problem::UnclosedToken),
            _ => return self.unexpected(),
        }
        if self.open.len() >= self.deepest {
            return self.refuse(Problem::Limit("depth"));
        }
        let Some(left) = self.elements_left.checked_sub(1) else {
            return self.refuse(Problem::Limit("elements"));
        };
        self.elements_left = left;
        self.seen_root = true;
        let tag = Tag::of(name);
        self.open.push(Open { name, tag });
        Ok(Token::Start { tag, name })
    }

    /// Attributes mean nothing, and are checked all the same.
    fn attributes(&mut self) -> Scanned<()> {
        let mut names: Vec<&str> = Vec::new();
        loop {
            let apart = self.skip_spaces();
            match self.byte(0) {
                Some(b'>' | b'/') => return Ok(()),
                Some(_) if apart => {}
                _ => return self.unexpected(),
            }
            let name = self.name()?;
            if names.contains(&name) {
                return self.refuse(Problem::DuplicateAttribute);
            }
            if names.len() >= ATTRIBUTES {
                return self.refuse(Problem::Limit("attributes"));
            }
            names.push(name);
            self.skip_spaces();
            if self.byte(0) != Some(b'=') {
                return self.unexpected();
            }
            self.at += 1;
            self.skip_spaces();
            let Some(quote @ (b'"' | b'\'')) = self.byte(0) else { return self.unexpected() };
            self.at += 1;
            self.attribute_value(quote)?;
        }
    }

    fn attribute_value(&mut self, quote: u8) -> Scanned<()> {
        loop {
            match self.byte(0) {
                Some(byte) if byte == quote => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'&') => drop(self.reference()?),
                // Here a bracket is a character like any other.
                Some(b'\r' | b']') => self.at += 1,
                Some(byte) => match IN_TEXT[usize::from(byte)] {
                    PLAIN => self.at += 1,
                    LOOK if !self.is_no_character() => self.at += 1,
                    _ => return self.unexpected(),
                },
                None => return self.unexpected(),
            }
        }
    }

    fn is_no_character(&self) -> bool {
        let rest = self.rest();
        rest.starts_with("\u{fffe}".as_bytes()) || rest.starts_with("\u{ffff}".as_bytes())
    }

    fn end_tag(&mut self) -> Scanned<Token<'a>> {
        // Nearly always it is the tag that is open, and nothing more.
        if let Some(open) = self.open.last()
            && let Some(behind) = self.rest()[2..].strip_prefix(open.name.as_bytes())
            && behind.first() == Some(&b'>')
        {
            self.at += open.name.len() + 3;
            return Ok(self.close());
        }
        let start = self.at;
        self.at += 2;
        let name = self.name()?;
        self.skip_spaces();
        if self.byte(0) != Some(b'>') {
            return self.unexpected();
        }
        match self.open.last() {
            Some(open) if open.name == name => {
                self.at += 1;
                Ok(self.close())
            }
            open => {
                let problem = if open.is_some() { Problem::MismatchedTag } else { Problem::InvalidToken };
                self.at = start;
                self.refuse(if self.seen_root && self.open.is_empty() {
                    Problem::JunkAfterDocument
                } else {
                    problem
                })
            }
        }
    }

    fn close(&mut self) -> Token<'a> {
        // Only called where an element is open.
        Token::End(self.open.pop().map_or(Tag::Other, |open| open.tag))
    }

    /// Skips to behind `end`, and checks that there are characters only. What is in between.
    fn until(&mut self, end: &[u8]) -> Scanned<&'a str> {
        let start = self.at;
        let Some(length) = memchr::memmem::find(self.rest(), end) else {
            self.at = self.text.len();
            return self.refuse(Problem::UnclosedToken);
        };
        for at in start..start + length {
            self.at = at;
            let byte = self.text.as_bytes()[at];
            if IN_TEXT[usize::from(byte)] == FORBIDDEN || byte == 0xef && self.is_no_character() {
                return self.unexpected();
            }
        }
        self.at = start + length + end.len();
        Ok(&self.text[start..start + length])
    }

    fn comment(&mut self) -> Scanned<()> {
        self.at += 4;
        self.until(b"--")?;
        if self.byte(0) != Some(b'>') {
            return self.unexpected();
        }
        self.at += 1;
        Ok(())
    }

    fn character_data(&mut self) -> Scanned<Token<'a>> {
        self.at += 9;
        self.data = self.until(b"]]>")?;
        Ok(Token::Text(self.piece_of_data()))
    }

    /// The next piece of a CDATA section: up to the end of a line, which becomes a newline.
    fn piece_of_data(&mut self) -> &'a str {
        let data = self.data;
        if let Some(behind) = data.strip_prefix('\r') {
            self.data = behind.strip_prefix('\n').unwrap_or(behind);
            return "\n";
        }
        let (piece, rest) = data.split_at(memchr::memchr(b'\r', data.as_bytes()).unwrap_or(data.len()));
        self.data = rest;
        piece
    }

    fn instruction(&mut self) -> Scanned<()> {
        let start = self.at;
        self.at += 2;
        let target = self.name()?;
        if target == "xml" {
            self.at = start;
            return self.refuse(Problem::MisplacedDeclaration);
        }
        if target.eq_ignore_ascii_case("xml") {
            return self.unexpected();
        }
        if !self.rest().starts_with(b"?>") && !self.skip_spaces() {
            return self.unexpected();
        }
        self.until(b"?>").map(drop)
    }

    /// `<?xml version="1.0" encoding="…" standalone="…"?>` (XML 1.0, §2.8).
    fn declaration(&mut self) -> Scanned<()> {
        self.at = 5;
        let mut expected = ["version", "encoding", "standalone"].as_slice();
        loop {
            let apart = self.skip_spaces();
            if self.rest().starts_with(b"?>") {
                self.at += 2;
                // The version must be there.
                return if expected.len() < 3 { Ok(()) } else { self.refuse(Problem::BadDeclaration) };
            }
            let Ok(name) = self.name() else { return self.refuse(Problem::BadDeclaration) };
            let Some(which) = expected.iter().position(|known| *known == name) else {
                return self.refuse(Problem::BadDeclaration);
            };
            if !apart || expected.len() == 3 && which > 0 {
                return self.refuse(Problem::BadDeclaration);
            }
            expected = &expected[which + 1..];
            let Some(value) = self.declared() else { return self.refuse(Problem::BadDeclaration) };
            let good = match name {
                "standalone" => matches!(value, "yes" | "no"),
                "encoding" => is_encoding_name(value),
                _ => value.bytes().all(is_ascii_name),
            };
            if !good {
                return self.refuse(Problem::BadDeclaration);
            }
        }
    }

    /// `= "value"` of the declaration.
    fn declared(&mut self) -> Option<&'a str> {
        self.skip_spaces();
        if self.byte(0) != Some(b'=') {
            return None;
        }
        self.at += 1;
        self.skip_spaces();
        let quote = self.byte(0).filter(|byte| matches!(byte, b'"' | b'\''))?;
        let start = self.at + 1;
        let length = memchr::memchr(quote, &self.text.as_bytes()[start..])?;
        self.at = start + length + 1;
        Some(&self.text[start..start + length])
    }
}
