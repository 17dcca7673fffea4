//! What the options mean: typed values, as the other parts take them.
//!
//! Fields are filled through the option table only; `Settings::default()` holds the table's defaults.
//! The sub-structs' own derived defaults are merely empty, the ground on which the table writes.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::bind::{Address, Bind, Transport};
use crate::service_options::{CgiOptions, FilesOptions, HandlerOptions, RpcOptions, Targets, WsgiOptions};

/// Every setting. Units and defaults stand with the options, in [`crate::options`].
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What is served, by its kind.
    pub targets: Targets,
    /// Whether the application's callable is a factory; already worked into `targets.app`.
    pub factory: bool,
    /// Where to listen.
    pub listen: Listen,
    /// Processes and threads.
    pub workers: Workers,
    /// When workers are replaced.
    pub recycling: Recycling,
    /// Sizes and counts.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
    /// How HTTP is spoken.
    pub http: Http,
    /// A WSGI application's own.
    pub wsgi: WsgiOptions,
    /// A folder's own.
    pub files: FilesOptions,
    /// A folder of scripts' own.
    pub cgi: CgiOptions,
    /// An RPC object's own.
    pub rpc: RpcOptions,
    /// A handler class's own.
    pub handler: HandlerOptions,
    /// Of the services in a file those that are run; empty: all.
    pub only: Vec<String>,
    /// What is believed of a proxy in front.
    pub proxy: Proxy,
    /// Changes that workers are replaced for, in development.
    pub reload: Reload,
    /// Logs.
    pub logging: Logging,
    /// What operators see and do.
    pub operations: Operations,
    /// The process's surroundings.
    pub process: Process,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listen {
    /// The listeners, at least one.
    pub bind: Vec<Bind>,
    /// Connections that the kernel holds until they are accepted (listen(2)).
    pub backlog: u32,
    /// The mode of Unix sockets in the file system, such as `0o666`.
    pub unix_mode: u32,
    /// `--host`, `--port` and `--uds`, which become a `bind`.
    pub(crate) short: ShortForms,
}

/// Other servers' spellings of one address.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ShortForms {
    pub(crate) host: String,
    pub(crate) port: Option<usize>,
    pub(crate) uds: Option<PathBuf>,
}

/// Processes and threads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Workers {
    /// How many worker processes; none: as many as the CPUs that the process may use.
    pub count: Option<usize>,
    /// How many requests of one worker may be in the application at once.
    pub threads: usize,
    /// The most requests that are run back to back before their responses are written.
    pub cohort: usize,
    /// Whether the application is imported once, before the workers are forked.
    pub preload: Preload,
}

/// Whether the application is imported once, before the workers are forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preload {
    /// Each worker imports it.
    #[default]
    Off,
    /// Once; refused where the import leaves behind what forked workers cannot use or share.
    On,
    /// Once, whatever it leaves behind.
    Force,
}

/// Changes that workers are replaced for, in development.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reload {
    /// Whether files are watched at all.
    pub on: bool,
    /// Patterns of further files, such as `templates/**`.
    pub include: Vec<String>,
    /// Patterns of files whose changes mean nothing.
    pub exclude: Vec<String>,
}

/// When workers are replaced that do nothing wrong.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recycling {
    /// After how many requests; 0: never.
    pub requests: usize,
    /// Up to so many more, at random; none: a tenth of `requests`.
    pub requests_jitter: Option<usize>,
    /// After what time; zero: never.
    pub lifetime: Duration,
    /// Beyond how much memory.
    pub rss: Option<MemoryLimit>,
}

/// How much memory one process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// So many bytes.
    Bytes(u64),
    /// A part of what the control group may use, in percent; of the machine's memory where that has no limit.
    Percent(u8),
}

impl MemoryLimit {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(part) = text.strip_suffix('%') else {
            return crate::value::size(text, LEAST_MEMORY).map(Self::Bytes);
        };
        match part.trim().parse() {
            Ok(part @ 1..=100) => Ok(Self::Percent(part)),
            _ => Err("is not a part: from 1% to 100%".to_owned()),
        }
    }
}

