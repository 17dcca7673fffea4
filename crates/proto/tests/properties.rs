//! Properties of the HTTP/1 machine over generated requests and responses.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use stdserve_proto::h1::{BodySize, HeadLimits, ResponseContext, Version, encode_chunk};
use support::answers::{Answer, check_answer};
use support::rules::{check_stream, serialise};
use support::{Ending, Seen};

/// Rising cuts that end at `length`, from any numbers.
fn cuts(length: usize, at: &[usize]) -> Vec<usize> {
    let mut cuts: Vec<usize> = at.iter().map(|at| at % (length + 1)).collect();
    cuts.push(length);
    cuts.sort_unstable();
    cuts
}

/// Field lines that have no say in framing, and some that do.
fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = "[A-Za-z0-9!#$%&'*+.^`|~-]{1,20}".prop_filter("has its own place", |name| {
        let known =
            ["host", "content-length", "transfer-encoding", "content-type", "expect", "proxy", "connection"];
        !known.iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    let value = vec(prop_oneof![8 => 0x21u8..0x7f, 1 => 0x80u8.., 1 => Just(b' '), 1 => Just(b'\t')], 0..40)
        .prop_map(|value| value.trim_ascii().to_vec());
    let plain = (name.prop_map(String::into_bytes), value);
    let connection =
        (Just(b"Connection".to_vec()), prop_oneof![Just(b"keep-alive".to_vec()), Just(b"x, y".to_vec())]);
    prop_oneof![9 => plain, 1 => connection]
}

prop_compose! {
    /// A request that has to be accepted, and its meaning.
    fn good_request()(
        method in "[A-Z][A-Z0-9-]{0,10}".prop_filter("has its own target", |method| method != "CONNECT"),
        path in "/[!-\"$->@-~]{0,40}",
        query in "[!-\"$-~]{0,20}",
        mut fields in vec(field(), 0..12),
        body in vec(any::<u8>(), 0..200),
        framing in 0..3,
        at in any::<prop::sample::Index>(),
    ) -> Seen {
        fields.insert(at.index(fields.len() + 1), (b"hoSt".to_vec(), b"h:80".to_vec()));
        let body = match framing {
            0 => Vec::new(),
            1 => {
                let length = body.len().to_string().into_bytes();
                fields.insert(at.index(fields.len() + 1), (b"Content-length".to_vec(), length));
                body
            }
            _ => {
                fields.insert(at.index(fields.len() + 1), (b"transfer-Encoding".to_vec(), b"Chunked".to_vec()));
                body
            }
        };
        Seen {
            method: method.into_bytes(),
            target: format!("{path}?{query}").into_bytes(),
            path: path.into_bytes(),
            query: query.into_bytes(),
            version: Version::Http11,
            host: Some(b"h:80".to_vec()),
            fields,
            codings: Vec::new(),
            body,
            keep_alive: true,
            expects_continue: false,
        }
    }
}

/// Bytes that resemble requests: pieces of the grammar, put together without sense.
fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /a?b HTTP/1.1\r\n",
        b"GET",
        b" ",
        b"/",
        b"HTTP/1.",
        b"HTTP/1.0\r\n",
        b"1",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"Host: h\r\n",
        b"Host",
        b":",
        b"Content-Length: 5\r\n",
        b"Content-Length: ",
        b"0",
        b"hello",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b";a=b",
        b";a=\"b\\\"\"",
        b"\t",
        b"\0",
        b"\xff",
        b"_",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"A: b\r\n",
        b",",
        b"http://h/",
        b"*",
        b"OPTIONS",
        b"CONNECT h:1 HTTP/1.1\r\n",
    ];
    vec(prop::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

fn answer() -> impl Strategy<Value = Answer> {
    let any_bytes = || vec(prop_oneof![6 => 0x20u8..0x7f, 1 => any::<u8>()], 0..20);
    let name = prop_oneof![
        6 => "[A-Za-z-]{1,12}".prop_map(String::into_bytes),
        1 => prop::sample::select(vec!["Date", "server", "Content-Length", "Connection", "TE", "Transfer-Encoding"])
            .prop_map(|name| name.as_bytes().to_vec()),
        1 => any_bytes(),
    ];
    let value = prop_oneof![4 => any_bytes(), 1 => "[0-9]{1,6}".prop_map(String::into_bytes)];
    let size = prop_oneof![
        Just(BodySize::Unknown),
        any::<u64>().prop_map(BodySize::Known),
        Just(BodySize::Known(0))
    ];
    let status = prop_oneof![4 => 200u16..600, 1 => any::<u16>(), 1 => Just(204), 1 => Just(304)];
    let version = prop_oneof![Just(Version::Http10), Just(Version::Http11)];
    (status, any_bytes(), vec((name, value), 0..12), size, version, any::<[bool; 3]>()).prop_map(
        |(status, reason, fields, size, version, [head_only, keep_alive, server])| Answer {
            context: ResponseContext { version, head_only, keep_alive },
            status,
            reason,
            fields,
            size,
            server,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A good request is accepted as what it means, wherever its bytes are cut.
    #[test]
    fn good_requests_keep_their_meaning(seen in good_request(), at in vec(any::<usize>(), 0..8)) {
        let raw = serialise(&seen);
        let (found, ending) = check_stream(&raw, &cuts(raw.len(), &at), &HeadLimits::default());
        prop_assert_eq!(found, vec![seen]);
        prop_assert_eq!(ending, Ending::Starved(stdserve_proto::h1::Phase::Idle));
    }

    /// So are several, one behind the other.
    #[test]
    fn pipelined_requests_stay_apart(seen in vec(good_request(), 1..5), at in vec(any::<usize>(), 0..8)) {
        let raw: Vec<u8> = seen.iter().flat_map(serialise).collect();
        let (found, _) = check_stream(&raw, &cuts(raw.len(), &at), &HeadLimits::default());
        prop_assert_eq!(found, seen);
    }

    /// Whatever comes, the cuts make no difference, and what is accepted keeps its meaning.
    #[test]
    fn no_split_makes_a_difference(raw in rubbish(), at in vec(any::<usize>(), 0..8)) {
        check_stream(&raw, &cuts(raw.len(), &at), &HeadLimits::default());
    }

    /// Nor with tight limits, which have to strike at the same byte.
    #[test]
    fn limits_strike_at_the_same_byte(
        seen in good_request(),
        at in vec(any::<usize>(), 0..8),
        (request_line, fields, field_size, head_total) in (10usize..80, 0usize..12, 0usize..60, 10usize..600),
    ) {
        let raw = serialise(&seen);
        let limits = HeadLimits { request_line, fields, field_size, head_total };
        check_stream(&raw, &cuts(raw.len(), &at), &limits);
    }

    /// A body comes back whole from its chunks.
    #[test]
    fn chunks_come_back(parts in vec(vec(any::<u8>(), 0..50), 0..10), at in vec(any::<usize>(), 0..8)) {
        let mut raw = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in &parts {
            encode_chunk(&mut raw, part);
        }
        raw.extend(stdserve_proto::h1::LAST_CHUNK);
        let (found, _) = check_stream(&raw, &cuts(raw.len(), &at), &HeadLimits::default());
        prop_assert_eq!(&found[0].body, &parts.concat());
    }

    /// Whatever an application answers, nothing but a response goes on the wire.
    #[test]
    fn answers_are_responses(answer in answer()) {
        check_answer(&answer);
    }
}
