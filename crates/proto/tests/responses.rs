//! Response heads as they go on the wire.

use stdserve_proto::h1::{
    BodyFraming, BodySize, Framing, HeadError, ResponseContext, ResponseEncoder, Version, encode_chunk,
    encode_chunk_size, encode_error, phrase,
};

const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
const PLAIN: ResponseContext =
    ResponseContext { version: Version::Http11, head_only: false, keep_alive: true };

/// Status line and fields without Date, and the framing.
fn answer(
    context: ResponseContext,
    status: u16,
    fields: &[(&str, &str)],
    size: BodySize,
) -> (String, Framing) {
    let mut out = Vec::new();
    let mut encoder = ResponseEncoder::begin(&mut out, context, status, b"X").expect("a status");
    for (name, value) in fields {
        encoder.field(&mut out, name.as_bytes(), value.as_bytes()).expect("a field");
    }
    let framing = encoder.finish(&mut out, size, DATE, None);
    let text = String::from_utf8(out).expect("text");
    let text = text.strip_suffix("\r\n\r\n").expect("the end of a head").replace("\r\n", "|");
    (text.replace("|Date: Sun, 06 Nov 1994 08:49:37 GMT", ""), framing)
}

fn error_of(name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    let mut out = Vec::new();
    let mut encoder = ResponseEncoder::begin(&mut out, PLAIN, 200, b"OK").expect("a status");
    let before = out.clone();
    let result = encoder.field(&mut out, name, value);
    assert!(result.is_ok() || out == before, "nothing is written of what is refused");
    result
}

#[test]
fn known_and_unknown_sizes() {
    let old = ResponseContext { version: Version::Http10, ..PLAIN };
    let closing = ResponseContext { keep_alive: false, ..PLAIN };
    let kept = |body| Framing { body, keep_alive: true };
    let closed = |body| Framing { body, keep_alive: false };
    let (known, unknown) = (BodySize::Known(5), BodySize::Unknown);
    for (context, fields, size, head, framing) in [
        (PLAIN, &[][..], known, "Content-Length: 5", kept(BodyFraming::Length(5))),
        (PLAIN, &[], BodySize::Known(0), "Content-Length: 0", kept(BodyFraming::Length(0))),
        (PLAIN, &[("content-length", "7")], unknown, "Content-Length: 7", kept(BodyFraming::Length(7))),
        (PLAIN, &[("Content-Length", "7")], known, "Content-Length: 7", kept(BodyFraming::Length(7))),
        (PLAIN, &[], unknown, "Transfer-Encoding: chunked", kept(BodyFraming::Chunked)),
        (closing, &[], known, "Content-Length: 5|Connection: close", closed(BodyFraming::Length(5))),
        (closing, &[], unknown, "Transfer-Encoding: chunked|Connection: close", closed(BodyFraming::Chunked)),
        (old, &[], known, "Content-Length: 5|Connection: keep-alive", kept(BodyFraming::Length(5))),
        (old, &[], unknown, "Connection: close", closed(BodyFraming::UntilClose)),
    ] {
        assert_eq!(answer(context, 200, fields, size), (format!("HTTP/1.1 200 X|{head}"), framing));
    }
}

#[test]
fn responses_without_body() {
    let head = ResponseContext { head_only: true, ..PLAIN };
    for (context, status, fields, size, text) in [
        (PLAIN, 204, &[("Content-Length", "0")][..], BodySize::Known(0), "HTTP/1.1 204 X"),
        (PLAIN, 304, &[], BodySize::Known(0), "HTTP/1.1 304 X"),
        (PLAIN, 304, &[("Content-Length", "9")], BodySize::Known(0), "HTTP/1.1 304 X|Content-Length: 9"),
        (head, 200, &[("Content-Length", "9")], BodySize::Known(0), "HTTP/1.1 200 X|Content-Length: 9"),
        (head, 200, &[], BodySize::Known(5), "HTTP/1.1 200 X|Content-Length: 5"),
        (head, 200, &[], BodySize::Known(0), "HTTP/1.1 200 X"),
        (head, 200, &[], BodySize::Unknown, "HTTP/1.1 200 X"),
    ] {
        let framing = Framing { body: BodyFraming::None, keep_alive: true };
        assert_eq!(answer(context, status, fields, size), (text.to_owned(), framing));
    }
}

