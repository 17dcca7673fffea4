//! What must hold whatever bytes come in.

use stdserve_proto::h1::{HeadLimits, Version};

use super::{Ending, Seen, converse, converse_cut};

/// Reads `raw` whole and cut at `cuts`, and checks everything that holds for any input. Returns what was seen.
pub fn check_stream(raw: &[u8], cuts: &[usize], limits: &HeadLimits) -> (Vec<Seen>, Ending) {
    let whole = converse(raw, usize::MAX, limits);
    let pieces = converse_cut(raw, cuts, limits);
    assert_eq!(whole, pieces, "the split of the bytes makes no difference");
    for seen in &whole.0 {
        check_request(seen);
        check_meaning(seen);
    }
    whole
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// What holds for every accepted request. Written anew, and not with the crate's own tables.
fn check_request(seen: &Seen) {
    assert!(is_token(&seen.method) && !seen.method.iter().any(u8::is_ascii_lowercase), "{seen:?}");
    assert!(seen.target.iter().all(u8::is_ascii_graphic), "{seen:?}");
    match seen.path.first() {
        None => assert_eq!(seen.method, b"CONNECT"),
        Some(b'*') => assert_eq!((&seen.method[..], &seen.path[..]), (&b"OPTIONS"[..], &b"*"[..])),
        Some(first) => assert_eq!(*first, b'/', "{seen:?}"),
    }
    assert!(!seen.path.iter().chain(&seen.query).any(|&byte| byte == b'#'), "{seen:?}");
    assert!(!seen.path.contains(&b'?'), "{seen:?}");
    for (name, value) in &seen.fields {
        assert!(is_token(name) && !name.contains(&b'_') && !name.eq_ignore_ascii_case(b"proxy"), "{seen:?}");
        assert!(value.iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f)), "{seen:?}");
        assert!(!value.first().is_some_and(|&byte| byte == b' ' || byte == b'\t'), "{seen:?}");
        assert!(!value.last().is_some_and(|&byte| byte == b' ' || byte == b'\t'), "{seen:?}");
    }
    let count =
        |name: &[u8]| seen.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).count();
    assert!(count(b"host") <= 1 && (count(b"host") == 1 || seen.version == Version::Http10), "{seen:?}");
    assert!(count(b"content-length") == 0 || count(b"transfer-encoding") == 0, "{seen:?}");
    assert!(count(b"transfer-encoding") == 0 || seen.version == Version::Http11, "{seen:?}");
    assert!(count(b"content-type") <= 1, "{seen:?}");
    for (name, value) in &seen.fields {
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).expect("digits");
            assert!(digits.bytes().all(|digit| digit.is_ascii_digit()));
            assert_eq!(digits.parse(), Ok(seen.body.len()), "the body is as long as it says");
        }
    }
}

/// Puts an accepted request into bytes again: they are read as the same request.
fn check_meaning(seen: &Seen) {
    let limits =
        HeadLimits { request_line: 1 << 20, fields: 1 << 10, field_size: 1 << 20, head_total: 1 << 24 };
    let again = converse(&serialise(seen), usize::MAX, &limits).0;
    assert_eq!(again.len(), 1, "{seen:?}");
    assert_eq!(again[0], *seen);
}

/// `seen` as a client would send it.
pub fn serialise(seen: &Seen) -> Vec<u8> {
    let mut raw =
        [&seen.method, &b" "[..], &seen.target, b" ", seen.version.as_str().as_bytes(), b"\r\n"].concat();
    for (name, value) in &seen.fields {
        raw.extend([name, &b": "[..], value, b"\r\n"].concat());
    }
    raw.extend(b"\r\n");
    if seen.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"transfer-encoding")) {
        stdserve_proto::h1::encode_chunk(&mut raw, &seen.body);
        raw.extend(stdserve_proto::h1::LAST_CHUNK);
    } else {
        raw.extend(&seen.body);
    }
    raw
}
