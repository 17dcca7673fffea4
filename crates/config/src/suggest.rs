//! The nearest name for a misspelt one, and a word on options that other servers have.

use crate::gunicorn::{self, Means};
use crate::option::Opt;
use crate::options::{all, find, normal};
use crate::verb::Verb;

/// Options of other servers without a counterpart here, in the table's spelling, and what to say of them.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["worker-class", "k", "interface", "loop", "http", "runtime-mode", "runtime-threads", "task-impl"],
        "There is one kind of worker, for WSGI; it starts threads as requests block (--threads).",
    ),
    (&["proxy-headers"], "Forwarded headers count from the peers in --forwarded-allow-ips."),
    (
        &["access-log", "log"],
        "The access log is switched on by --access-logfile FILE (`-` for standard output).",
    ),
    (&["use-colors", "log-colors"], "Write --color always or --color never."),
    (&["fd"], "Write --bind fd://N."),
    (
        &["ssl-certfile", "ssl-keyfile", "ssl-certificate"],
        "Connections are not encrypted by this version: have a proxy in front do that.",
    ),
    (&["http1-header-read-timeout"], "Write --header-timeout."),
    (&["backpressure"], "Write --limit-concurrency."),
];

/// gunicorn's options whose names on its command line are not those of its settings.
const GUNICORN: &[(&str, &str)] = &[
    ("name", "proc_name"),
    ("n", "proc_name"),
    ("no-sendfile", "sendfile"),
    ("r", "enable_stdio_inheritance"),
    ("log-syslog", "syslog"),
    ("log-syslog-to", "syslog_addr"),
    ("log-syslog-prefix", "syslog_prefix"),
    ("log-syslog-facility", "syslog_facility"),
    ("proxy-allow-from", "proxy_allow_ips"),
    ("paster", "paste"),
];

/// A sentence for an unknown option: its nearest name, or what stands in its place.
/// Only options of the verb are offered, where there is one.
/// `form` makes of an option's name what the user would have to write where the unknown one stood.
pub(crate) fn hint(unknown: &str, verb: Option<Verb>, form: impl Fn(&str) -> String) -> Option<String> {
    let name = normal(unknown);
    if let Some((_, text)) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name.as_str())) {
        return Some((*text).to_owned());
    }
    if let Some(text) = of_gunicorn(&name, &form) {
        return Some(text);
    }
    nearest(&name, verb).map(|name| format!("Did you mean {}?", form(&name)))
}

/// What one of gunicorn's options is here: as for its settings in a file, in a sentence.
fn of_gunicorn(name: &str, form: impl Fn(&str) -> String) -> Option<String> {
    let other = GUNICORN.iter().find(|(flag, _)| *flag == name).map(|(_, setting)| (*setting).to_owned());
    let setting = other.unwrap_or_else(|| name.replace('-', "_"));
    match gunicorn::meaning(&setting)? {
        Means::Option(option) | Means::OptionUnlessZero(option) => {
            Some(format!("It is called {} here.", form(option)))
        }
        Means::Nothing(why) | Means::Refused(why) => {
            let (first, rest) = why.split_at(why.chars().next().map_or(0, char::len_utf8));
            Some(format!("{}{rest}.", first.to_uppercase()))
        }
        Means::WorkerClass => None,
    }
}

/// The nearest spelling of an option, if one is near.
fn nearest(name: &str, verb: Option<Verb>) -> Option<String> {
    let fits = |opt: &&Opt| !opt.positional && verb.is_none_or(|verb| opt.is_for(verb));
    let names = all().filter(fits).flat_map(|opt| {
        let negated = opt.field.is_switch().then(|| format!("no-{}", opt.name));
        std::iter::once(opt.name.to_owned())
            .chain(opt.aliases.iter().map(|alias| (*alias).to_owned()))
            .chain(negated)
    });
    let meta = ["config", "check-config", "print-config", "help", "version"].map(str::to_owned);
    let best = closest(name, names.chain(meta))?;
    // An alias that is near leads to the option's own name, unless the alias is what was nearly written.
    Some(match find(&best) {
        Some(found) if !found.negated && normal(found.opt.name) == best => found.opt.name.to_owned(),
        _ => best,
    })
}

/// Of some names the one with the fewest typing errors to it, if these are few for its length.
pub(crate) fn closest(name: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    names
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, &known), known))
        .filter(|(distance, known)| *distance <= (known.chars().count().max(3) / 3).min(4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let near = |name: &str| nearest(name, None).unwrap_or_default();
        assert_eq!(near("worker"), "workers");
        assert_eq!(near("tread"), "threads");
        assert_eq!(near("keep-alve"), "keep-alive");
        assert_eq!(near("limit-requests-line"), "limit-request-line");
        assert_eq!(near("no-pre-load"), "no-preload");
        assert_eq!(near("chek-config"), "check-config");
        assert_eq!(near("frobnicate"), "");
        assert_eq!(nearest("listin", Some(Verb::Files)).as_deref(), Some("listing"));
        assert_eq!(nearest("listin", Some(Verb::Cgi)), None);
    }

    #[test]
    fn nothing_elsewhere_is_an_option_here() {
        for name in ELSEWHERE.iter().flat_map(|(names, _)| *names) {
            assert!(find(name).is_none(), "{name} is an option now: take it off the list");
        }
    }

    #[test]
    fn elsewhere() {
        assert!(hint("worker_class", None, str::to_owned).is_some_and(|text| text.contains("--threads")));
    }

    #[test]
    fn options_of_gunicorn_without_a_counterpart_are_said_to_have_none() {
        let dashed = |name: &str| hint(name, None, |name| format!("--{name}")).unwrap_or_default();
        for (name, expected) in [
            ("capture-output", "What the application prints goes where the standard streams lead."),
            ("certfile", "Connections are not encrypted by this version: have a proxy in front do that."),
            ("proxy-protocol", "The PROXY protocol is not read by this version."),
            ("name", "Processes are called by what they do."),
            ("R", "What the application prints goes where the standard streams lead."),
            ("worker-tmp-dir", "Workers need no file to show that they live."),
            ("no-sendfile", "Files are sent by the kernel in any case."),
            ("pidfile", "It is called --pid here."),
        ] {
            assert_eq!(dashed(name), expected, "{name}");
        }
        for (flag, setting) in GUNICORN {
            assert!(find(flag).is_none(), "{flag} is an option now: take it off the list");
            assert!(gunicorn::meaning(setting).is_some(), "{setting}");
        }
    }
}
