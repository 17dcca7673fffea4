//! Checks of texts that options share. Each returns the text, amended, or a sentence without its subject.

/// The start of paths: empty, or with a slash at its start and none at its end, as `SCRIPT_NAME` (PEP 3333).
pub(crate) fn prefix_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    if !path.is_empty() && !path.starts_with('/') {
        return Err(format!("does not start with `/`; write /{path}"));
    }
    if path.chars().any(|c| c.is_control() || matches!(c, '?' | '#')) {
        return Err("has a character that no path has".into());
    }
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err("has an empty part, `.` or `..`: no request would be beneath it".into());
    }
    Ok(path.to_owned())
}

/// A folder for a path.
pub(super) fn folder_at(path: &str, folder: &str) -> Result<(String, String), String> {
    if folder.is_empty() { Err("names no folder".into()) } else { Ok((path.to_owned(), folder.to_owned())) }
}

/// The name of a header that the server itself has no use for.
pub(super) fn field_name(text: &str) -> Result<String, String> {
    const TAKEN: [&str; 5] = ["content-length", "transfer-encoding", "connection", "date", "server"];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.is_empty() || !text.bytes().all(plain) {
        return Err("is not the name of a header, such as X-Request-Id".into());
    }
    if TAKEN.contains(&text.to_ascii_lowercase().as_str()) {
        return Err("is a header that means something else".into());
    }
    Ok(text.to_owned())
}

/// Anything that can stand in a line.
pub(super) fn line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("has a control character".into());
    }
    Ok(text.to_owned())
}

/// The name of a file, without a folder.
pub(super) fn file_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['/', '\0']) || matches!(text, "." | "..") {
        return Err("is not the name of a file".into());
    }
    Ok(text.to_owned())
}

/// A file beneath the folder that is served.
pub(super) fn page(text: &str) -> Result<String, String> {
    let page = text.trim_start_matches('/');
    if page.is_empty() || page.contains('\0') || page.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("is not the path of a file beneath the folder, such as 404.html".into());
    }
    Ok(page.to_owned())
}

/// An extension, without its dot.
pub(super) fn extension(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('.').unwrap_or(text);
    if bare.is_empty() || bare.contains(['/', '\0']) {
        return Err("is not an extension, such as .py".into());
    }
    Ok(bare.to_owned())
}

/// The media type of an extension.
pub(super) fn media_type_of(ending: &str, media_type: &str) -> Result<(String, String), String> {
    Ok((extension(ending)?.to_ascii_lowercase(), self::media_type(media_type)?))
}

/// A media type, with or without parameters (RFC 9110 §8.3.1).
pub(super) fn media_type(text: &str) -> Result<String, String> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    match essence.split_once('/') {
        Some((kind, rest)) if is_token(kind) && is_token(rest) => line(text),
        _ => Err("has no media type, such as text/plain".into()),
    }
}

/// A field of an answer (RFC 9110 §5). Those that the server itself writes are refused.
pub(super) fn field(name: &str, value: &str) -> Result<(String, String), String> {
    const OURS: [&str; 7] = [
        "connection",
        "content-length",
        "content-range",
        "date",
        "keep-alive",
        "trailer",
        "transfer-encoding",
    ];
    if !is_token(name) {
        return Err("has a name that no header field has".into());
    }
    if OURS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("is a field that the server itself writes".into());
    }
    Ok((name.to_owned(), line(value)?))
}

/// A token (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// An origin (RFC 6454 §6.2), or `*`.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let wrong = "is not an origin, such as https://example.org, nor `*`";
    if text == "*" {
        return Ok(text.to_owned());
    }
    let (scheme, rest) = text.split_once("://").ok_or(wrong)?;
    let rest = rest.trim_end_matches('/');
    let fine = !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@,".contains(&b));
    if fine { Ok(format!("{scheme}://{rest}").to_ascii_lowercase()) } else { Err(wrong.into()) }
}

/// A user and a password (RFC 7617 §2).
pub(crate) fn user(name: &str, password: &str) -> Result<(String, String), String> {
    if name.is_empty() {
        return Err("names no user; write USER:PASSWORD".into());
    }
    if password.is_empty() {
        return Err("has no password; write USER:PASSWORD".into());
    }
    Ok((line(name)?, line(password)?))
}

/// A variable and its value.
pub(super) fn variable(name: &str, value: &str) -> Result<(String, String), String> {
    Ok((variable_name(name)?, line(value)?))
}

/// The name of a variable.
pub(super) fn variable_name(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
    if fine { Ok(text.to_owned()) } else { Err("has no name that a variable can have".into()) }
}

/// A user or a group, by name or number.
pub(super) fn account(text: &str) -> Result<String, String> {
    let fine =
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.$@".contains(&b)) && !text.starts_with('-');
    if fine { Ok(text.to_owned()) } else { Err("is neither the name nor the number of a user".into()) }
}

/// A host that requests name: in lower case, without a port; `[…]` around an IPv6 address; `*.` before a name.
pub(crate) fn host_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let fine = if let Some(address) = address {
        address.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        let name = name.strip_prefix("*.").unwrap_or(&name);
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    if fine {
        Ok(name)
    } else {
        Err("is not the name of a host, such as example.org or *.example.org (without a port)".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_amended() {
        assert_eq!(prefix_path("/a/"), Ok("/a".into()));
        assert_eq!(prefix_path("/"), Ok(String::new()));
        assert_eq!(page("/errors/404.html"), Ok("errors/404.html".into()));
        assert_eq!(extension(".tar.gz"), Ok("tar.gz".into()));
        assert_eq!(media_type_of(".MJS", "text/javascript"), Ok(("mjs".into(), "text/javascript".into())));
        assert_eq!(origin("HTTPS://Example.org/"), Ok("https://example.org".into()));
        assert_eq!(host_name("Example.ORG"), Ok("example.org".into()));
        assert_eq!(host_name("[::1]"), Ok("[::1]".into()));
        assert_eq!(host_name("*.Example.org"), Ok("*.example.org".into()));
    }

    #[test]
    fn what_is_refused() {
        for text in ["/a//b", "/a/../b", "/.", "a", "/a?b"] {
            assert!(prefix_path(text).is_err(), "{text}");
        }
        for text in ["", "..", "a/../b", "/", "a\0"] {
            assert!(page(text).is_err(), "{text}");
        }
        for text in ["", ".", "a/b"] {
            assert!(extension(text).is_err(), "{text}");
        }
        for text in ["example.org", "https://", "https://a/b", "https://a,b", "://a"] {
            assert!(origin(text).is_err(), "{text}");
        }
        for (name, value) in [("", "x"), ("a b", "x"), ("A", "x\r\nB: y"), ("Content-Length", "1")] {
            assert!(field(name, value).is_err(), "{name}");
        }
        for text in ["", "text", "text/", "text/plain\n"] {
            assert!(media_type(text).is_err(), "{text}");
        }
        for text in ["", "example.org:80", "a/b", "[x]", "*", "*.", "*a.org", "a.*.org"] {
            assert!(host_name(text).is_err(), "{text}");
        }
        assert!(user("", "x").is_err() && user("x", "").is_err());
    }
}
