//! `stdserve ctl ORDER`: what is asked of a server that runs, over its operations plane.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Problem, UsageError, shown};
use crate::settings::Admin;
use crate::suggest;
use crate::surroundings::Surroundings;
use crate::verb::Verb;

/// The variable of `--admin`, which a container sets for the server and so for those who look into it.
const VARIABLE: &str = "STDSERVE_ADMIN";

/// `stdserve ctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ctl {
    /// What is asked.
    pub order: CtlOrder,
    /// Whom.
    pub server: CtlServer,
    /// `--json`: the answer is printed as the server gives it.
    pub json: bool,
}

/// Which server is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CtlServer {
    /// The one that runs, where it is one only.
    Only,
    /// The one whose supervisor has this number.
    Pid(u32),
    /// The one whose pid file this is.
    PidFile(PathBuf),
    /// The one that serves its plane there; never [`Admin::Own`] and [`Admin::Off`].
    At(Admin),
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CtlOrder {
    /// The server, its groups and workers.
    Status,
    /// The same and more, live; `once`: one picture of it.
    Top {
        /// One picture, in place of a live one.
        once: bool,
    },
    /// What is in flight.
    Requests,
    /// What the threads of a worker do, or of all.
    Stacks(Option<u32>),
    /// To load anew.
    Reload,
    /// To replace the supervisor.
    Upgrade,
    /// To have another number of workers.
    Scale {
        /// `4`, `+1` or `-1`.
        workers: String,
        /// The worker group; needed where there are several.
        group: Option<String>,
    },
    /// To replace a worker.
    Drain(u32),
    /// To log from another level on.
    LogLevel(String),
    /// The options that count.
    Config,
}

/// The orders: word, arguments, what it does.
pub(crate) const ORDERS: [(&str, &str, &str); 10] = [
    ("status", "", "The server, its groups and workers"),
    ("top", "[--once]", "The same, live, with rates, latency and requests; q ends"),
    ("requests", "", "The requests in flight, the oldest first"),
    ("stacks", "[PID]", "What the threads of all workers do, or of one"),
    ("reload", "", "Read the configuration again, and load the application anew"),
    ("upgrade", "", "Replace the supervisor by a newly executed one"),
    ("scale", "N|+N|-N [GROUP]", "Set the number of workers, or change it by N"),
    ("drain", "PID", "Let a worker finish what runs, and replace it"),
    ("log-level", "LEVEL", "Log from this level on: debug, info, warning, error, critical"),
    ("config", "", "The options that count, and where they came from"),
];

/// The options: name, what stands for the value, what it does.
pub(crate) const OPTIONS: [(&str, &str, &str); 4] = [
    ("admin", "ADDRESS", "Which server: HOST:PORT or unix:PATH, as for the server"),
    ("pid", "PID|FILE", "Which server: its process, or its pid file"),
    ("json", "", "Print what the server answers, as JSON"),
    ("help", "", "Show this"),
];

/// What the arguments after `ctl` ask for; none: help.
pub(crate) fn parse(arguments: Vec<OsString>, around: &Surroundings<'_>) -> Result<Option<Ctl>, UsageError> {
    let mut words = Vec::new();
    let (mut server, mut json, mut once) = (None, false, false);
    let mut arguments = arguments.into_iter().map(|argument| {
        argument.into_string().map_err(|argument| {
            wrong(&format!("the argument `{}` is not valid UTF-8", shown(&argument.to_string_lossy())))
        })
    });
    while let Some(argument) = arguments.next() {
        let argument = argument?;
        let (name, mut value) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        match name {
            "--help" | "-h" => return Ok(None),
            "--json" => json = true,
            "--once" => once = true,
            "--admin" | "--pid" => {
                if value.is_none() {
                    value = arguments.next().transpose()?;
                }
                let value = value.ok_or_else(|| wrong(&format!("{name} needs a value")))?;
                let named = if name == "--pid" { of_process(&value) } else { of_address(&value)? };
                if server.replace(named).is_some() {
                    return Err(wrong("the server is named twice: give --admin or --pid, and once"));
                }
            }
            // `-1` is a number of workers.
            _ if name.starts_with('-') && !name[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                return Err(wrong(&format!("there is no option {} of `stdserve ctl`", shown(name))));
            }
            _ => words.push(argument),
        }
    }
    let Some(order) = order(&words, once)? else { return Ok(None) };
    let server = match server {
        Some(server) => server,
        None => of_environment(around)?.unwrap_or(CtlServer::Only),
    };
    Ok(Some(Ctl { order, server, json }))
}

