//! The wire fixtures of `tests/wire`, in memory: whole, in pieces of one byte, and in pieces of seven.

mod support;

use std::fs;

use stdserve_proto::h1::{HeadLimits, Phase};
use support::{Ending, Seen, converse, wire_dir};
use toml::{Table, Value};

struct Fixture {
    name: String,
    raw: Vec<u8>,
    expected: Table,
}

fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(wire_dir()).expect("tests/wire is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "http") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text =
            fs::read_to_string(path.with_extension("toml")).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        fixtures.push(Fixture { name, raw: fs::read(&path).expect("readable"), expected });
    }
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

/// A string of the fixture as bytes: a character stands for the byte of that number.
fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().expect("a string").chars().map(|c| u8::try_from(u32::from(c)).expect("latin-1")).collect()
}

fn limits(expected: &Table) -> HeadLimits {
    let mut limits = HeadLimits::default();
    for (key, value) in expected.get("limits").and_then(Value::as_table).into_iter().flatten() {
        let value = usize::try_from(value.as_integer().expect("a number")).expect("not negative");
        match key.as_str() {
            "request_line" => limits.request_line = value,
            "fields" => limits.fields = value,
            "field_size" => limits.field_size = value,
            other => panic!("no limit {other}"),
        }
    }
    limits
}

fn check_request(seen: &Seen, expected: &Table, name: &str) {
    for (key, value) in expected {
        match key.as_str() {
            "method" => assert_eq!(seen.method, bytes(value), "{name}: method"),
            "path" => assert_eq!(seen.path, bytes(value), "{name}: path"),
            "query" => assert_eq!(seen.query, bytes(value), "{name}: query"),
            "version" => assert_eq!(seen.version.as_str().as_bytes()[5..], bytes(value), "{name}: version"),
            "body" => assert_eq!(seen.body, bytes(value), "{name}: body"),
            "keep_alive" => assert_eq!(Some(seen.keep_alive), value.as_bool(), "{name}: keep_alive"),
            "fields" => {
                let pairs =
                    value.as_array().expect("a list").iter().map(|pair| pair.as_array().expect("a pair"));
                let fields: Vec<_> = pairs.map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect();
                assert_eq!(seen.fields, fields, "{name}: fields");
            }
            "host" | "codings" | "expects_continue" => {}
            other => panic!("{name}: no key {other}"),
        }
    }
    assert_eq!(seen.host, expected.get("host").map(bytes), "{name}: host");
    let codings = expected.get("codings").and_then(Value::as_array).into_iter().flatten();
    assert_eq!(seen.codings, codings.map(bytes).collect::<Vec<_>>(), "{name}: codings");
    let expects = expected.get("expects_continue").and_then(Value::as_bool).unwrap_or(false);
    assert_eq!(seen.expects_continue, expects, "{name}: expects_continue");
}

fn check(fixture: &Fixture, piece: usize) {
    let Fixture { name, raw, expected } = fixture;
    let (seen, ending) = converse(raw, piece, &limits(expected));
    let requests = expected.get("request").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    assert_eq!(seen.len(), requests.len(), "{name}: requests, then {ending:?}");
    for (seen, expected) in seen.iter().zip(requests) {
        check_request(seen, expected.as_table().expect("a table"), name);
    }
    if let Some(refusal) = expected.get("refusal") {
        let Ending::Refused(found) = ending else { panic!("{name}: not refused but {ending:?}") };
        assert_eq!(Some(format!("{found:?}").as_str()), refusal["cause"].as_str(), "{name}");
        assert_eq!(Some(i64::from(found.status())), refusal["status"].as_integer(), "{name}");
        return;
    }
    match expected["then"].as_str() {
        Some("open") => assert_eq!(ending, Ending::Starved(Phase::Idle), "{name}"),
        Some("close") => assert_eq!(ending, Ending::Closed, "{name}"),
        Some("incomplete") => {
            assert!(matches!(ending, Ending::Starved(Phase::Head | Phase::Body)), "{name}: {ending:?}");
        }
        other => panic!("{name}: then = {other:?}"),
    }
}

/// Checks every fixture and names all that fail.
fn check_all(piece: usize) {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 250, "only {} fixtures found", fixtures.len());
    let failed =
        fixtures.iter().filter(|fixture| std::panic::catch_unwind(|| check(fixture, piece)).is_err());
    let failed: Vec<_> = failed.map(|fixture| &fixture.name).collect();
    assert!(failed.is_empty(), "these fail: {failed:?}");
}

#[test]
fn whole() {
    check_all(usize::MAX);
}

#[test]
fn in_one_byte_pieces() {
    check_all(1);
}

#[test]
fn in_pieces_of_seven() {
    check_all(7);
}