#[test]
fn the_application_has_its_own_date_and_server() {
    let mut out = Vec::new();
    let mut encoder = ResponseEncoder::begin(&mut out, PLAIN, 200, b"").expect("a status");
    encoder.field(&mut out, b"date", b"today").expect("a field");
    encoder.field(&mut out, b"SERVER", b"mine").expect("a field");
    encoder.finish(&mut out, BodySize::Known(0), DATE, Some(b"stdserve"));
    assert_eq!(out, b"HTTP/1.1 200 \r\ndate: today\r\nSERVER: mine\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn both_cookies_are_sent() {
    let cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")];
    let (text, _) = answer(PLAIN, 200, &cookies, BodySize::Known(0));
    assert_eq!(text, "HTTP/1.1 200 X|Set-Cookie: a=1|Set-Cookie: b=2|Content-Length: 0");
}

#[test]
fn what_an_application_may_not_send() {
    for name in [&b""[..], b"A B", b"A:", b"A\r\nB", b"A\0", b"\xe9", b"A(", b" A"] {
        assert_eq!(error_of(name, b"x"), Err(HeadError::Name), "{}", name.escape_ascii());
    }
    for value in [&b"\r\nB: c"[..], b"a\nb", b"a\r", b"\0", b"a\x1b[0m", b"\x7f", b"012345678901234567\n"] {
        assert_eq!(error_of(b"A", value), Err(HeadError::Value), "{}", value.escape_ascii());
    }
    for name in [
        "Connection",
        "keep-alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailers",
        "Trailer",
        "Transfer-Encoding",
        "UPGRADE",
        "Proxy-Connection",
    ] {
        assert_eq!(error_of(name.as_bytes(), b"x"), Err(HeadError::HopByHop), "{name}");
    }
    for value in [&b""[..], b"-1", b"+1", b"1,1", b"0x1", b"18446744073709551616", b"1 1"] {
        assert_eq!(
            error_of(b"Content-Length", value),
            Err(HeadError::ContentLength),
            "{}",
            value.escape_ascii()
        );
    }
    for value in [&b""[..], b"caf\xc3\xa9 \xff", b"a\tb", b"aaaaaaaa\tbbbbbbbbbbbb"] {
        assert_eq!(error_of(b"X-A", value), Ok(()));
    }
}

#[test]
fn two_lengths_are_refused() {
    let mut out = Vec::new();
    let mut encoder = ResponseEncoder::begin(&mut out, PLAIN, 200, b"OK").expect("a status");
    assert_eq!(encoder.field(&mut out, b"Content-Length", b"1"), Ok(()));
    assert_eq!(encoder.content_length(), Some(1));
    assert_eq!(encoder.field(&mut out, b"Content-Length", b"1"), Err(HeadError::ContentLengthRepeated));
}

#[test]
fn statuses() {
    let begin = |status, reason: &[u8]| ResponseEncoder::begin(&mut Vec::new(), PLAIN, status, reason).err();
    assert_eq!(begin(999, b"caf\xe9"), None);
    assert_eq!(begin(200, b""), None);
    for status in [0, 99, 1000, u16::MAX] {
        assert_eq!(begin(status, b""), Some(HeadError::Status));
    }
    assert_eq!(begin(100, b"Continue"), Some(HeadError::Interim));
    assert_eq!(begin(200, b"OK\r\nA: b"), Some(HeadError::Reason));
    assert_eq!((phrase(200), phrase(431), phrase(299)), ("OK", "Request Header Fields Too Large", ""));
}

#[test]
fn chunks() {
    let encoded = |data: &[u8]| {
        let mut out = Vec::new();
        encode_chunk(&mut out, data);
        out
    };
    assert_eq!(encoded(b"hello"), b"5\r\nhello\r\n");
    assert_eq!(encoded(b""), b"", "an empty chunk would end the body");
    for size in [1, 15, 16, 255, 256, 4095, 65536, usize::MAX] {
        let mut out = Vec::new();
        encode_chunk_size(&mut out, size);
        assert_eq!(out, format!("{size:x}\r\n").as_bytes());
    }
}

#[test]
fn an_error_of_the_servers_own() {
    let mut out = Vec::new();
    let context = ResponseContext { keep_alive: false, ..PLAIN };
    let framing =
        encode_error(&mut out, context, 400, ("The method is not a token.", None), DATE, Some(b"stdserve"));
    let text = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nServer: stdserve\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 43\r\nConnection: close\r\n\r\n\
        400 Bad Request\nThe method is not a token.\n";
    assert_eq!(String::from_utf8_lossy(&out), text);
    assert_eq!(framing, Framing { body: BodyFraming::Length(43), keep_alive: false });

    out.clear();
    encode_error(
        &mut out,
        ResponseContext { head_only: true, ..context },
        503,
        ("Busy.", Some(7)),
        DATE,
        None,
    );
    assert!(out.ends_with(b"\r\n\r\n"), "no body for HEAD");
    out.clear();
    encode_error(&mut out, context, 7, ("Odd.", None), DATE, None);
    assert!(out.starts_with(b"HTTP/1.1 500 Internal Server Error\r\n"));
}
