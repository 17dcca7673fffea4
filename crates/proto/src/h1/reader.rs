//! The requests of a connection, one after the other.

use std::mem::MaybeUninit;

use super::chunked::Chunked;
use super::head::{BodyLength, Parts, RequestHead, Version};
use super::limits::HeadLimits;
use super::refusal::Refusal;
use super::scan::Scanner;

/// Fields for which there is room on the stack. More only cost an allocation.
const STACK_FIELDS: usize = 104;

/// What stands at the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing that is whole yet. Keep what is not consumed, and call again with more behind it.
    Incomplete,
    /// A request head, now in the `RequestHead` that was passed.
    Head,
    /// Bytes of the body: `input[start..start + len]`, which are among those consumed.
    Body {
        /// Where they begin in the input.
        start: usize,
        /// How many there are; at least one.
        len: usize,
    },
    /// The request is complete. The next one is read after [`RequestReader::next_request`].
    End,
}

/// What a reader is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between requests: no byte of the next one was seen.
    Idle,
    /// Within a request head.
    Head,
    /// Between the head and the end of the body.
    Body,
    /// After the end of a request, before `next_request`.
    End,
    /// After a refusal. There is no way on.
    Refused,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// Bytes of the body that have not come yet.
    Length(u64),
    Chunked(Chunked),
    End,
    Refused(Refusal),
}

/// Finds requests in what a connection receives. One a connection; it holds no bytes of the stream.
#[derive(Debug, Default)]
pub struct RequestReader {
    state: State,
    scanner: Scanner,
    /// Whether the one empty line that may precede a request line has been skipped.
    skipped: bool,
}

impl RequestReader {
    /// A reader for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at `input`: everything received and not yet consumed. Returns how many bytes are consumed now and what
    /// they, or the lack of them, mean.
    ///
    /// Bytes can be consumed with every event, [`Event::Incomplete`] too. `head` is written when a head is complete
    /// and otherwise left alone. After a refusal every further call refuses likewise.
    #[inline]
    pub fn read(
        &mut self,
        input: &[u8],
        limits: &HeadLimits,
        head: &mut RequestHead,
    ) -> Result<(usize, Event), Refusal> {
        let result = match &mut self.state {
            State::Head => self.read_head(input, limits, head),
            State::Length(0) | State::End => {
                self.state = State::End;
                Ok((0, Event::End))
            }
            State::Length(_) if input.is_empty() => Ok((0, Event::Incomplete)),
            State::Length(left) => {
                let len = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= len as u64;
                Ok((len, Event::Body { start: 0, len }))
            }
            State::Chunked(chunked) => {
                let result = chunked.read(input, limits);
                if let Ok((_, Event::End)) = result {
                    self.state = State::End;
                }
                result
            }
            State::Refused(refusal) => return Err(*refusal),
        };
        result.inspect_err(|refusal| self.state = State::Refused(*refusal))
    }

    /// Goes on to the next request. Without effect before [`Event::End`] and after a refusal, so that bytes of a body
    /// can never be taken for a request.
    pub fn next_request(&mut self) {
        if let State::End = self.state {
            *self = Self::default();
        }
    }

    /// Whether the connection is between requests and no byte of the next one was seen.
    pub fn is_idle(&self) -> bool {
        self.phase() == Phase::Idle
    }

    /// What the reader is in the middle of.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Head if self.scanner.is_untouched() => Phase::Idle,
            State::Head => Phase::Head,
            State::Length(_) | State::Chunked(_) => Phase::Body,
            State::End => Phase::End,
            State::Refused(_) => Phase::Refused,
        }
    }

    fn read_head(
        &mut self,
        input: &[u8],
        limits: &HeadLimits,
        head: &mut RequestHead,
    ) -> Result<(usize, Event), Refusal> {
        let mut before = 0;
        if self.scanner.is_untouched()
            && let Some(b'\r' | b'\n') = input.first()
        {
            match *input {
                [b'\n', ..] => return Err(Refusal::BareLf),
                _ if self.skipped => return Err(Refusal::EmptyLines),
                [_] => return Ok((0, Event::Incomplete)),
                [_, b'\n', ..] => (self.skipped, before) = (true, 2),
                _ => return Err(Refusal::BareCr),
            }
            if let Some(b'\r' | b'\n') = input.get(before) {
                return self.read_head(&input[before..], limits, head);
            }
        }
        let input = &input[before..];
        if input.is_empty() {
            return Ok((before, Event::Incomplete));
        }
        let length = if self.scanner.is_untouched()
            && let Some(length) = read_whole(input, limits, head)?
        {
            length
        } else {
            let Some(length) = self.scanner.scan(input, limits)? else {
                return Ok((before, Event::Incomplete));
            };
            load_scanned(&input[..length], &self.scanner, limits, head)?;
            length
        };
        self.scanner = Scanner::default();
        self.state = match head.body_length() {
            BodyLength::None => State::End,
            BodyLength::Length(length) => State::Length(length),
            BodyLength::Chunked => State::Chunked(Chunked::default()),
        };
        Ok((before + length, Event::Head))
    }
}

/// The quick way: a head that is there whole and has no flaw. `None` where that is not so; the scanner then finds out
/// what is wrong, or that only bytes are missing. Never accepts what the scanner would not.
#[inline]
fn read_whole(input: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Result<Option<usize>, Refusal> {
    let mut store = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; STACK_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(length)) = request.parse_with_uninit_headers(input, &mut store) else {
        return Ok(None);
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Ok(None);
    };
    let bytes = &input[..length];
    let (method, target) = (method.as_bytes(), target.as_bytes());
    let plain = length <= limits.head_total.min(u32::MAX as usize)
        && request.headers.len() <= limits.fields
        && target.is_ascii()
        && !method.iter().any(u8::is_ascii_lowercase)
        && lines_are_plain(bytes, request.headers, limits);
    if !plain {
        return Ok(None);
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    head.load(&Parts { bytes, method, target, version, fields: request.headers })?;
    Ok(Some(length))
}

/// Whether every line ends in CRLF (httparse takes LF alone as well) and none is too long.
#[inline]
fn lines_are_plain(bytes: &[u8], fields: &[httparse::Header<'_>], limits: &HeadLimits) -> bool {
    let mut start = 0;
    let mut limit = limits.request_line.saturating_add(2);
    let ends =
        fields.iter().map(|field| (field.name.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize));
    for end in ends.chain([bytes.len().saturating_sub(2)]) {
        if end < 2 || bytes.get(end - 2..end) != Some(b"\r\n") || end.saturating_sub(start) > limit {
            return false;
        }
        (start, limit) = (end, limits.field_size);
    }
    bytes.ends_with(b"\r\n")
}

/// The head that the scanner has found no fault with.
#[cold]
fn load_scanned(
    bytes: &[u8],
    scanner: &Scanner,
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<(), Refusal> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(Refusal::HeadTooLarge);
    }
    let lines = &bytes[scanner.fields_start..];
    let mut stack = [httparse::EMPTY_HEADER; STACK_FIELDS];
    let mut heap = Vec::new();
    let store = if limits.fields <= STACK_FIELDS {
        &mut stack[..]
    } else {
        heap.resize(limits.fields.min(lines.len() / 4 + 1), httparse::EMPTY_HEADER);
        &mut heap[..]
    };
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(lines, store) else {
        return Err(Refusal::Malformed);
    };
    head.load(&Parts {
        bytes,
        method: &bytes[..scanner.method_end],
        target: &bytes[scanner.method_end + 1..scanner.target_end],
        version: if scanner.minor == 0 { Version::Http10 } else { Version::Http11 },
        fields,
    })
}
