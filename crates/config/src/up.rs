//! `stdserve up`: the services of a file, each read from its table.
//!
//! What stands at the top of the file, in the environment and on the command line is said to every service; what
//! stands in a service's table counts for that one, before all else. How services come together into worker groups
//! is in [`grouping`].

mod grouping;

use crate::bind::Bind;
use crate::error::{Problem, Source, UsageError, shown};
use crate::field::Raw;
use crate::file::{Contents, Entry, Table};
use crate::layers::{Configuration, Given, Rank, lay};
use crate::option::Scope;
use crate::options::checks::{host_name, prefix_path};
use crate::options::{Found, find, normal};
use crate::services::{GroupSpec, MountSpec, ServiceKind};
use crate::surroundings::Surroundings;
use crate::verb::Verb;
use crate::{report, service, suggest};

/// The keys of a service's table that say where it answers.
const MOUNT: &str = "mount";
const HOST: &str = "host";

/// One service of the file.
pub(crate) struct Service {
    pub(crate) name: String,
    /// Its table.
    pub(crate) source: Source,
    /// The verb that would serve it alone.
    pub(crate) verb: Verb,
    pub(crate) kind: ServiceKind,
    /// Where it answers, and what said so.
    pub(crate) mounts: Vec<MountSpec>,
    pub(crate) mount_source: Source,
    pub(crate) binds: Vec<Bind>,
    /// What its table gives.
    pub(crate) own: Vec<Given>,
    /// All that counts for it.
    pub(crate) configuration: Configuration,
}

/// The services of a file, checked one by one.
pub(crate) struct Services {
    list: Vec<Service>,
    /// What is said to every service.
    shared: Vec<Given>,
    configuration: Configuration,
}

/// Reads the tables.
pub(crate) fn services(
    given: &[Given],
    contents: &Contents,
    around: &Surroundings<'_>,
    mut problems: Vec<Problem>,
) -> Result<Services, UsageError> {
    let mut shared = Vec::new();
    for given in given {
        if !given.opt.positional {
            shared.push(given.clone());
        } else if given.rank == Rank::File {
            problems.push(beside_tables(given));
        }
    }
    if contents.services.is_empty() && problems.is_empty() {
        return Err(no_services(contents).into());
    }
    let configuration = lay(shared.clone(), &mut problems);
    let mut services = Vec::new();
    for table in &contents.services {
        services.extend(read(table, &shared, around, &mut problems));
    }
    check_only(&configuration, &contents.services, &mut problems);
    if problems.is_empty() {
        Ok(Services { list: services, shared, configuration })
    } else {
        Err(UsageError { problems })
    }
}

impl Services {
    /// The configuration of the server as a whole, and the worker groups.
    pub(crate) fn groups(self) -> Result<(Configuration, Vec<GroupSpec>), UsageError> {
        let groups = grouping::groups(self.list, &self.shared, &self.configuration.settings.only)?;
        Ok((self.configuration, groups))
    }

    /// What is said to all services, then what each says of itself.
    pub(crate) fn listing(&self) -> Vec<report::Shown> {
        let mut list = report::listing(&self.configuration, Verb::Up);
        list.extend(self.list.iter().flat_map(report::listing_of));
        list
    }

    /// `--print-config`.
    pub(crate) fn report(&self) -> String {
        let mut text = report::report(&self.configuration, Verb::Up);
        for service in &self.list {
            text.push_str(&report::service(service));
        }
        text
    }
}

/// A word for who has services in the file and asked for something else.
pub(crate) fn hint(contents: &Contents) -> String {
    let names: Vec<_> = contents.services.iter().map(|table| table.name.as_str()).collect();
    format!("The file has services ({}): stdserve up runs them.", shown(&names.join(", ")))
}

