//! `--help`: a line an option, a group a screen; and `--help=GROUP`, one group in full.

use std::fmt::Write;

use crate::cli::META;
use crate::ctl;
use crate::error::{Problem, Source, UsageError};
use crate::option::{Group, Opt};
use crate::options::all;
use crate::suggest;
use crate::verb::Verb;

/// Where the second column starts.
const COLUMN: usize = 31;
/// The width that is kept to.
const WIDTH: usize = 80;

/// The text for a verb's `--help`, or for one group.
pub(crate) fn help(verb: Verb, group: &str) -> Result<String, UsageError> {
    if group.is_empty() {
        return Ok(overview(verb));
    }
    // Without a verb all groups can be had.
    let of_verb = groups(verb).find(|known| known.word() == group.to_ascii_lowercase());
    let of_any = Group::ALL.into_iter().find(|known| known.word() == group.to_ascii_lowercase());
    of_verb.or(of_any.filter(|_| verb == Verb::Serve)).map(in_full).ok_or_else(|| {
        let words: Vec<_> = groups(verb).map(|group| group.word().to_owned()).collect();
        let message = format!("`{}` is not one of {}", crate::error::shown(group), words.join(", "));
        let near = suggest::closest(group, words).map(|word| format!("Did you mean --help={word}?"));
        Problem::new(Source::CommandLine("--help".into()), message).hint(near).into()
    })
}

/// The groups that a verb has options in.
fn groups(verb: Verb) -> impl Iterator<Item = Group> {
    Group::ALL.into_iter().filter(move |group| of_verb(*group, verb).next().is_some())
}

/// The options of a group that a verb takes.
fn of_verb(group: Group, verb: Verb) -> impl Iterator<Item = &'static Opt> {
    all().filter(move |opt| opt.group == group && opt.is_for(verb))
}

/// An example of the file that `stdserve up` reads.
pub(crate) const UP_EXAMPLE: &str = "\
workers = 2                      # for every service

[services.shop]
app = \"shop:app\"                 # or files, cgi, rpc, tcp, udp
bind = \"127.0.0.1:8000\"

[services.static]                # on the same listener, beneath a path
files = \"public\"
bind = \"127.0.0.1:8000\"
mount = \"/static\"
cache-control = [\"*.css=max-age=3600\"]
";

fn overview(verb: Verb) -> String {
    let mut text = match verb {
        Verb::Serve => {
            "Serve Python WSGI applications, folders, scripts, remote calls and sockets\n".to_owned()
        }
        verb => format!("{}\n", verb.about()),
    };
    let mut usage = verb.usage().to_vec();
    if verb == Verb::Serve {
        usage.push("stdserve COMMAND --help");
    }
    for (index, form) in usage.iter().enumerate() {
        let head = if index == 0 { "\nUsage:" } else { "      " };
        let _ = writeln!(text, "{head} {form}");
    }
    text.push('\n');
    let width = verb.examples().iter().map(|(form, _)| form.chars().count()).max().unwrap_or(0);
    for (form, what) in verb.examples() {
        let _ = writeln!(text, "  {form:width$}  {what}");
    }
    match verb {
        Verb::Run => {
            text.push_str(
                "\nIn the program, and in the Python programs that it starts, socketserver,\n\
                 http.server, wsgiref, xmlrpc.server and selectors are those of stdserve.\n\
                 All that follows the program is its own.\n",
            );
            return text;
        }
        Verb::Completions => return text,
        Verb::Ctl => {
            of_ctl(&mut text);
            return text;
        }
        Verb::Start | Verb::Restart => {
            text.push_str(
                "\nIt takes what the command without this word takes. With --pid FILE the verbs\n\
                 stop, reload and status find it again. See docs/processes.md.\n",
            );
            return text;
        }
        Verb::Up => {
            let _ = write!(text, "\nIn stdserve.toml:\n\n{}", indented(UP_EXAMPLE));
            text.push_str("\nThese options are for every service; a service's own table wins.\n");
        }
        _ => text.push_str(
            "\nEvery option can also be set in stdserve.toml, in [tool.stdserve] of\n\
             pyproject.toml, or as STDSERVE_NAME in the environment.\n",
        ),
    }
    if verb == Verb::Serve {
        text.push_str("\nCommands:\n");
        for verb in Verb::ALL {
            row(&mut text, &format!("  {}", verb.word()), verb.about());
        }
    }
    for group in groups(verb) {
        let _ = write!(text, "\n{}:\n", group.title());
        for opt in of_verb(group, verb).filter(|opt| !opt.positional) {
            row(&mut text, &flags(opt), &with_default(opt));
        }
    }
    text.push_str("\nConfiguration:\n");
    for &(name, short, metavar, what) in META {
        let short = if short == '\0' { "    ".to_owned() } else { format!("-{short}, ") };
        let gap = if metavar.is_empty() || metavar.starts_with('[') { "" } else { " " };
        row(&mut text, &format!("  {short}--{name}{gap}{metavar}"), what);
    }
    let words: Vec<_> = groups(verb).map(Group::word).collect();
    text.push_str("\nSizes are bytes or 64KiB, 512MiB, 1GB; times are seconds or 500ms, 30s, 5m.\n");
    for line in wrap(&format!("In full: --help=GROUP with {}", words.join(", ")), WIDTH) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The orders and options of `stdserve ctl`.
fn of_ctl(text: &mut String) {
    text.push_str("\nOrders:\n");
    for (word, arguments, what) in ctl::ORDERS {
        row(text, &format!("  {word} {arguments}"), what);
    }
    text.push_str("\nOptions:\n");
    for (name, value, what) in ctl::OPTIONS {
        row(text, format!("  --{name} {value}").trim_end(), what);
    }
    text.push_str(
        "\nThe server is found by itself where only one runs. Exit codes: 0 done, 1 it\n\
         could not be done, 2 wrong use, 7 no such server runs. See docs/admin.md.\n",
    );
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

fn in_full(group: Group) -> String {
    let mut text = format!("{}\n", group.title());
    for opt in all().filter(|opt| opt.group == group) {
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

/// The first column. A switch is shown in the form that changes something.
fn flags(opt: &Opt) -> String {
    if opt.positional {
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
