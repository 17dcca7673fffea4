//! Layers of given values, weakest first, laid over the defaults.

use std::path::PathBuf;

use crate::bind::Bind;
use crate::error::{Problem, Source, UsageError, shown};
use crate::field::Raw;
use crate::option::Opt;
use crate::options::{Found, all};
use crate::settings::Settings;
use crate::value::switch;

/// How much a source counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Default,
    File,
    /// A configuration file in Python.
    Python,
    /// Variables that are not ours alone: `PORT`, `WEB_CONCURRENCY`.
    Platform,
    Environment,
    /// The command line, or the keywords of a call.
    Arguments,
    /// A service's own table in a file: all else is said to every service.
    Service,
}

/// One value that was given.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) opt: &'static Opt,
    pub(crate) raw: Raw,
    pub(crate) rank: Rank,
    pub(crate) source: Source,
}

impl Given {
    /// A value for a name as found; `no-NAME` turns a switch round.
    pub(crate) fn new(found: Found, raw: Raw, rank: Rank, source: Source) -> Self {
        let raw = match &raw {
            Raw::Text(text) if found.negated => match switch(text.trim()) {
                Some(value) => Raw::Text((!value).to_string()),
                None => raw,
            },
            _ => raw,
        };
        Self { opt: found.opt, raw, rank, source }
    }
}

/// Where each option's value came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Sources {
    /// In the order of the table.
    list: Vec<(&'static str, Rank, Source)>,
}

impl Sources {
    fn defaults() -> Self {
        Self { list: all().map(|opt| (opt.name, Rank::Default, Source::Default)).collect() }
    }

    /// Where the value of an option, named as in the table, came from.
    pub fn of(&self, name: &str) -> &Source {
        self.list.iter().find(|(known, ..)| *known == name).map_or(&Source::Default, |(.., source)| source)
    }

    pub(crate) fn refuse(&self, option: &str, message: impl Into<String>) -> UsageError {
        let source = match self.of(option) {
            Source::Default => Source::CommandLine(format!("--{option}")),
            source => source.clone(),
        };
        UsageError::new(Some(source), message, None)
    }

    fn rank(&self, name: &str) -> Rank {
        self.list.iter().find(|(known, ..)| *known == name).map_or(Rank::Default, |(_, rank, _)| *rank)
    }

    fn put(&mut self, name: &str, rank: Rank, source: Source) {
        if let Some(entry) = self.list.iter_mut().find(|(known, ..)| *known == name) {
            (entry.1, entry.2) = (rank, source);
        }
    }
}

/// Settings and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// The values.
    pub settings: Settings,
    /// Their sources.
    pub sources: Sources,
    /// What of a configuration file in Python means nothing here, each for a line of the log.
    pub notes: Vec<String>,
}

impl Configuration {
    /// An error about an option's value that only shows later, such as a log format's; named like the parser's own.
    pub fn refuse(&self, option: &str, message: impl Into<String>) -> UsageError {
        self.sources.refuse(option, message)
    }
}

/// Lays what was given over the defaults. Every value is checked, also one that a stronger one hides.
pub(crate) fn resolve(given: Vec<Given>, mut problems: Vec<Problem>) -> Result<Configuration, UsageError> {
    let configuration = lay(given, &mut problems);
    if problems.is_empty() { Ok(configuration) } else { Err(UsageError { problems }) }
}

/// The same, with what is wrong put to `problems` and left out.
pub(crate) fn lay(mut given: Vec<Given>, problems: &mut Vec<Problem>) -> Configuration {
    // Stable: within a rank what was given last counts.
    given.sort_by_key(|given| given.rank);
    let mut settings = Settings::default();
    let mut sources = Sources::defaults();
    for Given { opt, raw, rank, source } in given {
        match opt.field.set(&mut settings, &raw) {
            Ok(()) => sources.put(opt.name, rank, source),
            Err(_) if opt.secret => {
                problems.push(Problem::new(source, format!("is not of the form {}", opt.metavar)));
            }
            Err(why) => problems.push(Problem::new(source, complaint(&raw, &why))),
        }
    }
    if let Err(problem) = join_short_forms(&mut settings, &mut sources) {
        problems.push(problem);
    }
    if settings.factory {
        settings.targets.app = settings.targets.app.map(crate::app_spec::AppSpec::as_factory);
    }
    Configuration { settings, sources, notes: Vec::new() }
}

fn complaint(raw: &Raw, why: &str) -> String {
    match raw {
        Raw::Table(_) => format!("{} {why}", shown(&raw.to_string())),
        Raw::List(list) if list.len() != 1 => format!("{} {why}", shown(&raw.to_string())),
        Raw::List(list) => format!("`{}` {why}", shown(&list.concat())),
        _ => format!("`{}` {why}", shown(&raw.to_string())),
    }
}

/// `--host`, `--port` and `--uds` become a `bind`, unless one is given that counts more.
fn join_short_forms(settings: &mut Settings, sources: &mut Sources) -> Result<(), Problem> {
    let strongest = ["host", "port", "uds"].into_iter().max_by_key(|name| sources.rank(name));
    let Some((name, rank)) = strongest.map(|name| (name, sources.rank(name))) else { return Ok(()) };
    let bind = sources.rank("bind");
    if rank == Rank::Default || rank < bind {
        return Ok(());
    }
    let source = sources.of(name).clone();
    if rank == bind {
        return Err(Problem::new(source, format!("stands beside {}", sources.of("bind")))
            .hint("They say the same thing in two ways: give one of them.".to_owned()));
    }
    let short = &settings.listen.short;
    // What a stronger source says is not mixed with what a weaker one says of the other kind.
    let uds: Option<&PathBuf> = short.uds.as_ref().filter(|_| sources.rank("uds") == rank);
    settings.listen.bind = if let Some(path) = uds {
        for tcp in ["host", "port"] {
            if sources.rank(tcp) == rank {
                return Err(Problem::new(source, format!("stands beside {}", sources.of(tcp)))
                    .hint("For several listeners repeat --bind.".to_owned()));
            }
        }
        let path = path.display();
        let bind = Bind::parse(&format!("unix:{path}"))
            .map_err(|why| Problem::new(source.clone(), format!("`{path}` {why}")))?;
        // The verb says what is listened for.
        vec![Bind { transport: None, ..bind }]
    } else {
        let everywhere = if rank == Rank::Platform { "0.0.0.0" } else { "127.0.0.1" };
        let host = if short.host.is_empty() { everywhere } else { short.host.as_str() };
        let port = short.port.map_or(crate::bind::DEFAULT_PORT, |port| port as u16);
        vec![Bind::inet(host, port)]
    };
    sources.put("bind", rank, source);
    Ok(())
}
