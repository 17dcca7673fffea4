//! From arguments, environment and files to what is to be done.

use std::ffi::OsString;
use std::path::Path;

use crate::app_spec::AppSpec;
use crate::bind::{Bind, Transport};
use crate::cli::{self, CommandLine};
use crate::error::{Problem, Source, UsageError};
use crate::field::Raw;
use crate::layers::{Configuration, Given, Rank, resolve};
use crate::options::find;
use crate::services::{GroupSpec, RunScript, ServiceKind, ServiceSpec};
use crate::surroundings::Surroundings;
use crate::{completions, environment, file, help, report, suggest};

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Print this text on standard output and exit with 0.
    Print(String),
    /// Serve, or check that one could.
    Serve(Box<Serve>),
    /// Run a program with the standard servers replaced.
    Run(RunScript),
}

/// What is to be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Serve {
    /// The worker groups, at least one; one with one service unless `stdserve up` says otherwise.
    pub groups: Vec<GroupSpec>,
    /// The settings of the server as a whole, and where they came from.
    pub configuration: Configuration,
    /// `--check-config`: load the application, say whether that went well, and exit.
    pub check: bool,
}

/// The verbs of this version.
pub(crate) const VERBS: &[(&str, &str)] = &[
    ("serve", "Serve a WSGI application (also without this word)"),
    ("completions", "Print a completion script for bash, zsh or fish"),
];

/// Verbs that later versions will have: taken already, so that no script comes to rely on modules of that name.
const RESERVED: &[&str] = &[
    "files", "cgi", "rpc", "tcp", "udp", "up", "ctl", "start", "stop", "restart", "reload", "status", "help",
];

/// Parses the command line: `argv` without the program's name.
pub fn parse(
    argv: impl IntoIterator<Item = impl Into<OsString>>,
    around: &Surroundings<'_>,
) -> Result<Command, UsageError> {
    let line = cli::parse(argv.into_iter().map(Into::into).collect())?;
    if let Some(group) = &line.help {
        return Ok(Command::Print(help::help(group)?));
    }
    if line.version {
        return Ok(Command::Print(format!("stdserve {}\n", env!("CARGO_PKG_VERSION"))));
    }
    match line.words.first().map(String::as_str) {
        Some("completions") => completions::print(&line.words[1..]).map(Command::Print),
        Some(verb) if RESERVED.contains(&verb) => {
            let message = format!("`{verb}` is a command that this version does not have");
            let hint = format!("To serve a module of that name: stdserve serve {verb}");
            Err(Problem::new(None, message).hint(hint).into())
        }
        Some("serve") => serve(line, 1, around),
        _ => serve(line, 0, around),
    }
}

fn serve(line: CommandLine, skip: usize, around: &Surroundings<'_>) -> Result<Command, UsageError> {
    let mut problems = Vec::new();
    let mut given = line.given;
    let mut words = line.words.into_iter().skip(skip);
    if let (Some(word), Some(found)) = (words.next(), find("app")) {
        given.push(Given::new(found, Raw::Text(word), Rank::Arguments, Source::CommandLine("APP".into())));
    }
    if let Some(extra) = words.next() {
        let message = format!("`{}` stands after the application", crate::error::shown(&extra));
        problems.push(Problem::new(None, message).hint("One application is served at a time.".to_owned()));
    }
    let configuration = gather(given, line.config.as_deref().map(Path::new), around, problems)?;
    if line.print_config {
        return Ok(Command::Print(report::report(&configuration)));
    }
    let Some(app) = configuration.settings.app.clone() else { return Err(no_application()) };
    let serve = Serve::application(app, configuration);
    Ok(Command::Serve(Box::new(Serve { check: line.check_config, ..serve })))
}

impl Serve {
    /// One application, as `stdserve.run` serves it.
    pub fn application(app: AppSpec, configuration: Configuration) -> Self {
        let kind = ServiceKind::Wsgi { app, options: configuration.settings.wsgi.clone() };
        Self { groups: vec![group(kind, &configuration)], configuration, check: false }
    }
}

