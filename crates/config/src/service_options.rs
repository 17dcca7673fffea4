//! What is one service's own; what a worker as a whole keeps to (limits, times, threads) stands in
//! [`Settings`](crate::Settings). Units and defaults stand with the options, in [`crate::options`].

use std::path::PathBuf;
use std::time::Duration;

/// What is named on the command line by its place, or in a file by the word for its kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets {
    /// A WSGI application.
    pub app: Option<crate::AppSpec>,
    /// A folder of files.
    pub files: Option<PathBuf>,
    /// A folder of CGI scripts.
    pub cgi: Option<PathBuf>,
    /// An object for remote calls.
    pub rpc: Option<crate::AppSpec>,
    /// A handler class for connections.
    pub tcp: Option<crate::AppSpec>,
    /// A handler class for datagrams.
    pub udp: Option<crate::AppSpec>,
}

/// What is a WSGI application's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WsgiOptions {
    /// `SCRIPT_NAME`: empty, or a path that starts with `/` and does not end with it.
    pub root_path: String,
    /// Folders that are served beside the application: the start of the path, without a slash at its end, and the
    /// folder. They have become services already.
    pub folders: Vec<(String, String)>,
    /// Folders beneath which a file must lie that the application names in `X-Sendfile`; empty: the field is an
    /// application's own business.
    pub sendfile_roots: Vec<PathBuf>,
    /// For `X-Accel-Redirect`: the start of the path that the application names, and the folder that stands for it.
    pub accel_roots: Vec<(String, String)>,
}

/// What is a folder's own.
#[derive(Clone, PartialEq, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own
pub struct FilesOptions {
    /// The folder that is served.
    pub directory: PathBuf,
    /// Names that stand for their folder, the first that is there.
    pub index: Vec<String>,
    /// Whether a folder without such a file is answered with a list of what is in it.
    pub listing: bool,
    /// The most entries of a list.
    pub listing_limit: usize,
    /// Whether names that begin with a dot are served.
    pub hidden: bool,
    /// Whether `NAME.br`, `NAME.zst` and `NAME.gz` are sent instead of `NAME`.
    pub precompressed: bool,
    /// Whether text is compressed on the way.
    pub compress: bool,
    /// The smallest file that is compressed on the way, in bytes.
    pub compress_from: u64,
    /// The largest file that is compressed on the way, in bytes.
    pub compress_to: u64,
    /// The page for what is not there, beneath the folder.
    pub not_found: Option<String>,
    /// The page for paths that lead nowhere, beneath the folder (`--spa`).
    pub fallback: Option<String>,
    /// Fields that every answer gets: name and value.
    pub headers: Vec<(String, String)>,
    /// Origins whose pages may read what is served; `*` for all.
    pub cors: Vec<String>,
    /// `Cache-Control`: pattern and value, the first that fits.
    pub cache_control: Vec<(String, String)>,
    /// Who may come in: name and password; empty: everybody.
    pub users: Vec<(String, String)>,
    /// A file with more of them, a line each; its users are in `users` already.
    pub users_file: Option<PathBuf>,
    /// What the browser shows when it asks for the password.
    pub realm: String,
    /// Media types by extension, without the dot and in lower case.
    pub types: Vec<(String, String)>,
    /// The media type of files of unknown extension.
    pub default_type: String,
    /// The charset that text is said to be in; empty: none.
    pub charset: String,
    /// The most ranges of one request; past it the whole file is sent.
    pub ranges: usize,
    /// Files up to this size, in bytes, are sent in one piece.
    pub small_file: usize,
    /// How much of small files is kept in memory, in bytes.
    pub memory: usize,
    /// Whether files may be brought.
    pub upload: bool,
    /// The largest file that may be brought, in bytes.
    pub upload_limit: u64,
    /// Whether a file that is brought may take the place of another.
    pub upload_replace: bool,
}

impl std::fmt::Debug for FilesOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Settings are printed; passwords are not.
        f.debug_struct("FilesOptions")
            .field("directory", &self.directory)
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

