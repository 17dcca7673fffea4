//! Fuzzing the files that lines are looked for in: gzip, good and spoilt, and any text. See `fuzz/README.md`.

mod support;

use stdserve_proto::gzip::{Members, gunzip, gzip};
use stdserve_proto::lines::Matches;

use support::fuzzing::{Random, mutate, run, show_on_panic};

const WORDS: &[&[u8]] =
    &[b"\n", b"\r\n", b"robots", b"rob", b"\0", b"\0\0\0\0", b"\x1f", b"\x1f\x8b\x08", b"aaaa", b"\xff"];

fn text(random: &mut Random) -> Vec<u8> {
    (0..random.below(60)).flat_map(|_| random.pick(WORDS)).copied().collect()
}

/// Inflates all of it, in pieces of any size; what is wrong, without the place: where it shows depends on the pieces.
fn inflate(data: &[u8], random: &mut Random, most: usize) -> Result<Vec<u8>, &'static str> {
    let mut members = Members::default();
    let mut inflated = Vec::new();
    let mut rest = data;
    let mut given = 0;
    loop {
        let mut output = vec![0; 1 + random.below(most)];
        let (taken, made) = members.inflate(&rest[..given], &mut output).map_err(|error| {
            assert!(error.offset <= data.len() as u64);
            error.what
        })?;
        assert!(taken <= given && made <= output.len());
        inflated.extend_from_slice(&output[..made]);
        rest = &rest[taken..];
        given -= taken;
        if (taken, made) == (0, 0) {
            if given == rest.len() {
                return members.finish().map(|()| inflated).map_err(|error| error.what);
            }
            given = rest.len().min(given + 1 + random.below(most));
        }
    }
}

/// No file makes the reader panic or go on for ever; it is read to the same end however it is cut, and as by another
/// reader where that takes it.
#[test]
fn gzip_files() {
    run("fuzz_lines", "gzip_files", |seed| {
        let mut random = Random(seed);
        let corpus: Vec<Vec<u8>> =
            (0..3).map(|_| [gzip(&text(&mut random)), gzip(&text(&mut random))].concat()).collect();
        let mut raw = corpus[0].clone();
        mutate(&mut raw, &corpus, WORDS, &mut random);
        show_on_panic(&raw, || {
            let whole = inflate(&raw, &mut random, 100_000);
            assert_eq!(inflate(&raw, &mut random, 9), whole);
            if let Ok(inflated) = gunzip(&raw, usize::MAX, usize::MAX) {
                assert_eq!(whole, Ok(inflated));
            }
        });
    });
}

/// The lines are those that a loop over lines finds, however the text is cut.
#[test]
fn lines_of_any_text() {
    run("fuzz_lines", "lines_of_any_text", |seed| {
        let mut random = Random(seed);
        let raw = text(&mut random);
        let needle = random.pick(&[&b"robots"[..], b"aa", b"", b"\xff\0"]);
        let most = 1 + random.below(100);
        show_on_panic(&raw, || {
            let mut matches = Matches::new(needle, usize::MAX);
            let mut found = Vec::new();
            let mut rest = &raw[..];
            while !rest.is_empty() {
                let space = matches.space();
                let length = rest.len().min(1 + random.below(most)).min(space.len());
                space[..length].copy_from_slice(&rest[..length]);
                matches.filled(length);
                rest = &rest[length..];
                while let Some(line) = matches.next().expect("none is too long") {
                    found.push(line.to_vec());
                }
            }
            found.extend(matches.finish().expect("none is too long").map(<[u8]>::to_vec));
            let lines =
                raw.split_inclusive(|byte| *byte == b'\n').map(|line| match line.strip_suffix(b"\n") {
                    Some(content) => content.strip_suffix(b"\r").unwrap_or(content),
                    None => line,
                });
            let has =
                |line: &&[u8]| needle.is_empty() || line.windows(needle.len()).any(|part| part == needle);
            assert_eq!(found, lines.filter(has).collect::<Vec<_>>());
        });
    });
}
