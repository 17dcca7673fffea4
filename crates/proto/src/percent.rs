//! Percent-decoding of request paths, as WSGI's `PATH_INFO` and CGI want them, and encoding.

/// Appends `path` to `out` with every `%XX` replaced by the byte it stands for.
///
/// An escape that is not one (`%zz`, `%4` at the end) is left as it is, as Python's
/// `urllib.parse.unquote_to_bytes` does. `+` stays `+`. What is decoded may be any byte, NUL and `/` included.
pub fn decode_path(path: &[u8], out: &mut Vec<u8>) {
    out.reserve(path.len());
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if let [_, high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = tail;
        } else {
            out.push(b'%');
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest);
}

/// The first byte of `path`, decoded as [`decode_path`] does, and how many bytes it takes up. `None`: there is none.
pub fn first(path: &[u8]) -> Option<(u8, usize)> {
    match path {
        [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => Some((high << 4 | low, 3)),
            _ => Some((b'%', 1)),
        },
        [byte, ..] => Some((*byte, 1)),
        [] => None,
    }
}

/// Appends one segment of a path, decoded. `None` where an escape is not one.
pub(crate) fn decode_segment(segment: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = segment;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let [_, high, low, tail @ ..] = &rest[at..] else { return None };
        out.push(hex(*high)? << 4 | hex(*low)?);
        rest = tail;
    }
    out.extend_from_slice(rest);
    Some(())
}

/// Appends `path` with every byte encoded but letters, digits, `-._~` and `/`: what RFC 3986 §2.3 calls unreserved, as
/// Python's `urllib.parse.quote` does.
pub fn encode_path(path: &[u8], out: &mut Vec<u8>) {
    out.reserve(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(byte);
        } else {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Value of a hexadecimal digit of either case.
pub(crate) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(path: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decode_path(path, &mut out);
        out
    }

    #[test]
    fn escapes_become_bytes() {
        assert_eq!(decoded(b"/a%20b%2Fc%c3%A9"), b"/a b/c\xc3\xa9");
        assert_eq!(decoded(b"/%00%ff"), b"/\x00\xff");
        assert_eq!(decoded(b"/plain+plus"), b"/plain+plus");
    }

    #[test]
    fn what_is_no_escape_stays() {
        for path in [&b"%"[..], b"%4", b"%zz", b"/100%", b"%%", b"%g0", b"%0g"] {
            assert_eq!(decoded(path), path);
        }
        assert_eq!(decoded(b"%%41"), b"%A");
        assert_eq!(decoded(b"%2541"), b"%41", "decoded once, not twice");
    }
}
