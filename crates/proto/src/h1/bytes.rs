//! Classes of bytes that the grammar of HTTP knows, as tables.

/// `tchar` of RFC 9110 §5.6.2: what a method, a field name or a coding is made of.
const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~", true);
/// `unreserved` and `sub-delims` of RFC 3986 §2: what a registered name is made of, beside escapes.
const NAME: [bool; 256] = table(b"-._~!$&'()*+,;=", true);
/// What a field value is made of: HTAB, SP, visible ASCII, and `obs-text` (RFC 9110 §5.5).
const VALUE: [bool; 256] = {
    let mut value = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        value[byte] = byte == b'\t' as usize;
        byte += 1;
    }
    value[0x7f] = false;
    value
};

const fn table(also: &[u8], alphanumeric: bool) -> [bool; 256] {
    let mut class = [false; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        class[byte as usize] = alphanumeric && byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < also.len() {
        class[also[at] as usize] = true;
        at += 1;
    }
    class
}

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

#[inline]
pub(crate) fn is_value_byte(byte: u8) -> bool {
    VALUE[byte as usize]
}

#[inline]
pub(crate) fn is_name_byte(byte: u8) -> bool {
    NAME[byte as usize]
}

/// Whether `bytes` is a token: at least one `tchar` and nothing else.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `bytes` holds no control byte except HTAB. Without a branch a byte, so that the compiler can take sixteen
/// at a time.
#[inline]
#[allow(clippy::needless_bitwise_bool)] // the lazy operators are the branches
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, &byte| bad | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
}

/// `bytes` without spaces and tabs at either end.
#[inline]
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_value_checks_agree() {
        for byte in 0..=255 {
            assert_eq!(is_value(&[byte]), is_value_byte(byte), "{byte:#x}");
        }
    }

    #[test]
    fn tokens() {
        assert!(is_token(b"X.Custom|Pipe"));
        for bad in [&b""[..], b"a b", b"a:", b"\xc3", b"a\"", b"(", b"a\0"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
