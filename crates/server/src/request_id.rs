//! The ids of requests: a trusted peer's, else one of our own.
//!
//! Nothing is done for an id before somebody asks for it: it follows from the request's head and number.

use std::fmt;

use stdserve_proto::forwarded::Trust;

use crate::exchange::Peer;
use crate::request::Request;

/// The field in which a trusted peer says the id, in lower case.
const FIELD: &str = "x-request-id";

/// The longest id that is taken over, in bytes.
const LONGEST: usize = 128;

/// Where ids come from: whose are believed, and what begins those that are made. Ids that are made are 32 hexadecimal
/// digits: 16 that were drawn for this source, and 16 of the request's number, which begins anywhere and counts up.
/// So no two are the same, on any machine, and none is a secret.
#[derive(Debug, Clone)]
pub struct RequestIds {
    trust: Trust,
    seed: u64,
}

impl RequestIds {
    /// Believes those whose forwarded fields are believed too. Draws a seed: each process needs a source of its own.
    pub fn new(trust: Trust) -> Self {
        Self { trust, seed: stdserve_sys::clock::random_seed() }
    }

    /// The first half of the ids that are made.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The id of a request.
    pub fn of<'a>(&self, request: &'a Request) -> RequestId<'a> {
        let given = request.head.field(FIELD).and_then(valid).filter(|_| match request.peer {
            Peer::Ip(address) => self.trust.peer(Some(address.ip())),
            Peer::Unix => self.trust.peer(None),
        });
        given.map_or_else(|| RequestId::made(self.seed, request.id), |given| RequestId(Text::Given(given)))
    }
}

/// What can stand in a log, a field and a file's name without being escaped.
fn valid(value: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=:@-".contains(byte);
    let fits = (1..=LONGEST).contains(&value.len()) && value.iter().all(plain);
    if fits { std::str::from_utf8(value).ok() } else { None }
}

/// A request's id: 1 to 128 letters, digits and `._~+/=:@-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId<'a>(Text<'a>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text<'a> {
    Given(&'a str),
    Made([u8; 32]),
}

impl RequestId<'_> {
    /// The id that is made for a request where its peer says none.
    pub fn made(seed: u64, number: u64) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = (u128::from(seed) << 64 | u128::from(number)).to_be_bytes();
        let mut digits = [0; 32];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        }
        Self(Text::Made(digits))
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Given(text) => text,
            Text::Made(digits) => std::str::from_utf8(digits).unwrap_or_default(),
        }
    }
}

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Adds a field to a head that is complete, at its beginning.
pub(crate) fn insert_field(out: &mut Vec<u8>, name: &str, value: &str) {
    if let Some(at) = out.windows(2).position(|pair| pair == b"\r\n") {
        let line = ["\r\n", name, ": ", value].concat();
        out.splice(at..at, line.into_bytes());
    }
}

/// Whether a head that is being written has a field of this name.
pub(crate) fn has_field(out: &[u8], name: &str) -> bool {
    out.split(|byte| *byte == b'\n').skip(1).any(|line| {
        line.split_at_checked(name.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(name.as_bytes()) && rest.first() == Some(&b':')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_32_digits() {
        let id = RequestId::made(0x0123_4567_89ab_cdef, 0xff);
        assert_eq!(id.as_str(), "0123456789abcdef00000000000000ff");
        assert_ne!(RequestIds::new(Trust::default()).seed(), RequestIds::new(Trust::default()).seed());
    }

    #[test]
    fn what_is_taken_over_is_plain_and_bounded() {
        for good in ["a", "2b8e-4", "Root=1-67:a/b+c@d~e", &"x".repeat(128)] {
            assert_eq!(valid(good.as_bytes()), Some(good));
        }
        for bad in ["", "a b", "a\"b", "a\\", "a,b", "a\u{e9}", "a\x1b", &"x".repeat(129)] {
            assert_eq!(valid(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn fields_of_heads() {
        let mut out = b"HTTP/1.1 200 OK\r\nX-Ab: 1\r\n\r\nX-Body: 2".to_vec();
        insert_field(&mut out, "X-Id", "7");
        assert_eq!(out, b"HTTP/1.1 200 OK\r\nX-Id: 7\r\nX-Ab: 1\r\n\r\nX-Body: 2");
        assert!(has_field(&out, "x-id") && has_field(&out, "X-AB"));
        assert!(!has_field(&out, "X") && !has_field(&out, "X-Abc"));
    }
}
