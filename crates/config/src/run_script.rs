//! `stdserve run SCRIPT…`: a program of the user's own, whose arguments are none of our business.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Problem, UsageError, shown};
use crate::verb::Verb;

/// `stdserve run`: a program that is run with the standard servers replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunScript {
    /// What is run.
    pub program: Program,
    /// Its own arguments, as they were given.
    pub arguments: Vec<OsString>,
}

/// What `stdserve run` runs, by Python's rules for its own command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A file, or a folder or archive with a `__main__`; `-` is standard input.
    Script(PathBuf),
    /// `-m`: a module by its dotted name.
    Module(String),
    /// `-c`: the text of a program.
    Code(String),
}

/// What the arguments after `run` ask for.
pub(crate) enum Asked {
    /// `--help`, also where nothing is said.
    Help,
    Run(RunScript),
}

/// Reads the arguments after `run`: everything behind the program is the program's own, as with `python`.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Asked, UsageError> {
    let mut arguments = arguments.into_iter();
    let Some(first) = arguments.next() else {
        return Err(missing("no program is named"));
    };
    let text = first.to_str();
    let mut program = match text {
        Some("--help" | "-h") => return Ok(Asked::Help),
        Some("--") => match arguments.next() {
            Some(script) => Program::Script(script.into()),
            None => return Err(missing("no program is named")),
        },
        Some("-m") => Program::Module(value(arguments.next(), "-m", "a module")?),
        Some("-c") => Program::Code(value(arguments.next(), "-c", "the text of a program")?),
        // As Python takes it: -mMODULE.
        Some(text) if text.starts_with("-m") => Program::Module(text[2..].to_owned()),
        Some(text) if text.starts_with("-c") => Program::Code(text[2..].to_owned()),
        Some(text) if text.starts_with('-') && text != "-" => {
            let message = format!("there is no option {} of `stdserve run`", shown(text));
            let hint = "Options of the program stand behind it; see stdserve run --help.";
            return Err(Problem::new(None, message).hint(hint.to_owned()).into());
        }
        _ => Program::Script(first.into()),
    };
    if let Program::Module(name) = &mut program {
        let trimmed = name.trim();
        if !crate::app_spec::is_dotted_name(trimmed) {
            return Err(missing(&format!("`{}` is not a module's name", shown(trimmed))));
        }
        *name = trimmed.to_owned();
    }
    Ok(Asked::Run(RunScript { program, arguments: arguments.collect() }))
}

fn value(given: Option<OsString>, flag: &str, what: &str) -> Result<String, UsageError> {
    let given = given.ok_or_else(|| missing(&format!("{flag} needs {what}")))?;
    given.into_string().map_err(|_| missing(&format!("what follows {flag} is not valid UTF-8")))
}

fn missing(message: &str) -> UsageError {
    let hint = format!("Write {}.", Verb::Run.usage().join(", or "));
    Problem::new(None, message).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(words: &[&str]) -> Result<RunScript, String> {
        match parse(words.iter().map(OsString::from).collect()) {
            Ok(Asked::Run(run)) => Ok(run),
            Ok(Asked::Help) => Err("help".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_follows_the_program_is_its_own() {
        for (words, program, own) in [
            (&["x.py", "--help", "-m"][..], Program::Script("x.py".into()), &["--help", "-m"][..]),
            (&["-m", "a.b", "-c", "x"], Program::Module("a.b".into()), &["-c", "x"]),
            (&["-mhttp.server"], Program::Module("http.server".into()), &[]),
            (&["-c", "print(1)", "-m"], Program::Code("print(1)".into()), &["-m"]),
            (&["-", "a"], Program::Script("-".into()), &["a"]),
            (&["--", "-odd.py"], Program::Script("-odd.py".into()), &[]),
        ] {
            let found = run(words).unwrap_or_else(|why| panic!("{words:?}: {why}"));
            assert_eq!(found.program, program);
            assert_eq!(found.arguments, own);
        }
    }

    #[test]
    fn refusals() {
        for (words, why) in [
            (&[][..], "error: no program is named\n  Write stdserve run SCRIPT"),
            (&["-m"], "-m needs a module"),
            (&["-m", "no-module"], "`no-module` is not a module's name"),
            (&["--workers", "2"], "there is no option --workers of `stdserve run`"),
        ] {
            let error = run(words).expect_err("refused");
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(run(&["--help"]), Err("help".into()));
    }

    proptest! {
        #[test]
        fn nothing_panics(words in proptest::collection::vec("-{0,2}\\PC{0,8}", 0..4)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = run(&words);
        }
    }
}
