//! The verbs: the first word of a command line, and what each is about.

/// What the command is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A WSGI application; also without the word.
    Serve,
    /// A folder.
    Files,
    /// A folder of CGI scripts.
    Cgi,
    /// An object for remote calls.
    Rpc,
    /// A handler class for connections.
    Tcp,
    /// A handler class for datagrams.
    Udp,
    /// Several services from one file.
    Up,
    /// A program with the standard servers replaced.
    Run,
    /// Any of those that serve, in the background.
    Start,
    /// The end of a server in the background.
    Stop,
    /// The end of one, and the start of another.
    Restart,
    /// A reload of one.
    Reload,
    /// Whether one runs.
    Status,
    /// Anything that is asked of a server that runs.
    Ctl,
    /// A script for a shell.
    Completions,
}

impl Verb {
    /// All of them, in the order of help.
    pub const ALL: [Self; 15] = [
        Self::Serve,
        Self::Files,
        Self::Cgi,
        Self::Rpc,
        Self::Tcp,
        Self::Udp,
        Self::Up,
        Self::Run,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Reload,
        Self::Status,
        Self::Ctl,
        Self::Completions,
    ];

    /// Those that serve one thing, which their first argument names.
    pub const SERVICES: [Self; 6] = [Self::Serve, Self::Files, Self::Cgi, Self::Rpc, Self::Tcp, Self::Udp];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Files => "files",
            Self::Cgi => "cgi",
            Self::Rpc => "rpc",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Up => "up",
            Self::Run => "run",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Status => "status",
            Self::Ctl => "ctl",
            Self::Completions => "completions",
        }
    }

    /// The verb of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }

    /// The option that its first argument is, which is also the key in a service's table.
    pub fn target(self) -> Option<&'static str> {
        match self {
            Self::Serve => Some("app"),
            Self::Files | Self::Cgi | Self::Rpc | Self::Tcp | Self::Udp => Some(self.word()),
            _ => None,
        }
    }

    /// One line of what it does.
    pub fn about(self) -> &'static str {
        match self {
            Self::Serve => "Serve a WSGI application (also without this word)",
            Self::Files => "Serve a folder's files",
            Self::Cgi => "Serve a folder of CGI scripts",
            Self::Rpc => "Serve an object's methods by XML-RPC and JSON-RPC",
            Self::Tcp => "Serve connections with a socketserver handler class",
            Self::Udp => "Serve datagrams with a socketserver handler class",
            Self::Up => "Run several services from stdserve.toml",
            Self::Run => "Run a program with the standard servers replaced",
            Self::Start => "Start a server in the background (--daemon)",
            Self::Stop => "End a server gracefully, and wait until it has ended",
            Self::Restart => "End a server, and start one in the background",
            Self::Reload => "Have a server reload (SIGHUP)",
            Self::Status => "Show whether a server runs, and its processes",
            Self::Ctl => "Inspect and control a running server",
            Self::Completions => "Print a completion script for bash, zsh or fish",
        }
    }

    /// How it is written; one form a line.
    pub fn usage(self) -> &'static [&'static str] {
        match self {
            Self::Serve => &["stdserve [serve] [OPTIONS] APP"],
            Self::Files => &["stdserve files [OPTIONS] [DIR]"],
            Self::Cgi => &["stdserve cgi [OPTIONS] DIR"],
            Self::Rpc => &["stdserve rpc [OPTIONS] MODULE:OBJECT"],
            Self::Tcp => &["stdserve tcp [OPTIONS] MODULE:HANDLER"],
            Self::Udp => &["stdserve udp [OPTIONS] MODULE:HANDLER"],
            Self::Up => &["stdserve up [OPTIONS]"],
            Self::Run => &[
                "stdserve run SCRIPT [ARGUMENTS]",
                "stdserve run -m MODULE [ARGUMENTS]",
                "stdserve run -c CODE [ARGUMENTS]",
            ],
            Self::Start => &["stdserve start [COMMAND] [OPTIONS] ..."],
            Self::Stop => &["stdserve stop [--pid FILE]"],
            Self::Restart => &["stdserve restart [COMMAND] [OPTIONS] ..."],
            Self::Reload => &["stdserve reload [--pid FILE]"],
            Self::Status => &["stdserve status [--pid FILE]"],
            Self::Ctl => &["stdserve ctl [--admin ADDRESS | --pid PID] [--json] ORDER"],
            Self::Completions => &["stdserve completions bash|zsh|fish"],
        }
    }

    /// Examples: what is written, and what it means.
    pub fn examples(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Serve => &[
                ("stdserve mysite.wsgi:application", "a callable in a module"),
                ("stdserve app.py", "a file: application, app or create_app()"),
                ("stdserve 'shop:create_app()'", "a factory"),
            ],
            Self::Files => &[
                ("stdserve files", "the current folder"),
                ("stdserve files dist --spa index.html", "an application in the browser"),
                ("stdserve files share --upload", "a folder that takes files, too"),
            ],
            Self::Cgi => &[
                ("stdserve cgi cgi-bin", "files with the executable bit"),
                ("stdserve cgi scripts --interpreter .py=python3", "and those that end in .py"),
            ],
            Self::Rpc => &[
                ("stdserve rpc 'stock:Stock()'", "a class, made once in each worker"),
                ("stdserve rpc stock:service", "an object in a module"),
            ],
            Self::Tcp => &[
                ("stdserve tcp echo:Handler --bind tcp://:7000", "on every IPv4 address"),
                ("stdserve tcp echo:Handler --bind unix:/run/echo", "on a Unix socket"),
            ],
            Self::Udp => &[
                ("stdserve udp dns:Handler --bind udp://:5300", "on every IPv4 address"),
                ("stdserve udp log:Handler --bind unixgram:/run/log", "on a Unix socket"),
            ],
            Self::Up => &[
                ("stdserve up", "all services in stdserve.toml"),
                ("stdserve up -c etc/prod.toml", "those of another file"),
                ("stdserve up --only shop,static", "some of them"),
            ],
            Self::Run => &[
                ("stdserve run server.py --port 8000", "a script and its arguments"),
                ("stdserve run -m http.server", "a module"),
            ],
            Self::Start => &[
                ("stdserve start shop:app --pid run/shop.pid", "an application"),
                ("stdserve start up -c etc/prod.toml", "what a file says"),
            ],
            Self::Stop => &[
                ("stdserve stop --pid run/shop.pid", "the server of that file"),
                ("stdserve stop", "that of `pid` in stdserve.toml"),
            ],
            Self::Restart => &[("stdserve restart up", "with new options, too")],
            Self::Reload => &[("stdserve reload --pid run/shop.pid", "without losing a request")],
            Self::Status => &[("stdserve status", "code 0: it runs; 1, 3: it does not")],
            Self::Ctl => &[
                ("stdserve ctl top", "live, in the terminal"),
                ("stdserve ctl scale +1", "one worker more"),
                ("stdserve ctl --admin 127.0.0.1:9000 status --json", "of that server, as JSON"),
            ],
            Self::Completions => &[("eval \"$(stdserve completions bash)\"", "in ~/.bashrc")],
        }
    }
}
