//! Scripts over real sockets: what they are told, and what becomes of what they answer (RFC 3875).
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::collections::HashMap;

use support::scripts::Scripts;

/// Writes its environment.
const ENVIRONMENT: &str = "printf 'Content-Type: text/plain\\n\\n'; exec env";

fn variables(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_script_is_told_all_of_the_request_and_nothing_else() {
    let scripts = Scripts::new();
    let file = scripts.sh("sub/a b.cgi", ENVIRONMENT);
    let served = scripts.serve_with(|options| {
        options.environment = vec![("OWN".into(), "1".into()), ("REQUEST_METHOD".into(), "forged".into())];
        options.pass_environment = vec!["PATH".into()];
    });
    let answer = served.ask(
        "POST /sub/a%20b.cgi/x%2By/z?q=%20&r HTTP/1.1\r\nHost: example.com:81\r\nContent-Length: 2\r\n\
         Content-Type: a/b\r\nX-One: 1\r\nX-One: 2\r\nProxy: evil\r\nX_Under: 1\r\nAuthorization: Basic x\r\n\
         Connection: close\r\n\r\n",
        b"ab",
    );
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("text/plain")));
    let found = variables(&answer.text());
    let root = std::fs::canonicalize(&scripts.0).unwrap().display().to_string();
    let port = served.running.address.port().to_string();
    for (name, value) in [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "example.com"),
        ("SERVER_PORT", &port),
        ("SERVER_ADDR", "127.0.0.1"),
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_URI", "/sub/a%20b.cgi/x%2By/z?q=%20&r"),
        ("SCRIPT_NAME", "/sub/a b.cgi"),
        ("SCRIPT_FILENAME", &std::fs::canonicalize(&file).unwrap().display().to_string()),
        ("PATH_INFO", "/x+y/z"),
        ("PATH_TRANSLATED", &format!("{root}/x+y/z")),
        ("DOCUMENT_ROOT", &root),
        ("QUERY_STRING", "q=%20&r"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("CONTENT_LENGTH", "2"),
        ("CONTENT_TYPE", "a/b"),
        ("HTTP_HOST", "example.com:81"),
        ("HTTP_X_ONE", "1, 2"),
        ("HTTP_CONNECTION", "close"),
        ("OWN", "1"),
        ("PATH", &std::env::var("PATH").unwrap()),
        ("PWD", &format!("{root}/sub")),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
    let more =
        ["SERVER_SOFTWARE", "REMOTE_PORT", "REQUEST_SCHEME", "REDIRECT_STATUS", "_", "OLDPWD", "SHLVL"];
    let unknown: Vec<_> = found.keys().filter(|name| !more.contains(&name.as_str())).collect();
    assert_eq!(unknown.len(), 22, "{unknown:?}");
}

#[test]
fn cve_2016_1000111_httpoxy() {
    let scripts = Scripts::new();
    scripts.sh("a", ENVIRONMENT);
    let served = scripts.serve();
    let answer = served.ask("GET /a HTTP/1.0\r\nProxy: http://evil:1\r\nPROXY: http://evil:1\r\n\r\n", b"");
    assert!(!answer.text().to_uppercase().contains("PROXY"), "{}", answer.text());
}

#[test]
fn cve_2011_1015_and_its_kind_no_source_and_nothing_outside() {
    let scripts = Scripts::new();
    scripts.file("root/plain.py", "SECRET", 0o644);
    scripts.sh("root/a.cgi", "echo; echo no");
    scripts.sh("outside.cgi", ENVIRONMENT);
    std::os::unix::fs::symlink("../outside.cgi", scripts.0.join("root/link.cgi")).unwrap();
    std::os::unix::fs::symlink("..", scripts.0.join("root/up")).unwrap();
    let root = scripts.0.join("root");
    let served = scripts.serve_with(|options| options.root = root);
    for (target, status) in [
        ("/plain.py", 403),
        ("//plain.py", 403),
        ("/./plain.py/x", 403),
        ("/plain%2epy", 403),
        ("/plain.py%00.cgi", 400),
        ("/../outside.cgi", 400),
        ("/%2e%2e/outside.cgi", 400),
        ("/..%2foutside.cgi", 400),
        ("/a.cgi/../../outside.cgi", 400),
        ("/link.cgi", 404),
        ("/up/outside.cgi", 404),
        ("/root/a.cgi", 404),
        ("/", 404),
    ] {
        let answer = served.get(target);
        assert_eq!(answer.status, status, "{target}");
        assert!(!answer.text().contains("SECRET") && !answer.text().contains("GATEWAY"), "{target}");
    }
}

