//! What a folder's service is told: plain values, each with its unit and default.

use std::path::PathBuf;

/// A file whose requests get a `Cache-Control` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRule {
    /// Which files: `*.css`, `assets/**`, `*.{js,mjs}`. `*` stands for any part of a name, `**` for any part of a path,
    /// `?` for one byte, `{a,b}` for either. Without `/` it is held against the last name of the path, else against
    /// the whole path beneath the root (a leading `/` may be left out).
    pub pattern: String,
    /// The value of the field, as `public, max-age=31536000, immutable`.
    pub value: String,
}

/// Who may see what is served, and by which password.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name; no colon in it (RFC 7617 §2).
    pub name: String,
    /// The password, as it is typed.
    pub password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Settings are printed; passwords are not.
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All that a service of files is told. `Options::default()` serves the working folder for reading.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own
pub struct Options {
    /// The folder that is served. Nothing outside of it is ever opened, by no link either. `.`
    pub root: PathBuf,
    /// Names that stand for their folder, the first that is there. `index.html`, `index.htm`.
    pub index: Vec<String>,
    /// A folder without index file is answered with a list of what is in it; else 404. On, as `http.server` has it;
    /// off where an application's `--static` makes the service.
    pub listing: bool,
    /// A list names so many entries at most and says where there are more. 10,000.
    pub listing_limit: usize,
    /// Names that begin with a dot are served and listed. `.well-known` (RFC 8615) always is. Off.
    pub hidden: bool,
    /// `NAME.br`, `NAME.zst` and `NAME.gz` are sent instead of `NAME` to whom they suit. On.
    pub precompressed: bool,
    /// Text is compressed on the way (gzip) where no compressed file stands beside it. Off.
    pub compress: bool,
    /// The smallest file that is compressed on the way, in bytes. 1,024.
    pub compress_from: u64,
    /// The largest file that is compressed on the way, in bytes; it is held in memory for that. 1 MiB.
    pub compress_to: u64,
    /// A page beneath the root that is sent, with 404, for what is not there. None: one line of text.
    pub not_found: Option<String>,
    /// A page beneath the root that is sent, with 200, for paths that lead nowhere: that of an application which
    /// routes in the browser. Not for names with an extension, unless a page was asked for (`Accept: text/html`).
    /// None.
    pub fallback: Option<String>,
    /// Fields that every answer gets: name and value. None.
    pub headers: Vec<(String, String)>,
    /// Origins whose pages may read what is served (CORS): `*` for all, or `https://a.example`. None.
    pub cors: Vec<String>,
    /// `Cache-Control` by file; the first rule that fits. None.
    pub cache_control: Vec<CacheRule>,
    /// Who may come in, by Basic authentication (RFC 7617); everybody where there is nobody in the list.
    pub users: Vec<User>,
    /// What the browser shows when it asks for the password. `stdserve`.
    pub realm: String,
    /// Media types by extension (without the dot, in lower case), before those of the built-in table.
    pub types: Vec<(String, String)>,
    /// The media type of files of unknown extension. `application/octet-stream`.
    pub default_type: String,
    /// The charset that text is said to be in; empty: none is said. `utf-8`.
    pub charset: String,
    /// How many ranges one request may ask for; past it the whole file is sent. 16.
    pub ranges: usize,
    /// Files up to this size are read and sent in one piece, larger ones by sendfile(2). In bytes. 32 KiB.
    pub small_file: usize,
    /// How much of small files is kept in memory, in bytes. Each request asks the kernel whether the file is still the
    /// same. 0: nothing is kept. 16 MiB.
    pub memory: usize,
    /// Files may be brought: by PUT, and by the form on the page of a listing (POST). Off.
    pub upload: bool,
    /// The largest file that may be brought, in bytes. The server's own bound on bodies (`Settings::max_body`) holds
    /// besides. 1 GiB.
    pub upload_limit: u64,
    /// A file that is brought may take the place of one that is there; else it is refused with 409. Off.
    pub upload_replace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: PathBuf::from("."),
            index: vec!["index.html".to_owned(), "index.htm".to_owned()],
            listing: true,
            listing_limit: 10_000,
            hidden: false,
            precompressed: true,
            compress: false,
            compress_from: 1024,
            compress_to: 1 << 20,
            not_found: None,
            fallback: None,
            headers: Vec::new(),
            cors: Vec::new(),
            cache_control: Vec::new(),
            users: Vec::new(),
            realm: "stdserve".to_owned(),
            types: Vec::new(),
            default_type: "application/octet-stream".to_owned(),
            charset: "utf-8".to_owned(),
            ranges: 16,
            small_file: 32 << 10,
            memory: 16 << 20,
            upload: false,
            upload_limit: 1 << 30,
            upload_replace: false,
        }
    }
}