fn order(words: &[String], once: bool) -> Result<Option<CtlOrder>, UsageError> {
    let Some((word, rest)) = words.split_first() else { return Ok(None) };
    if once && word != "top" {
        return Err(wrong("--once is an option of `stdserve ctl top`"));
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let order = match (word.as_str(), rest.as_slice()) {
        ("help", _) => return Ok(None),
        ("status", []) => CtlOrder::Status,
        ("top", []) => CtlOrder::Top { once },
        ("requests", []) => CtlOrder::Requests,
        ("stacks", []) => CtlOrder::Stacks(None),
        ("stacks", [pid]) => CtlOrder::Stacks(Some(process(pid)?)),
        ("reload", []) => CtlOrder::Reload,
        ("upgrade", []) => CtlOrder::Upgrade,
        ("scale", [workers]) => CtlOrder::Scale { workers: count(workers)?, group: None },
        ("scale", [workers, group]) => {
            CtlOrder::Scale { workers: count(workers)?, group: Some((*group).to_owned()) }
        }
        ("drain", [pid]) => CtlOrder::Drain(process(pid)?),
        ("log-level", [level]) => CtlOrder::LogLevel((*level).to_owned()),
        ("config", []) => CtlOrder::Config,
        (word, _) => return Err(unknown(word)),
    };
    Ok(Some(order))
}

/// No such order, or not with these arguments.
fn unknown(word: &str) -> UsageError {
    if let Some((word, arguments, _)) = ORDERS.iter().find(|(known, ..)| *known == word) {
        let form = format!("stdserve ctl {word} {arguments}");
        let hint = format!("Write {}.", form.trim_end());
        return Problem::new(None, format!("`{word}` does not take these arguments")).hint(hint).into();
    }
    let near = suggest::closest(word, ORDERS.iter().map(|(known, ..)| (*known).to_owned()));
    let hint = near.map_or_else(
        || "See stdserve ctl --help.".to_owned(),
        |near| format!("Did you mean stdserve ctl {near}?"),
    );
    Problem::new(None, format!("`stdserve ctl` has no order `{}`", shown(word))).hint(hint).into()
}

fn wrong(message: &str) -> UsageError {
    Problem::new(None, message).hint(format!("Write {}.", Verb::Ctl.usage().join(", or "))).into()
}

fn process(text: &str) -> Result<u32, UsageError> {
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| {
        let hint = "See stdserve ctl status for the workers and their numbers.".to_owned();
        Problem::new(None, format!("`{}` is not the number of a process", shown(text))).hint(hint).into()
    })
}

fn count(text: &str) -> Result<String, UsageError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    let hint = "Write stdserve ctl scale 4, or +1, or -1.".to_owned();
    Err(Problem::new(None, format!("`{}` is not a number of workers", shown(text))).hint(hint).into())
}

fn of_process(text: &str) -> CtlServer {
    text.parse().map_or_else(|_| CtlServer::PidFile(text.into()), CtlServer::Pid)
}

fn of_address(text: &str) -> Result<CtlServer, UsageError> {
    match Admin::parse(text) {
        Ok(admin @ Admin::At(_)) => Ok(CtlServer::At(admin)),
        Ok(Admin::Own) => Ok(CtlServer::Only),
        Ok(Admin::Off) => Err(wrong("--admin: a server without a plane cannot be asked")),
        Err(why) => Err(wrong(&format!("--admin: `{}` {why}", shown(text)))),
    }
}

/// What the environment says of a server that was started in it.
fn of_environment(around: &Surroundings<'_>) -> Result<Option<CtlServer>, UsageError> {
    let value = around.env.iter().find(|(name, _)| name == VARIABLE).and_then(|(_, value)| value.to_str());
    value.filter(|value| !matches!(*value, "" | "none")).map(of_address).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ctl(words: &[&str], env: &[(&str, &str)]) -> Result<Option<Ctl>, String> {
        let around = Surroundings {
            env: env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
            cwd: "/".into(),
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
            python: &crate::without_python,
        };
        parse(words.iter().map(OsString::from).collect(), &around).map_err(|error| error.to_string())
    }

    fn ordered(words: &[&str]) -> CtlOrder {
        ctl(words, &[]).expect("valid").expect("an order").order
    }

    #[test]
    fn orders_and_their_arguments() {
        assert_eq!(ordered(&["status"]), CtlOrder::Status);
        assert_eq!(ordered(&["--json", "top", "--once"]), CtlOrder::Top { once: true });
        assert_eq!(ordered(&["stacks", "12"]), CtlOrder::Stacks(Some(12)));
        assert_eq!(ordered(&["scale", "-1"]), CtlOrder::Scale { workers: "-1".into(), group: None });
        let scaled = CtlOrder::Scale { workers: "+2".into(), group: Some("shop".into()) };
        assert_eq!(ordered(&["scale", "+2", "shop"]), scaled);
        assert_eq!(ctl(&[], &[]), Ok(None));
        assert_eq!(ctl(&["status", "--help"], &[]), Ok(None));
    }

    #[test]
    fn servers() {
        let server =
            |words: &[&str], env: &[(&str, &str)]| ctl(words, env).expect("valid").expect("one").server;
        assert_eq!(server(&["status"], &[]), CtlServer::Only);
        assert_eq!(server(&["status", "--pid", "7"], &[]), CtlServer::Pid(7));
        assert_eq!(server(&["--pid=a.pid", "status"], &[]), CtlServer::PidFile("a.pid".into()));
        let at = CtlServer::At(Admin::parse("127.0.0.1:9000").expect("an address"));
        assert_eq!(server(&["status", "--admin", "127.0.0.1:9000"], &[]), at);
        let env = [("STDSERVE_ADMIN", "127.0.0.1:9000")];
        assert_eq!(server(&["status"], &env), at);
        assert_eq!(server(&["status", "--pid", "7"], &env), CtlServer::Pid(7));
        assert_eq!(server(&["status"], &[("STDSERVE_ADMIN", "none")]), CtlServer::Only);
    }

    #[test]
    fn refusals() {
        for (words, why) in [
            (&["statsu"][..], "Did you mean stdserve ctl status?"),
            (&["drain"], "Write stdserve ctl drain PID."),
            (&["drain", "x"], "`x` is not the number of a process"),
            (&["scale", "many"], "is not a number of workers"),
            (&["status", "--once"], "--once is an option of `stdserve ctl top`"),
            (&["status", "--admin"], "--admin needs a value"),
            (&["status", "--admin", "none"], "cannot be asked"),
            (&["status", "--admin", "localhost"], "has no port"),
            (&["status", "--pid=1", "--pid=2"], "named twice"),
            (&["--wrokers", "status"], "there is no option --wrokers"),
        ] {
            let error = ctl(words, &[]).expect_err("refused");
            assert!(error.contains(why), "{words:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(words in proptest::collection::vec("-{0,2}\\PC{0,8}", 0..4)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = ctl(&words, &[]);
        }
    }
}
