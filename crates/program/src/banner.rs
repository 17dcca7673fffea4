//! What is printed at the start: one line for each fact that a user wants.

use std::fmt::Write as _;

use stdserve_config::{MountSpec, ServiceKind, ServiceSpec};
use stdserve_sys::listener::{Kind, Listener};

use crate::interpreter::{self, Interpreter};
use crate::setup::{Group, Setup};

const ADDRESS: &str = "\x1b[1;36m";

/// The lines, for the log of the supervisor. `admin`: where its operations plane was asked for.
pub(crate) fn lines(interpreter: &dyn Interpreter, setup: &Setup, admin: &[String]) -> String {
    let mut text = Text { text: String::new(), color: setup.log.color() };
    let _ = writeln!(text.text, "stdserve {} is ready", env!("CARGO_PKG_VERSION"));
    for group in &setup.groups {
        if setup.groups.len() > 1 {
            text.heading(&group.spec.name);
        }
        about(&mut text, interpreter, group);
    }
    if setup.groups.len() > 1 {
        text.heading("");
    }
    if setup.groups.iter().any(|group| interpreter::is_needed(&group.spec)) {
        for (name, value) in interpreter.facts() {
            text.fact(name, &value, "");
        }
    }
    for url in admin {
        text.fact("Operations", url, ADDRESS);
    }
    text.fact("Process", &std::process::id().to_string(), "");
    text.text
}

fn about(text: &mut Text, interpreter: &dyn Interpreter, group: &Group) {
    let http = group.spec.services.iter().any(|service| service.kind.speaks_http());
    for (index, listener) in group.registry.listeners().iter().enumerate() {
        let name = if index == 0 { "Address" } else { "" };
        let url = url(listener, http);
        text.fact(name, &url, ADDRESS);
        if let Some(link) = link(&url).filter(|_| http) {
            text.fact("", &link, ADDRESS);
        }
    }
    for service in &group.spec.services {
        let target = interpreter.name_of(service).unwrap_or_else(|| service.kind.target());
        text.fact(kind(service), &format!("{target}{}", mounts(&service.mounts)), "");
    }
    let threads = group.options().workers.threads;
    let serving = format!("{} × {}", count(group.workers(), "worker"), count(threads, "thread"));
    text.fact("Serving", &serving, "");
}

/// What kind of a thing is served.
fn kind(service: &ServiceSpec) -> &'static str {
    match service.kind {
        ServiceKind::Wsgi { .. } => "Application",
        ServiceKind::Files(_) => "Folder",
        ServiceKind::Cgi(_) => "Scripts",
        ServiceKind::Rpc { .. } => "Object",
        ServiceKind::Stream { .. } | ServiceKind::Datagram { .. } => "Handler",
    }
}

/// Where a service answers, where that is not everywhere.
fn mounts(mounts: &[MountSpec]) -> String {
    let shown = mounts.iter().map(|mount| {
        let path = if mount.prefix.is_empty() { "/" } else { &mount.prefix };
        format!("{}{path}", mount.host.as_deref().unwrap_or_default())
    });
    let list = shown.collect::<Vec<_>>().join(", ");
    if list.is_empty() { list } else { format!(" at {list}") }
}

/// The address of a listener, as a link where it speaks HTTP.
fn url(listener: &Listener, http: bool) -> String {
    if http || listener.kind() != Kind::Tcp { listener.url() } else { format!("tcp://{}", listener.local()) }
}

/// Where a listener takes every address of the machine: one that a browser can open.
fn link(url: &str) -> Option<String> {
    let local = url.replacen("//0.0.0.0:", "//127.0.0.1:", 1).replacen("//[::]:", "//[::1]:", 1);
    (local != url).then_some(local)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Lines of a name and a value each.
struct Text {
    text: String,
    color: bool,
}

impl Text {
    fn fact(&mut self, name: &str, value: &str, style: &str) {
        let (start, end) = if self.color { (style, "\x1b[0m") } else { ("", "") };
        let (dim, normal) = if self.color { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(self.text, "  {dim}{name:<12}{normal} {start}{value}{end}");
    }

    fn heading(&mut self, name: &str) {
        let _ = writeln!(self.text, "{name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_as_they_are_asked_for() {
        let mount = |host: Option<&str>, prefix: &str| MountSpec {
            host: host.map(str::to_owned),
            prefix: prefix.to_owned(),
        };
        assert_eq!(mounts(&[]), "");
        assert_eq!(mounts(&[mount(None, "/a"), mount(Some("b.example"), "")]), " at /a, b.example/");
    }

    #[test]
    fn a_browser_cannot_open_every_address() {
        assert_eq!(link("http://0.0.0.0:80").as_deref(), Some("http://127.0.0.1:80"));
        assert_eq!(link("http://[::]:80").as_deref(), Some("http://[::1]:80"));
        assert_eq!(link("http://127.0.0.1:80"), None);
    }
}
