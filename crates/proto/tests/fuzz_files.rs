//! Fuzzing what clients ask of files: paths, ranges, conditions, forms, patterns. `fuzz/README.md` says how.

mod support;

use stdserve_proto::accept_encoding::Accepted;
use stdserve_proto::clean_path::CleanPath;
use stdserve_proto::conditional::{Conditions, Outcome, Validators};
use stdserve_proto::form_data::{FormError, FormEvent, FormReader, LARGEST_HEAD, Part};
use stdserve_proto::glob::Glob;
use stdserve_proto::ranges::{Ranges, select};

use support::fuzzing::{Random, run, show_on_panic};

/// Words put together without sense, a byte of anything among them now and then.
fn sentence(words: &[&[u8]], most: usize, random: &mut Random) -> Vec<u8> {
    let mut raw = Vec::new();
    for _ in 0..random.below(most) {
        if random.one_in(8) {
            raw.push(random.next() as u8);
        } else {
            raw.extend_from_slice(random.pick(words));
        }
    }
    raw
}

#[test]
fn paths() {
    const WORDS: &[&[u8]] = &[
        b"/",
        b"/",
        b".",
        b"..",
        b"/../",
        b"%2e",
        b"%2E%2e",
        b"%2f",
        b"%5c",
        b"\\",
        b"%00",
        b"%",
        b"%4",
        b"%zz",
        b"%25",
        b"%c0%ae",
        b"%c0%af",
        b"a",
        b"evil.example",
        b".git",
        b".well-known",
        b";",
        b":",
        b"~",
        b"%0d%0a",
    ];
    run("fuzz_files", "paths", |seed| {
        let mut random = Random(seed);
        let raw = sentence(WORDS, 16, &mut random);
        show_on_panic(&raw, || {
            let Ok(path) = CleanPath::parse(&raw) else { return };
            let bytes = path.as_bytes();
            assert!(!bytes.contains(&0));
            if !bytes.is_empty() {
                let bad = |name: &[u8]| matches!(name, b"" | b"." | b"..");
                assert!(!bytes.split(|&byte| byte == b'/').any(bad));
            }
            let mut again = Vec::new();
            path.encode_below(b"", path.is_folder(), &mut again);
            assert!(!again.starts_with(b"//"), "no host");
            assert!(again.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'\\'));
            assert_eq!(CleanPath::parse(&again), Ok(path));
        });
    });
}

#[test]
fn ranges() {
    const WORDS: &[&[u8]] = &[
        b"bytes=",
        b"0-",
        b"-1",
        b"-",
        b",",
        b", ",
        b"0-0",
        b"5-9",
        b"9-5",
        b"100-",
        b"-0",
        b"=",
        b"18446744073709551615",
        b"18446744073709551616-",
        b"0",
        b"1",
        b"7",
        b" ",
        b"\t",
        b"lines=",
    ];
    run("fuzz_files", "ranges", |seed| {
        let mut random = Random(seed);
        let mut raw = if random.one_in(8) { Vec::new() } else { b"bytes=".to_vec() };
        raw.extend(sentence(WORDS, 20, &mut random));
        let length = random.next() >> random.below(64);
        let most = random.below(20);
        show_on_panic(&raw, || {
            let spans = match select(&raw, length, most) {
                Ranges::Whole | Ranges::Unsatisfiable => return,
                Ranges::One(span) => vec![span],
                Ranges::Several(spans) => spans,
            };
            assert!(!spans.is_empty() && spans.len() <= most);
            for (at, span) in spans.iter().enumerate() {
                assert!(span.start < span.end && span.end <= length);
                assert!(spans[..at].iter().all(|other| span.start > other.end || other.start > span.end));
            }
        });
    });
}

#[test]
fn conditions() {
    const WORDS: &[&[u8]] = &[
        b"\"",
        b"\"a\"",
        b"W/\"a\"",
        b"W/",
        b"*",
        b",",
        b", ",
        b"\\",
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:38 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"99999",
        b"bytes=0-",
        b"gzip",
        b";q=0.5",
        b"br",
    ];
    const NAMES: &[&[u8]] = &[
        b"If-Match",
        b"if-none-match",
        b"If-Modified-Since",
        b"IF-UNMODIFIED-SINCE",
        b"If-Range",
        b"Range",
        b"If-Other",
    ];
    run("fuzz_files", "conditions", |seed| {
        let mut random = Random(seed);
        let fields: Vec<_> =
            (0..random.below(5)).map(|_| (random.pick(NAMES), sentence(WORDS, 6, &mut random))).collect();
        let shown: Vec<u8> =
            fields.iter().flat_map(|(name, value)| [name, &b": "[..], value, b"\n"].concat()).collect();
        show_on_panic(&shown, || {
            let mut conditions = Conditions::default();
            for (name, value) in &fields {
                conditions.note(name, value);
                let _ = Accepted::parse(value).best().count();
            }
            let strong = Validators { etag: b"\"a\"", modified: 784_111_777 };
            let weak = Validators { etag: b"W/\"a\"", ..strong };
            // What a weak tag lets through, a strong one does too; both are the same where weakness does not count.
            if conditions.judge(true, Some(weak)) != Outcome::Failed {
                assert_eq!(conditions.judge(true, Some(weak)), conditions.judge(true, Some(strong)));
            }
            assert_ne!(conditions.judge(true, None), Outcome::NotModified);
            assert_ne!(conditions.judge(false, Some(strong)), Outcome::NotModified);
            assert!(conditions.range(strong).is_none() || conditions.has_range());
        });
    });
}

