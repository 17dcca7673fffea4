//! What the fields of a head mean for the message: its length, its host, whether the connection is kept.

use super::bytes::{has_underscore, is_token, trim};
use super::head::{BodyLength, Version};
use super::host::is_authority;
use super::refusal::Refusal;

/// The fields that decide about the message, as they are met. Nothing is refused before [`settle`](Self::settle),
/// so that what is refused does not depend on which fault stands first.
#[derive(Debug, Default)]
pub(crate) struct Noted<'a> {
    host: Option<&'a [u8]>,
    hosts: u32,
    content_types: u32,
    length: Option<Result<u64, Refusal>>,
    codings: Option<Codings>,
    close: bool,
    keep_alive: bool,
    expect: Expect,
}

/// What the client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Expect {
    #[default]
    Nothing,
    Continue,
    /// What nobody here can promise.
    Other,
}

/// What is left when the fields are settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    pub(crate) body: BodyLength,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
}

impl<'a> Noted<'a> {
    /// Takes note of a field, and says whether the application is to see it. `value` is trimmed.
    #[inline]
    pub(crate) fn note(&mut self, name: &[u8], value: &'a [u8]) -> bool {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                self.host = Some(value);
            }
            5 if name.eq_ignore_ascii_case(b"proxy") => return false,
            6 if name.eq_ignore_ascii_case(b"expect") => self.note_expect(value),
            10 if name.eq_ignore_ascii_case(b"connection") => self.note_connection(value),
            12 if name.eq_ignore_ascii_case(b"content-type") => self.content_types += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.codings.get_or_insert_default().note(value);
            }
            _ => return !has_underscore(name),
        }
        true
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(trim) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn note_expect(&mut self, value: &[u8]) {
        for expectation in value.split(|&byte| byte == b',').map(trim) {
            let known = expectation.eq_ignore_ascii_case(b"100-continue");
            self.expect = self.expect.max(if known { Expect::Continue } else { Expect::Other });
        }
    }

    fn note_length(&mut self, value: &[u8]) {
        let length = decimal(value).ok_or(Refusal::ContentLengthInvalid);
        self.length = Some(match (self.length, length) {
            (None, length) => length,
            (Some(Ok(before)), Ok(length)) if before == length => Ok(length),
            (Some(Ok(_)), Ok(_)) => Err(Refusal::ContentLengthRepeated),
            (Some(Err(_)), _) | (_, Err(_)) => Err(Refusal::ContentLengthInvalid),
        });
    }

    /// The Host field's value, where there is one.
    pub(crate) fn host(&self) -> Option<&'a [u8]> {
        self.host
    }

    /// Judges what was noted.
    #[inline]
    pub(crate) fn settle(&self, version: Version) -> Result<Settled, Refusal> {
        match (self.hosts, self.host) {
            (1, Some(host)) if is_authority(host) => {}
            (0, _) if version == Version::Http10 => {}
            (0, _) => return Err(Refusal::HostMissing),
            (1, _) => return Err(Refusal::HostInvalid),
            _ => return Err(Refusal::HostRepeated),
        }
        let body = match (&self.length, &self.codings) {
            (None, None) => BodyLength::None,
            (Some(length), None) => BodyLength::Length((*length)?),
            (Some(_), Some(_)) => return Err(Refusal::LengthAndEncoding),
            (None, Some(_)) if version == Version::Http10 => return Err(Refusal::EncodingOnHttp10),
            (None, Some(codings)) => codings.settle()?,
        };
        if self.content_types > 1 {
            return Err(Refusal::ContentTypeRepeated);
        }
        if self.expect == Expect::Other {
            return Err(Refusal::Expectation);
        }
        let keep_alive = !self.close && (version == Version::Http11 || self.keep_alive);
        // HTTP/1.0 has no 100 (RFC 9110 §10.1.1), and without a body there is nothing to go on with.
        let has_body = !matches!(body, BodyLength::None | BodyLength::Length(0));
        let expects_continue = self.expect == Expect::Continue && version == Version::Http11 && has_body;
        Ok(Settled { body, keep_alive, expects_continue })
    }
}

/// The Transfer-Encoding lines, joined.
#[derive(Debug, Default)]
struct Codings {
    chunked: bool,
    wrong: Option<Refusal>,
}

impl Codings {
    fn note(&mut self, value: &[u8]) {
        for coding in value.split(|&byte| byte == b',').map(trim) {
            if self.wrong.is_some() {
                return;
            }
            if coding.is_empty() || self.chunked {
                self.wrong = Some(Refusal::EncodingInvalid);
            } else if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else if ![&b"gzip"[..], b"deflate", b"compress", b"identity"]
                .iter()
                .any(|known| coding.eq_ignore_ascii_case(known))
            {
                let unknown = is_token(coding.split(|&byte| byte == b';').next().map_or(coding, trim));
                self.wrong = Some(if unknown { Refusal::EncodingUnknown } else { Refusal::EncodingInvalid });
            }
        }
    }

    fn settle(&self) -> Result<BodyLength, Refusal> {
        match self.wrong {
            Some(refusal) => Err(refusal),
            None if self.chunked => Ok(BodyLength::Chunked),
            None => Err(Refusal::EncodingInvalid),
        }
    }
}

/// `1*DIGIT` that fits 64 bits.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}
