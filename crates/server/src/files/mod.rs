//! Static files: a folder as a service.
//!
//! [`Files`] answers GET and HEAD with what stands beneath a folder, at the level of a web server made for that:
//! ranges, conditions, compressed variants, lists of folders, and files brought by PUT or a form where that is wanted.
//!
//! A request goes through four steps, a module each: what it asks for (`ask`), which file that is (`find`, which
//! `kept` spares most of the work), what becomes of it (`decide`) and how it is sent (`send`). What can be said to
//! the service stands in [`Options`]; it is checked once (`rules`).
//!
//! # How nothing else is served
//!
//! | seen in the field | excluded by |
//! |---|---|
//! | `..`, encoded, doubly encoded, overlong, with backslashes (CVE-2024-23334, CVE-2023-29159, CVE-2011-1015) | [`CleanPath`](stdserve_proto::clean_path::CleanPath), and [`beneath`](stdserve_sys::beneath) whatever it lets through |
//! | links that leave the folder, swapped while they are followed | [`beneath`](stdserve_sys::beneath): openat2(2) or a walk by descriptors, for every variant |
//! | redirects to `//evil.example` (CVE-2021-28861) | a redirect begins with one slash and is encoded |
//! | range bombs (CVE-2011-3192) | [`ranges`](stdserve_proto::ranges): few, and none twice |
//! | pipes and devices | only regular files are sent, and opening waits for nobody |
//! | markup in the names of files | escaped, and no script runs but the page's own (`Content-Security-Policy`) |
//! | forms of other sites that bring files | refused by `Sec-Fetch-Site` and `Origin` |

mod ask;
mod decide;
mod find;
mod kept;
mod listing;
mod options;
mod rules;
mod send;
mod upload;

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use stdserve_proto::h1::RequestHead;
use stdserve_sys::beneath::Root;

use crate::crew::Run;
use crate::exchange::Exchange;
use crate::observe::{Log, SilentLog, printable};
use crate::service::{Bodies, Service, Timing};
use kept::Kept;
use rules::Rules;

pub use options::{CacheRule, Options, User};
pub use send::Handover;

/// A folder as a service.
///
/// ```
/// use stdserve_server::files::{Files, Options};
///
/// let folder = std::env::temp_dir();
/// let files = Files::new(Options { root: folder, listing: false, ..Options::default() })?;
/// # drop(files);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Files {
    root: Root,
    rules: Rules,
    kept: Kept,
    log: Arc<dyn Log>,
}

impl Files {
    /// Opens the folder and checks the options. Fails where the folder cannot be opened, and with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), in words for the user, where an option makes no sense.
    #[allow(clippy::needless_pass_by_value)] // services are made this way
    pub fn new(options: Options) -> io::Result<Self> {
        let rules = Rules::new(&options)?;
        let root = Root::open(&options.root).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot serve {}: {error}", options.root.display()))
        })?;
        Ok(Self { root, rules, kept: Kept::new(options.memory), log: Arc::new(SilentLog) })
    }

    /// Where it says which files could not be read or written, and why. Nowhere unless said. What is not there is no
    /// trouble.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = log;
        self
    }

    /// Answers one request, whole.
    pub fn answer(&self, exchange: Exchange) {
        let decision = self.decide(&exchange);
        self.carry_out(exchange, decision, None);
    }

    /// Tells the log what has gone wrong with the file at `path`. `verb`: read, written.
    fn complain(&self, path: &[u8], verb: &str, error: &io::Error) {
        let root = printable(self.root.path().as_os_str().as_bytes());
        let slash = if root.ends_with('/') { "" } else { "/" };
        self.log.error(&format!("{root}{slash}{} cannot be {verb}: {error}", printable(path)));
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("root", &self.root).field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Service for Files {
    /// What is brought is written as it comes.
    fn bodies(&self, head: &RequestHead) -> Bodies {
        if self.rules.upload && matches!(head.method(), b"PUT" | b"POST") {
            return Bodies::Streamed;
        }
        Bodies::Buffered
    }

    fn timing(&self) -> Timing {
        Timing::Own
    }

    fn run(&self, run: &mut Run<'_>) {
        while let Some(exchange) = run.next() {
            self.answer(exchange);
        }
    }
}
