//! Logs.

use super::HTTP;
use crate::field::Field;
use crate::option::{Group, Opt, Scope};
use crate::settings::{ColorChoice, LogLevel};

const LOGS: Opt = Opt { group: Group::Logs, scope: Scope::Supervisor, metavar: "FILE", ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[ACCESS_LOGFILE, ACCESS_LOGFORMAT, ERROR_LOGFILE, LOG_LEVEL, COLOR];

const LEVELS: &[LogLevel] =
    &[LogLevel::Debug, LogLevel::Info, LogLevel::Warning, LogLevel::Error, LogLevel::Critical];
const COLORS: &[ColorChoice] = &[ColorChoice::Auto, ColorChoice::Always, ColorChoice::Never];

const ACCESS_LOGFILE: Opt = Opt {
    name: "access-logfile",
    verbs: HTTP,
    aliases: &["accesslog"],
    default: Some("none"),
    help: "File, `-` for standard output, or none",
    doc: "Where the access log goes, a line for each request. Lines that cannot be written in time are counted and dropped: a slow disk \
        does not stop serving.",
    field: Field::Log(|s| &mut s.logging.access),
    ..LOGS
};

const ACCESS_LOGFORMAT: Opt = Opt {
    name: "access-logformat",
    verbs: HTTP,
    aliases: &["access-log-format", "access-log-fmt"],
    metavar: "FORMAT",
    default: Some(r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#),
    help: "gunicorn's atoms, or `json`",
    doc: "`json` writes one object a line. What comes from the client is escaped, so that no request can forge a line.",
    field: Field::Access(|s| &mut s.logging.access_format),
    ..LOGS
};

const ERROR_LOGFILE: Opt = Opt {
    name: "error-logfile",
    aliases: &["log-file", "errorlog"],
    default: Some("-"),
    help: "File, `-` for standard error, or none",
    doc: "The server's own messages and the application's tracebacks. Where the application configures Python's \
        `logging`, its lines go where it says.",
    field: Field::Log(|s| &mut s.logging.error),
    ..LOGS
};

const LOG_LEVEL: Opt = Opt {
    name: "log-level",
    aliases: &["loglevel"],
    metavar: "LEVEL",
    default: Some("info"),
    help: "debug, info, warning, error or critical",
    doc: "Messages of this level and the graver ones.",
    field: Field::Choice(
        &["debug", "info", "warning", "error", "critical"],
        |s, index| s.logging.level = LEVELS[index],
        |s| s.logging.level as usize,
    ),
    ..LOGS
};

const COLOR: Opt = Opt {
    name: "color",
    variables: &["NO_COLOR"],
    reload: false,
    embedded: false,
    metavar: "WHEN",
    default: Some("auto"),
    help: "Colours: auto, always or never",
    doc: "`auto`: on a terminal only. `NO_COLOR`, set to anything, means never.",
    field: Field::Choice(
        &["auto", "always", "never"],
        |s, index| s.logging.color = COLORS[index],
        |s| s.logging.color as usize,
    ),
    ..LOGS
};
