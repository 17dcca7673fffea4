//! What paths lead to, and what none leads to. Requests are sent as raw bytes: no client cleans them.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stdserve_server::files::Options;
use support::site::{Site, write};

/// A site with a secret beside its root, and one in a folder whose name begins like the root's.
fn site() -> Site {
    let site =
        Site::new().file("a.txt", "inside").file("sub/b.txt", "inside").file("sub/deep/c.txt", "inside");
    write(&site.top.join("secret.txt"), b"SECRET");
    write(&site.top.join("root-2/secret.txt"), b"SECRET");
    write(&site.top.join("secret.txt.gz"), b"SECRET");
    site
}

/// Nothing that these ask for may be sent.
fn refused(site: &Site, paths: &[&str]) {
    for path in paths {
        let reply = site.get_with(path, &[("Accept-Encoding", "gzip, br, zstd"), ("Accept", "text/html")]);
        assert!(matches!(reply.status, 400 | 404), "{path}: {}", reply.status);
        assert!(!reply.body.windows(6).any(|part| part == b"SECRET"), "{path}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("root:"), "{path}");
    }
}

#[test]
fn names_as_they_are() {
    let site = Site::new()
        .file("with space.txt", "1")
        .file("per%41cent", "2")
        .file("caf\u{e9}", "3")
        .file("a\\b", "4")
        .file("a?b#c", "5")
        .file("..a", "6")
        .file("a..", "7")
        .serve(Options { hidden: true, ..Options::default() });
    for (path, text) in [
        ("/with%20space.txt", "1"),
        ("/per%2541cent", "2"),
        ("/caf%c3%a9", "3"),
        ("/caf%C3%A9", "3"),
        ("/a%5cb", "4"),
        ("/a%3fb%23c", "5"),
        ("/..a", "6"),
        ("/a..", "7"),
        ("//with%20space.txt", "1"),
        ("/./x/../with%20space.txt?query", "1"),
        ("http://here/with%20space.txt", "1"),
    ] {
        let reply = site.get(path);
        assert_eq!((reply.status, reply.text()), (200, text), "{path}");
    }
}

#[test]
fn cve_2024_23334_dots_lead_nowhere() {
    refused(
        &site().plain(),
        &[
            "/../secret.txt",
            "/sub/../../secret.txt",
            "/sub/../../../../../../../../etc/passwd",
            "/..",
            "/../",
            "/./../secret.txt",
            "//../secret.txt",
            "/../root/a.txt",
            "/../root-2/secret.txt",
            "http://here/../secret.txt",
        ],
    );
}

#[test]
fn cve_2023_29159_a_sibling_with_the_same_beginning_is_outside() {
    let site = site().link("sibling", "../root-2").link("sibling-file", "../root-2/secret.txt");
    let absolute = site.top.join("root-2/secret.txt");
    refused(
        &site.link("absolute", absolute).plain(),
        &["/../root-2/secret.txt", "/sibling/secret.txt", "/sibling-file", "/absolute"],
    );
}

#[test]
fn cve_2011_1015_analog_what_is_run_elsewhere_is_not_shown_by_a_trick_of_the_path() {
    // There, `//cgi-bin/x.py` showed the source of a script. Here all forms of a path are one path, or none.
    let site = Site::new().file("cgi-bin/x.py", "source").file("cgi-bin/.hidden.py", "SECRET").plain();
    let plain = site.get("/cgi-bin/x.py");
    for path in
        ["//cgi-bin/x.py", "/./cgi-bin/x.py", "/x/../cgi-bin/x.py", "/cgi-bin//x.py", "/%63gi-bin/x.py"]
    {
        assert_eq!(site.get(path).body, plain.body, "{path}");
    }
    refused(
        &site,
        &["/cgi-bin/.hidden.py", "//cgi-bin/.hidden.py", "/cgi-bin/%2ehidden.py", "/cgi-bin/./.hidden.py"],
    );
}

#[test]
fn encoded_dots_and_slashes_lead_nowhere() {
    refused(
        &site().plain(),
        &[
            "/%2e%2e/secret.txt",
            "/%2E%2E/secret.txt",
            "/.%2e/secret.txt",
            "/%2e./secret.txt",
            "/..%2fsecret.txt",
            "/..%2Fsecret.txt",
            "/%2e%2e%2fsecret.txt",
            "/sub%2f..%2f..%2fsecret.txt",
            "/sub%2fb.txt",
            "/%2fetc%2fpasswd",
            "/%2e%2e%5csecret.txt",
            "/..%5csecret.txt",
            "/..\\secret.txt",
            "/..%5c..%5c..%5cetc%5cpasswd",
            // Twice encoded: these are names with percent signs.
            "/%252e%252e/secret.txt",
            "/%252e%252e%252fsecret.txt",
            "/..%252fsecret.txt",
            "/%25%32%65%25%32%65/secret.txt",
            // Overlong UTF-8, and what some decoders take for dots and slashes.
            "/%c0%ae%c0%ae/secret.txt",
            "/%c0%ae%c0%ae%c0%afsecret.txt",
            "/%e0%80%ae%e0%80%ae/secret.txt",
            "/..%c0%afsecret.txt",
            "/..%c1%9csecret.txt",
            "/%ef%bc%8e%ef%bc%8e/secret.txt",
            "/%u002e%u002e/secret.txt",
            "/..;/secret.txt",
            "/..%00/secret.txt",
            "/a.txt%00",
            "/a.txt%00.html",
            "/%00",
            "/a.txt%",
            "/a.txt%2",
            "/a.txt%zz",
            "//etc/passwd",
            "///etc/passwd",
            "/C:/secret.txt",
            "/file:///etc/passwd",
            "/~root/",
            "/proc/self/environ",
            "/....//secret.txt",
        ],
    );
}

#[test]
fn names_too_long_for_the_file_system_are_not_there() {
    let site = site().plain();
    refused(
        &site,
        &[&format!("/{}", "a".repeat(256)), &format!("/{}", "a/".repeat(2000)), "/a.txt/", "/a.txt/x"],
    );
}

#[test]
fn links_work_inside_and_not_to_the_outside() {
    let site = site()
        .link("to-file", "a.txt")
        .link("to-folder", "sub")
        .link("sub/up", "../a.txt")
        .link("sub/deep/up-up", "../../a.txt")
        .link("out", "../secret.txt")
        .link("out-folder", "..")
        .link("etc", "/etc")
        .link("circle", "circle")
        .link("dangling", "nowhere")
        .link("a.txt.gz", "../secret.txt.gz")
        .link("folder/index.html", "../../secret.txt");
    let absolute = site.root().join("sub/b.txt");
    let site = site.link("absolute", absolute).serve(Options {
        not_found: Some("out".to_owned()),
        fallback: Some("../secret.txt".to_owned()),
        ..Options::default()
    });
    for path in ["/to-file", "/to-folder/b.txt", "/sub/up", "/to-folder/deep/up-up", "/absolute"] {
        assert_eq!(site.get(path).text(), "inside", "{path}");
    }
    let paths = [
        "/out",
        "/out-folder/secret.txt",
        "/out-folder/root/a.txt",
        "/etc/passwd",
        "/etc/",
        "/circle",
        "/dangling",
        "/to-folder/../secret.txt",
        "/nothing",
    ];
    refused(&site, &paths);
    // The variant that leads outside is as good as none; so is the index file.
    let reply = site.get_with("/a.txt", &[("Accept-Encoding", "gzip")]);
    assert_eq!((reply.text(), reply.field("Content-Encoding")), ("inside", None));
    assert!(!site.get("/folder/").text().contains("SECRET"));
}

#[test]
fn race_a_folder_that_is_swapped_with_a_link_leads_nowhere() {
    let site = site();
    fs::create_dir(site.root().join("x")).unwrap();
    write(&site.root().join("x/secret.txt"), b"inside");
    let site = site.link("y", "../root-2").plain();
    let stop = Arc::new(AtomicBool::new(false));
    let (root, until) = (site.root(), Arc::clone(&stop));
    let swapper = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            for (from, to) in [("x", "z"), ("y", "x"), ("z", "y")] {
                fs::rename(root.join(from), root.join(to)).unwrap();
            }
        }
    });
    let mut client = site.running().connect();
    let mut seen = 0;
    for _ in 0..4000 {
        client.get("/x/secret.txt");
        let (status, body) = client.answer();
        if status == 200 {
            assert_eq!(body, b"inside");
            seen += 1;
        } else {
            assert_eq!(status, 404);
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(seen > 0);
}

#[test]
fn hidden_names_are_not_there_unless_asked_for() {
    let files = || {
        Site::new()
            .file(".env", "SECRET")
            .file(".git/config", "SECRET")
            .file("sub/.x/a", "SECRET")
            .file(".well-known/acme", "known")
    };
    let site = files().plain();
    refused(&site, &["/.env", "/%2eenv", "/.git/config", "/.git/", "/.git", "/sub/.x/a", "/x/../.env"]);
    assert_eq!(site.get("/.well-known/acme").text(), "known");
    let site = files().serve(Options { hidden: true, ..Options::default() });
    assert_eq!(site.get("/.env").status, 200);
}

#[test]
fn cve_2021_28861_redirects_stay_on_the_host() {
    let site = Site::new()
        .file("evil.example/x", "x")
        .file("sub/evil.example/x", "x")
        .file("\\evil.example/x", "x")
        .file("a b/x", "x")
        .plain();
    for (path, to) in [
        ("//evil.example", "/evil.example/"),
        ("///evil.example", "/evil.example/"),
        ("//evil.example?//x", "/evil.example/?//x"),
        ("//sub/../evil.example", "/evil.example/"),
        ("/.//evil.example", "/evil.example/"),
        ("//evil.example/../evil.example", "/evil.example/"),
        ("/%5cevil.example", "/%5Cevil.example/"),
        ("/\\evil.example", "/%5Cevil.example/"),
        ("/a%20b", "/a%20b/"),
        ("http://evil.example//evil.example", "/evil.example/"),
    ] {
        let reply = site.get(path);
        assert_eq!((reply.status, reply.field("Location")), (301, Some(to)), "{path}");
    }
    assert_eq!(site.get("/evil.example%0d%0aSet-Cookie:x").status, 404);
}

#[test]
fn pipes_and_sockets_are_not_there_and_hold_nobody() {
    let site = Site::new().file("a", "x");
    let socket = std::os::unix::net::UnixListener::bind(site.root().join("socket")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(site.root().join("pipe")).status().unwrap();
    assert!(made.success());
    let site = site.link("null", "/dev/null").plain();
    refused(&site, &["/pipe", "/socket", "/null"]);
    drop(socket);
}

#[test]
fn a_folder_that_is_mounted_is_served_beneath_its_prefix() {
    let site = site();
    let site = site.file("sub/index.html", "index").serve_at("/static", Options::default());
    for (path, text) in [
        ("/static/a.txt", "inside"),
        ("/%73tatic//sub/./b.txt", "inside"),
        ("/static/sub/", "index"),
        ("/", "elsewhere"),
        ("/a.txt", "elsewhere"),
    ] {
        assert_eq!(site.get(path).text(), text, "{path}");
    }
    for (path, to) in [
        ("/static", "/static/"),
        ("/static?q", "/static/?q"),
        ("/static/sub", "/static/sub/"),
        ("/static//sub", "/static/sub/"),
        ("/static//evil.example/../sub", "/static/sub/"),
    ] {
        let reply = site.get(path);
        assert_eq!((reply.status, reply.field("Location")), (301, Some(to)), "{path}");
    }
    refused(
        &site,
        &[
            "/static/../secret.txt",
            "/static/../a.txt",
            "/static/..%2fsecret.txt",
            "/static%2f..%2fsecret.txt",
            "/static/static/a.txt",
        ],
    );
    assert!(site.get("/static/").text().contains("<title>/static/</title>"));
    assert!(site.get("/static/sub/deep/").text().contains("href=\"../../\">/static/</a>"));
}