/// Below this no worker could ever run, in bytes.
const LEAST_MEMORY: u64 = 1 << 20;

/// Sizes (bytes) and counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// The longest request line, in bytes.
    pub request_line: usize,
    /// The most header fields in a request.
    pub request_fields: usize,
    /// The longest header field (name and value), in bytes.
    pub request_field_size: usize,
    /// The largest request head as a whole, in bytes.
    pub request_head: usize,
    /// The largest request body, in bytes.
    pub max_body: u64,
    /// How much of a request body is kept in memory, in bytes.
    pub body_buffer: usize,
    /// How much one worker may buffer in all, in bytes.
    pub buffer_total: usize,
    /// How much of one response is kept for a slow client, in bytes.
    pub response_buffer: usize,
    /// How many connections one worker holds.
    pub worker_connections: usize,
    /// How many requests of one worker may run or wait; none: no limit.
    pub concurrency: Option<usize>,
    /// How many requests may wait while no thread is free; none: no limit.
    pub queue: Option<usize>,
    /// Whether the newest request goes first in an overload.
    pub lifo: bool,
    /// The least rate of a request body, in bytes a second; 0: any.
    pub body_rate: u64,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Timeouts {
    /// From a request's first byte, or from accepting, to the end of its head.
    pub header: Duration,
    /// The period over which `limits.body_rate` is judged.
    pub body_period: Duration,
    /// From an answer to the next request's first byte; zero: no connection is kept.
    pub keep_alive: Duration,
    /// How long a client may take nothing of an answer.
    pub write: Duration,
    /// How long what a refused client still sends is thrown away.
    pub linger: Duration,
    /// How long a request waits for a thread before it is answered 503.
    pub queue: Duration,
    /// How long a request may be in the application; zero: as long as it likes.
    pub request: Duration,
    /// After how long in the application a request's stack is logged; zero: never.
    pub slow: Duration,
    /// After how long without a free thread all stacks are logged; zero: never.
    pub deadlock: Duration,
    /// Whether an autopsy shows the stacks of all threads.
    pub autopsy_all: bool,
    /// How long requests that run may take to end when the server stops.
    pub graceful: Duration,
    /// How long an idle connection is kept when draining.
    pub drain_idle: Duration,
}

/// How HTTP is spoken.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Http {
    /// Whether a client that has closed its sending half is still served.
    pub half_close: bool,
    /// Whether responses carry a `Server` field.
    pub server_header: bool,
    /// The field in which responses tell the request's id.
    pub request_id_header: Option<String>,
}

/// What is believed of a proxy in front.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proxy {
    /// The peers whose forwarded headers count.
    pub trusted: Vec<TrustedPeer>,
}

/// One entry of `--forwarded-allow-ips`; shown as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedPeer {
    /// `*`: every peer.
    Any,
    /// `unix`: peers on Unix sockets.
    Unix,
    /// An address or a network in CIDR form.
    Network {
        /// The network's address.
        address: IpAddr,
        /// How many leading bits count.
        prefix: u8,
    },
}

impl fmt::Display for TrustedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Unix => f.write_str("unix"),
            Self::Network { address, prefix } => match (address, prefix) {
                (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => address.fmt(f),
                _ => write!(f, "{address}/{prefix}"),
            },
        }
    }
}