#[test]
fn cve_2012_1823_the_query_is_no_argument() {
    let scripts = Scripts::new();
    scripts.sh("a", "printf 'Content-Type: text/plain\\n\\n'; echo $#");
    let served = scripts.serve();
    assert_eq!(served.get("/a?-s").text(), "0\n");
    assert_eq!(served.get("/a?one+two").text(), "0\n");
}

#[test]
fn cve_2021_28861_a_folder_redirects_to_itself_only() {
    let scripts = Scripts::new();
    scripts.sh("evil.example/index.cgi", "printf 'Content-Type: text/plain\\n\\nindex'");
    let served = scripts.serve();
    for target in ["/evil.example?a=b", "//evil.example?a=b", "///evil.example/.?a=b"] {
        let answer = served.get(target);
        if answer.status == 301 {
            assert_eq!(answer.field("location"), Some("/evil.example/?a=b"), "{target}");
        }
    }
    assert_eq!(served.get("/evil.example").status, 301);
    assert_eq!(served.get("/evil.example/").text(), "index");
}

#[test]
fn status_fields_and_line_ends() {
    let scripts = Scripts::new();
    scripts
        .sh("lf", "printf 'Status: 418 Tea\\nSet-Cookie: a\\nSet-Cookie: b\\nConnection: upgrade\\n\\nbody'");
    scripts.sh("crlf", "printf 'Content-Type: a/b\\r\\nX-Y: z\\r\\n\\r\\nbody\\n'");
    scripts.sh("none", "printf 'Status: 204\\n\\n'");
    let served = scripts.serve();
    let answer = served.get("/lf");
    assert!(answer.head.starts_with("HTTP/1.1 418 Tea\r\n"), "{}", answer.head);
    assert_eq!(answer.head.matches("Set-Cookie: ").count(), 2);
    assert_eq!((answer.field("connection"), &*answer.text()), (Some("close"), "body"));
    let answer = served.get("/crlf");
    assert_eq!((answer.status, answer.field("x-y"), &*answer.text()), (200, Some("z"), "body\n"));
    let answer = served.get("/none");
    assert_eq!((answer.status, answer.body.len(), answer.field("content-length")), (204, 0, None));
}

