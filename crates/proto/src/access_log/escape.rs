//! Bytes from the wire, made harmless.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// For a line of text: control bytes, quotes, backslash and all that is not ASCII become `\xNN`.
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) {
    escaped(
        bytes,
        out,
        |byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\'' | b'\\'),
        b"\\x",
    );
}

/// For a place that spaces would break apart: as [`text`], and spaces too.
pub(super) fn word(bytes: &[u8], out: &mut Vec<u8>) {
    escaped(
        bytes,
        out,
        |byte| (b'!'..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\'' | b'\\'),
        b"\\x",
    );
}

/// For a JSON string (RFC 8259 §7), without its quotes. A byte that is not ASCII becomes the code point of the
/// same number, as in WSGI, so that the bytes can be had back.
pub(super) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    escaped(bytes, out, |byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\\'), b"\\u00");
}

fn escaped(bytes: &[u8], out: &mut Vec<u8>, plain: impl Fn(u8) -> bool, mark: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| !plain(byte)) {
        let byte = rest[at];
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(mark);
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}
