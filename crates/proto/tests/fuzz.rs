//! Fuzzing on stable Rust: inputs made from the wire fixtures by mutation, checked against the rules that hold for
//! any input. `fuzz/README.md` says how to run it longer and how to repeat a failure.

mod support;

use std::fmt::Write as _;
use std::fs;

use stdserve_proto::h1::{BodySize, HeadLimits, ResponseContext, Version};
use support::answers::{Answer, check_answer};
use support::fuzzing::{Random, cuts, mutate, run, show_on_panic};
use support::rules::check_stream;
use support::wire_dir;

fn corpus(of: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        fs::read_dir(wire_dir()).expect("tests/wire").map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
    paths.retain(|path| of(&path.file_stem().unwrap_or_default().to_string_lossy()));
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).expect("readable")).collect();
    assert!(!seeds.is_empty());
    seeds
}

/// What has a meaning to a parser of HTTP.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b":",
    b",",
    b";",
    b"=",
    b"\"",
    b"\\",
    b"_",
    b"#",
    b"?",
    b"/",
    b"*",
    b"@",
    b"[::1]",
    b"%00",
    b"http://h/",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"Host: h\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
    b"gzip, ",
    b"identity",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"GET / HTTP/1.1\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff",
    b"18446744073709551615",
    b"-1",
    b"+1",
    b"0x",
    b";a=b",
    b";a=\"b\"",
    b"Proxy: x\r\n",
];

#[test]
fn heads() {
    let corpus = corpus(|name| !name.starts_with("chunk") && !name.starts_with("limit"));
    run("fuzz", "heads", |seed| {
        let mut random = Random(seed);
        let mut raw = corpus[random.below(corpus.len())].clone();
        mutate(&mut raw, &corpus, WORDS, &mut random);
        let mut limits = HeadLimits::default();
        if random.one_in(4) {
            limits = HeadLimits {
                request_line: random.below(60),
                fields: random.below(6),
                field_size: random.below(60),
                head_total: random.below(200),
            };
        }
        let cuts = cuts(raw.len(), &mut random);
        show_on_panic(&raw, || drop(check_stream(&raw, &cuts, &limits)));
    });
}

#[test]
fn chunked_bodies() {
    let corpus = corpus(|name| name.starts_with("chunk"));
    run("fuzz", "chunked_bodies", |seed| {
        let mut random = Random(seed);
        let mut raw = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let head = raw.len();
        let mut body = if random.one_in(2) {
            let seed = &corpus[random.below(corpus.len())];
            seed.windows(4)
                .position(|end| end == b"\r\n\r\n")
                .map_or_else(Vec::new, |at| seed[at + 4..].to_vec())
        } else {
            chunks(&mut random)
        };
        mutate(&mut body, &corpus, WORDS, &mut random);
        raw.extend(body);
        let cuts = cuts(raw.len(), &mut random);
        show_on_panic(&raw, || {
            let (seen, _) = check_stream(&raw, &cuts, &HeadLimits::default());
            if let Some(first) = seen.first() {
                assert_eq!(Some(&first.body), decode(&raw[head..]).as_ref(), "as a plain decoder reads it");
            }
        });
    });
}

/// A chunked body that is mostly good.
fn chunks(random: &mut Random) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..random.below(6) {
        let size = 1 + random.below(40);
        let extension = random.pick(&["", "", ";a", ";a=b", "; a = \"b c\"", " ;a", ";a;b=\"\\\"\""]);
        body.extend(format!("{}{size:x}{extension}\r\n", "0".repeat(random.below(3))).bytes());
        body.extend((0..size).map(|_| random.next() as u8));
        body.extend(b"\r\n");
    }
    body.extend(
        random.pick(&["0\r\n\r\n", "000\r\n\r\n", "0;a\r\n\r\n", "0\r\nA: b\r\n\r\n", "0\r\n"]).bytes(),
    );
    body
}

/// Chunks as one would decode them who trusts the sender: no check but the sizes. What the machine accepts must come
/// out the same here, or the two could be played off against each other.
fn decode(mut raw: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = raw.windows(2).position(|end| end == b"\r\n")?;
        let line = String::from_utf8_lossy(&raw[..end]);
        let digits = line.split(|c: char| !c.is_ascii_hexdigit()).next()?;
        let size = usize::from_str_radix(digits, 16).ok()?;
        raw = &raw[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(raw.get(..size)?);
        raw = raw.get(size + 2..)?;
    }
}

#[test]
fn response_heads() {
    run("fuzz", "response_heads", |seed| {
        let mut random = Random(seed);
        let names: &[&[u8]] = &[
            b"Content-Type",
            b"Content-Length",
            b"Set-Cookie",
            b"X-A",
            b"Date",
            b"Server",
            b"Connection",
            b"Upgrade",
            b"",
            b"A B",
            b"A:",
            b"\xff",
        ];
        let values: &[&[u8]] =
            &[b"text/html", b"5", b"0", b"18446744073709551616", b"a; b=\"c\"", b"", b"caf\xe9", b" 7 "];
        let spoil = |bytes: &[u8], random: &mut Random| {
            let mut bytes = bytes.to_vec();
            if random.one_in(6) {
                let at = random.below(bytes.len() + 1);
                bytes.splice(at..at, random.pick(WORDS).iter().copied());
            }
            bytes
        };
        let fields = (0..random.below(10)).map(|_| {
            let (name, value) = (random.pick(names), random.pick(values));
            (spoil(name, &mut random), spoil(value, &mut random))
        });
        let fields = fields.collect();
        let status = if random.one_in(10) { random.next() as u16 } else { 200 + random.below(400) as u16 };
        let answer = Answer {
            context: ResponseContext {
                version: if random.one_in(3) { Version::Http10 } else { Version::Http11 },
                head_only: random.one_in(5),
                keep_alive: random.one_in(2),
            },
            status: random.pick(&[&status, &status, &204, &304]).to_owned(),
            reason: spoil(b"OK", &mut random),
            fields,
            size: if random.one_in(2) {
                BodySize::Unknown
            } else {
                BodySize::Known(random.next() >> random.below(64))
            },
            server: random.one_in(2),
        };
        let mut text = String::new();
        let _ = write!(text, "{answer:?}");
        show_on_panic(text.as_bytes(), || check_answer(&answer));
    });
}
