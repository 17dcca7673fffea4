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
    // Without leaving early: names are short, and nearly all are good.
    !bytes.is_empty() && bytes.iter().fold(true, |good, &byte| good & TOKEN[byte as usize])
}

/// Whether a field name has `_` in it.
#[inline]
#[allow(clippy::needless_bitwise_bool)] // without leaving early: names are short
pub(crate) fn has_underscore(name: &[u8]) -> bool {
    name.iter().fold(false, |found, &byte| found | (byte == b'_'))
}

/// Whether `bytes` holds no control byte except HTAB.
#[inline]
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let suspect = words.iter().fold(0, |suspect, word| suspect | control_bits(u64::from_ne_bytes(*word)));
    // A suspect may be a tab: only then, and at the end, byte by byte.
    (if suspect == 0 { rest } else { bytes }).iter().all(|&byte| is_value_byte(byte))
}

/// Not 0 where one of the eight bytes is less than 0x20 or is 0x7f; 0 otherwise.
#[inline]
fn control_bits(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    let not_delete = word ^ (ONES * 0x7f);
    let delete = not_delete.wrapping_sub(ONES) & !not_delete & HIGH;
    below_space | delete
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
            for (before, after) in [(0, 7), (3, 4), (7, 0), (8, 1), (17, 30)] {
                for around in [b"a", b"\xff", b" ", b"\x80", b"\t"] {
                    let bytes = [&around.repeat(before)[..], &[byte], &around.repeat(after)].concat();
                    assert_eq!(is_value(&bytes), is_value_byte(byte), "{byte:#x} at {before}");
                }
            }
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
