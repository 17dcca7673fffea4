//! Media types by the extension of a file's name.
//!
//! The table follows IANA's registry; where browsers expect another name than the registered one, theirs is taken.

mod table;

use table::TABLE;

/// The longest extension of the table, in bytes.
const LONGEST: usize = 12;

/// The media type that files named `name` have, by what stands behind the last dot, in any case of letters. A name that
/// begins with its only dot (`.profile`) has no extension.
pub fn of_name(name: &[u8]) -> Option<&'static str> {
    of_extension(extension(name)?)
}

/// What stands behind the last dot of `name`.
pub fn extension(name: &[u8]) -> Option<&[u8]> {
    match memchr::memrchr(b'.', name)? {
        0 => None,
        at => Some(&name[at + 1..]),
    }
}

fn of_extension(extension: &[u8]) -> Option<&'static str> {
    let mut lower = [0; LONGEST];
    let lower = lower.get_mut(..extension.len())?;
    lower.copy_from_slice(extension);
    lower.make_ascii_lowercase();
    let at = TABLE.binary_search_by(|(known, _)| known.as_bytes().cmp(lower)).ok()?;
    Some(TABLE[at].1)
}

/// Whether a charset says something about `media_type`: `text/*`. XML and JSON say it themselves.
pub fn takes_charset(media_type: &str) -> bool {
    essence(media_type).starts_with("text/") && !media_type.contains("charset")
}

/// Whether compressing `media_type` is worth the while: text in the widest sense.
pub fn is_text(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.starts_with("text/")
        || essence.ends_with("+xml")
        || essence.ends_with("+json")
        || matches!(
            essence,
            "application/json"
                | "application/xml"
                | "application/xml-dtd"
                | "application/javascript"
                | "application/x-ndjson"
                | "application/wasm"
                | "application/yaml"
                | "application/toml"
                | "application/sql"
                | "application/rtf"
                | "application/x-sh"
                | "application/x-subrip"
                | "application/postscript"
                | "application/vnd.apple.mpegurl"
                | "image/bmp"
                | "image/x-icon"
                | "font/ttf"
                | "font/otf"
                | "font/collection"
        )
}

/// Whether files of `media_type` are compressed in themselves, so that nobody lays a compressed one beside them.
pub fn is_packed(media_type: &str) -> bool {
    let essence = essence(media_type);
    match essence.split_once('/') {
        Some(("image", kind)) => !matches!(kind, "svg+xml" | "bmp" | "x-icon" | "tiff"),
        Some(("video", _)) => true,
        Some(("audio", kind)) => !matches!(kind, "wav" | "aiff" | "basic" | "midi"),
        Some(("font", kind)) => kind.starts_with("woff"),
        _ => matches!(
            essence,
            "application/gzip"
                | "application/zip"
                | "application/zstd"
                | "application/x-brotli"
                | "application/x-bzip2"
                | "application/x-xz"
                | "application/x-7z-compressed"
                | "application/vnd.rar"
                | "application/x-lzip"
                | "application/java-archive"
                | "application/epub+zip"
                | "application/vnd.android.package-archive"
        ),
    }
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{ResponseContext, ResponseEncoder, Version};

    #[test]
    fn the_table_can_be_searched_and_sent() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0), "sorted, nothing twice");
        let context = ResponseContext { version: Version::Http11, head_only: false, keep_alive: true };
        for (extension, media_type) in TABLE {
            assert!(extension.len() <= LONGEST, "{extension}");
            assert!(
                extension.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
                "{extension}"
            );
            assert_eq!(media_type.matches('/').count(), 1, "{media_type}");
            let mut out = Vec::new();
            let mut encoder = ResponseEncoder::begin(&mut out, context, 200, b"OK").unwrap();
            encoder.field(&mut out, b"Content-Type", media_type.as_bytes()).unwrap();
        }
    }

    #[test]
    fn names_have_types() {
        assert_eq!(of_name(b"index.html"), Some("text/html"));
        assert_eq!(of_name(b"A.B.JPG"), Some("image/jpeg"));
        assert_eq!(of_name(b"x.tar.gz"), Some("application/gzip"));
        for none in [
            &b"README"[..],
            b".html",
            b"a.",
            b"a.nosuchthing",
            b"a.averyveryverylongextension",
            b"",
            b"a.\xff",
        ] {
            assert_eq!(of_name(none), None, "{}", none.escape_ascii());
        }
    }

    #[test]
    fn kinds() {
        assert!(takes_charset("text/html") && !takes_charset("image/svg+xml"));
        assert!(!takes_charset("text/html; charset=latin1"));
        for text in
            ["text/css", "application/json", "image/svg+xml", "application/wasm", "text/html; charset=utf-8"]
        {
            assert!(is_text(text) && !is_packed(text), "{text}");
        }
        for packed in ["image/png", "video/mp4", "font/woff2", "application/zip", "audio/mpeg"] {
            assert!(is_packed(packed) && !is_text(packed), "{packed}");
        }
        assert!(!is_packed("application/octet-stream") && !is_text("application/octet-stream"));
    }
}
