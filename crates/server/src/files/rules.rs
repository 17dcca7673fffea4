//! The options, checked and made ready.

use std::collections::HashMap;
use std::io;

use stdserve_proto::basic_auth;
use stdserve_proto::glob::Glob;
use stdserve_proto::h1::{ResponseContext, ResponseEncoder, Version};
use stdserve_proto::media_type;

use super::options::Options;

/// What the options come to.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own
pub(super) struct Rules {
    pub(super) index: Vec<Vec<u8>>,
    pub(super) listing: bool,
    pub(super) listing_limit: usize,
    pub(super) hidden: bool,
    pub(super) precompressed: bool,
    /// The sizes of files that are compressed on the way; empty where none are.
    pub(super) compressed_sizes: std::ops::Range<u64>,
    pub(super) not_found: Option<Vec<u8>>,
    pub(super) fallback: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) cors: Vec<String>,
    pub(super) cache_control: Vec<(Glob, String)>,
    /// What the users send. Empty: everybody may come in.
    pub(super) credentials: Vec<Vec<u8>>,
    /// The `WWW-Authenticate` field.
    pub(super) challenge: String,
    types: HashMap<Vec<u8>, String>,
    default_type: String,
    charset: String,
    pub(super) ranges: usize,
    pub(super) small_file: u64,
    pub(super) upload: bool,
    pub(super) upload_limit: u64,
    pub(super) upload_replace: bool,
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl Rules {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        for (name, value) in &options.headers {
            check_field(name, value)?;
        }
        let mut cache_control = Vec::new();
        for rule in &options.cache_control {
            let glob = Glob::parse(&rule.pattern)
                .map_err(|error| invalid(format!("the pattern {:?}: {error}", rule.pattern)))?;
            check_field("Cache-Control", &rule.value)?;
            cache_control.push((glob, rule.value.clone()));
        }
        let mut types = HashMap::new();
        for (extension, media_type) in &options.types {
            check_field("Content-Type", media_type)?;
            types.insert(
                extension.trim_start_matches('.').to_ascii_lowercase().into_bytes(),
                media_type.clone(),
            );
        }
        check_field("Content-Type", &options.default_type)?;
        check_field("Content-Type", &options.charset)?;
        for user in &options.users {
            if user.name.contains(':') {
                return Err(invalid(format!(
                    "the user name {:?} has a colon (RFC 7617 section 2)",
                    user.name
                )));
            }
        }
        let mut cors = Vec::new();
        for origin in &options.cors {
            check_field("Access-Control-Allow-Origin", origin)?;
            if origin.is_empty() || origin.contains([',', ' ']) {
                return Err(invalid(format!("{origin:?} is no origin: as https://a.example, or *")));
            }
            cors.push(origin.trim_end_matches('/').to_owned());
        }
        let challenge =
            format!("Basic realm=\"{}\", charset=\"UTF-8\"", options.realm.replace(['"', '\\'], "'"));
        check_field("WWW-Authenticate", &challenge)?;
        Ok(Self {
            index: names("index", &options.index)?,
            listing: options.listing,
            listing_limit: options.listing_limit,
            hidden: options.hidden,
            precompressed: options.precompressed,
            compressed_sizes: if options.compress {
                options.compress_from..options.compress_to.saturating_add(1)
            } else {
                0..0
            },
            not_found: options.not_found.as_deref().map(beneath),
            fallback: options.fallback.as_deref().map(beneath),
            headers: options.headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            cors,
            cache_control,
            credentials: options
                .users
                .iter()
                .map(|user| basic_auth::credentials(&user.name, &user.password))
                .collect(),
            challenge,
            types,
            default_type: options.default_type.clone(),
            charset: options.charset.clone(),
            ranges: options.ranges,
            small_file: options.small_file as u64,
            upload: options.upload,
            upload_limit: options.upload_limit,
            upload_replace: options.upload_replace,
        })
    }

    /// The media type of files named `name`, with its charset.
    pub(super) fn media_type(&self, name: &[u8]) -> String {
        let own = media_type::extension(name)
            .filter(|_| !self.types.is_empty())
            .and_then(|extension| self.types.get(&extension.to_ascii_lowercase()))
            .map(String::as_str);
        let found = own.or_else(|| media_type::of_name(name)).unwrap_or(&self.default_type);
        if self.charset.is_empty() || !media_type::takes_charset(found) {
            return found.to_owned();
        }
        [found, "; charset=", &self.charset].concat()
    }

    /// Which of the rules for `Cache-Control` is for `path`.
    pub(super) fn cache_rule(&self, path: &[u8]) -> Option<usize> {
        self.cache_control.iter().position(|(glob, _)| glob.matches(path))
    }
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// A path beneath the root, as the user may have written it.
fn beneath(path: &str) -> Vec<u8> {
    bytes(path.trim_start_matches('/'))
}

fn names(what: &str, names: &[String]) -> io::Result<Vec<Vec<u8>>> {
    for name in names {
        if name.is_empty() || name.contains('/') {
            return Err(invalid(format!("the {what} {name:?} is not the name of a file")));
        }
    }
    Ok(names.iter().map(|name| bytes(name)).collect())
}

/// Whether an answer may have this field. Content-Length is the server's.
fn check_field(name: &str, value: &str) -> io::Result<()> {
    let context = ResponseContext { version: Version::Http11, head_only: false, keep_alive: true };
    let mut out = Vec::new();
    if name.eq_ignore_ascii_case("content-length") {
        return Err(invalid("the header Content-Length is the server's to send".to_owned()));
    }
    ResponseEncoder::begin(&mut out, context, 200, b"OK")
        .and_then(|mut encoder| encoder.field(&mut out, name.as_bytes(), value.as_bytes()))
        .map_err(|error| invalid(format!("the header {name:?}: {value:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::options::{CacheRule, User};
    use super::*;

    #[test]
    fn what_makes_no_sense_is_said() {
        let text = |text: &str| text.to_owned();
        let bad = [
            Options { headers: vec![(text("A B"), text("c"))], ..Options::default() },
            Options { headers: vec![(text("A"), text("b\r\nC: d"))], ..Options::default() },
            Options { headers: vec![(text("Connection"), text("close"))], ..Options::default() },
            Options { headers: vec![(text("content-length"), text("1"))], ..Options::default() },
            Options { index: vec![text("a/b")], ..Options::default() },
            Options { cors: vec![text("a, b")], ..Options::default() },
            Options { users: vec![User { name: text("a:b"), password: text("c") }], ..Options::default() },
            Options {
                cache_control: vec![CacheRule { pattern: text("{"), value: text("x") }],
                ..Options::default()
            },
            Options { types: vec![(text("a"), text("b\nc"))], ..Options::default() },
        ];
        for options in bad {
            let error = Rules::new(&options).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{options:?}");
        }
    }

    #[test]
    fn types_of_the_user_come_first() {
        let options = Options {
            types: vec![(".TXT".to_owned(), "text/x-mine".to_owned())],
            charset: "latin1".to_owned(),
            ..Options::default()
        };
        let rules = Rules::new(&options).unwrap();
        assert_eq!(rules.media_type(b"a.Txt"), "text/x-mine; charset=latin1");
        assert_eq!(rules.media_type(b"a.png"), "image/png");
        assert_eq!(rules.media_type(b"a"), "application/octet-stream");
    }

    #[test]
    fn passwords_are_not_printed() {
        let user = User { name: "ann".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{user:?}").contains("secret"));
    }
}
