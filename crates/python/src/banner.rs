//! What is printed at the start: one line for each fact that a user wants.

use std::fmt::Write as _;

use pyo3::prelude::*;
use stdserve_sys::listener::Listener;

use crate::command::Setup;

/// The lines, for the log of the supervisor.
pub(crate) fn lines(py: Python<'_>, setup: &Setup) -> String {
    let color = setup.log.color();
    let mut text = format!("stdserve {} is ready\n", env!("CARGO_PKG_VERSION"));
    let mut fact = |name: &str, value: &str, style: &str| {
        let (start, end) = if color { (style, "\x1b[0m") } else { ("", "") };
        let (dim, normal) = if color { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(text, "  {dim}{name:<12}{normal} {start}{value}{end}");
    };
    for (index, listener) in setup.registry.listeners().iter().enumerate() {
        let name = if index == 0 { "Address" } else { "" };
        fact(name, &listener.url(), "\x1b[1;36m");
        if let Some(link) = link(listener) {
            fact("", &link, "\x1b[1;36m");
        }
    }
    fact("Application", &setup.source.to_string(), "");
    let threads = setup.options().workers.threads;
    fact("Serving", &format!("{} × {}", count(setup.workers, "worker"), count(threads, "thread")), "");
    let version = py.version_info();
    let python = format!("{}.{}.{}", version.major, version.minor, version.patch);
    fact("Python", &python, "");
    fact("Process", &std::process::id().to_string(), "");
    text
}

/// Where a listener takes every address of the machine: one that a browser can open.
fn link(listener: &Listener) -> Option<String> {
    let url = listener.url();
    let local = url.replacen("//0.0.0.0:", "//127.0.0.1:", 1).replacen("//[::]:", "//[::1]:", 1);
    (local != url).then_some(local)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
