//! The command line: clap's parser, built from the table.

use std::ffi::OsString;

use clap::builder::ValueHint;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::error::{Problem, Source, shown};
use crate::field::{Field, Raw};
use crate::layers::{Given, Rank};
use crate::option::Opt;
use crate::options::{Found, all};
use crate::suggest;
use crate::verb::Verb;

/// What the command line holds, before it is known what it means.
pub(crate) struct CommandLine {
    pub(crate) given: Vec<Given>,
    /// The arguments that are not options, in order.
    pub(crate) words: Vec<String>,
    /// `--config`.
    pub(crate) config: Vec<String>,
    /// `--help`, with the group's word or an empty text.
    pub(crate) help: Option<String>,
    pub(crate) version: bool,
    pub(crate) check_config: bool,
    pub(crate) print_config: bool,
}

/// The options that are about the configuration itself, and so belong to no settings: name, short flag,
/// what stands for the value, help.
pub(crate) const META: &[(&str, char, &str, &str)] = &[
    ("config", 'c', "FILE", "TOML or Python, instead of the files in this folder"),
    ("print-config", '\0', "", "Show each value and where it came from, and exit"),
    ("check-config", '\0', "", "Load what is served as a worker would, and exit"),
    ("help", 'h', "[=GROUP]", "Show this, or a group in full: --help=limits"),
    ("version", 'V', "", "Show the version, and exit"),
];

/// The parser. `words` takes what is not an option; verbs are told apart by their place, not by clap,
/// so that options may stand before and after them.
pub(crate) fn parser() -> clap::Command {
    let mut command = clap::Command::new("stdserve").disable_help_flag(true).disable_version_flag(true);
    for opt in all().filter(|opt| !opt.positional) {
        command = command.args(args(opt));
    }
    for &(name, short, metavar, help) in META {
        let mut arg = Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
        if short != '\0' {
            arg = arg.short(short);
        }
        if name == "config" {
            arg = arg.action(ArgAction::Append).value_name(metavar).value_hint(ValueHint::FilePath);
        } else if name == "help" {
            arg =
                arg.action(ArgAction::Append).num_args(0..=1).require_equals(true).default_missing_value("");
        }
        command = command.arg(arg);
    }
    command.arg(Arg::new("words").num_args(0..).action(ArgAction::Append))
}

/// The flags of one option: itself, and `--no-NAME` for a switch.
fn args(opt: &'static Opt) -> Vec<Arg> {
    let heading = Some(opt.group.title());
    let mut arg = Arg::new(opt.name).long(opt.name).help(opt.help).help_heading(heading);
    // Other spellings are taken, not advertised: completions would offer everything twice.
    arg = arg.aliases(opt.aliases.iter().copied()).action(ArgAction::Append);
    if opt.name.contains('_') {
        // Only a static text can be an alias; gunicorn has one name with `_`.
        debug_assert_eq!(opt.name, "limit-request-field_size");
        arg = arg.alias("limit-request-field-size");
    }
    if let Some(short) = opt.short {
        arg = arg.short(short);
    }
    if !opt.field.is_switch() {
        arg = arg.value_name(opt.metavar).allow_negative_numbers(true);
        return vec![match opt.field {
            Field::Choice(words, ..) => arg.add_words(words),
            Field::MaybePath(_) | Field::Paths(_) if opt.metavar == "DIR" => {
                arg.value_hint(ValueHint::DirPath)
            }
            Field::MaybePath(_) | Field::Log(_) => arg.value_hint(ValueHint::FilePath),
            _ => arg,
        }];
    }
    // `--preload` and `--preload=no`; `--preload app` must not take the application for its value.
    arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    let no = Arg::new(format!("no-{}", opt.name))
        .long(format!("no-{}", opt.name))
        .help(format!("The opposite of --{}", opt.name))
        .help_heading(heading)
        .action(ArgAction::Append)
        .num_args(0)
        .default_missing_value("true");
    vec![arg, no]
}

/// The words of a choice, for completions; the table's own check refuses, so that its errors are ours.
trait AddWords {
    fn add_words(self, words: &'static [&'static str]) -> Self;
}

