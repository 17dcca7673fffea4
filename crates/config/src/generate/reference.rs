//! docs/options.md.

use std::fmt::Write;

use crate::cli::META;
use crate::option::{Group, Opt, Scope};
use crate::options::all;
use crate::verb::Verb;

const HEAD: &str = "\
# Options

<!-- Made from the option table in crates/config by UPDATE=1 cargo test -p stdserve-config: do not edit. -->

Every option can be given in several places. Where more than one speaks, the first of these counts:

1. the command line (or the keywords of `stdserve.run`): `--keep-alive 10s`, `keep_alive=\"10s\"`;
2. the environment: `STDSERVE_KEEP_ALIVE=10s`; after these, variables that platforms share (`PORT`, \
`WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS`, `NO_COLOR`);
3. a file in Python: `keep_alive = \"10s\"` in `stdserve_conf.py`, or an existing `gunicorn.conf.py` \
([hooks.md](hooks.md)), in the folder where the server is started;
4. a file: `keep-alive = \"10s\"`, with `-` or `_`, in `stdserve.toml`, or under `[tool.stdserve]` in \
`pyproject.toml` where there is no `stdserve.toml`; both are looked for in the same folder. \
`--config` (one of each kind) or `STDSERVE_CONFIG` names another file, which stands in the place of all of these;
5. the default.

`--print-config` shows each value and where it came from, in a form that can be used as `stdserve.toml`. An unknown \
or misspelt option, key or `STDSERVE_` variable is an error (exit code 2).

Sizes are bytes, or numbers with a unit: `KiB`, `MiB`, `GiB` (1024s; also `K`, `M`, `G`), `KB`, `MB`, `GB` (1000s). \
Times are seconds, or numbers with `ms`, `s`, `m`, `h` or `d`, which add up: `1m30s`. \
Switches are `true` or `false`; on the command line `--NAME` and `--no-NAME`. Lists are repeated options, \
lists in a file, or texts with commas.

Where an entry may have commas of its own (`--header`, `--static` and other pairs), each is an option, an entry of a \
list, or a line of a text; a file may have a table: `header = { X-Frame-Options = \"DENY\" }`.

Each verb takes its own options, those of services of all kinds that concern it, and no others. In a file and in the \
environment options may stand that the verb has no use for. [up.md](up.md) says how several services share a file.

*Server* marks options of the server as a whole, *service* those of one service; the others are a worker group's: \
services that share a listener share them. *Fixed* ones keep their value while the server lives. *Not in \
`stdserve.Server`*: that class runs an application in the calling process, without workers.
";

/// The reference page, in Markdown.
pub fn reference_page() -> String {
    let mut text = HEAD.to_owned();
    for verb in Verb::ALL {
        section(&mut text, verb);
    }
    text.push_str("\n## Services of all kinds\n");
    for group in Group::ALL.into_iter().filter(|group| group.home().is_empty()) {
        let _ = write!(text, "\n### {}\n", group.title());
        for opt in all().filter(|opt| opt.group == group) {
            option(&mut text, opt);
        }
    }
    text.push_str("\n## Configuration\n\n");
    for &(name, short, metavar, help) in META {
        let short = if short == '\0' { String::new() } else { format!("`-{short}`, ") };
        let value = if metavar.is_empty() || metavar.starts_with('[') {
            metavar.to_owned()
        } else {
            format!(" {metavar}")
        };
        let _ = writeln!(text, "- {short}`--{name}{value}`: {help}.");
    }
    text
}

/// A verb: how it is written, and the options that are its own.
fn section(text: &mut String, verb: Verb) {
    let _ = write!(text, "\n## `stdserve {}`\n\n{}.\n\n```\n", verb.word(), verb.about());
    for form in verb.usage() {
        let _ = writeln!(text, "{form}");
    }
    text.push_str("```\n");
    for group in Group::ALL.into_iter().filter(|group| group.home().first() == Some(&verb)) {
        let _ = write!(text, "\n### {}\n", group.title());
        for opt in all().filter(|opt| opt.group == group) {
            option(text, opt);
        }
    }
    let names: Vec<_> = all()
        .filter(|opt| opt.is_for(verb) && opt.group.home().first() != Some(&verb) && !opt.positional)
        .map(|opt| format!("`{}`", opt.name))
        .collect();
    if !names.is_empty() {
        let _ = write!(text, "\nIt takes besides: {}.\n", names.join(", "));
    }
}

fn option(text: &mut String, opt: &Opt) {
    let heading = if opt.positional {
        format!("`{}`", opt.metavar)
    } else if opt.field.is_switch() {
        format!("`--{}`, `--no-{}`", opt.name, opt.name)
    } else {
        let short = opt.short.map_or(String::new(), |short| format!("`-{short}`, "));
        format!("{short}`--{} {}`", opt.name, opt.metavar)
    };
    // The help of a switch that is on is about turning it off.
    let subject = match opt.default {
        Some("true") if opt.field.is_switch() => format!("With `--no-{}`: ", opt.name),
        _ => String::new(),
    };
    let _ = write!(text, "\n#### {heading}\n\n{subject}{}. {}\n\n", opt.help, opt.doc);
    let mut facts = vec![match opt.default {
        Some(default) if !default.is_empty() => format!("Default: `{default}`"),
        _ if opt.unset.is_empty() => "Default: none".to_owned(),
        _ => format!("Default: {}", opt.unset),
    }];
    let mut variables = vec![format!("`{}`", opt.variable())];
    variables.extend(opt.variables.iter().map(|name| format!("`{name}`")));
    facts.push(format!("environment: {}", variables.join(", ")));
    if !opt.aliases.is_empty() {
        let aliases: Vec<_> = opt.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        facts.push(format!("also: {}", aliases.join(", ")));
    }
    let mut marks = Vec::new();
    match opt.scope {
        Scope::Supervisor => marks.push("*server*"),
        Scope::Service => marks.push("*service*"),
        Scope::Group => {}
    }
    if !opt.reload {
        marks.push("*fixed*");
    }
    if !opt.embedded && opt.is_for(Verb::Serve) {
        marks.push("*not in `stdserve.Server`*");
    }
    if !marks.is_empty() {
        facts.push(marks.join(", "));
    }
    let _ = writeln!(text, "{}.", facts.join("; "));
}