type Parts = Result<(Vec<(Part, Vec<u8>)>, bool), FormError>;

/// Reads `body` in pieces of the sizes that `step` gives. The flag says that it came to its end.
fn read(body: &[u8], mut step: impl FnMut() -> usize) -> Parts {
    let mut reader = FormReader::new(b"multipart/form-data; boundary=xy").expect("a form");
    let (mut parts, mut buffer, mut fed) = (Vec::new(), Vec::new(), 0);
    loop {
        let (done, event) = reader.read(&buffer)?;
        assert!(done <= buffer.len());
        let mut hungry = false;
        match event {
            FormEvent::Incomplete => hungry = true,
            FormEvent::Part(part) => parts.push((part, Vec::new())),
            FormEvent::Data { start, len } => {
                assert!(len > 0 && start + len <= done);
                let last: &mut (Part, Vec<u8>) = parts.last_mut().expect("data of a part");
                last.1.extend_from_slice(&buffer[start..start + len]);
            }
            FormEvent::PartEnd => {}
            FormEvent::End => return Ok((parts, true)),
        }
        buffer.drain(..done);
        if hungry {
            assert!(buffer.len() <= FormReader::LARGEST_STEP, "nothing is held for long");
            if fed == body.len() {
                return Ok((parts, false));
            }
            let to = (fed + step().max(1)).min(body.len());
            buffer.extend_from_slice(&body[fed..to]);
            fed = to;
        }
    }
}

#[test]
fn forms() {
    let long = vec![b'a'; LARGEST_HEAD];
    run("fuzz_files", "forms", |seed| {
        let mut random = Random(seed);
        let words: &[&[u8]] = &[
            b"--xy",
            b"\r\n--xy",
            b"\r\n--xy\r\n",
            b"\r\n--xy--",
            b"--",
            b"\r\n",
            b"\r",
            b"\n",
            b" ",
            b"-",
            b"Content-Disposition: form-data; name=a\r\n\r\n",
            b"content-disposition:form-data;filename=\"b\\\"c\"; name=\"f\"\r\n\r\n",
            b"filename=\"",
            b"\\",
            b"; name",
            b"=",
            b"A: b\r\n",
            b"data",
        ];
        let mut body = if random.one_in(3) { Vec::new() } else { b"--xy\r\n".to_vec() };
        body.extend(sentence(words, 20, &mut random));
        if random.one_in(50) {
            let at = random.below(body.len() + 1);
            body.splice(at..at, long.iter().copied());
        }
        show_on_panic(&body, || {
            let whole = read(&body, || usize::MAX / 2);
            let pieces = read(&body, || random.below(12));
            assert_eq!(whole, pieces);
        });
    });
}

#[test]
fn patterns() {
    fn obvious(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern, path) {
            ([], _) => path.is_empty(),
            ([b'*', b'*', rest @ ..], _) => (0..=path.len()).any(|at| obvious(rest, &path[at..])),
            ([b'*', rest @ ..], _) => (0..=path.len())
                .take_while(|&at| at == 0 || path[at - 1] != b'/')
                .any(|at| obvious(rest, &path[at..])),
            ([b'?', rest @ ..], [byte, tail @ ..]) => *byte != b'/' && obvious(rest, tail),
            ([wanted, rest @ ..], [byte, tail @ ..]) => wanted == byte && obvious(rest, tail),
            (_, []) => false,
        }
    }
    run("fuzz_files", "patterns", |seed| {
        let mut random = Random(seed);
        let text = |letters: &[&'static str], most: usize, random: &mut Random| -> String {
            (0..random.below(most)).map(|_| random.pick(letters)).collect()
        };
        let pattern = format!("/{}", text(&["a", "b", "/", "?", "*"], 9, &mut random));
        let path = text(&["a", "b", "/"], 9, &mut random);
        let wild = text(&["a", "*", "?", "{", "}", ",", "\\", "/"], 20, &mut random);
        show_on_panic(format!("{pattern} {path} {wild}").as_bytes(), || {
            let glob = Glob::parse(&pattern).expect("a pattern");
            assert_eq!(glob.matches(path.as_bytes()), obvious(&pattern.as_bytes()[1..], path.as_bytes()));
            if let Ok(glob) = Glob::parse(&wild) {
                let _ = glob.matches(path.as_bytes());
            }
        });
    });
}