impl AddWords for Arg {
    fn add_words(self, words: &'static [&'static str]) -> Self {
        self.value_parser(clap::builder::PossibleValuesParser::new(words)).ignore_case(true)
    }
}

/// Parses the arguments after the program's name.
pub(crate) fn parse(argv: Vec<OsString>) -> Result<CommandLine, Problem> {
    let mut text = vec![OsString::from("stdserve")];
    // Enough of a guess for a hint: where an argument is wrong nothing is known of the others.
    let verb = argv.iter().find_map(|arg| Verb::of(arg.to_str()?)).unwrap_or(Verb::Serve);
    for arg in argv {
        if arg.to_str().is_none() {
            let message = format!("the argument `{}` is not valid UTF-8", shown(&arg.to_string_lossy()));
            return Err(Problem::new(None, message));
        }
        text.push(arg);
    }
    let matches = relaxed(parser()).try_get_matches_from(text).map_err(|error| problem(&error, verb))?;
    let last = |name: &str| matches.get_many::<String>(name).and_then(Iterator::last).cloned();
    Ok(CommandLine {
        given: all().filter(|opt| !opt.positional).filter_map(|opt| given(opt, &matches)).collect(),
        words: matches.get_many::<String>("words").into_iter().flatten().cloned().collect(),
        config: matches.get_many("config").into_iter().flatten().cloned().collect(),
        help: last("help"),
        version: matches.get_flag("version"),
        check_config: matches.get_flag("check-config"),
        print_config: matches.get_flag("print-config"),
    })
}

/// The parser with every value taken as text: our own checks speak of what is accepted.
fn relaxed(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let takes_text = matches!(arg.get_action(), ArgAction::Append);
        if takes_text { arg.value_parser(clap::builder::StringValueParser::new()) } else { arg }
    })
}

fn given(opt: &'static Opt, matches: &ArgMatches) -> Option<Given> {
    let source = Source::CommandLine(format!("--{}", opt.name));
    let values: Vec<String> = matches.get_many(opt.name).into_iter().flatten().cloned().collect();
    let found = Found { opt, negated: false };
    if opt.field.is_list() {
        let entries = if opt.field.has_commas() {
            values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
        } else {
            values.clone()
        };
        return (!values.is_empty()).then(|| Given::new(found, Raw::List(entries), Rank::Arguments, source));
    }
    let value = values.last();
    if opt.field.is_switch() {
        let no = format!("no-{}", opt.name);
        // Of `--x` and `--no-x` the one that stands last counts.
        let at = |name: &str| matches.indices_of(name).and_then(Iterator::last);
        if at(&no) > at(opt.name) {
            let source = Source::CommandLine(format!("--{no}"));
            return Some(Given::new(found, Raw::from("false"), Rank::Arguments, source));
        }
    }
    value.map(|value| Given::new(found, Raw::Text(value.clone()), Rank::Arguments, source))
}

/// clap's error in our words.
fn problem(error: &clap::Error, verb: Verb) -> Problem {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(list)) => list.first().cloned(),
        _ => None,
    };
    let arg = context(ContextKind::InvalidArg).unwrap_or_default();
    // clap names an argument with its value's place: "--bind <ADDRESS>".
    let flag = arg.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let name = flag.trim_start_matches('-');
            let hint = suggest::hint(name, Some(verb), |name| format!("--{name}"));
            let verb = if verb == Verb::Serve { String::new() } else { format!(" {}", verb.word()) };
            Problem::new(None, format!("there is no option {}", shown(&flag)))
                .hint(hint.or_else(|| Some(format!("See stdserve{verb} --help."))))
        }
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            Problem::new(Source::CommandLine(flag), "needs a value")
        }
        ErrorKind::TooManyValues => Problem::new(Source::CommandLine(flag), "takes no value"),
        ErrorKind::NoEquals => Problem::new(Source::CommandLine(flag), "takes its value after `=`"),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or("wrong arguments");
            Problem::new(None, first.strip_prefix("error: ").unwrap_or(first))
        }
    }
}
