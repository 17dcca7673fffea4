//! From settings to one service: its kind, its listeners, and the folders beside it.

use crate::bind::{Bind, Transport};
use crate::error::{Problem, Source, shown};
use crate::layers::Configuration;
use crate::options::files::USER_FORM;
use crate::service_options::{CgiOptions, FilesOptions};
use crate::services::{GroupSpec, MountSpec, ServiceKind, ServiceSpec};
use crate::settings::Settings;
use crate::surroundings::Surroundings;
use crate::verb::Verb;

/// The worker group of a verb that serves one thing.
pub(crate) fn group(
    verb: Verb,
    configuration: &Configuration,
    around: &Surroundings<'_>,
) -> Result<GroupSpec, Problem> {
    of_kind(verb, kind(verb, configuration, around)?, configuration)
}

/// The same, for a kind that is known.
pub(crate) fn of_kind(
    verb: Verb,
    kind: ServiceKind,
    configuration: &Configuration,
) -> Result<GroupSpec, Problem> {
    let binds = binds(&kind, configuration)?;
    let name = verb.target().unwrap_or_default().to_owned();
    let mut services = vec![ServiceSpec { name: name.clone(), kind, mounts: Vec::new() }];
    if verb == Verb::Serve {
        services.extend(folders(&configuration.settings, &[]));
    }
    Ok(GroupSpec {
        name,
        binds,
        default_binds: *configuration.sources.of("bind") == Source::Default,
        services,
        settings: configuration.settings.clone(),
        sources: configuration.sources.clone(),
    })
}

/// What a verb, or a table of that kind, serves.
pub(crate) fn kind(
    verb: Verb,
    configuration: &Configuration,
    around: &Surroundings<'_>,
) -> Result<ServiceKind, Problem> {
    let settings = &configuration.settings;
    let targets = settings.targets.clone();
    let missing = || missing(verb);
    Ok(match verb {
        Verb::Serve => {
            ServiceKind::Wsgi { app: targets.app.ok_or_else(missing)?, options: settings.wsgi.clone() }
        }
        Verb::Files => ServiceKind::Files(FilesOptions {
            directory: targets.files.unwrap_or_else(|| ".".into()),
            users: users(configuration, around)?,
            ..settings.files.clone()
        }),
        Verb::Cgi => ServiceKind::Cgi(CgiOptions {
            directory: targets.cgi.ok_or_else(missing)?,
            ..settings.cgi.clone()
        }),
        Verb::Rpc => {
            let mut options = settings.rpc.clone();
            // `*`: every path.
            if options.paths.iter().any(|path| path == "*") {
                options.paths.clear();
            }
            ServiceKind::Rpc { object: targets.rpc.ok_or_else(missing)?, options }
        }
        Verb::Tcp => ServiceKind::Stream {
            handler: targets.tcp.ok_or_else(missing)?,
            options: settings.handler.clone(),
        },
        Verb::Udp => ServiceKind::Datagram {
            handler: targets.udp.ok_or_else(missing)?,
            options: settings.handler.clone(),
        },
        _ => return Err(missing()),
    })
}

fn missing(verb: Verb) -> Problem {
    if verb == Verb::Serve {
        let hint = "Name it as MODULE:CALLABLE (stdserve mysite.wsgi:application), as a file (stdserve app.py), \
                    or as `app` in stdserve.toml. More: stdserve --help";
        return Problem::new(None, "no application is named").hint(hint.to_owned());
    }
    let what = match verb {
        Verb::Files | Verb::Cgi => "folder",
        Verb::Tcp | Verb::Udp => "handler class",
        _ => "object",
    };
    let word = verb.word();
    let usage = verb.usage().concat().replace("[OPTIONS] ", "");
    let hint = format!("Write {usage}, or `{word}` in stdserve.toml. More: stdserve {word} --help");
    Problem::new(None, format!("no {what} is named")).hint(hint)
}

/// The listeners of a service, with what each listens for.
pub(crate) fn binds(kind: &ServiceKind, configuration: &Configuration) -> Result<Vec<Bind>, Problem> {
    let wanted = match kind {
        ServiceKind::Datagram { .. } => Transport::Datagram,
        _ => Transport::Stream,
    };
    let whole = |bind: &Bind| match bind.transport {
        Some(other) if other != wanted => {
            let source = match configuration.sources.of("bind") {
                Source::Default => Source::CommandLine("--bind".to_owned()),
                source => source.clone(),
            };
            let (is_for, serves, write) = match wanted {
                Transport::Stream => ("datagrams", "connections", "tcp://HOST:PORT or unix:PATH"),
                Transport::Datagram => ("connections", "datagrams", "udp://HOST:PORT or unixgram:PATH"),
            };
            let message =
                format!("`{}` is for {is_for}; what is served takes {serves}", shown(&bind.to_string()));
            Err(Problem::new(source, message).hint(format!("Write {write}.")))
        }
        _ => Ok(Bind { transport: Some(wanted), ..bind.clone() }),
    };
    configuration.settings.listen.bind.iter().map(whole).collect()
}

/// `--static`: folders beside an application, which is mounted at `mounts`.
pub(crate) fn folders(settings: &Settings, mounts: &[MountSpec]) -> Vec<ServiceSpec> {
    let everywhere = [MountSpec { host: None, prefix: String::new() }];
    let mounts = if mounts.is_empty() { &everywhere } else { mounts };
    let folder = |(path, folder): &(String, String)| ServiceSpec {
        name: path.clone(),
        kind: ServiceKind::Files(beside_an_application(&settings.files, folder)),
        mounts: mounts
            .iter()
            .map(|mount| MountSpec { host: mount.host.clone(), prefix: format!("{}{path}", mount.prefix) })
            .collect(),
    };
    settings.wsgi.folders.iter().map(folder).collect()
}

/// Only what the option table offers beside an application counts; the rest is for folders of their own.
fn beside_an_application(files: &FilesOptions, folder: &str) -> FilesOptions {
    FilesOptions {
        directory: folder.into(),
        listing: false,
        cache_control: files.cache_control.clone(),
        cors: files.cors.clone(),
        precompressed: files.precompressed,
        compress: files.compress,
        types: files.types.clone(),
        ..Settings::default().files
    }
}

/// `--auth`, and the users in `--auth-file`.
fn users(configuration: &Configuration, around: &Surroundings<'_>) -> Result<Vec<(String, String)>, Problem> {
    let files = &configuration.settings.files;
    let mut users = files.users.clone();
    let Some(path) = &files.users_file else { return Ok(users) };
    let source = configuration.sources.of("auth-file");
    let wrong = |why: String| Problem::new(source.clone(), format!("`{}` {why}", path.display()));
    let text =
        (around.read)(&around.cwd.join(path)).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // What stands in the line may be a password: it is not repeated.
        let user = crate::field::pair(line, &USER_FORM)
            .map_err(|why| wrong(format!("has a line {} that {why}", index + 1)))?;
        users.push(user);
    }
    if users.is_empty() {
        return Err(wrong("names nobody, so that nobody could come in".to_owned()));
    }
    Ok(users)
}
