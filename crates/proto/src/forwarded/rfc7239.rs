//! The `Forwarded` field (RFC 7239): a list of elements, one a proxy, each of pairs `name=value`.

use super::{Chain, Origin, Scheme, Trust, address_and_port, host};

/// What the chain of elements says. Scheme and host are those of the element that names the client: it was
/// written by the first trusted proxy.
pub(super) fn weigh(lines: &[&[u8]], trust: &Trust) -> Origin {
    let mut chain = Chain::default();
    let mut origin = Origin::default();
    for line in lines {
        let mut rest = *line;
        while !rest.is_empty() {
            let (element, after) = Element::parse(rest);
            rest = after;
            let Some(element) = element else {
                // Nothing is said of this hop: nothing before it counts.
                chain.push(None, trust);
                (origin.scheme, origin.host) = (None, None);
                continue;
            };
            if element.empty {
                continue;
            }
            if chain.push(element.node.and_then(address_and_port), trust) {
                origin.scheme = element.proto.and_then(Scheme::parse);
                origin.host = element.host.and_then(host);
            }
        }
    }
    (origin.address, origin.port) = (chain.address, chain.port);
    origin
}

/// The pairs of one element that matter here.
#[derive(Default)]
struct Element<'a> {
    node: Option<&'a [u8]>,
    proto: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    /// There was no pair at all: between two commas.
    empty: bool,
}

impl<'a> Element<'a> {
    /// Reads one element, and says what follows its comma. No element where it breaks the grammar; what follows
    /// a broken one is found by its next comma outside of quotes.
    fn parse(text: &'a [u8]) -> (Option<Self>, &'a [u8]) {
        let mut element = Self { empty: true, ..Self::default() };
        let mut rest = text;
        loop {
            rest = rest.trim_ascii_start();
            match rest {
                [] => return (Some(element), rest),
                [b',', after @ ..] => return (Some(element), after),
                [b';', after @ ..] => {
                    rest = after;
                    continue;
                }
                _ => {}
            }
            let Some((name, value, after)) = pair(rest) else { return (None, behind_comma(rest)) };
            element.empty = false;
            let known = match &name.to_ascii_lowercase()[..] {
                b"for" => &mut element.node,
                b"proto" => &mut element.proto,
                b"host" => &mut element.host,
                _ => &mut None,
            };
            // Each may occur once (RFC 7239 §4).
            if known.replace(value).is_some() {
                return (None, behind_comma(after));
            }
            rest = after.trim_ascii_start();
            if !matches!(rest, [] | [b',' | b';', ..]) {
                return (None, behind_comma(rest));
            }
        }
    }
}

/// One pair `token=token` or `token="quoted"`, and what follows it.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (&text[..equals], &text[equals + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return None;
    }
    if let [b'"', inner @ ..] = value {
        let end = end_of_quoted(inner)?;
        return Some((name, &inner[..end], &inner[end + 1..]));
    }
    // Not every proxy quotes what has a colon or brackets.
    let fine = |byte: u8| is_token(byte) || matches!(byte, b':' | b'[' | b']');
    let end = value.iter().position(|&byte| !fine(byte)).unwrap_or(value.len());
    (end > 0).then(|| (name, &value[..end], &value[end..]))
}

/// Where the closing quote stands. A backslash escapes; the value keeps it, and is then no address or host.
fn end_of_quoted(inner: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match inner.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn behind_comma(text: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b',' => return &text[at + 1..],
            // A quote that is never closed takes all that follows with it.
            b'"' => match end_of_quoted(&text[at + 1..]) {
                Some(length) => at += length + 2,
                None => return &[],
            },
            _ => at += 1,
        }
    }
    &[]
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
