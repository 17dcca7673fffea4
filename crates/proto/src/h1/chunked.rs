//! Bodies in chunks (RFC 9112 §7.1), byte by byte where bytes have a meaning and in bulk where they are data.
//!
//! ```text
//! chunked-body   = *chunk last-chunk trailer-section CRLF
//! chunk          = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
//! chunk-ext      = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
//! ```
//!
//! Extensions and trailers are checked and thrown away.

use super::bytes::{is_token_byte, is_value_byte};
use super::limits::HeadLimits;
use super::reader::Event;
use super::refusal::Refusal;

/// Bytes of extensions and of leading zeros that a body may have, beside [`EXTENSION_SHARE`]. They cost the sender
/// nothing and the receiver work, without there being data.
const EXTENSIONS: u32 = 4096;
/// Bytes of extensions that each chunk may have without their being counted.
const EXTENSION_SHARE: u32 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum State {
    /// Before the first digit of a size.
    #[default]
    SizeStart,
    Size,
    /// Whitespace after the size or an extension: `;` must follow.
    BeforeSemicolon,
    ExtensionStart,
    ExtensionName,
    /// Whitespace after a name: `=` or `;` must follow.
    AfterName,
    ValueStart,
    Value,
    Quoted,
    QuotedPair,
    AfterQuoted,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// Reads one chunked body.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    /// Value of the size being read, then what is left of the chunk's data.
    size: u64,
    /// Bytes of the size line.
    line: u32,
    /// Bytes of extensions and zeros of this body that count against [`EXTENSIONS`].
    extensions: u32,
    trailers: u32,
    trailer_bytes: u32,
    trailer_line: u32,
    name: TrailerName,
}

