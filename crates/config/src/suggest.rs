//! The nearest name for a misspelt one, and a word on options that other servers have.

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
        &[
            "statsd-host",
            "proc-name",
            "certfile",
            "keyfile",
            "ssl-certfile",
            "ssl-keyfile",
            "http1-header-read-timeout",
            "backpressure",
            "worker-tmp-dir",
            "reuse-port",
        ],
        "This version does not have it.",
    ),
];

/// A sentence for an unknown option: its nearest name, or what stands in its place.
/// Only options of the verb are offered, where there is one.
/// `form` makes of an option's name what the user would have to write where the unknown one stood.
pub(crate) fn hint(unknown: &str, verb: Option<Verb>, form: impl Fn(&str) -> String) -> Option<String> {
    let name = normal(unknown);
    if let Some((_, text)) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name.as_str())) {
        return Some((*text).to_owned());
    }
    nearest(&name, verb).map(|name| format!("Did you mean {}?", form(&name)))
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
}
