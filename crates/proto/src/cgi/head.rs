//! The head of a script's answer (RFC 3875 §6), read as it comes.

use std::error::Error;
use std::fmt;

use crate::h1::phrase;
use crate::h1::syntax::{decimal, is_token, is_value, trim};

/// Who says what the answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// The script writes fields, of which `Status` and `Location` are for the server.
    #[default]
    Parsed,
    /// The script writes the whole answer, status line first ("non-parsed header", RFC 3875 §5).
    Nph,
}

/// Why the head of a script's answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadHead {
    /// It is larger than allowed.
    TooLarge,
    /// It has more than 100 fields.
    TooManyFields,
    /// There is not a single field in it.
    Empty,
    /// A line is not `Name: value`.
    Field,
    /// A value has a control character.
    Value,
    /// A status line where fields are expected: only `nph-` scripts write one.
    StatusLine,
    /// No status line, or not one of HTTP, where the script writes the whole answer.
    NoStatusLine,
    /// The status is not a number from 200 to 999.
    Status,
    /// `Status`, `Location` or `Content-Type` twice.
    Repeated,
    /// `Content-Length` is not a number, or there are two that differ.
    ContentLength,
    /// `Location` is no address.
    Location,
    /// A transfer coding other than `chunked`.
    Encoding,
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "its head is too large",
            Self::TooManyFields => "its head has more than 100 fields",
            Self::Empty => "its head has no field: Content-Type, Status or Location must be there",
            Self::Field => "a line of its head is not \"Name: value\"",
            Self::Value => "a value in its head has a control character",
            Self::StatusLine => {
                "it begins with a status line, which only scripts with a name in nph-… write: \
                 write \"Status: 200 OK\""
            }
            Self::NoStatusLine => {
                "it does not begin with a status line, as scripts with a name in nph-… must"
            }
            Self::Status => "its status is not a number from 200 to 999",
            Self::Repeated => "Status, Location or Content-Type is given twice",
            Self::ContentLength => "Content-Length is not a number, or is given twice",
            Self::Location => "Location is no address",
            Self::Encoding => "its transfer coding is not chunked",
        })
    }
}

impl Error for BadHead {}

/// Where an answer sends on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect<'a> {
    /// Nowhere.
    None,
    /// The server is to answer as if this path had been asked for, by GET (RFC 3875 §6.2.2). It begins with a slash,
    /// is as it would stand in a request, and may have a query.
    Local(&'a [u8]),
    /// The client is to go there (RFC 3875 §6.2.3, §6.2.4): the field is among those to be sent.
    Client(&'a [u8]),
}

/// From and to, within the bytes.
type Span = (usize, usize);

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    bytes: Vec<u8>,
    fields: Vec<(Span, Span)>,
    status: u16,
    reason: Option<Span>,
    location: Option<Span>,
    local: bool,
    content_length: Option<u64>,
    chunked: bool,
}

impl Head {
    /// The status: what the script says, 302 for a redirect without one, otherwise 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase: the script's, or the usual one.
    pub fn reason(&self) -> &[u8] {
        match self.reason {
            Some((from, to)) if from < to => &self.bytes[from..to],
            _ => phrase(self.status).as_bytes(),
        }
    }

    /// Names and trimmed values of the fields to be sent, in their order: all but `Status` and what says how the
    /// script's own output is framed (Content-Length beside chunks, Transfer-Encoding).
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|&((n, name_end), (v, value_end))| (&self.bytes[n..name_end], &self.bytes[v..value_end]))
    }

    /// Where it sends on to.
    pub fn redirect(&self) -> Redirect<'_> {
        match self.location {
            None => Redirect::None,
            Some((from, to)) if self.local => Redirect::Local(&self.bytes[from..to]),
            Some((from, to)) => Redirect::Client(&self.bytes[from..to]),
        }
    }

    /// The body's length, as the script says. It is among the fields too.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether the body is in chunks, as only a script that writes the whole answer may do it.
    pub fn is_chunked(&self) -> bool {
        self.chunked
    }
}

/// The most fields that a head may have.
const FIELDS: usize = 100;

/// Reads one head.
#[derive(Debug)]
pub struct HeadReader {
    form: Form,
    limit: usize,
    head: Head,
    /// Where the line begins that is being read.
    line: usize,
    first: bool,
    /// `Status` or a status line was there.
    has_status: bool,
    has_type: bool,
    /// Bytes of interim heads that were thrown away; they count.
    dropped: usize,
}

impl HeadReader {
    /// Reads a head of at most `limit` bytes.
    pub fn new(form: Form, limit: usize) -> Self {
        Self {
            form,
            limit,
            head: empty(),
            line: 0,
            first: true,
            has_status: false,
            has_type: false,
            dropped: 0,
        }
    }

    /// Takes what the script has written next. Once the head is whole: how much of `data` belongs to it, and the head;
    /// the reader begins anew then.
    pub fn feed(&mut self, data: &[u8]) -> Result<Option<(usize, Head)>, BadHead> {
        let mut at = 0;
        while at < data.len() {
            let end = memchr::memchr(b'\n', &data[at..]).map(|found| at + found + 1);
            let piece = &data[at..end.unwrap_or(data.len())];
            let room = self.limit.saturating_sub(self.dropped + self.head.bytes.len());
            if piece.len() > room {
                return Err(BadHead::TooLarge);
            }
            self.head.bytes.extend_from_slice(piece);
            at += piece.len();
            if end.is_some() && self.end_of_line()? {
                let head = std::mem::replace(&mut self.head, empty());
                *self = Self::new(self.form, self.limit);
                return Ok(Some((at, head)));
            }
        }
        Ok(None)
    }

