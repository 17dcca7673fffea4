//! `stdserve completions bash|zsh|fish`.

use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use crate::cli::parser;
use crate::ctl;
use crate::error::{Problem, UsageError};
use crate::options::find;
use crate::verb::Verb;

const SHELLS: [(&str, Shell); 3] = [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

/// The script for the shell that the words name.
pub(crate) fn print(words: &[String]) -> Result<String, UsageError> {
    let wanted = SHELLS.iter().find(|(name, _)| words == [*name]);
    let Some((_, shell)) = wanted else {
        let message = match words {
            [] => "completions needs the name of a shell".to_owned(),
            words => format!("completions for `{}` are not known", crate::error::shown(&words.join(" "))),
        };
        return Err(Problem::new(None, message)
            .hint("Write stdserve completions bash, zsh or fish.".to_owned())
            .into());
    };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut whole(), "stdserve", &mut script);
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// The command line with its verbs as clap's subcommands, which its generators understand.
fn whole() -> Command {
    let bare = |name: &'static str| Command::new(name).disable_help_flag(true).disable_version_flag(true);
    let mut command =
        bare("stdserve").disable_help_subcommand(true).args(options(Verb::Serve)).args(target(Verb::Serve));
    for verb in Verb::ALL {
        let sub = bare(verb.word()).about(verb.about());
        command = command.subcommand(match verb {
            Verb::Completions => sub.arg(Arg::new("shell").value_parser(SHELLS.map(|(name, _)| name))),
            Verb::Ctl => sub
                .args(ctl::OPTIONS.map(|(name, value, what)| {
                    let arg = Arg::new(name).long(name).help(what);
                    if value.is_empty() { arg.num_args(0) } else { arg.value_name(value) }
                }))
                .arg(Arg::new("order").value_parser(ctl::ORDERS.map(|(word, ..)| word)))
                .arg(Arg::new("argument")),
            Verb::Run => sub
                .arg(Arg::new("m").short('m').value_name("MODULE").help("Run a module"))
                .arg(Arg::new("c").short('c').value_name("CODE").help("Run the text of a program"))
                .arg(Arg::new("script").value_name("SCRIPT").value_hint(ValueHint::FilePath)),
            verb => sub.args(options(verb)).args(target(verb)),
        });
    }
    command
}

/// The flags of a verb.
fn options(verb: Verb) -> Vec<Arg> {
    let takes = |arg: &&Arg| match arg.get_id().as_str() {
        "words" => false,
        name => find(name).is_none_or(|found| found.opt.is_for(verb)),
    };
    parser().get_arguments().filter(takes).cloned().map(without_equals).collect()
}

/// What a verb's first argument names.
fn target(verb: Verb) -> Option<Arg> {
    let opt = find(verb.target()?)?.opt;
    let hint = if opt.metavar == "DIR" { ValueHint::DirPath } else { ValueHint::AnyPath };
    Some(Arg::new("target").value_name(opt.metavar).value_hint(hint))
}

/// `--preload=yes` is possible, but nothing that a shell should ask for.
fn without_equals(arg: Arg) -> Arg {
    let switch = arg.is_require_equals_set();
    if switch { arg.require_equals(false).num_args(0) } else { arg }
}
