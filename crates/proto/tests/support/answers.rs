//! What must hold for every response head, whatever an application gives.

use stdserve_proto::h1::{BodyFraming, BodySize, HeadError, ResponseContext, ResponseEncoder, Version};

/// What an application answers.
#[derive(Debug, Clone)]
pub struct Answer {
    pub context: ResponseContext,
    pub status: u16,
    pub reason: Vec<u8>,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub size: BodySize,
    pub server: bool,
}

const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// Encodes `answer`, leaving out the fields that are refused, and checks the bytes.
pub fn check_answer(answer: &Answer) {
    let mut out = b"what was there before".to_vec();
    let before = out.len();
    let begun = ResponseEncoder::begin(&mut out, answer.context, answer.status, &answer.reason);
    let Ok(mut encoder) = begin_is_right(answer, begun) else {
        assert_eq!(out.len(), before, "nothing is written of what is refused");
        return;
    };
    let mut given = Vec::new();
    for (name, value) in &answer.fields {
        let length = out.len();
        match encoder.field(&mut out, name, value) {
            Ok(()) => given.push((name.clone(), value.clone())),
            Err(HeadError::ContentLengthRepeated) => return,
            Err(_) => assert_eq!(out.len(), length, "nothing is written of what is refused"),
        }
    }
    let declared = encoder.content_length();
    let framing = encoder.finish(&mut out, answer.size, DATE, answer.server.then_some(b"stdserve"));

    let head = &out[before..];
    assert!(head.ends_with(b"\r\n\r\n"));
    let text = &head[..head.len() - 4];
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(text.get(at + 1), Some(&b'\n')),
            b'\n' => assert_eq!(text[at - 1], b'\r'),
            b'\t' | 0x20..=0x7e | 0x80.. => {}
            _ => panic!("a control byte on the wire: {answer:?}"),
        }
    }
    let mut store = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut store);
    assert_eq!(response.parse(head), Ok(httparse::Status::Complete(head.len())), "{answer:?}");
    assert_eq!(response.code, Some(answer.status));
    let all = |name: &str| {
        let of_name = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        of_name.map(|field| field.value).collect::<Vec<_>>()
    };
    let expected = given.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(b"content-length")).count();
    let ours = response.headers.len() - expected;
    assert!(ours <= 4, "only what the server adds comes beside what was given: {answer:?}");

    assert!(!all("date").is_empty());
    assert_eq!(!all("server").is_empty(), answer.server || has(&given, b"server"));
    let lengths: Vec<u64> = all("content-length").iter().map(|value| number(value)).collect();
    let chunked = all("transfer-encoding");
    assert!(lengths.len() + chunked.len() <= 1);
    match framing.body {
        BodyFraming::None => {
            assert!(answer.context.head_only || matches!(answer.status, 204 | 304));
            assert!(chunked.is_empty());
            assert!(answer.status != 204 || lengths.is_empty());
        }
        BodyFraming::Length(length) => {
            assert_eq!(lengths, [length]);
            assert!(declared.is_none_or(|declared| declared == length));
        }
        BodyFraming::Chunked => {
            assert_eq!((&chunked[..], answer.context.version), (&[&b"chunked"[..]][..], Version::Http11));
        }
        BodyFraming::UntilClose => assert!(lengths.is_empty() && chunked.is_empty() && !framing.keep_alive),
    }
    let connection = all("connection");
    match (framing.keep_alive, answer.context.version) {
        (false, _) => assert_eq!(connection, [b"close"]),
        (true, Version::Http10) => assert_eq!(connection, [b"keep-alive"]),
        (true, Version::Http11) => assert!(connection.is_empty()),
    }
    assert!(answer.context.keep_alive || !framing.keep_alive);
}

fn begin_is_right<T>(answer: &Answer, begun: Result<T, HeadError>) -> Result<T, HeadError> {
    let plain = |&byte: &u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    let good = (200..=999).contains(&answer.status) && answer.reason.iter().all(plain);
    assert_eq!(begun.is_ok(), good, "{answer:?}");
    begun
}

fn has(fields: &[(Vec<u8>, Vec<u8>)], name: &[u8]) -> bool {
    fields.iter().any(|(found, _)| found.eq_ignore_ascii_case(name))
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).expect("a number")
}
