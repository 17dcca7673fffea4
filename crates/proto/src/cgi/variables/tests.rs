//! What a script is told of a request, and what no client can make it be told.

use super::*;
use proptest::prelude::*;

fn request() -> Request<'static> {
    Request {
        method: b"GET",
        target: b"/cgi/a%20b.py/x%2Ey?q=1",
        script_name: b"/cgi/a b.py",
        path_info: b"/x.y",
        query: b"q=1",
        script_file: b"/srv/cgi/a b.py",
        root: b"/srv/cgi",
        version: Version::Http11,
        scheme: Scheme::Http,
        host: Some(b"example.com:8080"),
        listener: Some((IpAddr::from([127, 0, 0, 1]), 8000)),
        client: Some(IpAddr::from([192, 0, 2, 1])),
        client_port: Some(40_000),
        length: Length::NoBody,
        software: b"stdserve/0",
        authorization: false,
    }
}

type Fields<'a> = &'a [(&'a str, &'a str)];

fn variables(request: &Request<'static>, fields: Fields<'static>) -> Vec<String> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let environment = environment(request, &fields);
    environment.strings().map(|entry| entry.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_request_as_variables() {
    let mut found = variables(&request(), &[("Host", "other"), ("User-Agent", "x"), ("Accept", "*/*")]);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "DOCUMENT_ROOT=/srv/cgi",
            "GATEWAY_INTERFACE=CGI/1.1",
            "HTTP_ACCEPT=*/*",
            "HTTP_HOST=example.com:8080",
            "HTTP_USER_AGENT=x",
            "PATH_INFO=/x.y",
            "PATH_TRANSLATED=/srv/cgi/x.y",
            "QUERY_STRING=q=1",
            "REDIRECT_STATUS=200",
            "REMOTE_ADDR=192.0.2.1",
            "REMOTE_PORT=40000",
            "REQUEST_METHOD=GET",
            "REQUEST_SCHEME=http",
            "REQUEST_URI=/cgi/a%20b.py/x%2Ey?q=1",
            "SCRIPT_FILENAME=/srv/cgi/a b.py",
            "SCRIPT_NAME=/cgi/a b.py",
            "SERVER_ADDR=127.0.0.1",
            "SERVER_NAME=example.com",
            "SERVER_PORT=8000",
            "SERVER_PROTOCOL=HTTP/1.1",
            "SERVER_SOFTWARE=stdserve/0",
        ]
    );
}

#[test]
fn what_is_not_known() {
    let request = Request {
        path_info: b"",
        host: None,
        listener: None,
        client: None,
        client_port: None,
        scheme: Scheme::Https,
        root: b"/",
        ..request()
    };
    let found = variables(&request, &[]);
    for present in
        ["SERVER_NAME=localhost", "SERVER_PORT=80", "REMOTE_ADDR=", "HTTPS=on", "REQUEST_SCHEME=https"]
    {
        assert!(found.contains(&present.to_owned()), "{present} {found:?}");
    }
    for absent in ["PATH_", "REMOTE_PORT", "SERVER_ADDR", "HTTP_HOST", "CONTENT_"] {
        assert!(!found.iter().any(|entry| entry.starts_with(absent)), "{absent} {found:?}");
    }
    let v6 = Request { listener: Some(("::1".parse().unwrap(), 1)), ..request.clone() };
    assert!(variables(&v6, &[]).contains(&"SERVER_NAME=[::1]".to_owned()));
    let v6 = Request { host: Some(b"[::2]:8000"), ..request };
    assert!(variables(&v6, &[]).contains(&"SERVER_NAME=[::2]".to_owned()));
}

