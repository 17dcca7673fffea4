//! `--print-config`: every value and where it came from, as a file that could be used.

use std::fmt::Write;

use crate::error::Source;
use crate::layers::Configuration;
use crate::options::all;

/// One line an option, in TOML.
pub(crate) fn report(configuration: &Configuration) -> String {
    let mut rows = Vec::new();
    for opt in all() {
        let source = match configuration.sources.of(opt.name) {
            // The key is on the line already.
            Source::File { path, line, .. } => format!("{}:{line}", path.display()),
            source => source.to_string(),
        };
        // What a short form became is shown as `bind`.
        if matches!(opt.name, "host" | "port" | "uds") {
            continue;
        }
        let value = match opt.field.show(&configuration.settings) {
            Some(value) => format!("{} = {value}", opt.name),
            None => format!("# {}: {}", opt.name, opt.unset),
        };
        rows.push((value, source));
    }
    let width =
        rows.iter().map(|(value, _)| value.chars().count()).filter(|&width| width <= 48).max().unwrap_or(0);
    let mut text = String::new();
    for (value, source) in rows {
        let _ = writeln!(text, "{value:width$}  # {source}");
    }
    text
}