    /// Whether nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.head.bytes.is_empty() && self.dropped == 0
    }

    /// Judges the line that has just ended. True: it was the last.
    fn end_of_line(&mut self) -> Result<bool, BadHead> {
        let bytes = &self.head.bytes;
        let start = std::mem::replace(&mut self.line, bytes.len());
        let mut end = bytes.len() - 1;
        if end > start && bytes[end - 1] == b'\r' {
            end -= 1;
        }
        let first = std::mem::replace(&mut self.first, false);
        if first && self.form == Form::Nph {
            self.status_line(start, end)?;
        } else if end > start {
            self.field(start, end)?;
        } else if self.form == Form::Nph && self.head.status < 200 {
            // An interim answer: the final one follows.
            self.dropped += self.head.bytes.len();
            self.head = empty();
            (self.line, self.first, self.has_status, self.has_type) = (0, true, false, false);
        } else {
            return self.settle().map(|()| true);
        }
        Ok(false)
    }

    /// `HTTP/1.1 200 OK`.
    fn status_line(&mut self, start: usize, end: usize) -> Result<(), BadHead> {
        let line = &self.head.bytes[start..end];
        let [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9', b' ', rest @ ..] = line else {
            return Err(BadHead::NoStatusLine);
        };
        self.has_status = true;
        self.set_status(end - rest.len(), end, 100)
    }

    /// Three digits, and perhaps a phrase.
    fn set_status(&mut self, start: usize, end: usize, least: u16) -> Result<(), BadHead> {
        let (status, phrase) = match &self.head.bytes[start..end] {
            [a, b, c] => ([*a, *b, *c], end),
            [a, b, c, b' ' | b'\t', ..] => ([*a, *b, *c], start + 4),
            _ => return Err(BadHead::Status),
        };
        let status = decimal(&status).ok_or(BadHead::Status)? as u16;
        // 101 would make it another protocol, which nobody here speaks.
        if status < least || status == 101 {
            return Err(BadHead::Status);
        }
        if !is_value(&self.head.bytes[phrase..end]) {
            return Err(BadHead::Value);
        }
        self.head.status = status;
        self.head.reason = Some((phrase, end));
        Ok(())
    }

    fn field(&mut self, start: usize, end: usize) -> Result<(), BadHead> {
        let line = &self.head.bytes[start..end];
        let Some(colon) = memchr::memchr(b':', line) else {
            let status_line = self.form == Form::Parsed && line.starts_with(b"HTTP/");
            return Err(if status_line { BadHead::StatusLine } else { BadHead::Field });
        };
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if !is_token(name) {
            return Err(BadHead::Field);
        }
        if !is_value(value) {
            return Err(BadHead::Value);
        }
        // An empty value stands at the end of its line.
        let blanks = line[colon + 1..].iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        let value_start = start + colon + 1 + blanks;
        let (name_span, value_span) = ((start, start + colon), (value_start, value_start + value.len()));
        if name.eq_ignore_ascii_case(b"status") && self.form == Form::Parsed {
            if std::mem::replace(&mut self.has_status, true) {
                return Err(BadHead::Repeated);
            }
            return self.set_status(value_span.0, value_span.1, 200);
        }
        if name.eq_ignore_ascii_case(b"location") {
            if self.head.location.replace(value_span).is_some() {
                return Err(BadHead::Repeated);
            }
            if value.is_empty() || !value.iter().all(|&byte| byte > b' ' && byte != 0x7f) {
                return Err(BadHead::Location);
            }
        } else if name.eq_ignore_ascii_case(b"content-type") {
            if std::mem::replace(&mut self.has_type, true) {
                return Err(BadHead::Repeated);
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value).ok_or(BadHead::ContentLength)?;
            match self.head.content_length.replace(length) {
                None => {}
                Some(before) if before == length => return Ok(()),
                Some(_) => return Err(BadHead::ContentLength),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // Of a script whose answer is framed by the server it is a leftover, and means nothing.
            if self.form == Form::Nph {
                if self.head.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadHead::Encoding);
                }
                self.head.chunked = true;
            }
            return Ok(());
        }
        if self.head.fields.len() >= FIELDS {
            return Err(BadHead::TooManyFields);
        }
        self.head.fields.push((name_span, value_span));
        Ok(())
    }

    /// What the fields mean together.
    fn settle(&mut self) -> Result<(), BadHead> {
        let head = &mut self.head;
        if head.fields.is_empty() && !self.has_status {
            return Err(BadHead::Empty);
        }
        if head.chunked && head.content_length.take().is_some() {
            let bytes = &head.bytes;
            head.fields.retain(|&((from, to), _)| !bytes[from..to].eq_ignore_ascii_case(b"content-length"));
        }
        if let Some((from, to)) = head.location
            && !self.has_status
        {
            head.status = 302;
            head.local = head.bytes[from] == b'/';
            if head.local && !head.bytes[from..to].is_ascii() {
                return Err(BadHead::Location);
            }
        }
        Ok(())
    }
}

fn empty() -> Head {
    Head {
        bytes: Vec::new(),
        fields: Vec::new(),
        status: 200,
        reason: None,
        location: None,
        local: false,
        content_length: None,
        chunked: false,
    }
}

#[cfg(test)]
mod tests;
