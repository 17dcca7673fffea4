//! The four forms of a request target (RFC 9112 §3.2).

use super::host::{is_authority, is_authority_with_port};
use super::refusal::Refusal;
use crate::percent::hex;

/// Where in the target its parts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) path: Path,
    /// Without the question mark.
    pub(crate) query: (usize, usize),
    /// Host and port of the absolute and the authority form.
    pub(crate) authority: Option<(usize, usize)>,
}

/// The path, or what stands in for it where the target has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Path {
    /// From and to, within the target.
    At(usize, usize),
    /// Absolute form without path: `/` (RFC 9112 §3.2.1).
    Root,
    /// `OPTIONS *`, or OPTIONS of an absolute target with neither path nor query (RFC 9112 §3.2.4).
    Asterisk,
    /// CONNECT.
    #[default]
    None,
}

/// Takes `target` apart, which is known to be visible ASCII.
#[inline]
pub(crate) fn parse(method: &[u8], target: &[u8]) -> Result<Target, Refusal> {
    if method == b"CONNECT" {
        return if is_authority_with_port(target) {
            Ok(Target { path: Path::None, query: (0, 0), authority: Some((0, target.len())) })
        } else {
            Err(Refusal::TargetForm)
        };
    }
    match target {
        [b'/', ..] => {
            let (end, query) = path_and_query(target, 0);
            Ok(Target { path: Path::At(0, end), query, authority: None })
        }
        b"*" if method == b"OPTIONS" => Ok(Target { path: Path::Asterisk, query: (0, 0), authority: None }),
        _ => absolute(method, target),
    }
}

/// Where the path from `start` ends and where its query stands. The fragment, which has no business here and comes
/// all the same, belongs to neither.
fn path_and_query(target: &[u8], start: usize) -> (usize, (usize, usize)) {
    let end = memchr::memchr(b'#', &target[start..]).map_or(target.len(), |at| start + at);
    match memchr::memchr(b'?', &target[start..end]) {
        Some(at) => (start + at, (start + at + 1, end)),
        None => (end, (end, end)),
    }
}

/// `http://authority/path?query` (RFC 9112 §3.2.2). Of other schemes there is nothing here.
fn absolute(method: &[u8], target: &[u8]) -> Result<Target, Refusal> {
    let start = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .ok_or(Refusal::TargetForm)?
        .len();
    let rest = &target[start..];
    let end = start + rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    // Credentials in the target are deprecated (RFC 9110 §4.2.4) and mean nothing to a server; they are skipped.
    let host = match memchr::memrchr(b'@', &target[start..end]) {
        Some(at) if !is_userinfo(&target[start..start + at]) => return Err(Refusal::TargetForm),
        Some(at) => start + at + 1,
        None => start,
    };
    if !is_authority(&target[host..end]) {
        return Err(Refusal::TargetForm);
    }
    let (path_end, query) = path_and_query(target, end);
    let path = if path_end > end {
        Path::At(end, path_end)
    } else if method == b"OPTIONS" && query.0 == query.1 {
        Path::Asterisk
    } else {
        Path::Root
    };
    Ok(Target { path, query, authority: Some((host, end)) })
}

/// `*( unreserved / pct-encoded / sub-delims / ":" )` (RFC 3986 §3.2.1).
fn is_userinfo(mut bytes: &[u8]) -> bool {
    loop {
        bytes = match bytes {
            [] => return true,
            [b'%', high, low, rest @ ..] if hex(*high).is_some() && hex(*low).is_some() => rest,
            [byte, rest @ ..] if super::bytes::is_name_byte(*byte) || *byte == b':' => rest,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(method: &str, target: &'a str) -> Result<(&'a str, &'a str, Option<&'a str>), Refusal> {
        let found = parse(method.as_bytes(), target.as_bytes())?;
        let path = match found.path {
            Path::At(from, to) => &target[from..to],
            Path::Root => "/",
            Path::Asterisk => "*",
            Path::None => "",
        };
        Ok((path, &target[found.query.0..found.query.1], found.authority.map(|(from, to)| &target[from..to])))
    }

    #[test]
    fn origin_form() {
        assert_eq!(parts("GET", "/"), Ok(("/", "", None)));
        assert_eq!(parts("GET", "//a/b?c=d?e#f?g"), Ok(("//a/b", "c=d?e", None)));
        assert_eq!(parts("GET", "/a#b?c"), Ok(("/a", "", None)));
        assert_eq!(parts("GET", "/a?#"), Ok(("/a", "", None)));
    }

    #[test]
    fn absolute_form() {
        assert_eq!(parts("GET", "http://h/a?b"), Ok(("/a", "b", Some("h"))));
        assert_eq!(parts("GET", "HTTPS://h:1?b"), Ok(("/", "b", Some("h:1"))));
        assert_eq!(parts("GET", "http://[::1]:1#x"), Ok(("/", "", Some("[::1]:1"))));
        assert_eq!(parts("GET", "http://a%12:b!&*$@h:1/t"), Ok(("/t", "", Some("h:1"))));
        assert_eq!(parts("OPTIONS", "http://h"), Ok(("*", "", Some("h"))));
        assert_eq!(parts("OPTIONS", "http://h?a"), Ok(("/", "a", Some("h"))));
        for bad in [
            "http://",
            "http:///a",
            "http://@/a",
            "http://a@b@c/",
            "http://a b/",
            "ftp://h/",
            "s://]ufd/:",
            "http:/a",
            "http://h:x/",
            "http://%zz@h/",
        ] {
            assert_eq!(parts("GET", bad), Err(Refusal::TargetForm), "{bad}");
        }
    }

    #[test]
    fn asterisk_and_authority() {
        assert_eq!(parts("OPTIONS", "*"), Ok(("*", "", None)));
        assert_eq!(parts("CONNECT", "h:443"), Ok(("", "", Some("h:443"))));
        for (method, target) in [
            ("GET", "*"),
            ("GET", "h:443"),
            ("GET", "foo"),
            ("OPTIONS", "**"),
            ("CONNECT", "/"),
            ("CONNECT", "h"),
            ("CONNECT", "http://h:1/"),
        ] {
            assert_eq!(parts(method, target), Err(Refusal::TargetForm), "{method} {target}");
        }
    }
}