#[test]
fn head_requests_have_no_body() {
    let scripts = Scripts::new();
    scripts.sh("a", "printf 'Content-Type: text/plain\\nX-Method: '\"$REQUEST_METHOD\"'\\n\\nbody'");
    let served = scripts.serve();
    let answer = served.ask("HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"");
    assert_eq!((answer.status, answer.field("x-method"), &*answer.text()), (200, Some("HEAD"), ""));
}

#[test]
fn redirects() {
    let scripts = Scripts::new();
    scripts.sh("client", "printf 'Location: https://example.com/x\\n\\n'");
    scripts
        .sh("document", "printf 'Status: 303 Over there\\nLocation: /there\\nContent-Type: a/b\\n\\nthere'");
    scripts.sh("local", "printf 'Location: /sub/target/info?a=b#c\\n\\n'");
    scripts.sh("elsewhere", "printf 'Location: /static/x.css?1\\n\\n'");
    scripts.sh("loop", "printf 'Location: /loop\\n\\n'");
    scripts.sh(
        "sub/target",
        "printf 'Content-Type: text/plain\\n\\n'; echo $REQUEST_METHOD $PATH_INFO $QUERY_STRING $CONTENT_LENGTH; cat",
    );
    let served = scripts.serve();
    let answer = served.get("/client");
    assert_eq!((answer.status, answer.field("location")), (302, Some("https://example.com/x")));
    let answer = served.get("/document");
    assert!(answer.head.starts_with("HTTP/1.1 303 Over there"));
    assert_eq!((answer.field("location"), &*answer.text()), (Some("/there"), "there"));
    let answer = served.post("/local", b"the first script's");
    assert_eq!((answer.status, &*answer.text()), (200, "GET /info a=b\n"));
    let answer = served.get("/elsewhere");
    assert_eq!((answer.status, answer.field("location")), (302, Some("/static/x.css?1")));
    assert_eq!(served.get("/loop").status, 500);
    served.log.wait_for("more than 10 local redirects");
}

#[test]
fn scripts_that_write_the_whole_answer() {
    let scripts = Scripts::new();
    scripts.sh("nph-a", "printf 'HTTP/1.0 299 Mine\\r\\nX: y\\r\\nServer: own\\r\\n\\r\\nbody'");
    scripts.sh(
        "nph-chunked",
        "printf 'HTTP/1.1 200 OK\\nTransfer-Encoding: chunked\\n\\n5\\r\\nhello\\r\\n0\\r\\n\\r\\n'",
    );
    scripts.sh("nph-cut", "printf 'HTTP/1.1 200 OK\\nTransfer-Encoding: chunked\\n\\n5\\r\\nhel'");
    scripts.sh("nph-none", "printf 'Content-Type: text/plain\\n\\nbody'");
    scripts.sh("plain", "printf 'HTTP/1.1 200 OK\\n\\nbody'");
    let served = scripts.serve();
    let answer = served.get("/nph-a");
    assert!(answer.head.starts_with("HTTP/1.1 299 Mine\r\nX: y\r\nServer: own\r\n"), "{}", answer.head);
    assert_eq!(answer.text(), "body");
    assert_eq!(served.get("/nph-chunked").text(), "hello");
    // In time for a 502, or the answer is cut.
    assert!(served.get_cut("/nph-cut").is_none_or(|answer| answer.status == 502));
    assert_eq!(served.get("/nph-none").status, 502);
    assert_eq!(served.get("/plain").status, 502);
    served.log.wait_for("cgi: /plain: it begins with a status line");
    let served = scripts.serve_with(|options| options.nph = false);
    assert_eq!(served.get("/nph-none").text(), "body");
}

#[test]
fn interpreters_by_extension() {
    let scripts = Scripts::new();
    scripts.file(
        "a.py",
        "import sys\nprint('Content-Type: text/plain\\n\\n' + repr(sys.flags.isolated))",
        0o644,
    );
    scripts.file("a.pl", "print \"Content-Type: text/plain\\n\\nperl $0\";", 0o644);
    let served = scripts.serve_with(|options| {
        options.interpreters = vec![
            ("py".into(), vec!["python3".into(), "-I".into()]),
            ("pl".into(), vec!["/usr/bin/env".into(), "perl".into()]),
        ];
    });
    assert_eq!(served.get("/a.py").text(), "1\n");
    if std::path::Path::new("/usr/bin/perl").exists() {
        let path = std::fs::canonicalize(scripts.0.join("a.pl")).unwrap();
        assert_eq!(served.get("/a.pl").text(), format!("perl {}", path.display()));
    }
}

#[test]
fn what_cannot_be_set_up_says_why() {
    let scripts = Scripts::new();
    let error = |change: fn(&mut stdserve_server::cgi::Options)| {
        let mut options = stdserve_server::cgi::Options {
            root: scripts.0.clone(),
            ..stdserve_server::cgi::Options::default()
        };
        change(&mut options);
        stdserve_server::cgi::Cgi::new(options).unwrap_err().to_string()
    };
    assert!(error(|o| o.root = "/nonexistent".into()).contains("/nonexistent"));
    assert!(error(|o| o.user = Some("no such".into())).contains("no such"));
    assert!(error(|o| o.group = Some("no such".into())).contains("no such"));
    assert!(
        error(|o| o.interpreters = vec![("x".into(), vec!["no-such-program".into()])])
            .contains("no-such-program")
    );
    assert!(error(|o| o.interpreters = vec![("x".into(), vec![])]).contains(".x"));
    assert!(error(|o| o.environment = vec![("A=B".into(), String::new())]).contains("A=B"));
}

#[test]
fn another_user() {
    if !nix_is_root() {
        eprintln!("needs root");
        return;
    }
    let scripts = Scripts::new();
    std::fs::set_permissions(&scripts.0, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    scripts.sh("a", "printf 'Content-Type: text/plain\\n\\n'; id -u; id -g; id -G");
    scripts.file("private", "#!/bin/sh\n", 0o700);
    let served = scripts.serve_with(|options| {
        options.user = Some("12345".into());
        options.group = Some("54321".into());
    });
    assert_eq!(served.get("/a").text(), "12345\n54321\n54321 12345\n");
    assert_eq!(served.get("/private").status, 403);
}

fn nix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
