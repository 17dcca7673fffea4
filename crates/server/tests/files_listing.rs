//! Lists of folders, as page and as JSON.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::fmt::Write;
use std::fs;

use stdserve_server::files::Options;
use support::site::{Site, write};

/// The addresses on a page, in their order, but those of its head.
fn links(page: &str) -> Vec<&str> {
    let body = page.split("<tbody>").nth(1).unwrap();
    body.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

fn site() -> Site {
    Site::new()
        .file("b10.txt", [b'x'; 3000])
        .file("b9.txt", "x")
        .file("A.txt", vec![b'x'; 2_000_000])
        .file("sub/c.txt", "c")
        .file(".hidden", "SECRET")
        .file(".well-known/x", "x")
}

#[test]
fn a_page_of_a_folder() {
    let site = site().plain();
    let reply = site.get("/");
    assert_eq!((reply.status, reply.field("Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(links(reply.text()), ["./.well-known/", "./sub/", "./A.txt", "./b9.txt", "./b10.txt"]);
    for part in ["<title>/</title>", "1.9 MiB", "2.9 KiB", "1 B", "1994-11-06 08:49", "2 folders, 3 files"] {
        assert!(reply.text().contains(part), "{part}");
    }
    let policy = reply.field("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
    assert_eq!(links(site.get("/sub/").text()), ["../", "./c.txt"]);
    assert!(!reply.text().contains("<form"), "nothing can be brought");
}

#[test]
fn orders() {
    let site = site().plain();
    for (query, expected) in [
        ("sort=size", ["./A.txt", "./b10.txt", "./b9.txt"]),
        ("sort=size&order=desc", ["./b9.txt", "./b10.txt", "./A.txt"]),
        ("sort=name&order=desc", ["./A.txt", "./b9.txt", "./b10.txt"]),
        ("sort=none", ["./b10.txt", "./b9.txt", "./A.txt"]),
    ] {
        let reply = site.get(&format!("/?{query}"));
        let mut files: Vec<_> = links(reply.text()).into_iter().filter(|link| !link.ends_with('/')).collect();
        files.reverse();
        assert_eq!(files, expected, "{query}");
    }
    assert!(
        site.get("/?sort=size")
            .text()
            .contains("<th aria-sort=\"ascending\"><a href=\"?sort=size&amp;order=desc\">")
    );
}

#[test]
fn json() {
    let site = site().plain();
    let expected = "[\n\
        {\"name\":\".well-known\",\"type\":\"directory\",\"mtime\":\"DATE\",\"href\":\"./.well-known/\"},\n\
        {\"name\":\"sub\",\"type\":\"directory\",\"mtime\":\"DATE\",\"href\":\"./sub/\"},\n\
        {\"name\":\"A.txt\",\"type\":\"file\",\"mtime\":\"DATE\",\"size\":2000000,\"href\":\"./A.txt\"},\n\
        {\"name\":\"b9.txt\",\"type\":\"file\",\"mtime\":\"DATE\",\"size\":1,\"href\":\"./b9.txt\"},\n\
        {\"name\":\"b10.txt\",\"type\":\"file\",\"mtime\":\"DATE\",\"size\":3000,\"href\":\"./b10.txt\"}\n\
        ]\n";
    let accept = |value| vec![("Accept", value)];
    for (target, fields) in [
        ("/?format=json", vec![]),
        ("/", accept("application/json")),
        ("/?a=b&format=json", accept("text/html")),
    ] {
        let reply = site.get_with(target, &fields);
        assert_eq!(reply.field("Content-Type"), Some("application/json"));
        assert_eq!(reply.field("Vary"), Some("Accept"));
        let mut text = String::new();
        for line in reply.text().lines() {
            match line.split_once("\"mtime\":\"") {
                Some((before, rest)) => writeln!(text, "{before}\"mtime\":\"DATE{}", &rest[29..]).unwrap(),
                None => writeln!(text, "{line}").unwrap(),
            }
        }
        assert_eq!(text, expected);
    }
    let both = site.get_with("/", &accept("application/json, text/html"));
    assert_eq!(both.field("Content-Type"), Some("text/html; charset=utf-8"));
}

#[test]
fn names_are_no_markup_and_no_addresses() {
    let site = Site::new()
        .file("<script>alert(1)<", "x")
        .file("a\" onclick=\"b", "x")
        .file("javascript:alert(2)", "x")
        .file("a&amp;b'c", "x")
        .file("new\nline", "x")
        .plain();
    fs::write(site.root().join(std::ffi::OsStr::new("caf\u{e9}")), "x").unwrap();
    let bytes: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"latin\xe9");
    fs::write(site.root().join(bytes), "x").unwrap();
    let reply = site.get("/");
    let table = reply.text().split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    assert!(!table.contains("<script") && !table.contains("onclick=\"") && !table.contains("\"javascript:"));
    assert!(table.contains("&lt;script&gt;alert(1)&lt;") && table.contains("a&amp;amp;b&#39;c"));
    for link in links(reply.text()) {
        let target = link.strip_prefix('.').unwrap();
        assert_eq!(site.get(target).status, 200, "{link} leads somewhere");
    }
    assert!(site.get("/?format=json").text().contains("\"name\":\"caf\u{e9}\""));
    // Nor is what stands in the path itself.
    write(&site.root().join("<b>/x"), b"x");
    let page = site.get("/%3Cb%3E/?sort=%3Cb%3E");
    assert!(page.status == 200 && !page.text().contains("<b>") && page.text().contains("&lt;b&gt;"));
}

#[test]
fn links_that_leave_the_root_are_not_listed() {
    let site = site().link("out", "/etc/passwd").link("dangling", "x").link("in", "sub").plain();
    assert_eq!(
        links(site.get("/").text()),
        ["./.well-known/", "./in/", "./sub/", "./A.txt", "./b9.txt", "./b10.txt"]
    );
}

#[test]
fn long_lists_are_cut() {
    let mut site = Site::new();
    for n in 0..20 {
        site = site.file(&format!("{n}"), "x");
    }
    let site = site.serve(Options { listing_limit: 7, ..Options::default() });
    let reply = site.get("/");
    assert_eq!(links(reply.text()).len(), 7);
    assert!(reply.text().contains("There is more than is listed here."));
}
