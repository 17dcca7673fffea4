//! From a request header's name to its key in the environ: `accept-encoding` → `HTTP_ACCEPT_ENCODING`.
//!
//! The keys of common headers are made once; those of others are kept as they are met, up to a bound, so that no
//! client can make the table grow. A slot also remembers in which request it was last used, which is how a repeated
//! header is noticed, and for headers that are the same in request after request it keeps the last value.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::gateway::text::{native, native_bytes};

/// Headers whose values repeat from request to request and are no secrets: their last value is kept.
const STEADY: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-type",
    "dnt",
    "from",
    "origin",
    "pragma",
    "priority",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "te",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-requested-with",
];

/// Headers whose keys are made in advance, and nothing more.
const KNOWN: &[&str] = &[
    "access-control-request-headers",
    "access-control-request-method",
    "age",
    "authorization",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "range",
    "referer",
    "sec-websocket-key",
    "trailer",
    "traceparent",
    "tracestate",
    "upgrade",
    "warning",
    "x-api-key",
    "x-correlation-id",
    "x-csrf-token",
    "x-csrftoken",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

/// Slots in all; past it the keys of unknown names are made anew each time.
const MOST: usize = 192;
/// Length of the index: a power of two, and so large that probing ends soon.
const INDEX: usize = 512;
/// Names longer than this are not kept.
const LONGEST_NAME: usize = 64;
/// Values longer than this are not kept.
const LONGEST_VALUE: usize = 512;

/// What a header is to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes into the environ as it is.
    Plain,
    /// `Cookie`: repeated lines are joined by a semicolon (RFC 9113 §8.2.3), not by a comma.
    Cookie,
    /// `Transfer-Encoding`: the application sees what is left to undo.
    TransferEncoding,
    /// The gateway takes it from elsewhere: Host and Content-Length.
    Apart,
}

/// One header.
pub(super) struct Slot {
    /// As it was last sent: nearly all clients write a name in one way, which is quick to compare.
    name: Box<[u8]>,
    pub(super) key: Py<PyString>,
    pub(super) kind: Kind,
    /// The request in which it was last met.
    pub(super) met: u64,
    keeps_value: bool,
    value: Option<Py<PyString>>,
}

impl Slot {
    /// Whether the header is of that name, in any case of letters.
    #[inline]
    fn is(&mut self, name: &[u8]) -> bool {
        if *self.name == *name {
            return true;
        }
        let same = self.name.eq_ignore_ascii_case(name);
        if same {
            self.name.copy_from_slice(name);
        }
        same
    }

    /// The value as a str: the one from the last request if it is the same.
    pub(super) fn value<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
        if let Some(value) = &self.value {
            let value = value.bind(py);
            if native_bytes(value) == Some(bytes) {
                return Ok(value.clone());
            }
        }
        let value = native(py, bytes)?;
        if self.keeps_value && bytes.len() <= LONGEST_VALUE {
            self.value = Some(value.clone().unbind());
        }
        Ok(value)
    }
}

/// The table of one desk.
pub(super) struct Names {
    slots: Vec<Slot>,
    /// Slot numbers from 1; 0: free.
    index: Box<[u8; INDEX]>,
}

impl Names {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let mut names = Self { slots: Vec::with_capacity(MOST), index: Box::new([0; INDEX]) };
        names.add(py, b"host", Kind::Apart, false)?;
        names.add(py, b"content-length", Kind::Apart, false)?;
        names.add(py, b"transfer-encoding", Kind::TransferEncoding, false)?;
        for name in STEADY {
            names.add(py, name.as_bytes(), Kind::Plain, true)?;
        }
        for name in KNOWN {
            let kind = if *name == "cookie" { Kind::Cookie } else { Kind::Plain };
            names.add(py, name.as_bytes(), kind, false)?;
        }
        Ok(names)
    }

    /// The slot of a header; `None` where it has none and the table is full.
    pub(super) fn slot(&mut self, py: Python<'_>, name: &[u8]) -> PyResult<Option<&mut Slot>> {
        let mut at = place(name);
        let number = loop {
            match usize::from(self.index[at]) {
                0 if self.slots.len() >= MOST || name.len() > LONGEST_NAME => return Ok(None),
                0 => break self.add(py, name, Kind::Plain, false)?,
                number if self.slots[number - 1].is(name) => break number - 1,
                _ => at = (at + 1) % INDEX,
            }
        };
        Ok(Some(&mut self.slots[number]))
    }

    fn add(&mut self, py: Python<'_>, name: &[u8], kind: Kind, keeps_value: bool) -> PyResult<usize> {
        let mut at = place(name);
        while self.index[at] != 0 {
            at = (at + 1) % INDEX;
        }
        let key = key(py, name)?.unbind();
        self.slots.push(Slot { name: name.into(), key, kind, met: 0, keeps_value, value: None });
        // At most MOST, which fits.
        self.index[at] = self.slots.len() as u8;
        Ok(self.slots.len() - 1)
    }
}

/// The environ's key for a header (RFC 3875 §4.1.18).
pub(super) fn key<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
    if name.eq_ignore_ascii_case(b"content-type") {
        return Ok(PyString::intern(py, "CONTENT_TYPE"));
    }
    let mut key = Vec::with_capacity(5 + name.len());
    key.extend_from_slice(b"HTTP_");
    key.extend(name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
    native(py, &key)
}

/// Where a name's search begins. Letters of either case give the same; a client that finds names which collide
/// gains nothing, since the table is bounded.
#[inline]
fn place(name: &[u8]) -> usize {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = name.len() as u64;
    let mut mix = |word: u64| hash = (hash.rotate_left(5) ^ (word | FOLD)).wrapping_mul(MIX);
    let (words, rest) = name.as_chunks::<8>();
    for word in words {
        mix(u64::from_le_bytes(*word));
    }
    // What is left over, with bytes that were seen before where that saves a loop.
    match (name.last_chunk::<8>(), rest) {
        (_, []) => {}
        (Some(last), _) => mix(u64::from_le_bytes(*last)),
        (None, rest) => match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                mix(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
            }
            _ => mix(rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
        },
    }
    (hash >> 55) as usize % INDEX
}
