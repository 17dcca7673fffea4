//! Fuzzing what scripts write: whatever it is, however it is cut. See `fuzz/README.md`.

mod support;

use stdserve_proto::cgi::{BadHead, BodyReader, Form, Head, HeadReader, Redirect};
use stdserve_proto::h1::{BodySize, HeadError, ResponseContext, ResponseEncoder, Version};
use support::fuzzing::{Random, cuts, mutate, run, show_on_panic};

const SEEDS: &[&[u8]] = &[
    b"Content-Type: text/html\r\n\r\n<p>body",
    b"Status: 404 Not here\nContent-Type: text/plain\nX-A: b\nX-A: c\n\nbody",
    b"Location: /local?query#fragment\n\n",
    b"Location: https://example.com/\nStatus: 301\nContent-Length: 4\n\nbody",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.0 103 Early\r\n\r\nHTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    b"\n\n",
];

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\n\n",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\xff",
    b":",
    b"Status:",
    b"Status: 99\n",
    b"Location: /\n",
    b"Location: x y\n",
    b"Content-Type: a/b\n",
    b"Content-Length: 5\n",
    b"Content-Length: 99999999999999999999\n",
    b"Transfer-Encoding: chunked\n",
    b"Transfer-Encoding: gzip\n",
    b"HTTP/1.1 200 OK\n",
    b"HTTP/1.1 100 Go\n\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
];

/// Head and body as read from pieces that end at `cuts`.
fn read(
    form: Form,
    raw: &[u8],
    cuts: &[usize],
    limit: usize,
) -> Result<Option<(Head, Vec<u8>, bool)>, BadHead> {
    let mut reader = HeadReader::new(form, limit);
    let mut answer: Option<(Head, BodyReader, Vec<u8>)> = None;
    let mut start = 0;
    for &end in cuts {
        let mut piece = &raw[start..end];
        start = end;
        if answer.is_none() {
            let Some((consumed, head)) = reader.feed(piece)? else { continue };
            piece = &piece[consumed..];
            answer = Some((head.clone(), BodyReader::of(&head), Vec::new()));
        }
        if let Some((_, decoder, body)) = &mut answer {
            let mut piece = piece.to_vec();
            decoder.decode(&mut piece)?;
            body.append(&mut piece);
        }
    }
    Ok(answer.map(|(head, decoder, body)| (head, body, decoder.is_whole())))
}

/// What is accepted can be sent, but for what the server says itself.
fn check_head(head: &Head) {
    let context = ResponseContext { version: Version::Http11, head_only: false, keep_alive: true };
    let mut out = Vec::new();
    let mut encoder = ResponseEncoder::begin(&mut out, context, head.status(), head.reason())
        .expect("a status that can be sent");
    for (name, value) in head.fields() {
        match encoder.field(&mut out, name, value) {
            Ok(()) | Err(HeadError::HopByHop) => {}
            Err(error) => panic!("{}: {error}", name.escape_ascii()),
        }
    }
    assert_eq!(encoder.content_length(), head.content_length());
    encoder.finish(&mut out, BodySize::Unknown, b"now", None);
    assert!(!out.windows(4).rev().skip(1).any(|window| window == b"\r\n\r\n"), "a second head");
    if let Redirect::Local(target) = head.redirect() {
        assert!(target.starts_with(b"/") && target.iter().all(|byte| (0x21..0x7f).contains(byte)));
    }
}

#[test]
fn script_output() {
    let corpus: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.to_vec()).collect();
    run("fuzz_cgi", "script_output", |seed| {
        let mut random = Random(seed);
        let mut raw = corpus[random.below(corpus.len())].clone();
        mutate(&mut raw, &corpus, WORDS, &mut random);
        let form = if random.one_in(2) { Form::Nph } else { Form::Parsed };
        let limit = if random.one_in(4) { random.below(100) } else { 10_000 };
        let cuts = cuts(raw.len(), &mut random);
        show_on_panic(&raw, || {
            let whole = read(form, &raw, &[raw.len()], limit);
            assert_eq!(read(form, &raw, &cuts, limit).is_err(), whole.is_err(), "however it is cut");
            if let Ok(Some((head, body, _))) = &whole {
                check_head(head);
                assert!(body.len() <= raw.len());
                assert_eq!(read(form, &raw, &cuts, limit), whole, "however it is cut");
            }
        });
    });
}