/// What is a folder of scripts' own.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own
pub struct CgiOptions {
    /// The folder with the scripts.
    pub directory: PathBuf,
    /// The program that runs scripts with an extension (without the dot): its path, and arguments after it, with
    /// spaces between them.
    pub interpreters: Vec<(String, String)>,
    /// Only files with one of these extensions (without the dot) are scripts; empty: any.
    pub extensions: Vec<String>,
    /// Whether files with the executable bit are scripts; else only those with an interpreter.
    pub executable: bool,
    /// The scripts that stand for their folder, the first that is there.
    pub index: Vec<String>,
    /// How many scripts may run at once in a worker.
    pub processes: usize,
    /// How long a request waits for another to end when that many run.
    pub queue: Duration,
    /// How long a script may take in all; none: any time.
    pub timeout: Option<Duration>,
    /// How long a script may take until the head of its answer is there; none: as long as `timeout`.
    pub head_timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// The largest head of a script's answer, in bytes.
    pub max_head: usize,
    /// Variables that every script gets.
    pub environment: Vec<(String, String)>,
    /// Names of variables of the server that scripts get, too.
    pub pass_environment: Vec<String>,
    /// Whether scripts see `Authorization`.
    pub pass_authorization: bool,
    /// Whether a request's body is read to its end before the script starts.
    pub buffer_bodies: bool,
    /// Whether `nph-` scripts write the whole answer.
    pub nph: bool,
    /// Bounds that the kernel holds.
    pub limits: ScriptLimits,
    /// The user that scripts run as; none: the server's.
    pub user: Option<String>,
    /// The group that scripts run as; none: the user's.
    pub group: Option<String>,
    /// What becomes of what scripts write to their standard error stream.
    pub stderr: ScriptStderr,
    /// `SERVER_SOFTWARE`; none: `stdserve/` and the version.
    pub server_software: Option<String>,
}

/// Bounds that the kernel holds for each process of a script (setrlimit(2)); none: the server's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScriptLimits {
    /// Address space, in bytes.
    pub memory: Option<u64>,
    /// Processor time, in seconds.
    pub cpu: Option<usize>,
    /// Open descriptors.
    pub files: Option<usize>,
    /// Size of core dumps, in bytes.
    pub core: Option<u64>,
    /// Size of files that are written, in bytes.
    pub file_size: Option<u64>,
    /// Processes of the user.
    pub processes: Option<usize>,
}

/// What becomes of what scripts write to their standard error stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScriptStderr {
    /// Lines of the log.
    #[default]
    Log,
    /// Nothing.
    Discard,
    /// It goes where the server's own goes.
    Inherit,
}

/// What is an RPC object's own.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own
pub struct RpcOptions {
    /// The paths at which calls are taken; empty: every path.
    pub paths: Vec<String>,
    /// Whether JSON-RPC 2.0 is spoken, too.
    pub json_rpc: bool,
    /// Whether `system.listMethods` and its kin, and the page that GET answers, are there.
    pub introspection: bool,
    /// Whether `system.multicall` is there.
    pub multicall: bool,
    /// The most calls of a `system.multicall` or a batch.
    pub max_calls: usize,
    /// Whether answers may hold `<nil/>` and `<i8>`.
    pub extensions: bool,
    /// Whether dates and base64 reach the object as `datetime.datetime` and `bytes`.
    pub builtin_types: bool,
    /// Whether faults name the exception.
    pub error_messages: bool,
    /// The smallest answer, in bytes, that is compressed; none: nothing is.
    pub gzip_minimum: Option<u64>,
    /// The largest request, in bytes, inflated.
    pub max_body: usize,
    /// How deeply arrays and structs may stand in one another.
    pub max_depth: usize,
    /// The most XML elements, or JSON values, of a request.
    pub max_values: usize,
    /// How many times its size a gzip body may grow.
    pub max_ratio: usize,
}

/// What is a handler class's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HandlerOptions {
    /// Where handlers run.
    pub model: HandlerModel,
    /// The most processes of a worker that handle at once, where each has one of its own.
    pub max_children: usize,
    /// How long one operation on a connection may take; none: for ever.
    pub request_timeout: Option<Duration>,
    /// The largest datagram that is taken, in bytes; what is longer is cut, as recvfrom(2) does.
    pub max_packet_size: usize,
}

/// Where handlers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandlerModel {
    /// On the worker's threads, as with `socketserver.ThreadingMixIn`.
    #[default]
    Threads,
    /// Each in a process of its own, as with `socketserver.ForkingMixIn`.
    Forks,
}
