//! Writing the atoms of a text line.

use std::io::Write;
use std::net::IpAddr;

use super::Entry;
use super::escape;
use super::format::Atom;

/// Appends one atom. Writing to a `Vec` does not fail.
pub(super) fn atom(atom: &Atom, entry: &Entry<'_>, out: &mut Vec<u8>) {
    match atom {
        Atom::Literal(text) => out.extend_from_slice(text),
        Atom::Nothing => out.push(b'-'),
        Atom::Remote => match entry.remote {
            Some(remote) => address(remote, out),
            None => out.push(b'-'),
        },
        Atom::User => {
            let before = out.len();
            basic_user((entry.request)("authorization"), escape::word, out);
            if out.len() == before {
                out.push(b'-');
            }
        }
        Atom::Time => entry.time.common(out),
        Atom::RequestLine if entry.method.is_empty() => out.push(b'-'),
        Atom::RequestLine => {
            for (index, part) in
                [entry.method, entry.target, entry.protocol.as_bytes()].into_iter().enumerate()
            {
                if index > 0 {
                    out.push(b' ');
                }
                escape::text(part, out);
            }
        }
        Atom::Method => text(entry.method, out),
        Atom::Path => text(entry.path, out),
        Atom::Query => text(entry.query, out),
        Atom::Protocol => text(entry.protocol.as_bytes(), out),
        Atom::Scheme => text(entry.scheme.as_bytes(), out),
        Atom::Status if entry.status == 0 => out.push(b'-'),
        Atom::Status => number(entry.status.into(), out),
        Atom::BytesOrDash if entry.sent == 0 => out.push(b'-'),
        Atom::Bytes | Atom::BytesOrDash => number(entry.sent, out),
        Atom::Seconds => number(entry.duration.as_secs(), out),
        Atom::Millis => number(entry.duration.as_millis() as u64, out),
        Atom::Micros => number(entry.duration.as_micros() as u64, out),
        Atom::Decimal => {
            drop(write!(out, "{}.{:06}", entry.duration.as_secs(), entry.duration.subsec_micros()));
        }
        // With its brackets, as gunicorn writes it.
        Atom::Pid => drop(write!(out, "<{}>", entry.pid)),
        Atom::Id => (entry.id)(out),
        Atom::Request(name) => text((entry.request)(name).unwrap_or_default(), out),
        Atom::Response(name) => text((entry.response)(name).unwrap_or_default(), out),
    }
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        out.push(b'-');
    } else {
        escape::text(bytes, out);
    }
}

/// By hand where it is an IPv4 address: the formatting machinery is the dearest part of a line.
fn address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (place, byte) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                number(byte.into(), out);
            }
        }
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends a number in decimal digits.
pub(super) fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the user's name out of `Basic BASE64(name:password)` (RFC 7617); nothing where there is none.
/// Decoded in small steps, so that the password is never held.
pub(super) fn basic_user(authorization: Option<&[u8]>, escape: fn(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
    let Some((scheme, credentials)) = authorization.and_then(|value| value.split_at_checked(6)) else {
        return;
    };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return;
    }
    let start = out.len();
    for group in credentials.trim_ascii().chunks(4) {
        let (mut bits, mut count) = (0_u32, 0_u32);
        for &byte in group.iter().filter(|&&byte| byte != b'=') {
            let Some(value) = base64_digit(byte) else { return out.truncate(start) };
            bits = bits << 6 | value;
            count += 6;
        }
        // Of 4, 3 or 2 digits the first 3, 2 or 1 bytes are whole.
        for index in 0..count / 8 {
            let byte = (bits >> (count - 8 * (index + 1))) as u8;
            if byte == b':' {
                return;
            }
            escape(&[byte], out);
        }
    }
    // Without a colon these were no credentials.
    out.truncate(start);
}

fn base64_digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}