/// The one group of a verb that serves one thing.
fn group(kind: ServiceKind, configuration: &Configuration) -> GroupSpec {
    let settings = configuration.settings.clone();
    let transport = Some(match kind {
        ServiceKind::Datagram { .. } => Transport::Datagram,
        _ => Transport::Stream,
    });
    let binds = settings.listen.bind.iter().map(|bind| Bind { transport, ..bind.clone() }).collect();
    let default_binds = *configuration.sources.of("bind") == Source::Default;
    let services = vec![ServiceSpec { name: "app".to_owned(), kind, mounts: Vec::new() }];
    let sources = configuration.sources.clone();
    GroupSpec { name: "app".to_owned(), binds, default_binds, services, settings, sources }
}

/// `stdserve.run(app, **options)`: keywords in the place of the command line, then environment and files.
pub fn parse_run(
    keywords: impl IntoIterator<Item = (String, Raw)>,
    around: &Surroundings<'_>,
) -> Result<Configuration, UsageError> {
    let mut problems = Vec::new();
    let mut config = None;
    let keywords = keywords.into_iter().filter_map(|(name, raw)| match (name.as_str(), raw) {
        ("config", Raw::Text(path)) => {
            config = Some(path);
            None
        }
        (_, raw) => Some((name, raw)),
    });
    let given = keyword_values(keywords, "run", |_| true, &mut problems);
    gather(given, config.as_deref().map(Path::new), around, problems)
}

/// `stdserve.Server(app, **options)`: keywords and defaults only, and no options of the supervisor.
pub fn parse_server(keywords: impl IntoIterator<Item = (String, Raw)>) -> Result<Configuration, UsageError> {
    let mut problems = Vec::new();
    let given = keyword_values(keywords, "Server", |opt| opt.embedded, &mut problems);
    resolve(given, problems)
}

fn keyword_values(
    keywords: impl IntoIterator<Item = (String, Raw)>,
    function: &str,
    takes: impl Fn(&crate::option::Opt) -> bool,
    problems: &mut Vec<Problem>,
) -> Vec<Given> {
    let mut given = Vec::new();
    for (name, raw) in keywords {
        let source = Source::Keyword(name.clone());
        match find(&name) {
            Some(found) if found.opt.is_positional() => {
                let message = format!("the application is stdserve.{function}'s first argument");
                problems.push(Problem::new(source, message));
            }
            Some(found) if takes(found.opt) => given.push(Given::new(found, raw, Rank::Arguments, source)),
            Some(_) => {
                let message = format!("stdserve.{function} has no use for it; stdserve.run has");
                problems.push(Problem::new(source, message));
            }
            None => {
                let hint = suggest::hint(&name, |name| format!("{}=", name.replace('-', "_")));
                problems.push(Problem::new(source, "there is no such option").hint(hint));
            }
        }
    }
    given
}

/// Adds environment and files to what was given as arguments.
fn gather(
    mut given: Vec<Given>,
    config: Option<&Path>,
    around: &Surroundings<'_>,
    mut problems: Vec<Problem>,
) -> Result<Configuration, UsageError> {
    let (values, named) = environment::read(around, &mut problems);
    given.extend(values);
    let by = match config {
        Some(_) => Source::CommandLine("--config".into()),
        None => Source::Environment(environment::CONFIG.into()),
    };
    let (values, _) = file::read(config.or(named.as_deref()), &by, around, &mut problems);
    given.extend(values);
    resolve(given, problems)
}

fn no_application() -> UsageError {
    let hint = "Name it as MODULE:CALLABLE (stdserve mysite.wsgi:application), as a file (stdserve app.py), \
                or as `app` in stdserve.toml. More: stdserve --help";
    Problem::new(None, "no application is named").hint(hint.to_owned()).into()
}
