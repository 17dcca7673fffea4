//! The options, each declared once, in the order of help.

mod application;
mod cgi;
pub(crate) mod checks;
pub(crate) mod files;
mod handlers;
mod http;
mod limits;
mod listen;
mod logs;
mod operations;
mod process;
mod recycling;
mod rpc;
mod timeouts;
mod workers;

use std::sync::LazyLock;

use crate::option::Opt;
use crate::settings::Settings;
use crate::verb::Verb;

const SERVE: &[Verb] = &[Verb::Serve];
const FILES: &[Verb] = &[Verb::Files];
/// Also for the folders beside an application.
const FOLDERS_TOO: &[Verb] = &[Verb::Files, Verb::Serve];
const CGI: &[Verb] = &[Verb::Cgi];
const RPC: &[Verb] = &[Verb::Rpc];
const TCP: &[Verb] = &[Verb::Tcp];
const UDP: &[Verb] = &[Verb::Udp];
const HANDLERS: &[Verb] = &[Verb::Tcp, Verb::Udp];
/// Services that run Python.
const PYTHON: &[Verb] = &[Verb::Serve, Verb::Rpc, Verb::Tcp, Verb::Udp];
/// Services that speak HTTP.
const HTTP: &[Verb] = &[Verb::Serve, Verb::Files, Verb::Cgi, Verb::Rpc];
/// Services, and the verbs that speak to one that runs.
const CONTROLLED: &[Verb] = &[
    Verb::Serve,
    Verb::Files,
    Verb::Cgi,
    Verb::Rpc,
    Verb::Tcp,
    Verb::Udp,
    Verb::Stop,
    Verb::Reload,
    Verb::Status,
];
/// Services that have connections.
const STREAMS: &[Verb] = &[Verb::Serve, Verb::Files, Verb::Cgi, Verb::Rpc, Verb::Tcp];

/// Every option, in the order of help.
pub fn all() -> impl Iterator<Item = &'static Opt> + Clone {
    const TABLE: &[&[Opt]] = &[
        application::OPTIONS,
        files::OPTIONS,
        files::ANSWER_OPTIONS,
        cgi::OPTIONS,
        cgi::CHILD_OPTIONS,
        rpc::OPTIONS,
        handlers::OPTIONS,
        handlers::SERVICES,
        listen::OPTIONS,
        workers::OPTIONS,
        recycling::OPTIONS,
        limits::OPTIONS,
        timeouts::OPTIONS,
        http::OPTIONS,
        logs::OPTIONS,
        operations::OPTIONS,
        application::SURROUNDINGS,
        process::OPTIONS,
    ];
    TABLE.iter().copied().flatten()
}

/// A name as the table spells it: in lower case, with `-` for `_`.
pub(crate) fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) opt: &'static Opt,
    /// Given as `no-NAME`.
    pub(crate) negated: bool,
}

/// Finds an option by its name or another spelling; `no-NAME` finds switches.
pub(crate) fn find(name: &str) -> Option<Found> {
    let name = normal(name);
    let named = |wanted: &str| all().find(|opt| normal(opt.name) == wanted || opt.aliases.contains(&wanted));
    named(&name).map(|opt| Found { opt, negated: false }).or_else(|| {
        let opt = named(name.strip_prefix("no-")?)?;
        opt.field.is_switch().then_some(Found { opt, negated: true })
    })
}

impl Default for Settings {
    /// The defaults of the table.
    fn default() -> Self {
        static DEFAULT: LazyLock<Settings> = LazyLock::new(|| {
            let mut settings = Settings::blank();
            for opt in all() {
                if let Some(text) = opt.default {
                    let put = opt.field.set(&mut settings, &text.into());
                    debug_assert!(put.is_ok(), "--{}: {put:?}", opt.name);
                }
            }
            settings
        });
        DEFAULT.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Raw;
    use std::collections::HashSet;

    #[test]
    fn names_are_given_once() {
        let mut seen = HashSet::new();
        let mut short = HashSet::from(['h', 'V', 'c']);
        for opt in all() {
            let mut names = vec![normal(opt.name)];
            names.extend(opt.aliases.iter().map(|alias| (*alias).to_owned()));
            if opt.field.is_switch() {
                names.push(format!("no-{}", opt.name));
            }
            for name in names {
                assert_eq!(name, normal(&name), "aliases are written in the table's spelling");
                assert!(seen.insert(name.clone()), "{name} twice");
            }
            assert!(opt.short.is_none_or(|c| short.insert(c)), "-{:?} twice", opt.short);
        }
    }

    #[test]
    fn defaults_are_valid_and_show_as_they_read() {
        let defaults = Settings::default();
        for opt in all() {
            let mut settings = Settings::blank();
            if let Some(text) = opt.default {
                opt.field.set(&mut settings, &text.into()).unwrap_or_else(|why| panic!("{} {why}", opt.name));
            }
            assert_eq!(opt.field.show(&settings), opt.field.show(&defaults), "{}", opt.name);
            assert!(opt.default.is_some() || !opt.unset.is_empty(), "{}: say what unset means", opt.name);
        }
    }

    #[test]
    fn help_is_short_and_docs_are_there() {
        for opt in all() {
            assert!(!opt.help.is_empty() && opt.help.len() <= 76, "{}: help", opt.name);
            assert!(!opt.help.ends_with('.'), "{}: help is a line, not a sentence", opt.name);
            assert!(opt.doc.ends_with('.'), "{}: docs are sentences", opt.name);
            assert!(opt.field.is_switch() || !opt.metavar.is_empty(), "{}: metavar", opt.name);
        }
    }

    #[test]
    fn the_issue_s_figures() {
        let s = Settings::default();
        assert_eq!((s.limits.request_line, s.limits.request_fields), (4094, 100));
        assert_eq!((s.limits.request_field_size, s.listen.backlog), (8190, 2048));
        assert_eq!((s.limits.max_body, s.limits.body_buffer), (1 << 30, 1 << 20));
        assert_eq!((s.timeouts.header.as_secs(), s.timeouts.keep_alive.as_secs()), (30, 5));
        assert_eq!((s.workers.threads, s.timeouts.graceful.as_secs()), (16, 30));
        assert!(s.limits.worker_connections >= 10_000);
    }

    #[test]
    fn every_spelling_is_found() {
        for name in ["limit-request-field_size", "limit-request-field-size", "limit_request_field_size"] {
            assert_eq!(find(name).map(|found| found.opt.name), Some("limit-request-field_size"));
        }
        assert!(find("no-preload").is_some_and(|found| found.negated));
        assert!(find("no-workers").is_none());
    }

    #[test]
    fn a_list_is_not_split_and_a_text_is() {
        let mut settings = Settings::default();
        let paths = find("pythonpath").expect("declared").opt;
        paths.field.set(&mut settings, &Raw::List(vec!["a,b".into()])).expect("valid");
        assert_eq!(settings.process.pythonpath.len(), 1);
        paths.field.set(&mut settings, &"a,b".into()).expect("valid");
        assert_eq!(settings.process.pythonpath.len(), 2);
    }
}