fn no_services(contents: &Contents) -> Problem {
    let message = match &contents.path {
        Some(path) => format!("{} has no services", path.display()),
        None => "there is no stdserve.toml, nor [tool.stdserve] in a pyproject.toml".to_owned(),
    };
    let hint = "Give each a table: [services.shop], with app = \"shop:app\" and bind = \"127.0.0.1:8000\".";
    Problem::new(None, message).hint(hint.to_owned())
}

/// `app = …` outside of the services' tables.
fn beside_tables(given: &Given) -> Problem {
    let name = given.opt.name;
    Problem::new(given.source.clone(), "stands outside of the services' tables")
        .hint(format!("To have it served by stdserve up, put it into one: [services.{name}]."))
}

/// `--only` names services of the file.
fn check_only(configuration: &Configuration, tables: &[Table], problems: &mut Vec<Problem>) {
    for name in &configuration.settings.only {
        if tables.iter().any(|table| table.name == *name) {
            continue;
        }
        let names: Vec<_> = tables.iter().map(|table| table.name.clone()).collect();
        let message = format!("`{}` is not one of {}", shown(name), shown(&names.join(", ")));
        let near = suggest::closest(name, names).map(|name| format!("Did you mean {name}?"));
        problems.push(Problem::new(configuration.sources.of("only").clone(), message).hint(near));
    }
}