#[test]
fn bodies() {
    let fields: Fields<'_> =
        &[("Content-Type", "a/b"), ("Content-Length", "77"), ("Transfer-Encoding", "gzip, chunked")];
    let found = |length| {
        let found = variables(&Request { length, ..request() }, fields);
        let about = |entry: &String| entry.starts_with("CONTENT_") || entry.contains("ENCODING");
        found.into_iter().filter(about).collect::<Vec<_>>()
    };
    assert_eq!(found(Length::NoBody), [""; 0]);
    assert_eq!(found(Length::Known(5)), ["CONTENT_LENGTH=5", "CONTENT_TYPE=a/b"]);
    assert_eq!(found(Length::ToTheEnd), ["HTTP_TRANSFER_ENCODING=chunked", "CONTENT_TYPE=a/b"]);
}

#[test]
fn fields_of_one_name_are_joined() {
    let found = variables(
        &request(),
        &[("X-A", "1"), ("Cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2"), ("X-B", ""), ("X-a", "3")],
    );
    for present in ["HTTP_X_A=1, 2, 3", "HTTP_COOKIE=a=1; b=2", "HTTP_X_B="] {
        assert!(found.contains(&present.to_owned()), "{present} {found:?}");
    }
}

#[test]
fn cve_2016_1000111_httpoxy_no_proxy_from_the_client() {
    let found = variables(&request(), &[("Proxy", "http://evil"), ("PROXY", "http://evil"), ("proxy", "x")]);
    assert!(!found.iter().any(|entry| entry.to_uppercase().contains("PROXY")), "{found:?}");
}

#[test]
fn names_that_could_pass_for_others_are_left_out() {
    let found = variables(
        &request(),
        &[
            ("X_Real", "1"),
            ("X-Forwarded_For", "1"),
            ("BASH_FUNC_x%%", "() { :; }"),
            ("X.Y", "1"),
            ("A=B", "1"),
        ],
    );
    assert!(
        found.iter().all(|entry| !entry.starts_with("HTTP_") || entry.starts_with("HTTP_HOST")),
        "{found:?}"
    );
}

#[test]
fn passwords_are_kept_back_unless_wished() {
    let fields: Fields<'_> = &[("Authorization", "Basic x"), ("Proxy-Authorization", "Basic y")];
    let found = variables(&request(), fields);
    assert!(!found.iter().any(|entry| entry.contains("Basic")), "{found:?}");
    let found = variables(&Request { authorization: true, ..request() }, fields);
    assert!(found.contains(&"HTTP_AUTHORIZATION=Basic x".to_owned()), "{found:?}");
}

#[test]
fn a_variable_is_set_once() {
    let mut environment = environment(&request(), &[]);
    assert!(!environment.set(b"SCRIPT_NAME", &[b"/other"]));
    assert!(
        !environment.set(b"A=B", &[b""]) && !environment.set(b"", &[b""]) && !environment.set(b"N", &[b"\0"])
    );
    assert!(environment.set(b"PATH", &[b"/bin", b":", b"/usr/bin"]));
    assert_eq!(environment.get(b"PATH"), Some(&b"/bin:/usr/bin"[..]));
    assert_eq!(environment.get(b"PAT"), None);
}

proptest! {
    /// Whatever is asked: every variable once, none that execve(2) or the script could misread, none of a proxy.
    #[test]
    fn no_request_makes_a_wrong_variable(
        names in prop::collection::vec("[A-Za-z_.%-]{1,12}|Proxy|Host|Cookie|Content-Length|Authorization", 0..12),
        value in prop::collection::vec(any::<u8>(), 0..20),
        path in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let request = Request { path_info: &path, query: &value, ..request() };
        let fields: Vec<_> = names.iter().map(|name| (name.as_bytes(), &value[..])).collect();
        let environment = environment(&request, &fields);
        let mut seen = std::collections::HashSet::new();
        for entry in environment.strings() {
            let (name, _) = entry.to_str().map_or_else(
                |_| String::from_utf8_lossy(entry.to_bytes()).into_owned(), str::to_owned)
                .split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
            prop_assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{}", name);
            prop_assert!(name != "HTTP_PROXY" && name != "HTTP_AUTHORIZATION");
            prop_assert!(seen.insert(name));
        }
    }
}
