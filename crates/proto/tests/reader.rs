//! What a server relies on in `RequestReader` and `RequestHead`, beside the wire fixtures.

use stdserve_proto::h1::{
    BodyLength, Event, HeadLimits, Phase, Refusal, RequestHead, RequestReader, Version,
};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nCookie: c\r\n\r\n";

fn read(reader: &mut RequestReader, input: &[u8], head: &mut RequestHead) -> Result<(usize, Event), Refusal> {
    reader.read(input, &HeadLimits::default(), head)
}

#[test]
fn a_reader_is_small() {
    assert!(size_of::<RequestReader>() <= 200, "{} bytes", size_of::<RequestReader>());
}

#[test]
fn phases_follow_the_bytes() {
    let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
    let raw = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
    assert_eq!(reader.phase(), Phase::Idle);
    assert_eq!(read(&mut reader, b"", &mut head), Ok((0, Event::Incomplete)));
    assert!(reader.is_idle());
    assert_eq!(read(&mut reader, &raw[..1], &mut head), Ok((0, Event::Incomplete)));
    assert_eq!(reader.phase(), Phase::Head);
    assert_eq!(read(&mut reader, raw, &mut head), Ok((raw.len() - 2, Event::Head)));
    assert_eq!(reader.phase(), Phase::Body);
    assert_eq!(read(&mut reader, b"", &mut head), Ok((0, Event::Incomplete)));
    assert_eq!(read(&mut reader, b"a", &mut head), Ok((1, Event::Body { start: 0, len: 1 })));
    assert_eq!(read(&mut reader, b"bGET", &mut head), Ok((1, Event::Body { start: 0, len: 1 })));
    assert_eq!(read(&mut reader, b"GET", &mut head), Ok((0, Event::End)));
    assert_eq!(reader.phase(), Phase::End);
    assert_eq!(
        read(&mut reader, b"GET", &mut head),
        Ok((0, Event::End)),
        "until the next request is asked for"
    );
    reader.next_request();
    assert!(reader.is_idle());
}

#[test]
fn an_empty_line_between_requests_is_no_request() {
    let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
    assert_eq!(read(&mut reader, b"\r", &mut head), Ok((0, Event::Incomplete)));
    assert_eq!(read(&mut reader, b"\r\n", &mut head), Ok((2, Event::Incomplete)));
    assert!(reader.is_idle());
    assert_eq!(read(&mut reader, GET, &mut head), Ok((GET.len(), Event::Head)));
}

#[test]
fn the_bytes_of_a_body_never_become_a_request() {
    let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
    let raw = [&b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n"[..], GET].concat();
    let (consumed, _) = read(&mut reader, &raw, &mut head).expect("a head");
    reader.next_request();
    assert_eq!(reader.phase(), Phase::Body, "the next request is not to be had yet");
    assert_eq!(
        read(&mut reader, &raw[consumed..], &mut head),
        Ok((GET.len(), Event::Body { start: 0, len: GET.len() }))
    );
}

#[test]
fn a_refusal_is_for_good() {
    let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
    assert_eq!(read(&mut reader, b"GET /\0", &mut head), Err(Refusal::ControlByte));
    reader.next_request();
    assert_eq!(read(&mut reader, GET, &mut head), Err(Refusal::ControlByte));
    assert_eq!(reader.phase(), Phase::Refused);
}

#[test]
fn a_refused_head_leaves_nothing_behind() {
    let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
    assert_eq!(read(&mut reader, b"GET /a HTTP/1.1\r\nX: y\r\n\r\n", &mut head), Err(Refusal::HostMissing));
    assert_eq!((head.method(), head.path(), head.fields().count()), (&b""[..], &b""[..], 0));
}

#[test]
fn bad_bytes_are_refused_before_the_head_is_complete() {
    let limits = HeadLimits { request_line: 20, fields: 1, field_size: 20, head_total: 60 };
    for (input, refusal) in [
        (&b"GET / HTTP/1.1\n"[..], Refusal::BareLf),
        (b"GET / HTTP/1.1\r\r", Refusal::BareCr),
        (b"GET / HTTP/2", Refusal::VersionUnsupported),
        (b"G\xff", Refusal::Method),
        (b"GET / HTTP/1.1\r\nA ", Refusal::SpaceBeforeColon),
        (b"GET / HTTP/1.1\r\n ", Refusal::ObsFold),
        (b"GET / HTTP/1.1\r\nA: \0", Refusal::ControlByte),
        (b"GET / HTTP/1.1\r\nA: b\n", Refusal::BareLf),
        (b"GET /aaaaaaaaaaaaaaaa", Refusal::RequestLineTooLong),
        (b"GET / HTTP/1.1\r\nA: bbbbbbbbbbbbbbbbbb", Refusal::FieldTooLarge),
        (b"GET / HTTP/1.1\r\nA: b\r\nC", Refusal::TooManyFields),
    ] {
        let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
        assert_eq!(reader.read(input, &limits, &mut head), Err(refusal), "{}", input.escape_ascii());
        let mut reader = RequestReader::new();
        let short = &input[..input.len() - 1];
        assert_eq!(
            reader.read(short, &limits, &mut head),
            Ok((0, Event::Incomplete)),
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn a_head_is_used_again_without_allocating() {
    let mut head = RequestHead::default();
    let mut place = None;
    for _ in 0..3 {
        let mut reader = RequestReader::new();
        assert_eq!(read(&mut reader, GET, &mut head), Ok((GET.len(), Event::Head)));
        let now = head.as_bytes().as_ptr();
        assert_eq!(*place.get_or_insert(now), now);
        head.clear();
        assert!(head.as_bytes().is_empty() && head.fields().next().is_none() && head.host().is_none());
        assert_eq!((head.path(), head.query(), head.target()), (&b""[..], &b""[..], &b""[..]));
    }
}

#[test]
fn fields_are_found_and_taken_out() {
    let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
    read(&mut reader, GET, &mut head).expect("a head");
    assert_eq!(head.field("X-a"), Some(&b"1"[..]), "the first of that name");
    assert_eq!(head.field("missing"), None);
    assert_eq!((head.version(), head.body_length()), (Version::Http11, BodyLength::None));
    head.remove_fields(|name| name.eq_ignore_ascii_case(b"x-a"));
    let names: Vec<_> = head.fields().map(|(name, _)| name).collect();
    assert_eq!(names, [b"Host", &b"Cookie"[..]]);
}

#[test]
fn every_refusal_says_something() {
    for (refusal, status) in [
        (Refusal::HostMissing, 400),
        (Refusal::RequestLineTooLong, 414),
        (Refusal::Expectation, 417),
        (Refusal::HeadTooLarge, 431),
        (Refusal::EncodingUnknown, 501),
        (Refusal::VersionUnsupported, 505),
    ] {
        assert_eq!(refusal.status(), status);
        assert!(refusal.to_string().ends_with('.'));
    }
}