/// One table. None where something is wrong with it.
fn read(
    table: &Table,
    shared: &[Given],
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Service> {
    let before = problems.len();
    if let Err(problem) = check_name(table) {
        problems.push(problem);
    }
    let verb = match verb(table) {
        Ok(verb) => verb,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let mut own = Vec::new();
    let (mut prefixes, mut hosts) = (Vec::new(), Vec::new());
    let mut mount_source = table.source.clone();
    for entry in &table.entries {
        let result = match normal(&entry.key).as_str() {
            MOUNT => texts(entry, prefix_path).map(|found| {
                prefixes = found;
                mount_source = entry.source.clone();
            }),
            HOST => texts(entry, host_name).map(|found| {
                hosts = found;
                if prefixes.is_empty() {
                    mount_source = entry.source.clone();
                }
            }),
            _ => option(entry, verb).map(|given| own.push(given)),
        };
        problems.extend(result.err());
    }
    let mut found = Vec::new();
    let configuration = lay([shared, &own].concat(), &mut found);
    // What is wrong with what is said to every service was told already.
    for problem in found {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    if problems.len() > before {
        return None;
    }
    let kind = service::kind(verb, &configuration, around).map_err(|problem| problems.push(problem)).ok()?;
    let binds = service::binds(&kind, &configuration).map_err(|problem| problems.push(problem)).ok()?;
    let mounts = mounts(&prefixes, &hosts);
    if !mounts.is_empty() && !kind.speaks_http() {
        let message = format!("a {} service has no paths and no hosts", verb.word());
        problems.push(Problem::new(mount_source, message).hint("It has its listeners alone.".to_owned()));
        return None;
    }
    Some(Service {
        name: table.name.clone(),
        source: table.source.clone(),
        verb,
        kind,
        mounts,
        mount_source,
        binds,
        own,
        configuration,
    })
}

/// Names stand in logs, in figures and on the command line.
fn check_name(table: &Table) -> Result<(), Problem> {
    let fine = table.name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && table.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if fine {
        return Ok(());
    }
    Err(Problem::new(table.source.clone(), "is not a name for a service")
        .hint("Letters, digits, `-`, `_` and `.` make one.".to_owned()))
}

/// What kind of service it is: the one key that says what is served.
fn verb(table: &Table) -> Result<Verb, Problem> {
    let kind = |entry: &Entry| {
        let found = find(&entry.key)?;
        Verb::SERVICES.into_iter().find(|verb| verb.target() == Some(found.opt.name))
    };
    let mut kinds = table.entries.iter().filter_map(|entry| Some((entry, kind(entry)?)));
    let Some((first, verb)) = kinds.next() else {
        let slip = table.entries.iter().filter(|entry| find(&entry.key).is_none()).find_map(|entry| {
            let targets = Verb::SERVICES.into_iter().filter_map(Verb::target).map(str::to_owned);
            let meant = suggest::closest(&entry.key, targets)?;
            Some(format!("Did you mean `{meant}` where `{}` stands?", entry.key))
        });
        let hint = slip.unwrap_or_else(|| "Give it one of app, files, cgi, rpc, tcp, udp.".to_owned());
        return Err(Problem::new(table.source.clone(), "does not say what it serves").hint(hint));
    };
    match kinds.next() {
        None => Ok(verb),
        Some((second, _)) => {
            let message = format!("stands beside `{}`", first.key);
            Err(Problem::new(second.source.clone(), message)
                .hint("A service serves one thing; give the other a table of its own.".to_owned()))
        }
    }
}

/// An option in a service's table.
fn option(entry: &Entry, verb: Verb) -> Result<Given, Problem> {
    let refused =
        |message: String, hint: Option<String>| Err(Problem::new(entry.source.clone(), message).hint(hint));
    let Some(found) = find(&entry.key) else {
        let near = suggest::hint(&entry.key, Some(verb), |name| format!("`{name}`"));
        let near = near.or_else(|| {
            let words = [MOUNT, HOST].map(str::to_owned);
            suggest::closest(&entry.key, words).map(|word| format!("Did you mean `{word}`?"))
        });
        return refused("there is no such option".into(), near);
    };
    let Found { opt, .. } = found;
    if matches!(opt.name, "port" | "uds") {
        return refused("is not for a service's table".into(), Some("Write bind = \"HOST:PORT\".".into()));
    }
    if opt.scope == Scope::Supervisor {
        let hint = "Write it at the top of the file, before the first table.";
        return refused("is an option of the server as a whole".into(), Some(hint.into()));
    }
    if !opt.is_for(verb) {
        let takers = Verb::SERVICES.into_iter().filter(|verb| opt.is_for(*verb));
        let keys: Vec<_> = takers.filter_map(Verb::target).collect();
        let hint = format!("Services with {} have it.", keys.join(", "));
        return refused(
            format!("is no option of a service with {}", verb.target().unwrap_or_default()),
            Some(hint),
        );
    }
    match &entry.raw {
        Ok(raw) => Ok(Given::new(found, raw.clone(), Rank::Service, entry.source.clone())),
        Err(why) => refused(why.clone(), None),
    }
}

/// The texts of `mount` or `host`: one, or a list.
fn texts(entry: &Entry, check: fn(&str) -> Result<String, String>) -> Result<Vec<String>, Problem> {
    let wrong = |message: String| Problem::new(entry.source.clone(), message);
    let list = match &entry.raw {
        Ok(Raw::Text(text)) => std::slice::from_ref(text),
        Ok(Raw::List(list)) if !list.is_empty() => list,
        Ok(other) => {
            return Err(wrong(format!(
                "`{}` is neither a text nor a list of texts",
                shown(&other.to_string())
            )));
        }
        Err(why) => return Err(wrong(why.clone())),
    };
    list.iter()
        .map(|text| check(text.trim()).map_err(|why| wrong(format!("`{}` {why}", shown(text)))))
        .collect()
}

/// Every path on every host.
fn mounts(prefixes: &[String], hosts: &[String]) -> Vec<MountSpec> {
    let hosts: Vec<Option<String>> = match hosts {
        [] => vec![None],
        hosts => hosts.iter().cloned().map(Some).collect(),
    };
    let everywhere = [String::new()];
    let prefixes = if prefixes.is_empty() { &everywhere } else { prefixes };
    let mut mounts: Vec<MountSpec> = hosts
        .iter()
        .flat_map(|host| {
            prefixes.iter().map(|prefix| MountSpec { host: host.clone(), prefix: prefix.clone() })
        })
        .collect();
    mounts.sort();
    mounts.dedup();
    // Any host and any path: wherever no other service answers.
    if mounts == [MountSpec { host: None, prefix: String::new() }] { Vec::new() } else { mounts }
}
