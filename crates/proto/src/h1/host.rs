//! `uri-host [":" port]`: what Host, an absolute target and CONNECT name (RFC 9110 §7.2, RFC 3986 §3.2).

use std::net::Ipv6Addr;

use super::bytes::is_name_byte;
use crate::percent::hex;

/// Whether `authority` is a host that is not empty, with or without a port.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    end_of_host(authority).is_some_and(|end| match &authority[end..] {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    })
}

/// Whether `authority` is a host with a port, as CONNECT wants it (RFC 9112 §3.2.3).
pub(crate) fn is_authority_with_port(authority: &[u8]) -> bool {
    end_of_host(authority).is_some_and(|end| match &authority[end..] {
        [b':', port @ ..] => !port.is_empty() && is_port(port),
        _ => false,
    })
}

/// Where the host ends that `authority` begins with, if it does and the host is not empty.
fn end_of_host(authority: &[u8]) -> Option<usize> {
    if let Some(literal) = authority.strip_prefix(b"[") {
        let end = memchr::memchr(b']', literal)?;
        return is_ip_literal(&literal[..end]).then_some(end + 2);
    }
    let end = authority.iter().position(|&byte| !is_name_byte(byte)).unwrap_or(authority.len());
    let end = if authority.get(end) == Some(&b'%') { end_of_escaped_name(authority, end)? } else { end };
    (end > 0).then_some(end)
}

/// Where a registered name ends that has `%XX` at `at`, the first one.
fn end_of_escaped_name(name: &[u8], mut at: usize) -> Option<usize> {
    while let Some(&byte) = name.get(at) {
        if byte == b'%' {
            hex(*name.get(at + 1)?)?;
            hex(*name.get(at + 2)?)?;
            at += 3;
        } else if is_name_byte(byte) {
            at += 1;
        } else {
            break;
        }
    }
    Some(at)
}

/// What stands between `[` and `]`: an IPv6 address, or an address of a future version (RFC 3986 §3.2.2).
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let Some(dot) = memchr::memchr(b'.', future) else { return false };
        let (version, address) = (&future[..dot], &future[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&byte| is_name_byte(byte) || byte == b':');
    }
    str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Digits that fit 16 bits; none at all is a port too (RFC 3986 §3.2.3).
fn is_port(port: &[u8]) -> bool {
    port.is_empty() || super::fields::decimal(port).is_some_and(|port| port <= 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            &b"a"[..],
            b"example.com",
            b"example.com:80",
            b"example.com:",
            b"0.0.0.0=5000",
            b"127.0.0.1:8000",
            b"[::1]",
            b"[::1]:80",
            b"[v1.a:b]",
            b"a_b",
            b"%41b",
            b"x%2d",
            b"a:00080",
            b"a:000080",
        ] {
            assert!(is_authority(good), "{good:?}");
        }
        for bad in [
            &b""[..],
            b":80",
            b"a b",
            b"a/b",
            b"a@b",
            b"a?b",
            b"a#b",
            b"a:b",
            b"a:80:90",
            b"a:65536",
            b"a:-1",
            b"a:99999999999999999999999",
            b"[::1",
            b"[::1]x",
            b"[]",
            b"[g::]",
            b"[v.a]",
            b"[v1.]",
            b"::1",
            b"a%",
            b"a%4",
            b"a%zz",
            b"\xc3\xa9",
            b"a\\b",
            b"a\"",
            b"<a>",
        ] {
            assert!(!is_authority(bad), "{bad:?}");
        }
    }

    #[test]
    fn connect_wants_a_port() {
        assert!(is_authority_with_port(b"a:443"));
        assert!(is_authority_with_port(b"[::1]:443"));
        assert!(!is_authority_with_port(b"a"));
        assert!(!is_authority_with_port(b"a:"));
    }
}
