//! Lines of the access log, atom by atom, and that no request can forge one.

use proptest::prelude::*;

use super::*;

type Fields<'a> = &'a [(&'a str, &'a [u8])];

/// An entry with these request fields, given to a function.
fn with<R>(fields: Fields<'_>, then: impl FnOnce(Entry<'_>) -> R) -> R {
    with_target(b"GET", b"/a%20b?q=1", fields, then)
}

/// The same with another method and target.
fn with_target<R>(method: &[u8], target: &[u8], fields: Fields<'_>, then: impl FnOnce(Entry<'_>) -> R) -> R {
    let find = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    then(Entry {
        time: Time { seconds: 971_211_336, micros: 1_500, offset: -7 * 3600 },
        remote: Some("192.0.2.7".parse().expect("an address")),
        method,
        target,
        path: b"/a%20b",
        query: b"q=1",
        protocol: "HTTP/1.1",
        scheme: "https",
        status: 200,
        sent: 2326,
        duration: Duration::from_micros(1_234_567),
        pid: 42,
        id: &|out| out.push(b'7'),
        aborted: false,
        request: &find,
        response: &|name| (name == "content-type").then_some(&b"text/plain"[..]),
    })
}

fn line(format: &str, entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    Format::text(format).expect("valid").render(entry, &mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn gunicorn_s_default() {
    let fields: Fields<'_> =
        &[("referer", b"http://x/"), ("user-agent", b"curl/8"), ("authorization", b"Basic ZnJhbms6c2VjcmV0")];
    let expected = "192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] \"GET /a%20b?q=1 HTTP/1.1\" 200 2326 \"http://x/\" \"curl/8\"\n";
    let mut out = Vec::new();
    with(fields, |entry| Format::default().render(&entry, &mut out));
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn every_atom() {
    with(&[("x-id", b"9")], |entry| {
        for (format, expected) in [
            ("%(h)s", "192.0.2.7"),
            ("%(l)s", "-"),
            ("%(u)s", "-"),
            ("%(t)s", "[10/Oct/2000:13:55:36 -0700]"),
            ("%(r)s", "GET /a%20b?q=1 HTTP/1.1"),
            ("%(m)s %(U)s %(q)s %(H)s", "GET /a%20b q=1 HTTP/1.1"),
            ("%(s)s %(B)s %(b)s", "200 2326 2326"),
            ("%(f)s %(a)s", "- -"),
            ("%(T)s %(M)s %(D)s %(L)s", "1 1234 1234567 1.234567"),
            ("%(p)s", "<42>"),
            ("%({X-Id}i)s %({x-none}i)s", "9 -"),
            ("%({Content-Type}o)s %({x}o)s", "text/plain -"),
            ("%({HTTP_X_ID}e)s %({REQUEST_METHOD}e)s %({wsgi.url_scheme}e)s", "9 GET https"),
            ("%({stdserve.request_id}e)s", "7"),
            ("%(s)d%%, 100%%", "200%, 100%"),
            ("", ""),
            ("plain é", "plain é"),
        ] {
            assert_eq!(line(format, &entry), format!("{expected}\n"), "{format}");
        }
    });
}

#[test]
fn what_is_not_known_is_a_dash() {
    with(&[], |entry| {
        let entry = Entry {
            remote: None,
            method: b"",
            target: b"",
            path: b"",
            query: b"",
            protocol: "",
            status: 0,
            sent: 0,
            ..entry
        };
        assert_eq!(
            line("%(h)s %(m)s %(U)s %(q)s %(H)s %(r)s %(s)s %(b)s %(B)s", &entry),
            "- - - - - - - - 0\n"
        );
    });
}

#[test]
fn mistakes_in_a_format() {
    for (format, expected) in [
        ("%(z)s", "`%(z)s` is not an atom that is known"),
        ("a %(h) b", "`%(h) b` is no atom: write %(NAME)s, or %% for a percent sign"),
        ("%(h", "`%(h` is no atom: write %(NAME)s, or %% for a percent sign"),
        ("%h", "`%h` is no atom: write %(NAME)s, or %% for a percent sign"),
        ("%", "`%` is no atom: write %(NAME)s, or %% for a percent sign"),
        ("%({}i)s", "`%({}i)s` is not an atom that is known"),
        ("%({my.key}e)s", "`%({my.key}e)s` is not an atom that is known"),
        ("a\nb", "`a line break` would end the line"),
    ] {
        assert_eq!(Format::text(format).expect_err(format).to_string(), expected);
    }
}

#[test]
fn escapes() {
    with(&[("user-agent", b"\"\\\n\r\x1b[31m\x00'\xff\x7f ok")], |entry| {
        assert_eq!(line("\"%(a)s\"", &entry), "\"\\x22\\x5c\\x0a\\x0d\\x1b[31m\\x00\\x27\\xff\\x7f ok\"\n");
    });
}

#[test]
fn users() {
    let user =
        |value: &[u8]| with(&[("authorization", value)], |entry| line("%(u)s", &entry).trim_end().to_owned());
    assert_eq!(user(b"Basic ZnJhbms6c2VjcmV0"), "frank");
    assert_eq!(user(b"basic ZnJhbms6"), "frank");
    assert_eq!(user(b"Basic YSBbYl0gIng6eQ=="), "a\\x20[b]\\x20\\x22x");
    // Without a colon, with nothing before it, not base64, of another kind, cut short.
    for other in [
        &b"Basic ZnJhbms="[..],
        b"Basic OnNlY3JldA==",
        b"Basic ***",
        b"Bearer ZnJhbms6",
        b"Basic",
        b"",
        b"Basic A",
    ] {
        assert_eq!(user(other), "-", "{other:?}");
    }
}

#[test]
fn json_lines() {
    let fields: Fields<'_> = &[("user-agent", b"a\"b\\c\n\xe9"), ("authorization", b"Basic YSIgYjp5")];
    let mut out = Vec::new();
    with(fields, |entry| Format::json().render(&entry, &mut out));
    assert_eq!(
        String::from_utf8_lossy(&out),
        concat!(
            r#"{"timestamp":"2000-10-10T20:55:36.001500Z","client.address":"192.0.2.7","http.request.method":"GET","#,
            r#""url.scheme":"https","url.path":"/a%20b","url.query":"q=1","network.protocol.version":"1.1","#,
            r#""http.response.status_code":200,"http.response.body.size":2326,"http.server.request.duration":1.234567,"#,
            r#""user_agent.original":"a\u0022b\u005cc\u000a\u00e9","user.name":"a\u0022 b","process.pid":42,"stdserve.request_id":"7"}"#,
            "\n"
        )
    );
}

#[test]
fn dates() {
    let date = |seconds, offset| {
        let mut out = Vec::new();
        Time { seconds, micros: 0, offset }.common(&mut out);
        String::from_utf8(out).expect("ASCII")
    };
    assert_eq!(date(0, 0), "[01/Jan/1970:00:00:00 +0000]");
    assert_eq!(date(-1, 0), "[31/Dec/1969:23:59:59 +0000]");
    assert_eq!(date(951_782_400, 0), "[29/Feb/2000:00:00:00 +0000]");
    assert_eq!(date(4_107_542_400, 0), "[01/Mar/2100:00:00:00 +0000]");
    assert_eq!(date(1_704_067_199, 5 * 3600 + 1800), "[01/Jan/2024:05:29:59 +0530]");
    assert_eq!(date(1_704_067_200, -1800), "[31/Dec/2023:23:30:00 -0030]");
}

/// A JSON string's end is the first quote that no backslash precedes; the escapes used here need no more.
fn quotes_balance(text: &str) -> bool {
    text.matches('"').count().is_multiple_of(2)
}

proptest! {
    /// Whatever comes from the wire, it is one line, printable, and its quotes are the format's own.
    #[test]
    fn no_request_forges_a_line(
        method in proptest::collection::vec(any::<u8>(), 0..20),
        target in proptest::collection::vec(any::<u8>(), 0..60),
        agent in proptest::collection::vec(any::<u8>(), 0..60),
        authorization in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let fields: Fields<'_> = &[("user-agent", &agent), ("referer", &agent), ("authorization", &authorization)];
        for format in [Format::default(), Format::json()] {
            let mut out = Vec::new();
            with_target(&method, &target, fields, |entry| {
                format.render(&Entry { path: entry.target, query: entry.target, ..entry }, &mut out);
            });
            let text = String::from_utf8(out).expect("ASCII");
            let line = text.strip_suffix('\n').expect("a line break at the end");
            prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
            prop_assert!(quotes_balance(line), "{line}");
            if format == Format::default() {
                prop_assert_eq!(line.matches('"').count(), 6);
            }
        }
    }

    #[test]
    fn no_format_panics(format in "[%(){}a-zA-Z]{0,30}", other in "\\PC{0,30}") {
        let _ = (Format::text(&format), Format::text(&other));
    }

    /// The days of the civil calendar come in order, by the leap year rule.
    #[test]
    fn dates_agree_with_httpdate(seconds in 0_i64..=253_402_300_799) {
        let mut out = Vec::new();
        Time { seconds, micros: 0, offset: 0 }.common(&mut out);
        let ours = String::from_utf8(out).expect("ASCII");
        let theirs = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds as u64));
        let part: Vec<_> = theirs.split(' ').collect();
        prop_assert_eq!(ours, format!("[{}/{}/{}:{} +0000]", part[1], part[2], part[3], part[4]));
    }
}
