//! What one option's declaration holds. The declarations themselves stand in [`crate::options`].

use crate::field::Field;

/// One option: all that the command line, files, environment, help, reference page, completions and
/// types say of it comes from here.
#[derive(Clone, Copy)]
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
    /// Whether it is one for the whole server or each service may have its own.
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
    /// One service.
    Service,
}

/// The groups of help, each of which fits a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What is served.
    Application,
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
}

impl Group {
    /// All groups, in the order of help.
    pub const ALL: [Self; 7] = [
        Self::Application,
        Self::Listen,
        Self::Workers,
        Self::Limits,
        Self::Timeouts,
        Self::Http,
        Self::Logs,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::Listen => "Listening",
            Self::Workers => "Workers and threads",
            Self::Limits => "Limits",
            Self::Timeouts => "Time-outs",
            Self::Http => "HTTP and proxies",
            Self::Logs => "Logs",
        }
    }

    /// The word for `--help=WORD`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Application => "app",
            Self::Listen => "listen",
            Self::Workers => "workers",
            Self::Limits => "limits",
            Self::Timeouts => "timeouts",
            Self::Http => "http",
            Self::Logs => "logs",
        }
    }
}

impl Opt {
    /// What a declaration need not say: a reloadable option of a service, without other names.
    pub(crate) const BASE: Self = Self {
        name: "",
        short: None,
        aliases: &[],
        variables: &[],
        group: Group::Application,
        scope: Scope::Service,
        reload: true,
        embedded: true,
        metavar: "",
        default: None,
        unset: "",
        help: "",
        doc: "",
        field: Field::Switch(|settings| &mut settings.factory),
    };

    /// Whether it is given by its place, not by a flag.
    pub fn is_positional(&self) -> bool {
        matches!(self.field, Field::App(_))
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
