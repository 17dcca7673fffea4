//! CGI: scripts that answer requests (RFC 3875).
//!
//! A request's thread starts the script and talks to it until its answer is whole: `script` finds it beneath the
//! root, `launch` starts it with its environment, `conversation` moves bytes both ways at once, `answering` turns
//! what it writes into the answer. How many run at once is bounded by `places`.
//!
//! ```no_run
//! use std::sync::Arc;
//! use stdserve_server::cgi::{Cgi, Options};
//! use stdserve_server::{Server, Settings, StdThreads};
//!
//! let options = Options { root: "/srv/cgi-bin".into(), ..Options::default() };
//! let server = Server::builder(Settings::default()).build(Arc::new(Cgi::new(options)?), Arc::new(StdThreads))?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What has gone wrong in CGI before
//!
//! | seen in the field | excluded by |
//! |---|---|
//! | `HTTP_PROXY` from a `Proxy` field (httpoxy, CVE-2016-1000111) | no such variable: [`stdserve_proto::cgi::environment`] |
//! | a script's source instead of its output (CVE-2011-1015) | nothing is ever sent from a file: what cannot be run is refused |
//! | the query as arguments of the command (CVE-2012-1823) | a script's arguments do not come from the request |
//! | commands in values that a shell reads (CVE-2014-6271) | no shell stands in between; names begin with `HTTP_` |
//! | `..`, links and encoded slashes that lead out of the folder | [`stdserve_proto::clean_path`], [`stdserve_sys::beneath`] |
//! | a redirect to another host by `//host` (CVE-2021-28861) | [`stdserve_proto::clean_path::CleanPath::encode_below`] |
//! | `REMOTE_USER` from a password that nobody has checked | the variable is never set |
//! | scripts without end, without number, with children | the time-outs and `max_processes`; the whole process group is ended |

mod answering;
mod conversation;
mod error_lines;
mod input;
mod launch;
mod options;
mod places;
mod script;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use stdserve_proto::h1::{BodyLength, RequestHead};
use stdserve_sys::beneath::Root;

pub use options::{ExecutableRule, Options, ResourceLimits, Stderr};

use crate::crew::Run;
use crate::observe::{Log, SilentLog};
use crate::service::{Bodies, Service, Timing};
use launch::Launcher;
use places::Places;
use script::Scripts;

/// Bodies up to this length are read before the script starts, in bytes: what a pipe holds.
const SHORT: u64 = 64 << 10;

/// The service: a folder of scripts.
pub struct Cgi {
    options: Options,
    scripts: Scripts,
    launcher: Launcher,
    places: Places,
    log: Arc<dyn Log>,
}

impl Cgi {
    /// Looks up what `options` name: the folder, the interpreters, the user and the group. What is not there is an
    /// error that says which.
    pub fn new(options: Options) -> io::Result<Self> {
        let root = Root::open(&options.root).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot open the folder {}: {error}", options.root.display()),
            )
        })?;
        let launcher = Launcher::new(&options)?;
        let scripts = Scripts::new(root, &options);
        let places = Places::new(options.max_processes);
        Ok(Self { options, scripts, launcher, places, log: Arc::new(SilentLog) })
    }

    /// Where its messages go, and what scripts write to their standard error stream. Nowhere unless said.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = log;
        self
    }

    /// How many scripts run now.
    pub fn running(&self) -> usize {
        self.places.taken()
    }

    /// Ends every script that runs, and all that belong to its process group: with SIGTERM, and with SIGKILL what is
    /// still there after the [grace](Options::grace), or half of `within` where that is less. For a process that is
    /// about to end itself, whose scripts would go on without it. Waits for them no longer than `within`.
    pub fn end_all(&self, within: Duration) {
        self.places.end_all(self.options.grace.min(within / 2), within);
    }
}

impl Service for Cgi {
    /// Short bodies are there before the script is, so that a slow client holds no process for them.
    fn bodies(&self, head: &RequestHead) -> Bodies {
        match head.body_length() {
            BodyLength::None | BodyLength::Length(0..=SHORT) => Bodies::Buffered,
            _ if self.options.buffer_bodies => Bodies::Buffered,
            BodyLength::Length(_) | BodyLength::Chunked => Bodies::Streamed,
        }
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

impl fmt::Debug for Cgi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cgi").field("options", &self.options).finish_non_exhaustive()
    }
}
