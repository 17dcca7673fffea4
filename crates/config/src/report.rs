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
    let own = |opt: &Opt| service.own.iter().any(|given| given.opt.name == opt.name);
    let shown = all().filter(|opt| opt.is_for(service.verb) && (opt.scope == Scope::Service || own(opt)));
    text.push_str(&table(shown, &service.configuration));
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
    let mut rows = Vec::new();
    for opt in options {
        // What a short form became is shown as `bind`.
        if matches!(opt.name, "host" | "port" | "uds") {
            continue;
        }
        let source = configuration.sources.of(opt.name);
        let value = match opt.field.show(&configuration.settings) {
            Some(value) if opt.secret && value != "[]" => format!("# {}: not shown", opt.name),
            Some(value) => format!("{} = {value}", opt.name),
            None => format!("# {}: {}", opt.name, opt.unset),
        };
        rows.push((value, origin(source)));
    }
    let width =
        rows.iter().map(|(value, _)| value.chars().count()).filter(|&width| width <= 48).max().unwrap_or(0);
    let mut text = String::new();
    for (value, source) in rows {
        let _ = writeln!(text, "{value:width$}  # {source}");
    }
    text
}
