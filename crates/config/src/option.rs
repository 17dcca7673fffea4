//! What one option's declaration holds. The declarations themselves stand in [`crate::options`].

use crate::field::Field;
use crate::verb::Verb;

/// One option: all that the command line, files, environment, help, reference page, completions and
/// types say of it comes from here.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
pub struct Opt {
    /// The long name, which is also the key in a file; `_` and `-` mean the same everywhere.
    pub name: &'static str,
    /// The short flag.
    pub short: Option<char>,
    /// Other long names, mostly other servers' words for the same thing.
    pub aliases: &'static [&'static str],
    /// Environment variables besides `STDSERVE_NAME` that are not ours alone, weakest of the environment.
    pub variables: &'static [&'static str],
    /// Where help shows it.
    pub group: Group,
    /// The verbs that take it.
    pub verbs: &'static [Verb],
    /// Whether it is given by its place, as the verb's first argument, not by a flag.
    pub positional: bool,
    /// Whether its value is told to nobody.
    pub secret: bool,
    /// Of what it is a property.
    pub scope: Scope,
    /// Whether a reload may change it.
    pub reload: bool,
    /// Whether `stdserve.Server`, which has no supervisor and no workers, takes it.
    pub embedded: bool,
    /// What stands for its value in help.
    pub metavar: &'static str,
    /// The default, as a user would write it; none: unset.
    pub default: Option<&'static str>,
    /// What an unset option means, where that needs saying.
    pub unset: &'static str,
    /// One line of help; for a switch that is on by default it speaks of `--no-NAME`.
    pub help: &'static str,
    /// What the reference page adds, in Markdown.
    pub doc: &'static str,
    /// The kind of its value, and where it lands.
    pub field: Field,
}

/// Of what an option is a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The server as a whole.
    Supervisor,
    /// A worker group: the services that share its listeners share it.
    Group,
    /// One service.
    Service,
}

/// The groups of help, each of which fits a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What is served.
    Application,
    /// Folders beside an application.
    Folders,
    /// What of a folder is served.
    Files,
    /// How files are sent.
    Answers,
    /// CGI scripts.
    Scripts,
    /// What scripts may use.
    Children,
    /// Remote calls.
    Rpc,
    /// Handler classes.
    Handlers,
    /// The services of a file.
    Services,
    /// Where to listen.
    Listen,
    /// Processes and threads.
    Workers,
    /// Sizes and counts.
    Limits,
    /// Times.
    Timeouts,
    /// HTTP and proxies.
    Http,
    /// Logs.
    Logs,
    /// What operators see and do.
    Operations,
    /// The process's surroundings.
    Process,
}

impl Group {
    /// All groups, in the order of help.
    pub const ALL: [Self; 17] = [
        Self::Application,
        Self::Folders,
        Self::Files,
        Self::Answers,
        Self::Scripts,
        Self::Children,
        Self::Rpc,
        Self::Handlers,
        Self::Services,
        Self::Listen,
        Self::Workers,
        Self::Limits,
        Self::Timeouts,
        Self::Http,
        Self::Logs,
        Self::Operations,
        Self::Process,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::Folders => "Folders beside the application",
            Self::Files => "Files",
            Self::Answers => "Answers with files",
            Self::Scripts => "Scripts",
            Self::Children => "Processes of scripts",
            Self::Rpc => "Remote calls",
            Self::Handlers => "Handlers",
            Self::Services => "Services",
            Self::Listen => "Listening",
            Self::Workers => "Workers and threads",
            Self::Limits => "Limits",
            Self::Timeouts => "Time-outs",
            Self::Http => "HTTP and proxies",
            Self::Logs => "Logs",
            Self::Operations => "Operations",
            Self::Process => "Surroundings",
        }
    }

    /// The verbs that the group is about; none where services of all kinds have it.
    pub fn home(self) -> &'static [Verb] {
        match self {
            Self::Application | Self::Folders => &[Verb::Serve],
            Self::Files | Self::Answers => &[Verb::Files],
            Self::Scripts | Self::Children => &[Verb::Cgi],
            Self::Rpc => &[Verb::Rpc],
            Self::Handlers => &[Verb::Tcp, Verb::Udp],
            Self::Services => &[Verb::Up],
            _ => &[],
        }
    }

    /// The word for `--help=WORD`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Application => "app",
            Self::Folders => "folders",
            Self::Files => "files",
            Self::Answers => "answers",
            Self::Scripts => "scripts",
            Self::Children => "children",
            Self::Rpc => "rpc",
            Self::Handlers => "handlers",
            Self::Services => "services",
            Self::Listen => "listen",
            Self::Workers => "workers",
            Self::Limits => "limits",
            Self::Timeouts => "timeouts",
            Self::Http => "http",
            Self::Logs => "logs",
            Self::Operations => "operations",
            Self::Process => "process",
        }
    }
}

impl Opt {
    /// What a declaration need not say: a reloadable option of a worker group, for every verb, without other names.
    pub(crate) const BASE: Self = Self {
        name: "",
        short: None,
        aliases: &[],
        variables: &[],
        group: Group::Application,
        verbs: &Verb::SERVICES,
        positional: false,
        secret: false,
        scope: Scope::Group,
        reload: true,
        embedded: true,
        metavar: "",
        default: None,
        unset: "",
        help: "",
        doc: "",
        field: Field::Switch(|settings| &mut settings.factory),
    };

    /// Whether a verb takes it on its command line. `up` takes what services may share.
    pub fn is_for(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb) || (verb == Verb::Up && self.scope != Scope::Service)
    }

    /// The environment variable: `STDSERVE_` and the name in capitals.
    pub fn variable(&self) -> String {
        format!("STDSERVE_{}", self.python_name().to_ascii_uppercase())
    }

    /// The keyword in Python: the name with `_` for `-`.
    pub fn python_name(&self) -> String {
        self.name.replace('-', "_")
    }

    /// What help shows of the default; empty where nothing needs saying.
    pub fn default_text(&self) -> &'static str {
        match self.default {
            Some(text) if !text.is_empty() => text,
            _ => self.unset,
        }
    }
}
