//! `--print-config`: every value and where it came from, as a file that could be used.

use std::fmt::Write;

use crate::error::Source;
use crate::layers::Configuration;
use crate::option::{Opt, Scope};
use crate::options::all;
use crate::up::Service;
use crate::value;
use crate::verb::Verb;

/// The options of a verb, a line each, in TOML.
pub(crate) fn report(configuration: &Configuration, verb: Verb) -> String {
    table(all().filter(|opt| opt.is_for(verb)), configuration)
}

/// A service's table: what is its own, and what it says of its worker group.
pub(crate) fn service(service: &Service) -> String {
    let mut text = format!("\n[services.{}]  # {}\n", key(&service.name), origin(&service.source));
    let hosts: Vec<_> = distinct(service.mounts.iter().filter_map(|mount| mount.host.as_deref()));
    let prefixes: Vec<_> = distinct(service.mounts.iter().map(|mount| match mount.prefix.as_str() {
        "" => "/",
        prefix => prefix,
    }));
    for (name, list) in [("mount", prefixes), ("host", hosts)] {
        if !list.is_empty() {
            let _ = writeln!(text, "{name} = {}  # {}", value::list(list), origin(&service.mount_source));
        }
    }
    text.push_str(&table(own(service), &service.configuration));
    text
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut list = Vec::new();
    for text in texts {
        if !list.contains(&text) {
            list.push(text);
        }
    }
    list
}

/// A name as a key of TOML.
fn key(name: &str) -> String {
    if name.contains('.') { value::quote(name) } else { name.to_owned() }
}

fn origin(source: &Source) -> String {
    match source {
        // The key is on the line already.
        Source::File { path, line, .. } => format!("{}:{line}", path.display()),
        source => source.to_string(),
    }
}

fn table<'a>(options: impl Iterator<Item = &'a Opt>, configuration: &Configuration) -> String {
    let rows: Vec<_> = shown(options, configuration)
        .map(|shown| {
            let value = match shown.value {
                Some(value) => format!("{} = {value}", shown.name),
                None => format!("# {}: {}", shown.name, shown.unset),
            };
            (value, shown.source)
        })
        .collect();
    let width =
        rows.iter().map(|(value, _)| value.chars().count()).filter(|&width| width <= 48).max().unwrap_or(0);
    let mut text = String::new();
    for (value, source) in rows {
        let _ = writeln!(text, "{value:width$}  # {source}");
    }
    text
}

/// The value of an option, as an operator may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The service that it is said of; none: the server, and all services that say nothing else.
    pub service: Option<String>,
    /// The option's name.
    pub name: &'static str,
    /// The value as TOML; none where it has none, or is a secret.
    pub value: Option<String>,
    /// What stands in the place of a value that is missing.
    pub unset: &'static str,
    /// Where the value came from.
    pub source: String,
}

/// The options of a verb with their values.
pub(crate) fn listing(configuration: &Configuration, verb: Verb) -> Vec<Shown> {
    shown(all().filter(|opt| opt.is_for(verb)), configuration).collect()
}

/// What is a service's own, and what it says of its worker group.
pub(crate) fn listing_of(service: &Service) -> Vec<Shown> {
    let named = |shown| Shown { service: Some(service.name.clone()), ..shown };
    shown(own(service), &service.configuration).map(named).collect()
}

/// The options of a service's table.
fn own(service: &Service) -> impl Iterator<Item = &'static Opt> {
    let said = |opt: &Opt| service.own.iter().any(|given| given.opt.name == opt.name);
    all().filter(move |opt| opt.is_for(service.verb) && (opt.scope == Scope::Service || said(opt)))
}

fn shown<'a>(
    options: impl Iterator<Item = &'a Opt>,
    configuration: &Configuration,
) -> impl Iterator<Item = Shown> {
    // What a short form became is shown as `bind`.
    options.filter(|opt| !matches!(opt.name, "host" | "port" | "uds")).map(|opt| {
        let value = opt.field.show(&configuration.settings);
        let hidden = opt.secret && value.as_ref().is_some_and(|value| value != "[]");
        Shown {
            service: None,
            name: opt.name,
            value: value.filter(|_| !hidden),
            unset: if hidden { "not shown" } else { opt.unset },
            source: origin(configuration.sources.of(opt.name)),
        }
    })
}