impl Proxy {
    /// The list as one text, separated by commas.
    pub fn trusted_text(&self) -> String {
        self.trusted.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Logging {
    /// Where the access log goes; off by default. `Standard` is standard output.
    pub access: LogTarget,
    /// What a line of the access log looks like.
    pub access_format: AccessFormat,
    /// Where errors go. `Standard` is standard error.
    pub error: LogTarget,
    /// What a line of the error log looks like.
    pub format: LogFormat,
    /// How much is logged.
    pub level: LogLevel,
    /// Whether the terminal's lines are coloured.
    pub color: ColorChoice,
    /// The file that configures Python's `logging`.
    pub python_file: Option<PathBuf>,
    /// A dict that configures Python's `logging`, as a JSON text.
    pub python_dict: Option<String>,
}

/// What a line of the error log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogTarget {
    /// Nowhere.
    #[default]
    Off,
    /// The standard stream of that log, written `-`.
    Standard,
    /// A file, which is appended to.
    File(PathBuf),
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessFormat {
    /// gunicorn's atoms; still to be compiled.
    Text(String),
    /// One JSON object a line.
    Json,
}

impl Default for AccessFormat {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// How much is logged: this level and those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// All that may help to find an error in the server or its use.
    Debug,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What may need a look.
    Warning,
    /// What failed.
    Error,
    /// What ends the server.
    Critical,
}

/// Whether lines on a terminal are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal only.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What operators see and do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Operations {
    /// Where the operations plane listens.
    pub admin: Admin,
    /// Names, beside addresses and `localhost`, under which it may be asked for.
    pub admin_hosts: Vec<String>,
}

/// Where the operations plane listens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Admin {
    /// On the server's own Unix socket, which `stdserve ctl` finds.
    #[default]
    Own,
    /// There, and on its own socket.
    At(Bind),
    /// Nowhere.
    Off,
}

impl Admin {
    /// Reads `auto`, `none` or an address. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Own),
            "none" => return Ok(Self::Off),
            _ => {}
        }
        let bind = Bind::parse(text)?;
        match &bind.address {
            _ if bind.transport == Some(Transport::Datagram) => {
                Err("is for datagrams; HTTP is spoken there".into())
            }
            Address::Abstract(_) => {
                Err("has no file whose mode would say who may connect; write unix:PATH".into())
            }
            Address::Inet { port, .. } if !text.ends_with(&format!(":{port}")) => {
                Err("has no port; write HOST:PORT, unix:PATH, auto or none".into())
            }
            _ => Ok(Self::At(bind)),
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("auto"),
            Self::At(bind) => bind.fmt(f),
            Self::Off => f.write_str("none"),
        }
    }
}

/// The process's surroundings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Process {
    /// The folder to change to before the application is imported.
    pub chdir: Option<PathBuf>,
    /// Folders that are put before the others on Python's search path.
    pub pythonpath: Vec<PathBuf>,
    /// The file that says which process the supervisor is.
    pub pid: Option<PathBuf>,
    /// Whether the server goes on in the background.
    pub daemon: bool,
    /// The user that workers run as, by name or number.
    pub user: Option<String>,
    /// The group that workers run as, by name or number.
    pub group: Option<String>,
    /// The permissions that new files do not get.
    pub umask: Option<u32>,
    /// Bytes of the messages that the workers share; 0: they share none.
    pub exchange_memory: usize,
    /// What a worker may use.
    pub rlimits: Rlimits,
    /// Where temporary files stand; none: the system's folder for them (`TMPDIR`, else `/tmp`).
    pub temp_dir: Option<PathBuf>,
    /// Environment variables of the processes that run Python.
    pub env: Vec<(String, String)>,
    /// The Python file whose settings were read and whose hooks are called; absolute.
    pub python_file: Option<PathBuf>,
}

/// What the kernel bounds for a worker (setrlimit(2)); none: as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rlimits {
    /// Address space, in bytes.
    pub address_space: Option<u64>,
    /// Processor time.
    pub cpu: Option<Duration>,
    /// Open descriptors.
    pub files: Option<usize>,
    /// Core dumps, in bytes.
    pub core: Option<u64>,
}

impl Settings {
    /// All empty: only the table's defaults make it fit for use.
    pub(crate) fn blank() -> Self {
        Self {
            targets: Targets::default(),
            factory: false,
            listen: Listen::default(),
            workers: Workers::default(),
            recycling: Recycling::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            http: Http::default(),
            wsgi: WsgiOptions::default(),
            files: FilesOptions::default(),
            cgi: CgiOptions::default(),
            rpc: RpcOptions::default(),
            handler: HandlerOptions::default(),
            only: Vec::new(),
            proxy: Proxy::default(),
            reload: Reload::default(),
            logging: Logging::default(),
            operations: Operations::default(),
            process: Process::default(),
        }
    }
}