impl Chunked {
    /// As [`RequestReader::read`](super::RequestReader::read). Everything is consumed as it is looked at.
    pub(crate) fn read(&mut self, input: &[u8], limits: &HeadLimits) -> Result<(usize, Event), Refusal> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            if self.state == State::Data {
                let len =
                    usize::try_from(self.size).map_or(input.len() - at, |left| left.min(input.len() - at));
                self.size -= len as u64;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                return Ok((at + len, Event::Body { start: at, len }));
            }
            self.state = if self.state >= State::TrailerStart {
                self.in_trailers(byte, limits)?
            } else {
                self.in_chunk(byte)?
            };
            at += 1;
            if self.state == State::End {
                return Ok((at, Event::End));
            }
        }
        Ok((at, Event::Incomplete))
    }

    fn in_chunk(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::DataCr | State::DataLf => {}
            _ => self.count_line(byte)?,
        }
        match (self.state, byte) {
            (State::SizeStart | State::Size, _) if crate::percent::hex(byte).is_some() => self.digit(byte),
            (State::SizeStart | State::DataCr, b'\n') => Err(Refusal::BareLf),
            (State::SizeStart, _) => Err(Refusal::ChunkSize),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeStart),
            (State::DataCr | State::DataLf, _) => Err(Refusal::ChunkEnd),
            (State::SizeLf, b'\n') => Ok(self.end_of_line()),
            (State::SizeLf, _) => Err(Refusal::BareCr),
            (State::Quoted, b'"') => Ok(State::AfterQuoted),
            (State::Quoted, b'\\') => Ok(State::QuotedPair),
            (State::Quoted | State::QuotedPair, _) if is_value_byte(byte) => Ok(State::Quoted),
            (State::ExtensionName | State::ExtensionStart, _) if is_token_byte(byte) => {
                Ok(State::ExtensionName)
            }
            (State::Value | State::ValueStart, _) if is_token_byte(byte) => Ok(State::Value),
            (State::ExtensionStart | State::ValueStart, b' ' | b'\t') => Ok(self.state),
            (State::ValueStart, b'"') => Ok(State::Quoted),
            (State::ExtensionName | State::AfterName, b'=') => Ok(State::ValueStart),
            (State::ExtensionName | State::AfterName, b' ' | b'\t') => Ok(State::AfterName),
            (
                State::Size
                | State::BeforeSemicolon
                | State::ExtensionName
                | State::AfterName
                | State::Value
                | State::AfterQuoted,
                b';',
            ) => Ok(State::ExtensionStart),
            (State::Size | State::BeforeSemicolon | State::Value | State::AfterQuoted, b' ' | b'\t') => {
                Ok(State::BeforeSemicolon)
            }
            (State::Size | State::ExtensionName | State::Value | State::AfterQuoted, b'\r') => {
                Ok(State::SizeLf)
            }
            (_, b'\n') => Err(Refusal::BareLf),
            (State::Size, _) => Err(Refusal::ChunkSize),
            _ => Err(Refusal::ChunkExtension),
        }
    }

    /// Counts a byte of a size line against the bounds.
    fn count_line(&mut self, byte: u8) -> Result<(), Refusal> {
        let free = match self.state {
            State::SizeStart => true,
            // A significant digit; there are sixteen at most.
            State::Size if self.size != 0 && byte != b';' => true,
            _ => byte == b'\r' || byte == b'\n',
        };
        self.line += 1;
        if free || self.line <= EXTENSION_SHARE {
            return Ok(());
        }
        self.extensions += 1;
        if self.extensions > EXTENSIONS { Err(Refusal::ChunkExtensionsTooLong) } else { Ok(()) }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = crate::percent::hex(byte).ok_or(Refusal::ChunkSize)?;
        if self.size >> 60 != 0 {
            return Err(Refusal::ChunkSizeOverflow);
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn end_of_line(&mut self) -> State {
        self.line = 0;
        if self.size == 0 { State::TrailerStart } else { State::Data }
    }

    fn in_trailers(&mut self, byte: u8, limits: &HeadLimits) -> Result<State, Refusal> {
        self.trailer_bytes = self.trailer_bytes.saturating_add(1);
        self.trailer_line = self.trailer_line.saturating_add(1);
        let ends = matches!(self.state, State::TrailerStart | State::EndLf) && matches!(byte, b'\r' | b'\n');
        if !ends
            && (self.trailer_bytes as usize > limits.head_total
                || self.trailer_line as usize > limits.field_size)
        {
            return Err(Refusal::TrailersTooLarge);
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart, b' ' | b'\t') => Err(Refusal::ObsFold),
            (State::TrailerStart, _) if is_token_byte(byte) => {
                self.trailers += 1;
                if self.trailers as usize > limits.fields {
                    return Err(Refusal::TrailersTooLarge);
                }
                self.name = TrailerName::default();
                self.name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') if self.name.is_forbidden() => Err(Refusal::TrailerForbidden),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerName, _) if is_token_byte(byte) => {
                self.name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b' ' | b'\t') => Err(Refusal::SpaceBeforeColon),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => {
                self.trailer_line = 0;
                Ok(State::TrailerStart)
            }
            (State::EndLf, b'\n') => Ok(State::End),
            (State::TrailerLf | State::EndLf, _) => Err(Refusal::BareCr),
            (_, b'\n') => Err(Refusal::BareLf),
            (State::TrailerName, b'\r') => Err(Refusal::FieldName),
            (_, 0..0x20 | 0x7f) => Err(Refusal::ControlByte),
            _ => Err(Refusal::FieldName),
        }
    }
}

/// The name of a trailer, as far as it is needed to tell the forbidden ones.
#[derive(Debug, Default)]
struct TrailerName {
    bytes: [u8; 17],
    len: u8,
}

impl TrailerName {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len as usize) {
            *slot = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// Whether it would say where the message ends or whom it is for (RFC 9110 §6.5.1).
    fn is_forbidden(&self) -> bool {
        self.bytes.get(..self.len as usize).is_some_and(|name| {
            [&b"transfer-encoding"[..], b"content-length", b"host"]
                .iter()
                .any(|bad| name.eq_ignore_ascii_case(bad))
        })
    }
}
