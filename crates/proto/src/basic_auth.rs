//! Basic authentication (RFC 7617), from the server's side.

/// What a client sends behind `Basic ` for this name and password: they are compared as they are sent, so that nothing
/// of a stranger has to be decoded.
pub fn credentials(name: &str, password: &str) -> Vec<u8> {
    base64(format!("{name}:{password}").as_bytes())
}

/// What stands behind `Basic ` in an `Authorization` field. The scheme's name knows no case (RFC 9110 §11.1).
pub fn sent(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then(|| rest.trim_ascii())
}

/// Whether both are the same. Takes the same time wherever they differ; it depends on the length of what was `sent`
/// only.
pub fn same(sent: &[u8], held: &[u8]) -> bool {
    let mut differ = u8::from(sent.len() != held.len());
    for (at, byte) in sent.iter().enumerate() {
        // Past the end of what is held something is compared all the same.
        differ |= byte ^ held.get(at % held.len().max(1)).copied().unwrap_or(0);
    }
    // The compiler must not see that one difference settles it.
    std::hint::black_box(differ) == 0
}

/// RFC 4648 §4, in one line.
fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::xmlrpc::base64::encode_lines(bytes, &mut out);
    out.retain(|byte| !byte.is_ascii_whitespace());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7617_section_2_example() {
        assert_eq!(credentials("Aladdin", "open sesame"), b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(credentials("test", "123\u{a3}"), b"dGVzdDoxMjPCow==");
    }

    #[test]
    fn rfc_4648_section_10_test_vectors() {
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(text.as_bytes()), coded.as_bytes());
        }
    }

    #[test]
    fn what_is_sent() {
        assert_eq!(sent(b"Basic abc"), Some(&b"abc"[..]));
        assert_eq!(sent(b"bASIC  abc "), Some(&b"abc"[..]));
        for other in [&b"Bearer abc"[..], b"Basic", b"", b"Basicabc"] {
            assert_eq!(sent(other), None);
        }
    }

    #[test]
    fn only_the_same_is_the_same() {
        assert!(same(b"abc", b"abc") && same(b"", b""));
        for (a, b) in
            [("abc", "abd"), ("ab", "abc"), ("abc", "ab"), ("", "a"), ("a", ""), ("abab", "ab"), ("\0", "")]
        {
            assert!(!same(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }
}
