//! What a proxy in front says of the client: `X-Forwarded-For`, `-Proto`, `-Host`, `-Prefix` and `Forwarded`.
//!
//! These fields count from trusted peers only; from others they are to be removed before an application sees
//! them ([`Origin::strip`]). The rules that keep a client from forging its own address:
//!
//! - Every proxy appends what it saw. So the chain is read from its right end: addresses of trusted proxies
//!   are skipped, and the first that is not trusted is the client. What stands left of it is hearsay.
//! - Something in the chain that is no address ends it: nothing left of it counts.
//! - `-Proto`, `-Host` and `-Prefix` are taken from the same place in their lists as the client's address.
//! - Where any `X-Forwarded-` field of these is there, `Forwarded` does not count: a proxy that sets the one
//!   kind mostly passes on what the client wrote of the other.
//!
//! Malformed values are ignored: it is then as if the proxy had not said anything.

mod rfc7239;
mod trust;

use std::net::{IpAddr, SocketAddr};

pub use trust::{NotAPeer, Trust};

use crate::h1::is_authority;

/// What is known of a request's client beyond its connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Forwarding fields are there, but not from a trusted peer: fields for whose name
    /// [`is_forwarding_field`] holds are to be removed.
    pub strip: bool,
    /// The client's address; none: the peer's counts.
    pub address: Option<IpAddr>,
    /// The client's port, where a proxy told it.
    pub port: Option<u16>,
    /// How the client spoke to the first trusted proxy.
    pub scheme: Option<Scheme>,
    /// The host that the client named: a valid authority (RFC 9110 §7.2), ASCII.
    pub host: Option<String>,
    /// The path that a proxy has taken off the request's: starts with one `/`, does not end with it.
    pub prefix: Option<Vec<u8>>,
}

/// The scheme of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As `wsgi.url_scheme` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case(b"https") => Some(Self::Https),
            _ if text.eq_ignore_ascii_case(b"http") => Some(Self::Http),
            _ => None,
        }
    }
}

/// Whether a field speaks of how a request was forwarded: `Forwarded` and all `X-Forwarded-…`.
pub fn is_forwarding_field(name: &[u8]) -> bool {
    const STEM: &[u8] = b"X-Forwarded-";
    match name.first() {
        Some(b'x' | b'X') => name.get(..STEM.len()).is_some_and(|start| start.eq_ignore_ascii_case(STEM)),
        Some(b'f' | b'F') => name.eq_ignore_ascii_case(b"Forwarded"),
        _ => false,
    }
}

/// Reads the forwarding fields among `fields` (names and values as sent) of a request whose peer has this address;
/// none: a Unix socket. Without such fields it is one look at each name's first letter.
pub fn apply<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    peer: Option<IpAddr>,
    trust: &Trust,
) -> Origin {
    let mut fields = fields.filter(|(name, _)| is_forwarding_field(name)).peekable();
    if fields.peek().is_none() || trust.is_indifferent() {
        return Origin::default();
    }
    if !trust.peer(peer) {
        return Origin { strip: true, ..Origin::default() };
    }
    let mut said = Said::default();
    for (name, value) in fields {
        match &name.to_ascii_lowercase()[..] {
            b"x-forwarded-for" => said.address.push(value),
            b"x-forwarded-proto" => said.proto.push(value),
            b"x-forwarded-host" => said.host.push(value),
            b"x-forwarded-prefix" => said.prefix.push(value),
            b"forwarded" => said.forwarded.push(value),
            _ => {}
        }
    }
    said.weigh(trust)
}

/// The values of the fields, line by line.
#[derive(Default)]
struct Said<'a> {
    address: Vec<&'a [u8]>,
    proto: Vec<&'a [u8]>,
    host: Vec<&'a [u8]>,
    prefix: Vec<&'a [u8]>,
    forwarded: Vec<&'a [u8]>,
}

impl Said<'_> {
    fn weigh(&self, trust: &Trust) -> Origin {
        if [&self.address, &self.proto, &self.host, &self.prefix].iter().all(|lines| lines.is_empty()) {
            return rfc7239::weigh(&self.forwarded, trust);
        }
        let mut chain = Chain::default();
        for node in list(&self.address) {
            chain.push(address_and_port(node), trust);
        }
        let at = chain.behind;
        Origin {
            strip: false,
            address: chain.address,
            port: chain.port,
            scheme: pick(&self.proto, at).and_then(Scheme::parse),
            host: pick(&self.host, at).and_then(host),
            prefix: pick(&self.prefix, at).and_then(prefix),
        }
    }
}

/// The entries of a list that may stand on several lines (RFC 9110 §5.6.1); empty ones do not count.
fn list<'a>(lines: &[&'a [u8]]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    lines
        .iter()
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// The entry that has `behind` others to its right; where the list is shorter, its first.
fn pick<'a>(lines: &[&'a [u8]], behind: usize) -> Option<&'a [u8]> {
    list(lines).rev().take(behind.saturating_add(1)).last()
}

/// The client's place in a chain of addresses that is read from left to right.
#[derive(Default)]
struct Chain {
    address: Option<IpAddr>,
    port: Option<u16>,
    /// How many entries stand to the right of the client's.
    behind: usize,
    /// Whether there was an entry.
    begun: bool,
}

impl Chain {
    /// Takes the next entry; none: it is no address. True where the entry is now the client's own.
    fn push(&mut self, node: Option<(IpAddr, Option<u16>)>, trust: &Trust) -> bool {
        let trusted = node.is_some_and(|(address, _)| trust.address(address));
        if trusted && self.begun {
            self.behind += 1;
            if self.address.is_none() {
                // The client left of it is not known: what this proxy's neighbour saw is the best there is.
                (self.address, self.port) = (node.map(|(address, _)| address), None);
            }
            return false;
        }
        *self = Self {
            address: node.map(|(address, _)| address),
            port: node.and_then(|(_, port)| port),
            behind: 0,
            begun: true,
        };
        true
    }
}

/// An address, with or without port and brackets: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`,
/// also in double quotes.
fn address_and_port(node: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    let node = node.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(node);
    let text = std::str::from_utf8(node).ok()?;
    let (address, port) = if let Ok(address) = text.parse::<IpAddr>() {
        (address, None)
    } else if let Ok(both) = text.parse::<SocketAddr>() {
        (both.ip(), Some(both.port()))
    } else if let Some(inner) = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        (inner.parse().ok()?, None)
    } else {
        // RFC 7239 §6.3: a port may be a made-up name; the address is still one.
        let (address, _) = text.rsplit_once(':').filter(|(_, port)| port.starts_with('_'))?;
        let inner = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        (inner.parse().ok()?, None)
    };
    Some((address.to_canonical(), port))
}

fn host(text: &[u8]) -> Option<String> {
    is_authority(text).then(|| String::from_utf8(text.to_ascii_lowercase()).ok()).flatten()
}

/// `//` at the front would make links of the application lead to another host.
fn prefix(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let path = &text[..end];
    let fine = path.starts_with(b"/")
        && !path.starts_with(b"//")
        && !path.iter().any(|&byte| byte <= b' ' || matches!(byte, b'?' | b'#' | b'\\' | b'"' | 0x7f));
    fine.then(|| path.to_vec())
}

#[cfg(test)]
mod tests;
