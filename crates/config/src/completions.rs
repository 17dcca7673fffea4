//! `stdserve completions bash|zsh|fish`.

use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use crate::cli::parser;
use crate::command::VERBS;
use crate::error::{Problem, UsageError};

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
    let app = || Arg::new("app").value_name("APP").value_hint(ValueHint::AnyPath);
    let options: Vec<Arg> =
        parser().get_arguments().filter(|arg| arg.get_id() != "words").cloned().map(without_equals).collect();
    let bare = |name: &'static str| Command::new(name).disable_help_flag(true).disable_version_flag(true);
    let mut command = bare("stdserve").disable_help_subcommand(true).args(options.clone()).arg(app());
    for &(verb, about) in VERBS {
        let sub = bare(verb).about(about);
        command = command.subcommand(match verb {
            "completions" => sub.arg(Arg::new("shell").value_parser(SHELLS.map(|(name, _)| name))),
            _ => sub.args(options.clone()).arg(app()),
        });
    }
    command
}

/// `--preload=yes` is possible, but nothing that a shell should ask for.
fn without_equals(arg: Arg) -> Arg {
    let switch = arg.is_require_equals_set();
    if switch { arg.require_equals(false).num_args(0) } else { arg }
}
