//! Files that are brought, and files that are sent on behalf of an application.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::fs;
use std::io::Write;

use stdserve_server::files::{Files, Handover, Options};
use stdserve_server::{Settings, exchanges};
use support::Running;
use support::site::{Reply, Site};

fn options() -> Options {
    Options { upload: true, upload_limit: 100_000, ..Options::default() }
}

fn put(site: &Site, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Reply {
    site.send(&format!("PUT {path}"), fields, body)
}

/// What is in the root, hidden names too.
fn names(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.root()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const TYPE: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=xyz");

fn form(files: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in files {
        write!(
            body,
            "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n"
        )
        .unwrap();
    }
    body.extend_from_slice(b"--xyz--\r\n");
    body
}

#[test]
fn nothing_can_be_brought_unless_it_is_wished() {
    let site = Site::new().plain();
    assert_eq!(put(&site, "/a", &[], b"x").status, 405);
    assert_eq!(site.send("POST /", &[TYPE], &form(&[("a", "x")])).status, 405);
    assert_eq!(names(&site), Vec::<String>::new());
}

#[test]
fn put_makes_a_file() {
    let site = Site::new().file("sub/x", "x").serve(options());
    let reply = put(&site, "/sub/a%20b.txt", &[], b"content");
    assert_eq!((reply.status, reply.field("Location")), (201, Some("/sub/a%20b.txt")));
    let got = site.get("/sub/a%20b.txt");
    assert_eq!((got.text(), got.field("ETag")), ("content", reply.field("ETag")));
    assert_eq!(put(&site, "/empty", &[("Content-Length", "0")], b"").status, 201);
    assert_eq!(site.get("/empty").text(), "");
    let large = vec![b'x'; 90_000];
    assert_eq!(put(&site, "/large", &[], &large).status, 201);
    assert!(site.get("/large").body == large);
    assert!(site.get("/").text().contains("<form method=\"post\""));
}

#[test]
fn what_is_there_stays_unless_it_may_be_replaced() {
    let site = Site::new().file("a", "old").file("sub/x", "x").serve(options());
    assert_eq!(put(&site, "/a", &[], b"new").status, 409);
    assert_eq!(site.get("/a").text(), "old");
    let site =
        Site::new().file("a", "old").file("sub/x", "x").serve(Options { upload_replace: true, ..options() });
    let etag = site.get("/a").field("ETag").unwrap().to_owned();
    assert_eq!(put(&site, "/a", &[("If-Match", "\"other\"")], b"new").status, 412);
    assert_eq!(put(&site, "/a", &[("If-None-Match", "*")], b"new").status, 412);
    assert_eq!(site.get("/a").text(), "old");
    assert_eq!(put(&site, "/a", &[("If-Match", &etag)], b"new").status, 204);
    assert_eq!(site.get("/a").text(), "new");
    assert_eq!(put(&site, "/b", &[("If-Match", "*")], b"new").status, 412);
    assert_eq!(put(&site, "/b", &[("If-None-Match", "*")], b"new").status, 201);
    assert_eq!(put(&site, "/sub", &[], b"new").status, 409, "a folder is not replaced");
}

#[test]
fn a_compressed_file_does_not_take_the_place_of_a_plain_one_either() {
    let site = Site::new().file("a.html", "old").serve(options());
    for suffix in ["br", "zst", "gz"] {
        let name = format!("a.html.{suffix}");
        assert_eq!(put(&site, &format!("/{name}"), &[], b"new").status, 409, "{name}");
        assert_eq!(site.send("POST /", &[TYPE], &form(&[(&name, "new")])).status, 409, "{name}");
    }
    let accepts = [("Accept-Encoding", "br, zstd, gzip")];
    assert_eq!(site.get_with("/a.html", &accepts).text(), "old");
    assert_eq!(put(&site, "/alone.tar.gz", &[], b"new").status, 201);
    let site = Site::new().file("a.html", "old").serve(Options { upload_replace: true, ..options() });
    assert_eq!(put(&site, "/a.html.gz", &[], b"new").status, 201);
}

#[test]
fn what_cannot_be_brought() {
    let site = Site::new().file("a", "x").link("out", "..").link("out-file", "../new").serve(options());
    let large = vec![b'x'; 100_001];
    for (path, fields, body, status) in [
        ("/../b", &[][..], &b"x"[..], 400),
        ("/%2e%2e/b", &[], b"x", 400),
        ("/..%2fb", &[], b"x", 400),
        ("/out/b", &[], b"x", 409),
        ("/none/b", &[], b"x", 409),
        ("/a/b", &[], b"x", 409),
        ("/b/", &[], b"x", 400),
        ("/", &[], b"x", 400),
        ("/.b", &[], b"x", 403),
        ("/.git/b", &[], b"x", 403),
        ("/out-file", &[], b"x", 409),
        ("/b", &[], &large, 413),
        ("/b", &[("Content-Range", "bytes 0-0/1")], b"x", 400),
        ("/b", &[("Content-Encoding", "gzip")], b"x", 415),
        ("/b", &[("Origin", "https://evil.example")], b"x", 403),
        ("/b", &[("Origin", "null")], b"x", 403),
        ("/b", &[("Sec-Fetch-Site", "cross-site")], b"x", 403),
        ("/b", &[("Sec-Fetch-Site", "same-site")], b"x", 403),
    ] {
        assert_eq!(put(&site, path, fields, body).status, status, "{path} {fields:?}");
    }
    let long = format!("/{}", "b".repeat(256));
    assert_eq!(put(&site, &long, &[], b"x").status, 400);
    assert_eq!(names(&site), ["a", "out", "out-file"], "and nothing is left of it");
    assert!(!site.top.join("b").exists() && !site.top.join("new").exists());
    let same = [("Origin", "http://here"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none")];
    for (n, field) in same.into_iter().enumerate() {
        assert_eq!(put(&site, &format!("/{n}"), &[field], b"x").status, 201, "{field:?}");
    }
}

#[test]
fn a_chunked_body_is_bounded_too() {
    let site = Site::new().serve(options());
    let mut client = site.running().connect();
    client.send("PUT /a HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..11 {
        client.send("2710\r\n");
        client.send([b'x'; 10_000]);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().0, 413);
    assert_eq!(names(&site), Vec::<String>::new());
}

#[test]
fn a_file_is_there_when_it_is_whole_and_not_before() {
    let site = Site::new().serve(options());
    // A server that does not come to it in time fails the test by its limit on time.
    let until = |done: &dyn Fn(&[String]) -> bool| {
        while !done(&names(&site)) {
            std::thread::yield_now();
        }
    };
    for brings in [true, false] {
        let mut client = site.running().connect();
        client.send("PUT /a HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n01234");
        until(&|names| names.len() == 1);
        assert!(names(&site)[0].starts_with(".stdserve-"), "under its working name");
        assert_eq!(site.get("/a").status, 404);
        assert!(!site.get("/").text().contains(".stdserve-"));
        if brings {
            client.send("56789");
            assert_eq!(client.answer().0, 201);
            assert_eq!(site.get("/a").text(), "0123456789");
            fs::remove_file(site.root().join("a")).unwrap();
        }
        drop(client);
        until(&<[String]>::is_empty);
    }
}

#[test]
fn a_form_brings_files() {
    let site = Site::new().file("sub/x", "x").serve(options());
    let large = "y".repeat(90_000);
    let body = form(&[
        ("one.txt", "1"),
        ("C:\\dir\\two.txt", "2"),
        ("../../three", "3"),
        ("", ""),
        ("large", &large),
    ]);
    let reply = site.send("POST /sub/", &[TYPE], &body);
    assert_eq!((reply.status, reply.field("Location")), (303, Some("/sub/")));
    for (path, text) in [("one.txt", "1"), ("two.txt", "2"), ("three", "3"), ("large", &large)] {
        assert_eq!(site.get(&format!("/sub/{path}")).text(), text, "{path}");
    }
    assert_eq!(names(&site), ["sub"]);
}

#[test]
fn forms_that_are_not_taken() {
    let site = Site::new().file("a", "old").serve(options());
    let large = "y".repeat(100_001);
    let cut = form(&[("b", "x")]);
    for (fields, body, status) in [
        (&[TYPE][..], form(&[("a", "new")]), 409),
        (&[TYPE], form(&[("b", &large)]), 413),
        (&[TYPE], form(&[(".b", "x")]), 400),
        (&[TYPE], form(&[("..", "x")]), 400),
        (&[TYPE], form(&[("b/", "x")]), 400),
        (&[TYPE], form(&[("b\0", "x")]), 400),
        (&[TYPE], form(&[]), 400),
        (&[TYPE], form(&[("", "")]), 400),
        (&[TYPE], cut[..cut.len() - 8].to_vec(), 400),
        (&[TYPE], b"nothing".to_vec(), 400),
        (&[("Content-Type", "text/plain")], form(&[("b", "x")]), 415),
        (&[], form(&[("b", "x")]), 415),
        (&[TYPE, ("Origin", "https://evil.example")], form(&[("b", "x")]), 403),
    ] {
        let reply = site.send("POST /", fields, &body);
        assert_eq!(reply.status, status, "{}", body[..body.len().min(120)].escape_ascii());
    }
    assert_eq!(site.send("POST /none/", &[TYPE], &form(&[("b", "x")])).status, 409);
    assert_eq!(names(&site), ["a"], "nothing is left of any");
    assert_eq!(site.get("/a").text(), "old");
}

#[test]
fn a_body_that_is_in_a_file_is_brought_as_well() {
    let site = Site::new();
    let files = Files::new(Options { root: site.root(), ..options() }).unwrap();
    let running = Running::new(Settings { body_buffer: 100, ..Settings::default() }, files);
    let mut client = running.connect();
    let body = "z".repeat(50_000);
    client.send(format!("PUT /a HTTP/1.1\r\nHost: here\r\nContent-Length: 50000\r\n\r\n{body}"));
    assert_eq!(client.answer().0, 201);
    client.get("/a");
    assert!(client.answer() == (200, body.into_bytes()));
}

/// What an application hands over: `X-Sendfile` and its like.
#[test]
fn files_on_behalf_of_an_application() {
    let site =
        Site::new().file("a.txt", "0123456789").file(".private", "private").file("big", vec![b'x'; 100_000]);
    let site = site.link("out", "/etc/passwd");
    let files = Files::new(Options { root: site.root(), ..Options::default() }).unwrap();
    let running = Running::new(
        Settings::default(),
        exchanges(move |exchange: stdserve_server::Exchange| {
            let path = exchange.head().path().to_vec();
            let fields: &[(&[u8], &[u8])] = &[
                (b"X-Sendfile", b"/not/for/clients"),
                (b"Content-Type", b"application/x-own"),
                (b"Content-Length", b"0"),
                (b"Set-Cookie", b"a=b"),
                (b"ETag", b"\"not the file's\""),
            ];
            let status = if path == b"/big" { 404 } else { 200 };
            files.send(exchange, &path, &Handover { status, reason: b"Own", fields });
        }),
    );
    let ask = |request: &str| {
        let mut client = running.connect();
        client.send(format!("{request}\r\nHost: here\r\nConnection: close\r\n\r\n"));
        String::from_utf8(client.rest()).unwrap()
    };
    let answer = ask("GET /a.txt HTTP/1.1");
    assert!(answer.starts_with("HTTP/1.1 200 Own\r\n") && answer.ends_with("\r\n\r\n0123456789"), "{answer}");
    for part in [
        "Content-Type: application/x-own\r\n",
        "Content-Length: 10\r\n",
        "Set-Cookie: a=b\r\n",
        "ETag: \"2ebc98a1.0-a\"\r\n",
    ] {
        assert_eq!(answer.matches(part.split(' ').next().unwrap()).count(), 1, "{part}");
        assert!(answer.contains(part), "{part}");
    }
    assert!(!answer.contains("Sendfile"));
    let answer = ask("GET /a.txt HTTP/1.1\r\nRange: bytes=2-3");
    assert!(
        answer.starts_with("HTTP/1.1 206 Partial Content\r\n") && answer.ends_with("\r\n\r\n23"),
        "{answer}"
    );
    let answer = ask("GET /a.txt HTTP/1.1\r\nRange: bytes=0-0,900-,9-9");
    assert!(answer.starts_with("HTTP/1.1 206 "), "{answer}");
    let answer = ask("GET /a.txt HTTP/1.1\r\nIf-None-Match: \"2ebc98a1.0-a\"");
    assert!(answer.starts_with("HTTP/1.1 304 ") && !answer.contains("Content-Type"), "{answer}");
    assert!(answer.contains("Set-Cookie: a=b\r\n"), "{answer}");
    assert!(ask("GET /.private HTTP/1.1").ends_with("private"), "the application may");
    assert!(ask("GET /big HTTP/1.1\r\nRange: bytes=0-0").starts_with("HTTP/1.1 404 Own\r\n"));
    assert!(ask("GET /out HTTP/1.1").starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(ask("GET /../../etc/passwd HTTP/1.1").starts_with("HTTP/1.1 404 Not Found\r\n"));
    let head = ask("HEAD /a.txt HTTP/1.1");
    assert!(head.contains("Content-Length: 10\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}
