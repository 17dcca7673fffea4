//! Logs.

use super::checks::line;
use super::{HTTP, PYTHON};
use crate::field::Field;
use crate::option::{Group, Opt, Scope};
use crate::settings::{ColorChoice, LogFormat, LogLevel};

const LOGS: Opt = Opt { group: Group::Logs, scope: Scope::Supervisor, metavar: "FILE", ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[
    ACCESS_LOGFILE,
    ACCESS_LOGFORMAT,
    ERROR_LOGFILE,
    LOG_FORMAT,
    LOG_LEVEL,
    COLOR,
    LOG_CONFIG,
    LOG_CONFIG_DICT,
];

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

const LOG_FORMAT: Opt = Opt {
    name: "log-format",
    metavar: "FORMAT",
    default: Some("text"),
    help: "The error log's lines: text or json",
    doc: "`json` writes one object a line, with OpenTelemetry's names; see docs/logs.md. The access log has `--access-logformat json`.",
    field: Field::Choice(
        &["text", "json"],
        |s, index| s.logging.format = if index == 0 { LogFormat::Text } else { LogFormat::Json },
        |s| s.logging.format as usize,
    ),
    ..LOGS
};

const LOG_CONFIG: Opt = Opt {
    name: "log-config",
    aliases: &["logconfig", "log-config-json", "logconfig-json"],
    verbs: PYTHON,
    embedded: false,
    unset: "none",
    help: "Configure Python's logging by this file",
    doc: "Read before the application is imported: JSON for `logging.config.dictConfig` where its name ends in `.json`, else \
        the INI form of `logging.config.fileConfig`. It concerns what Python code logs; the server's own lines are not written \
        by Python and go to `--error-logfile` and `--access-logfile` in any case. See docs/logs.md.",
    field: Field::MaybePath(|s| &mut s.logging.python_file),
    ..LOGS
};

const LOG_CONFIG_DICT: Opt = Opt {
    name: "log-config-dict",
    aliases: &["logconfig-dict"],
    verbs: PYTHON,
    embedded: false,
    metavar: "JSON",
    unset: "none",
    help: "Configure Python's logging by this dict",
    doc: "As `--log-config`, for `logging.config.dictConfig`, as a JSON text; in a configuration file in Python it may be a dict. It \
        counts before `--log-config`.",
    field: Field::MaybeText(|s| &mut s.logging.python_dict, line),
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
