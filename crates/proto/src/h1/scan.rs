//! A request head byte by byte.
//!
//! This is the authority on what a head may look like. A head that comes whole and flawless does not pass through
//! here (see `reader`); one that comes in pieces does, each byte once, so that what is wrong is refused at the byte
//! that is wrong, however the bytes were split. It knows lines and bytes; what fields mean is judged in `fields`.
//!
//! ```text
//! Method -SP-> Target -SP-> Version -CR-> LineLf -LF-> FieldStart -tchar-> Name -:-> Value -CR-> FieldLf
//!                                                        ^   |                                     |
//!                                                        |   +-CR-> EndLf -LF-> complete           |
//!                                                        +----------------------LF-----------------+
//! ```

use super::bytes::{is_token_byte, is_value_byte};
use super::limits::HeadLimits;
use super::refusal::Refusal;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Method,
    Target,
    Version,
    LineLf,
    FieldStart,
    Name,
    Value,
    FieldLf,
    EndLf,
}

/// How far a head has been looked at, and what was found. Positions count from the head's first byte.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scanner {
    state: State,
    at: usize,
    line_start: usize,
    fields: usize,
    pub(crate) method_end: usize,
    pub(crate) target_end: usize,
    pub(crate) minor: u8,
    /// Where the first field line begins.
    pub(crate) fields_start: usize,
}

impl Scanner {
    /// Whether no byte was looked at.
    pub(crate) fn is_untouched(&self) -> bool {
        self.at == 0
    }

    /// Goes on where it stopped. `input` begins at the head's first byte. Returns the head's length once its end is
    /// there.
    pub(crate) fn scan(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        while let Some(&byte) = input.get(self.at) {
            if self.at >= limits.head_total {
                return Err(Refusal::HeadTooLarge);
            }
            let in_line = self.at - self.line_start;
            match self.state {
                State::Method | State::Target | State::Version
                    if in_line >= limits.request_line && !matches!(byte, b'\r' | b'\n') =>
                {
                    return Err(Refusal::RequestLineTooLong);
                }
                State::Name | State::Value | State::FieldLf if in_line >= limits.field_size => {
                    return Err(Refusal::FieldTooLarge);
                }
                _ => {}
            }
            self.state = self.step(byte, limits)?;
            self.at += 1;
            if self.state == State::Value {
                self.skip_value(input, limits);
            } else if self.state == State::FieldStart && byte == b'\n' {
                if self.fields_start == 0 {
                    self.fields_start = self.at;
                }
                self.line_start = self.at;
            } else if self.state == State::EndLf && byte == b'\n' {
                return Ok(Some(self.at));
            }
        }
        Ok(None)
    }

    /// Steps over what is plain field value, as far as the limits go.
    fn skip_value(&mut self, input: &[u8], limits: &HeadLimits) {
        let end = input.len().min(limits.head_total).min(self.line_start.saturating_add(limits.field_size));
        while self.at < end && is_value_byte(input[self.at]) {
            self.at += 1;
        }
    }

    fn step(&mut self, byte: u8, limits: &HeadLimits) -> Result<State, Refusal> {
        match self.state {
            State::Method => match byte {
                b' ' if self.at == 0 => Err(Refusal::RequestLine),
                b' ' => {
                    self.method_end = self.at;
                    Ok(State::Target)
                }
                b'a'..=b'z' => Err(Refusal::MethodCase),
                _ if is_token_byte(byte) => Ok(State::Method),
                _ => Err(in_request_line(byte, Refusal::Method)),
            },
            State::Target => match byte {
                b' ' if self.at == self.method_end + 1 => Err(Refusal::RequestLine),
                b' ' => {
                    self.target_end = self.at;
                    Ok(State::Version)
                }
                0x21..=0x7e => Ok(State::Target),
                _ => Err(in_request_line(byte, Refusal::Target)),
            },
            State::Version => self.version(byte),
            State::LineLf | State::FieldLf => match byte {
                b'\n' => Ok(State::FieldStart),
                _ => Err(Refusal::BareCr),
            },
            State::FieldStart => match byte {
                b'\r' => Ok(State::EndLf),
                b' ' | b'\t' => Err(Refusal::ObsFold),
                _ if self.fields >= limits.fields && is_token_byte(byte) => Err(Refusal::TooManyFields),
                _ => {
                    self.fields += 1;
                    name_byte(byte)
                }
            },
            State::Name if byte == b':' => Ok(State::Value),
            State::Name => name_byte(byte),
            State::Value => match byte {
                b'\r' => Ok(State::FieldLf),
                b'\n' => Err(Refusal::BareLf),
                _ if is_value_byte(byte) => Ok(State::Value),
                _ => Err(Refusal::ControlByte),
            },
            State::EndLf => match byte {
                b'\n' => Ok(State::EndLf),
                _ => Err(Refusal::BareCr),
            },
        }
    }

    /// `HTTP/` digit `.` digit. Another major is refused as soon as it is read: what follows may not be HTTP/1.
    fn version(&mut self, byte: u8) -> Result<State, Refusal> {
        let at = self.at - self.target_end - 1;
        match (at, byte) {
            (0..=4, _) if byte == b"HTTP/"[at] => Ok(State::Version),
            (6, b'.') | (5, b'1') => Ok(State::Version),
            (5, b'0' | b'2'..=b'9') => Err(Refusal::VersionUnsupported),
            (7, b'0'..=b'9') => {
                self.minor = byte - b'0';
                Ok(State::Version)
            }
            (8, b'\r') => Ok(State::LineLf),
            _ => Err(in_request_line(byte, Refusal::Version)),
        }
    }
}

/// A byte of a field name, or why it is none.
fn name_byte(byte: u8) -> Result<State, Refusal> {
    match byte {
        _ if is_token_byte(byte) => Ok(State::Name),
        b' ' | b'\t' => Err(Refusal::SpaceBeforeColon),
        b'\n' => Err(Refusal::BareLf),
        b'\r' => Err(Refusal::FieldName),
        0..0x20 | 0x7f => Err(Refusal::ControlByte),
        _ => Err(Refusal::FieldName),
    }
}

/// Why `byte` cannot stand in the request line; `otherwise` where it is no control byte.
fn in_request_line(byte: u8, otherwise: Refusal) -> Refusal {
    match byte {
        b'\n' => Refusal::BareLf,
        b'\r' => Refusal::RequestLine,
        0..0x20 | 0x7f => Refusal::ControlByte,
        _ => otherwise,
    }
}
