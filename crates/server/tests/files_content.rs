//! What is sent of files: content, types, conditions, ranges, codings, and the fields that say so.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::fs;

use stdserve_server::files::{CacheRule, Options, User};
use support::site::{LAST_MODIFIED, Site, write};

fn big() -> Vec<u8> {
    (0..300_000_u32).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_file_and_what_is_said_of_it() {
    let site = Site::new().file("a.txt", "hello").file("big.bin", big()).file("empty", "").plain();
    let reply = site.get("/a.txt");
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    assert_eq!(reply.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.field("Last-Modified"), Some(LAST_MODIFIED));
    assert_eq!(reply.field("Accept-Ranges"), Some("bytes"));
    assert_eq!(reply.field("ETag"), Some("\"2ebc98a1.0-5\""));
    let reply = site.get("/big.bin");
    assert_eq!((reply.status, reply.field("Content-Type")), (200, Some("application/octet-stream")));
    assert!(reply.body == big());
    let reply = site.get("/empty");
    assert_eq!((reply.status, reply.text()), (200, ""));
}

#[test]
fn head_says_the_same_without_the_content() {
    let site = Site::new().file("a.txt", "hello").file("big.bin", big()).file("empty", "").plain();
    for path in ["/a.txt", "/big.bin", "/empty", "/", "/none"] {
        let (head, get) = (site.ask(&format!("HEAD {path}"), &[]), site.get(path));
        let without_date = |fields: &[(String, String)]| {
            let mut fields = fields.to_vec();
            fields.retain(|(name, _)| name != "Date");
            fields.sort();
            fields
        };
        assert_eq!(
            (head.status, without_date(&head.fields)),
            (get.status, without_date(&get.fields)),
            "{path}"
        );
    }
}

#[test]
fn many_requests_on_one_connection() {
    let site = Site::new().file("a", "one").file("big", big()).plain();
    let mut client = site.running().connect();
    for _ in 0..20 {
        client.get("/a");
        client.get("/big");
        client.get("/none");
        assert_eq!(client.answer(), (200, b"one".to_vec()));
        assert!(client.answer() == (200, big()));
        assert_eq!(client.answer().0, 404);
    }
}

#[test]
fn large_files_wait_for_a_client_that_reads_late_and_stay_in_order() {
    let large = big().repeat(20);
    let site = Site::new().file("a", "one").file("large", &large).plain();
    let mut client = site.running().connect();
    // More than any socket takes, asked for before anything is read.
    for _ in 0..3 {
        client.get("/large");
        client.get("/a");
        client.send("GET /large HTTP/1.1\r\nHost: here\r\nRange: bytes=5-2999999\r\n\r\n");
    }
    let mut other = site.running().connect();
    other.get("/a");
    assert_eq!(other.answer(), (200, b"one".to_vec()), "nobody else waits");
    for _ in 0..3 {
        assert!(client.answer() == (200, large.clone()));
        assert_eq!(client.answer(), (200, b"one".to_vec()));
        assert!(client.answer() == (206, large[5..3_000_000].to_vec()));
    }
}

#[test]
fn methods() {
    let site = Site::new().file("a", "x").plain();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "MKCOL"] {
        let reply = site.ask(&format!("{method} /a"), &[]);
        assert_eq!((reply.status, reply.field("Allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
    }
    for target in ["/a", "*"] {
        let reply = site.ask(&format!("OPTIONS {target}"), &[]);
        assert_eq!((reply.status, reply.field("Allow")), (204, Some("GET, HEAD, OPTIONS")), "{target}");
    }
}

#[test]
fn conditions() {
    let site = Site::new().file("a", "hello").plain();
    let etag = site.get("/a").field("ETag").unwrap().to_owned();
    let old = "Sun, 06 Nov 1994 08:49:36 GMT";
    for (name, value, status) in [
        ("If-None-Match", &etag[..], 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", LAST_MODIFIED, 304),
        ("If-Modified-Since", old, 200),
        ("If-Match", &etag, 200),
        ("If-Match", "\"other\"", 412),
        ("If-Unmodified-Since", LAST_MODIFIED, 200),
        ("If-Unmodified-Since", old, 412),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = site.ask(&format!("{method} /a"), &[(name, value)]);
            assert_eq!(reply.status, status, "{method} {name}: {value}");
            if status == 304 {
                assert!(reply.body.is_empty() && reply.field("Content-Length").is_none());
                assert_eq!(reply.field("ETag"), Some(&etag[..]));
                assert_eq!(reply.field("Content-Type"), None);
            }
        }
    }
    // RFC 9110 §13.2.1: conditions mean nothing where the answer is not a success.
    assert_eq!(site.get_with("/none", &[("If-None-Match", "*")]).status, 404);
    assert_eq!(site.get_with("/none", &[("If-Match", "*")]).status, 404);
}

#[test]
fn single_ranges() {
    let site = Site::new().file("small", "0123456789").file("big", big()).plain();
    for (path, content) in [("/small", b"0123456789".to_vec()), ("/big", big())] {
        let size = content.len();
        for (range, from, to) in
            [("bytes=0-0", 0, 1), ("bytes=2-5", 2, 6), ("bytes=-3", size - 3, size), ("bytes=4-", 4, size)]
        {
            let reply = site.get_with(path, &[("Range", range)]);
            assert_eq!(reply.status, 206, "{path} {range}");
            let expected = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(reply.field("Content-Range"), Some(&expected[..]));
            assert!(reply.body == content[from..to]);
        }
        let reply = site.get_with(path, &[("Range", &format!("bytes={size}-"))]);
        let expected = format!("bytes */{size}");
        assert_eq!((reply.status, reply.field("Content-Range")), (416, Some(&expected[..])));
        for ignored in ["lines=1-2", "bytes=5-2", "bytes=x"] {
            assert_eq!(site.get_with(path, &[("Range", ignored)]).status, 200, "{ignored}");
        }
        // Defined for GET alone (RFC 9110 §14.2).
        assert_eq!(site.ask(&format!("HEAD {path}"), &[("Range", "bytes=0-0")]).status, 200);
    }
}

#[test]
fn several_ranges() {
    let site = Site::new().file("small.txt", [b'x'; 1000]).file("big.txt", big()).plain();
    for path in ["/small.txt", "/big.txt"] {
        let content = site.get(path).body;
        let reply = site.get_with(path, &[("Range", "bytes=500-509, 0-9, -5")]);
        assert_eq!(reply.status, 206);
        let boundary =
            reply.field("Content-Type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut expected = Vec::new();
        let size = content.len();
        for (from, to) in [(500, 510), (0, 10), (size - 5, size)] {
            expected.extend_from_slice(
                format!(
                    "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {from}-{}/{size}\r\n\r\n",
                    to - 1
                )
                .as_bytes(),
            );
            expected.extend_from_slice(&content[from..to]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(reply.body == expected, "{}", reply.body.escape_ascii());
    }
}

#[test]
fn cve_2011_3192_a_range_bomb_is_answered_with_the_file() {
    let site = Site::new().file("big", big()).plain();
    let many: Vec<String> = (0..400).map(|n| format!("{n}-")).collect();
    let reply = site.get_with("/big", &[("Range", &format!("bytes={}", many.join(",")))]);
    assert!(reply.status == 200 && reply.body == big());
    // As many as are looked at, all of them the same: once.
    let reply = site.get_with("/big", &[("Range", &format!("bytes={}", ["0-"; 16].join(",")))]);
    assert!(reply.status == 206 && reply.body == big());
}

#[test]
fn if_range() {
    let site = Site::new().file("a", "hello").plain();
    let etag = site.get("/a").field("ETag").unwrap().to_owned();
    for (value, status) in
        [(&etag[..], 206), (LAST_MODIFIED, 206), ("\"other\"", 200), ("Sun, 06 Nov 1994 08:49:38 GMT", 200)]
    {
        let reply = site.get_with("/a", &[("Range", "bytes=0-0"), ("If-Range", value)]);
        assert_eq!(reply.status, status, "{value}");
    }
    let fields = [("Range", "bytes=9-"), ("If-Range", "\"other\"")];
    assert_eq!(site.get_with("/a", &fields).status, 200, "no 416 for another state");
}

#[test]
fn compressed_files_beside_the_plain_one() {
    let site = Site::new()
        .file("a.css", "plain")
        .file("a.css.br", "brotli")
        .file("a.css.zst", "zstd!")
        .file("a.css.gz", "gzipped")
        .file("b.css", "plain")
        .file("b.css.gz", "gzipped")
        .file("c.png", "plain")
        .file("c.png.gz", "gzipped")
        .file("d.css.gz", "alone")
        .plain();
    for (path, accepted, content, coding) in [
        ("/a.css", "gzip, deflate, br, zstd", "brotli", Some("br")),
        ("/a.css", "gzip, br;q=0.5", "gzipped", Some("gzip")),
        ("/a.css", "zstd, gzip", "zstd!", Some("zstd")),
        ("/a.css", "identity", "plain", None),
        ("/a.css", "br;q=0", "plain", None),
        ("/b.css", "br, gzip", "gzipped", Some("gzip")),
    ] {
        let reply = site.get_with(path, &[("Accept-Encoding", accepted)]);
        assert_eq!((reply.status, reply.text()), (200, content), "{path} {accepted}");
        assert_eq!(reply.field("Content-Encoding"), coding);
        assert_eq!(reply.field("Content-Type"), Some("text/css; charset=utf-8"));
        assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
    }
    let reply = site.get_with("/c.png", &[("Accept-Encoding", "gzip")]);
    assert_eq!((reply.text(), reply.field("Vary")), ("plain", None), "pictures are compressed already");
    assert_eq!(site.get_with("/d.css", &[("Accept-Encoding", "gzip")]).status, 404, "no plain file");
    let reply = site.get_with("/a.css.gz", &[("Accept-Encoding", "gzip")]);
    assert_eq!(reply.field("Content-Type"), Some("application/gzip"), "asked for as such");
    assert_eq!(reply.field("Content-Encoding"), None);

    let tag =
        |coding| site.get_with("/a.css", &[("Accept-Encoding", coding)]).field("ETag").unwrap().to_owned();
    assert_ne!(tag("gzip"), tag("br"), "no strong tag for two contents");
    let reply = site.get_with("/a.css", &[("Accept-Encoding", "br"), ("Range", "bytes=0-1")]);
    assert_eq!((reply.status, reply.text(), reply.field("Content-Encoding")), (206, "br", Some("br")));
    let reply = site.get_with("/a.css", &[("Accept-Encoding", "br"), ("If-None-Match", &tag("br"))]);
    assert_eq!((reply.status, reply.field("Vary")), (304, Some("Accept-Encoding")));
}

#[test]
fn text_is_compressed_on_the_way() {
    let text = "all work and no play ".repeat(400);
    let options = || Options { compress: true, ..Options::default() };
    let site = Site::new()
        .file("a.txt", &text)
        .file("short.txt", "short")
        .file("a.bin", &text)
        .file("large.txt", vec![b'x'; (1 << 20) + 1])
        .file("middle.txt", vec![b'x'; 200_000])
        .serve(options());
    let gzip = [("Accept-Encoding", "gzip")];
    for path in ["/a.txt", "/middle.txt"] {
        let (plain, reply) = (site.get(path), site.get_with(path, &gzip));
        assert_eq!(reply.field("Content-Encoding"), Some("gzip"), "{path}");
        assert_eq!(stdserve_proto::gzip::gunzip(&reply.body, 1 << 20, 10_000).unwrap(), plain.body);
        assert_eq!((reply.field("Accept-Ranges"), reply.field("Vary")), (None, Some("Accept-Encoding")));
        let weak = reply.field("ETag").unwrap();
        assert_eq!(weak.strip_prefix("W/"), plain.field("ETag"));
        assert_eq!(site.get_with(path, &[gzip[0], ("If-None-Match", weak)]).status, 304);
        let reply = site.get_with(path, &[gzip[0], ("Range", "bytes=0-2")]);
        assert_eq!(
            (reply.status, reply.field("Content-Encoding")),
            (206, None),
            "parts are of the plain file"
        );
        let head = site.ask(&format!("HEAD {path}"), &gzip);
        assert_eq!(head.field("Content-Length").unwrap(), site.get_with(path, &gzip).body.len().to_string());
    }
    for path in ["/short.txt", "/a.bin", "/large.txt"] {
        assert_eq!(site.get_with(path, &gzip).field("Content-Encoding"), None, "{path}");
    }
}

#[test]
fn what_is_kept_in_memory_is_never_out_of_date() {
    let site = Site::new().file("a", "one").plain();
    let path = site.root().join("a");
    // Nothing but the status tells one state from the other; each change has to be seen at once.
    for n in 0..30 {
        let text = format!("state {n:03}");
        if n % 3 == 0 {
            write(&site.root().join("new"), text.as_bytes());
            fs::rename(site.root().join("new"), &path).unwrap();
        } else {
            write(&path, text.as_bytes());
        }
        for _ in 0..3 {
            assert_eq!(site.get("/a").text(), text);
        }
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(site.get("/a").status, 404);
}

#[test]
fn index_files_and_folders() {
    let site = Site::new()
        .file("index.html", "root")
        .file("sub/index.htm", "sub")
        .file("sub/index.html/x", "a folder of that name")
        .file("bare/x", "x")
        .serve(Options { listing: false, ..Options::default() });
    assert_eq!(site.get("/").text(), "root");
    assert_eq!(site.get("/").field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(site.get("/sub/").text(), "sub");
    assert_eq!(site.get("/bare/").status, 404);
    for (path, to) in [("/sub", "/sub/"), ("/sub?a=b&c", "/sub/?a=b&c"), ("/./sub", "/sub/")] {
        let reply = site.get(path);
        assert_eq!((reply.status, reply.field("Location")), (301, Some(to)), "{path}");
    }
    assert_eq!(site.get("/sub/index.htm/").status, 404, "a file is no folder");
}

#[test]
fn pages_for_what_is_missing() {
    let site = Site::new()
        .file("404.html", "<p>gone")
        .file("a", "a")
        .serve(Options { not_found: Some("/404.html".to_owned()), ..Options::default() });
    let reply = site.get_with("/none", &[("Range", "bytes=0-0"), ("If-None-Match", "*")]);
    assert_eq!((reply.status, reply.text()), (404, "<p>gone"));
    assert_eq!(reply.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.field("ETag"), None);
    assert_eq!(site.ask("HEAD /none", &[]).field("Content-Length"), Some("7"));
    fs::remove_file(site.root().join("404.html")).unwrap();
    assert_eq!(site.get("/none").text(), "404 Not Found\nNothing is here.\n");
}

#[test]
fn applications_that_route_in_the_browser() {
    let site = Site::new()
        .file("index.html", "app")
        .file("a.js", "js")
        .serve(Options { fallback: Some("index.html".to_owned()), ..Options::default() });
    let page = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for path in ["/", "/users/7", "/users/"] {
        let reply = site.get(path);
        assert_eq!((reply.status, reply.text()), (200, "app"), "{path}");
    }
    assert_eq!(site.get_with("/v1.2/x.y", &page).status, 200);
    assert_eq!(site.get("/missing.js").status, 404, "a script that is missing is no page");
    assert_eq!(site.get("/a.js").text(), "js");
    assert_eq!(site.get_with("/.git/config", &page).status, 404);
    let etag = site.get("/").field("ETag").unwrap().to_owned();
    assert_eq!(site.get_with("/users/7", &[("If-None-Match", &etag)]).status, 304);
}

#[test]
fn fields_of_the_user() {
    let rule =
        |pattern: &str, value: &str| CacheRule { pattern: pattern.to_owned(), value: value.to_owned() };
    let site = Site::new().file("assets/a.js", "js").file("index.html", "page").serve(Options {
        headers: vec![("X-Frame-Options".to_owned(), "DENY".to_owned())],
        cache_control: vec![
            rule("assets/**", "public, max-age=31536000, immutable"),
            rule("*.html", "no-cache"),
        ],
        types: vec![("js".to_owned(), "application/x-mine".to_owned())],
        ..Options::default()
    });
    for path in ["/", "/assets/a.js", "/none", "/assets"] {
        assert_eq!(site.get(path).field("X-Frame-Options"), Some("DENY"), "{path}");
    }
    let reply = site.get("/assets/a.js");
    assert_eq!(reply.field("Cache-Control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(reply.field("Content-Type"), Some("application/x-mine"));
    assert_eq!(site.get("/").field("Cache-Control"), Some("no-cache"));
    assert_eq!(site.get("/none").field("Cache-Control"), None);
}

#[test]
fn other_sites() {
    let one = "https://a.example";
    let site = Site::new().file("a", "x").serve(Options { cors: vec!["*".to_owned()], ..Options::default() });
    let reply = site.get_with("/a", &[("Origin", one)]);
    assert_eq!(reply.field("Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
    let reply = site.ask("OPTIONS /a", &[("Origin", one), ("Access-Control-Request-Method", "GET")]);
    assert_eq!(
        (reply.status, reply.field("Access-Control-Allow-Methods")),
        (204, Some("GET, HEAD, OPTIONS"))
    );

    let site = Site::new().file("a", "x").serve(Options { cors: vec![one.to_owned()], ..Options::default() });
    let reply = site.get_with("/a", &[("Origin", one)]);
    assert_eq!(reply.field("Access-Control-Allow-Origin"), Some(one));
    assert_eq!(reply.field("Vary"), Some("Accept-Encoding, Origin"));
    for fields in [&[("Origin", "https://b.example")][..], &[]] {
        let reply = site.get_with("/a", fields);
        assert_eq!(reply.field("Access-Control-Allow-Origin"), None);
        assert_eq!(reply.field("Vary"), Some("Accept-Encoding, Origin"), "the next one may be another");
    }
    let site = Site::new().file("a", "x").plain();
    assert_eq!(site.get_with("/a", &[("Origin", one)]).field("Access-Control-Allow-Origin"), None);
}

#[test]
fn passwords() {
    let user = |name: &str, password: &str| User { name: name.to_owned(), password: password.to_owned() };
    let site = Site::new().file("a", "x").serve(Options {
        users: vec![user("Aladdin", "open sesame"), user("b", "c")],
        cors: vec!["*".to_owned()],
        realm: "a \"realm\"".to_owned(),
        ..Options::default()
    });
    for good in ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "basic Yjpj"] {
        assert_eq!(site.get_with("/a", &[("Authorization", good)]).status, 200, "{good}");
    }
    for bad in ["Basic", "Basic ", "Basic Yjp", "Basic Yjpk", "Bearer Yjpj", "Basic YjpjYjpj", "Yjpj"] {
        for path in ["/a", "/none", "/"] {
            let reply = site.get_with(path, &[("Authorization", bad)]);
            assert_eq!(reply.status, 401, "{bad}");
            assert_eq!(reply.field("WWW-Authenticate"), Some("Basic realm=\"a 'realm'\", charset=\"UTF-8\""));
        }
    }
    assert_eq!(site.get("/a").status, 401);
    let preflight = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET")];
    assert_eq!(site.ask("OPTIONS /a", &preflight).status, 204, "carries no credentials");
    assert_eq!(site.ask("OPTIONS /a", &[]).status, 401);
}

#[test]
fn a_file_that_may_not_be_read_is_forbidden() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new().file("a", "x").plain();
    fs::set_permissions(site.root().join("a"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything.
    let expected = if fs::read(site.root().join("a")).is_ok() { 200 } else { 403 };
    assert_eq!(site.get("/a").status, expected);
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_sent_cuts_the_connection() {
    let site = Site::new().file("big", vec![b'x'; 64 << 20]).plain();
    let mut client = site.running().connect();
    client.get("/big");
    // The head is there, so the length was said; the client takes no more until the file is shorter.
    let mut first = [0; 16];
    std::io::Read::read_exact(&mut client.socket, &mut first).unwrap();
    fs::OpenOptions::new().write(true).open(site.root().join("big")).unwrap().set_len(100).unwrap();
    let rest = client.rest();
    assert!(rest.len() < 64 << 20, "it ended early, and the client can tell");
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_cuts_the_answer_off_and_is_logged() {
    const SIZE: u64 = 256 << 20;
    let site = Site::new().file("big", "").plain();
    let file = fs::OpenOptions::new().write(true).open(site.root().join("big")).unwrap();
    // A hole: more than any socket holds, and none of the disk.
    file.set_len(SIZE).unwrap();
    let mut client = site.running().connect();
    client.get("/big");
    let mut first = [0; 9];
    client.socket.peek(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 ");
    file.set_len(1000).unwrap();
    assert!((client.rest().len() as u64) < SIZE);
    let errors = site.running().log.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("/root/big has become shorter"), "{errors:?}");
    assert_eq!(site.get("/big").body.len(), 1000);
}
