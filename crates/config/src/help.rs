//! `--help`: a line an option, a group a screen; and `--help=GROUP`, one group in full.

use std::fmt::Write;

use crate::cli::META;
use crate::command::VERBS;
use crate::error::{Problem, Source, UsageError};
use crate::option::{Group, Opt};
use crate::options::all;
use crate::suggest;

/// Where the second column starts.
const COLUMN: usize = 31;
/// The width that is kept to.
const WIDTH: usize = 80;

/// The text for `--help`, or for one group.
pub(crate) fn help(group: &str) -> Result<String, UsageError> {
    if group.is_empty() {
        return Ok(overview());
    }
    let wanted = Group::ALL.into_iter().find(|known| known.word() == group.to_ascii_lowercase());
    wanted.map(in_full).ok_or_else(|| {
        let words: Vec<_> = Group::ALL.iter().map(|group| group.word().to_owned()).collect();
        let message = format!("`{}` is not one of {}", crate::error::shown(group), words.join(", "));
        let near = suggest::closest(group, words).map(|word| format!("Did you mean --help={word}?"));
        Problem::new(Source::CommandLine("--help".into()), message).hint(near).into()
    })
}

fn overview() -> String {
    let mut text = String::from(
        "Serve Python WSGI applications\n\n\
         Usage: stdserve [serve] [OPTIONS] APP\n       stdserve completions bash|zsh|fish\n\n\
         \x20 stdserve mysite.wsgi:application    a callable in a module\n\
         \x20 stdserve app.py                     a file: application, app or create_app()\n\
         \x20 stdserve 'shop:create_app()'        a factory\n\n\
         Every option can also be set in stdserve.toml, in [tool.stdserve] of\n\
         pyproject.toml, or as STDSERVE_NAME in the environment.\n\n\
         Commands:\n",
    );
    for (verb, what) in VERBS {
        row(&mut text, &format!("  {verb}"), what);
    }
    for group in Group::ALL {
        let _ = write!(text, "\n{}:\n", group.title());
        for opt in in_group(group).filter(|opt| !opt.is_positional()) {
            row(&mut text, &flags(opt), &with_default(opt));
        }
    }
    text.push_str("\nConfiguration:\n");
    for &(name, short, metavar, what) in META {
        let short = if short == '\0' { "    ".to_owned() } else { format!("-{short}, ") };
        let gap = if metavar.is_empty() || metavar.starts_with('[') { "" } else { " " };
        row(&mut text, &format!("  {short}--{name}{gap}{metavar}"), what);
    }
    let words: Vec<_> = Group::ALL.iter().map(|group| group.word()).collect();
    let _ = write!(
        text,
        "\nSizes are bytes or 64KiB, 512MiB, 1GB; times are seconds or 500ms, 30s, 5m.\n\
         In full: --help=GROUP with {}\n",
        words.join(", ")
    );
    text
}

fn in_full(group: Group) -> String {
    let mut text = format!("{}\n", group.title());
    for opt in in_group(group) {
        let _ = write!(text, "\n{}\n", flags(opt).trim_end());
        paragraph(&mut text, &format!("{}.", opt.help));
        paragraph(&mut text, opt.doc);
        let mut facts = Vec::new();
        if !opt.default_text().is_empty() {
            facts.push(format!("Default: {}", opt.default_text()));
        }
        if !opt.aliases.is_empty() {
            let names: Vec<_> = opt.aliases.iter().map(|alias| format!("--{alias}")).collect();
            facts.push(format!("Also: {}", names.join(", ")));
        }
        let mut variables = vec![opt.variable()];
        variables.extend(opt.variables.iter().map(|name| (*name).to_owned()));
        facts.push(format!("Environment: {}", variables.join(", ")));
        for fact in facts {
            paragraph(&mut text, &fact);
        }
    }
    text
}

fn in_group(group: Group) -> impl Iterator<Item = &'static Opt> {
    all().filter(move |opt| opt.group == group)
}

/// The first column. A switch is shown in the form that changes something.
fn flags(opt: &Opt) -> String {
    if opt.is_positional() {
        return format!("  {}", opt.metavar);
    }
    let short = opt.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
    if opt.field.is_switch() {
        let no = if opt.default == Some("true") { "no-" } else { "" };
        return format!("  {short}--{no}{}", opt.name);
    }
    format!("  {short}--{} {}", opt.name, opt.metavar)
}

fn with_default(opt: &Opt) -> String {
    let default = opt.default_text();
    // A default that is longer than a line helps nobody there; the group's page has it.
    if opt.field.is_switch() || default.is_empty() || default.len() > 24 {
        opt.help.to_owned()
    } else {
        format!("{} [{default}]", opt.help)
    }
}

/// A row of two columns, the second wrapped.
fn row(text: &mut String, left: &str, right: &str) {
    text.push_str(left);
    let mut at = left.chars().count();
    if at + 2 > COLUMN {
        text.push('\n');
        at = 0;
    }
    for (index, line) in wrap(right, WIDTH - COLUMN).iter().enumerate() {
        if index > 0 {
            text.push('\n');
            at = 0;
        }
        let _ = write!(text, "{:pad$}{line}", "", pad = COLUMN - at);
    }
    text.push('\n');
}

fn paragraph(text: &mut String, words: &str) {
    for line in wrap(words, WIDTH - 10) {
        let _ = writeln!(text, "          {line}");
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
