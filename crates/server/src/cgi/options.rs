//! What a [`Cgi`](super::Cgi) service is told: plain values, each with its unit and default.

use std::path::PathBuf;
use std::time::Duration;

/// Which files are run without an interpreter of [`Options::interpreters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExecutableRule {
    /// Those whose executable bit is set for the user that runs them; what they are written in says their `#!` line.
    #[default]
    Bit,
    /// None: only what has an interpreter is a script.
    Never,
}

/// What becomes of what scripts write to their standard error stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stderr {
    /// Lines of the log, each with the script's name, bounded in length and number for each request.
    #[default]
    Log,
    /// Nothing: thrown away.
    Discard,
    /// It goes where the server's own goes, unchecked and unbounded.
    Inherit,
}

/// Bounds that the kernel holds for each process of a script (setrlimit(2)), soft and hard. `None`: the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Address space in bytes (`RLIMIT_AS`). No bound of its own.
    pub memory: Option<u64>,
    /// Processor time in seconds (`RLIMIT_CPU`); the kernel ends what uses more. No bound of its own.
    pub cpu: Option<u64>,
    /// Open descriptors (`RLIMIT_NOFILE`). 1,024: the server's own is high, and programs that walk through all
    /// numbers, or use select(2), would suffer from it.
    pub files: Option<u64>,
    /// Size of core dumps in bytes (`RLIMIT_CORE`). 0.
    pub core: Option<u64>,
    /// Size of files that are written, in bytes (`RLIMIT_FSIZE`). No bound of its own.
    pub file_size: Option<u64>,
    /// Processes of the user that the scripts run as, whoever started them (`RLIMIT_NPROC`); root is exempt. No bound
    /// of its own.
    pub processes: Option<u64>,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self { memory: None, cpu: None, files: Some(1024), core: Some(0), file_size: None, processes: None }
    }
}

/// All that a CGI service is told. The defaults are fit for the open network, as far as the scripts are.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of the scripts. Nothing outside of it is run: links that lead out of it are as good as absent. The
    /// working directory.
    pub root: PathBuf,
    /// The program that runs scripts with an extension (without its dot, in this case of letters), with arguments that
    /// stand before the script's path. Such scripts need no executable bit. None.
    pub interpreters: Vec<(String, Vec<String>)>,
    /// Only files with one of these extensions (without the dot) are scripts; empty: whatever the extension. Those of
    /// `interpreters` need not be named. Any.
    pub extensions: Vec<String>,
    /// Which files are run without an interpreter. Those with the executable bit.
    pub executable: ExecutableRule,
    /// The scripts that stand for a folder, the first that is there. `index.cgi`.
    pub index: Vec<String>,
    /// How many scripts may run at once in this process. 16.
    pub max_processes: usize,
    /// How long a request waits for another to end when that many run; then it is answered 503. 5 s.
    pub queue: Duration,
    /// How long a script may take in all, from its start to the end of its answer. `None`: as long as it wants. 5 min.
    pub timeout: Option<Duration>,
    /// How long a script may take until the head of its answer is there. `None`: as long as `timeout` allows. 60 s.
    pub head_timeout: Option<Duration>,
    /// How long a script that is to end (its time is up, or its client has gone) has from SIGTERM to SIGKILL. 2 s.
    pub grace: Duration,
    /// The largest head of a script's answer, in bytes. 64 KiB.
    pub max_head: usize,
    /// Variables that every script gets, beside those of the request, which win. None.
    pub environment: Vec<(String, String)>,
    /// Names of variables that scripts get with the value that the server's own environment has, where it has one.
    /// `PATH` has a value of its own where the server has none. `PATH`, `LANG`, `LC_ALL`, `LC_CTYPE`, `TZ`, `TMPDIR`,
    /// `LD_LIBRARY_PATH`.
    pub pass_environment: Vec<String>,
    /// Scripts see `Authorization` and `Proxy-Authorization` as `HTTP_AUTHORIZATION`, `HTTP_PROXY_AUTHORIZATION`: for
    /// scripts that check passwords themselves (RFC 3875 §9.2). No.
    pub pass_authorization: bool,
    /// A request's body is read to its end before the script starts, so that `CONTENT_LENGTH` is always set and a slow
    /// client holds no process. Otherwise bodies of more than 64 KiB and chunked ones are handed on as they come, and
    /// the chunked ones have no `CONTENT_LENGTH`: the script reads to the end of its input. No.
    pub buffer_bodies: bool,
    /// Scripts whose name begins with `nph-` write the whole answer, status line first (RFC 3875 §5). Where this is
    /// off they are scripts like any other. Yes.
    pub nph: bool,
    /// Bounds for the processes of scripts.
    pub limits: ResourceLimits,
    /// The user that scripts run as: a name or a number; with it come its group and its further groups. Needs root.
    /// The server's own.
    pub user: Option<String>,
    /// The group that scripts run as, in place of the user's: a name or a number. Needs root. The user's, or the
    /// server's own.
    pub group: Option<String>,
    /// What becomes of what scripts write to their standard error stream. Lines of the log.
    pub stderr: Stderr,
    /// `SERVER_SOFTWARE`. `stdserve/` and the version.
    pub server_software: String,
}

impl Default for Options {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            root: PathBuf::from("."),
            interpreters: Vec::new(),
            extensions: Vec::new(),
            executable: ExecutableRule::Bit,
            index: names(&["index.cgi"]),
            max_processes: 16,
            queue: Duration::from_secs(5),
            timeout: Some(Duration::from_secs(300)),
            head_timeout: Some(Duration::from_secs(60)),
            grace: Duration::from_secs(2),
            max_head: 64 << 10,
            environment: Vec::new(),
            pass_environment: names(&[
                "PATH",
                "LANG",
                "LC_ALL",
                "LC_CTYPE",
                "TZ",
                "TMPDIR",
                "LD_LIBRARY_PATH",
            ]),
            pass_authorization: false,
            buffer_bodies: false,
            nph: true,
            limits: ResourceLimits::default(),
            user: None,
            group: None,
            stderr: Stderr::Log,
            server_software: concat!("stdserve/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
