//! From the path of a request to names beneath a folder.
//!
//! The path is decoded once, never twice, and taken apart before it is decoded, so that no escape can stand for a
//! separator. What comes out holds neither `.` nor `..` nor empty names, cannot begin with a slash, and has no NUL:
//! joined to a folder it means something in that folder, as far as names go. Links are the business of whoever opens
//! it.

use std::error::Error;
use std::fmt;

use crate::percent::{decode_segment, encode_path};

/// Names beneath a folder, joined by `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct CleanPath {
    bytes: Vec<u8>,
    folder: bool,
}

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathError {
    /// `%` without two hexadecimal digits behind it (RFC 3986 §2.1).
    Escape,
    /// An encoded NUL, which no file name has.
    Nul,
    /// An encoded slash, which no file name has either: whoever stands before this server may have seen one name where
    /// another sees two.
    Slash,
    /// More `..` than there are names before them.
    Above,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "the path has a percent sign without two hexadecimal digits",
            Self::Nul => "the path has an encoded NUL",
            Self::Slash => "the path has an encoded slash",
            Self::Above => "the path leads above the root",
        })
    }
}

impl Error for PathError {}

impl CleanPath {
    /// Reads the path of a request, still percent-encoded. Empty names are left out (`//a` is `a`), dot segments are
    /// resolved as RFC 3986 §5.2.4 has it, encoded ones too, since §6.2.2.2 calls them the same.
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        let mut bytes = Vec::with_capacity(path.len());
        let mut folder = true;
        for raw in path.split(|&byte| byte == b'/') {
            let start = bytes.len();
            if start > 0 {
                bytes.push(b'/');
            }
            let name = bytes.len();
            decode_segment(raw, &mut bytes).ok_or(PathError::Escape)?;
            folder = false;
            match &bytes[name..] {
                b"" | b"." => {
                    bytes.truncate(start);
                    folder = true;
                }
                b".." => {
                    if start == 0 {
                        return Err(PathError::Above);
                    }
                    let parent = memchr::memrchr(b'/', &bytes[..start]).unwrap_or(0);
                    bytes.truncate(parent);
                    folder = true;
                }
                decoded if memchr::memchr(0, decoded).is_some() => return Err(PathError::Nul),
                decoded if memchr::memchr(b'/', decoded).is_some() => return Err(PathError::Slash),
                _ => {}
            }
        }
        Ok(Self { bytes, folder })
    }

    /// The names, joined by `/`; empty for the folder itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it ended with a slash, and so names a folder.
    pub fn is_folder(&self) -> bool {
        self.folder
    }

    /// The last name; empty for the folder itself.
    pub fn last(&self) -> &[u8] {
        match memchr::memrchr(b'/', &self.bytes) {
            Some(at) => &self.bytes[at + 1..],
            None => &self.bytes,
        }
    }

    /// Whether a name begins with a dot. `.well-known` as the first one does not count (RFC 8615).
    pub fn is_hidden(&self) -> bool {
        // Almost no path has one: a look at the dots alone is quicker than at the names.
        if self.bytes.first() != Some(&b'.') && memchr::memmem::find(&self.bytes, b"/.").is_none() {
            return false;
        }
        let mut names = self.bytes.split(|&byte| byte == b'/');
        let first = names.next().unwrap_or_default();
        (first.starts_with(b".") && first != b".well-known") || names.any(|name| name.starts_with(b"."))
    }

    /// Appends it as a path to redirect to: begins with `mount` and one slash, so that no name can pass for a host
    /// (CVE-2021-28861), is encoded, and ends with a slash where `folder` says so.
    pub fn encode_below(&self, mount: &[u8], folder: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(mount);
        out.push(b'/');
        encode_path(&self.bytes, out);
        if folder && !self.bytes.is_empty() {
            out.push(b'/');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(path: &str) -> Result<(String, bool), PathError> {
        let path = CleanPath::parse(path.as_bytes())?;
        Ok((String::from_utf8_lossy(path.as_bytes()).into_owned(), path.is_folder()))
    }

    #[test]
    fn names_are_decoded_once() {
        assert_eq!(clean("/a%20b/c%2525"), Ok(("a b/c%25".to_owned(), false)));
        assert_eq!(clean("/%252e%252e/x"), Ok(("%2e%2e/x".to_owned(), false)));
        assert_eq!(clean("/"), Ok((String::new(), true)));
        assert_eq!(clean(""), Ok((String::new(), true)));
        assert_eq!(clean("/a/"), Ok(("a".to_owned(), true)));
    }

    #[test]
    fn empty_names_and_dots_vanish() {
        for same in ["/a/b", "//a//b", "/./a/./b", "/x/../a/b", "/a/%2e/b", "/a/x/%2E%2e/b", "a/b"] {
            assert_eq!(clean(same), Ok(("a/b".to_owned(), false)), "{same}");
        }
        for folder in ["/a/", "/a//", "/a/.", "/a/b/..", "/a/b/../"] {
            assert_eq!(clean(folder), Ok(("a".to_owned(), true)), "{folder}");
        }
    }

    #[test]
    fn what_names_nothing() {
        for (path, error) in [
            ("/..", PathError::Above),
            ("/../etc/passwd", PathError::Above),
            ("/a/../../b", PathError::Above),
            ("/%2e%2e/b", PathError::Above),
            ("/.%2E/b", PathError::Above),
            ("/a%2fb", PathError::Slash),
            ("/..%2F..%2Fetc", PathError::Slash),
            ("/a%00.html", PathError::Nul),
            ("/a%", PathError::Escape),
            ("/a%2", PathError::Escape),
            ("/a%zz", PathError::Escape),
        ] {
            assert_eq!(clean(path), Err(error), "{path}");
        }
    }

    #[test]
    fn bytes_stay_bytes() {
        // Overlong forms of dot and slash are no dots and slashes: nothing here reads UTF-8.
        let path = CleanPath::parse(b"/%c0%ae%c0%ae/%c0%af").unwrap();
        assert_eq!(path.as_bytes(), b"\xc0\xae\xc0\xae/\xc0\xaf");
        assert_eq!(clean(r"/..\..\etc"), Ok((r"..\..\etc".to_owned(), false)));
    }

    #[test]
    fn hidden_names() {
        for (path, hidden) in [
            ("/a/b.c", false),
            ("/.git/config", true),
            ("/a/.env", true),
            ("/.well-known/acme", false),
            ("/.well-known/.x", true),
            ("/a/.well-known", true),
            ("/", false),
        ] {
            assert_eq!(CleanPath::parse(path.as_bytes()).unwrap().is_hidden(), hidden, "{path}");
        }
    }

    #[test]
    fn cve_2021_28861_no_redirect_leaves_the_host() {
        for path in ["//evil.example/x", "/%5cevil.example", "///evil.example", "/.//evil.example"] {
            let mut to = Vec::new();
            CleanPath::parse(path.as_bytes()).unwrap().encode_below(b"", true, &mut to);
            assert!(!to.starts_with(b"//") && !to.contains(&b'\\'), "{}", to.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn nothing_leads_out(path in prop::collection::vec(prop::sample::select(vec![&b"/"[..], &b"."[..], &b".."[..], &b"%2e"[..], &b"%2f"[..], &b"%5c"[..], &b"%00"[..], &b"a"[..], &b"%25"[..], &b"%c0%ae"[..], &b"\\"[..], &b"%"[..]]), 0..24)) {
            if let Ok(clean) = CleanPath::parse(&path.concat()) {
                let bytes = clean.as_bytes();
                prop_assert!(!bytes.contains(&0));
                prop_assert!(!bytes.starts_with(b"/") && !bytes.ends_with(b"/"));
                if !bytes.is_empty() {
                    for name in bytes.split(|&byte| byte == b'/') {
                        prop_assert!(!matches!(name, b"" | b"." | b".."));
                    }
                }
                // Encoded and read again it is the same.
                let mut again = Vec::new();
                clean.encode_below(b"", clean.is_folder(), &mut again);
                prop_assert!(!again.starts_with(b"//"));
                prop_assert_eq!(CleanPath::parse(&again), Ok(clean));
            }
        }
    }
}
