//! gunicorn's settings, by their names in its configuration file: which option each is here, and what has none.
//!
//! The names are those of gunicorn 27 (`gunicorn/config.py`). What is not in the table and is an option under the same
//! name is that option.

use std::fmt::Write;

use crate::options::find;
use crate::settings::Settings;

/// What a setting of gunicorn's is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// The option of this name.
    Option(&'static str),
    /// The option of this name; 0 stands for "none" or "off", and is what is the case without it.
    OptionUnlessZero(&'static str),
    /// `worker_class`.
    WorkerClass,
    /// There is nothing to set: this says why, where it matters.
    Nothing(&'static str),
    /// To go on without it would be dangerous: this says why.
    Refused(&'static str),
}

use Means::{Nothing, Option as Is, OptionUnlessZero as IsUnlessZero, Refused};

const NO_TLS: &str = "connections are not encrypted by this version: have a proxy in front do that";
const LOGS: &str = "see docs/options.md, Logs, for what there is";
const ASYNC: &str = "applications are WSGI's";

/// The settings.
pub(crate) const SETTINGS: &[(&str, Means)] = &[
    ("wsgi_app", Is("app")),
    ("bind", Is("bind")),
    ("backlog", Is("backlog")),
    ("workers", Is("workers")),
    ("worker_class", Means::WorkerClass),
    ("threads", Is("threads")),
    ("worker_connections", Is("worker-connections")),
    ("max_requests", IsUnlessZero("max-requests")),
    ("max_requests_jitter", IsUnlessZero("max-requests-jitter")),
    ("timeout", Is("timeout")),
    ("graceful_timeout", Is("graceful-timeout")),
    ("keepalive", Is("keep-alive")),
    ("limit_request_line", IsUnlessZero("limit-request-line")),
    ("limit_request_fields", Is("limit-request-fields")),
    ("limit_request_field_size", IsUnlessZero("limit-request-field_size")),
    ("reload", Is("reload")),
    ("reload_engine", Nothing("files are looked at once in a while, wherever they lie")),
    ("reload_extra_files", Is("reload-include")),
    ("spew", Nothing("there is no such trace")),
    ("check_config", Nothing("write --check-config")),
    ("print_config", Nothing("write --print-config")),
    ("preload_app", Is("preload")),
    ("sendfile", Nothing("files are sent by the kernel in any case")),
    ("reuse_port", Nothing("workers share one listener, so that none loses what is queued")),
    ("chdir", Is("chdir")),
    ("daemon", Is("daemon")),
    ("raw_env", Is("env")),
    ("pidfile", Is("pid")),
    ("worker_tmp_dir", Nothing("workers need no file to show that they live")),
    ("user", Is("user")),
    ("group", Is("group")),
    ("umask", Is("umask")),
    ("initgroups", Nothing("the groups of --user are taken in any case")),
    ("tmp_upload_dir", Is("temp-dir")),
    ("secure_scheme_headers", Nothing("X-Forwarded-Proto and Forwarded count from --forwarded-allow-ips")),
    ("forwarded_allow_ips", Is("forwarded-allow-ips")),
    ("accesslog", Is("access-logfile")),
    ("disable_redirect_access_to_syslog", Nothing(LOGS)),
    ("access_log_format", Is("access-logformat")),
    ("errorlog", Is("error-logfile")),
    ("loglevel", Is("log-level")),
    ("capture_output", Nothing("what the application prints goes where the standard streams lead")),
    ("logger_class", Nothing(LOGS)),
    ("logconfig", Is("log-config")),
    ("logconfig_dict", Is("log-config-dict")),
    ("logconfig_json", Is("log-config")),
    ("syslog_addr", Nothing(LOGS)),
    ("syslog", Nothing(LOGS)),
    ("syslog_prefix", Nothing(LOGS)),
    ("syslog_facility", Nothing(LOGS)),
    ("enable_stdio_inheritance", Nothing("what the application prints goes where the standard streams lead")),
    ("statsd_host", Nothing("figures are in Prometheus' format on --admin")),
    ("dogstatsd_tags", Nothing("figures are in Prometheus' format on --admin")),
    ("statsd_prefix", Nothing("figures are in Prometheus' format on --admin")),
    ("enable_backlog_metric", Nothing("figures are in Prometheus' format on --admin")),
    ("proc_name", Nothing("processes are called by what they do")),
    ("default_proc_name", Nothing("processes are called by what they do")),
    ("pythonpath", Is("pythonpath")),
    ("paste", Nothing("name the application that the file makes")),
    ("raw_paste_global_conf", Nothing("name the application that the file makes")),
    ("proxy_protocol", Nothing("the PROXY protocol is not read by this version")),
    ("proxy_allow_ips", Nothing("the PROXY protocol is not read by this version")),
    ("protocol", Nothing("HTTP/1 is spoken")),
    ("uwsgi_allow_ips", Nothing("HTTP/1 is spoken")),
    ("keyfile", Refused(NO_TLS)),
    ("certfile", Refused(NO_TLS)),
    ("ssl_version", Nothing(NO_TLS)),
    ("cert_reqs", Nothing(NO_TLS)),
    ("ca_certs", Nothing(NO_TLS)),
    ("suppress_ragged_eofs", Nothing(NO_TLS)),
    ("do_handshake_on_connect", Nothing(NO_TLS)),
    ("ciphers", Nothing(NO_TLS)),
    ("http_protocols", Nothing("HTTP/1 is spoken")),
    ("http2_cleartext", Nothing("HTTP/1 is spoken")),
    ("http2_max_concurrent_streams", Nothing("HTTP/1 is spoken")),
    ("http2_initial_window_size", Nothing("HTTP/1 is spoken")),
    ("http2_max_frame_size", Nothing("HTTP/1 is spoken")),
    ("http2_max_header_list_size", Nothing("HTTP/1 is spoken")),
    ("permit_obsolete_folding", Nothing("folded header lines are refused (RFC 9112, section 5.2)")),
    ("strip_header_spaces", Nothing("space before the colon of a header is refused (RFC 9112, section 5.1)")),
    ("permit_unconventional_http_method", Nothing("every method that RFC 9110 allows is taken")),
    ("permit_unconventional_http_version", Nothing("HTTP/1.0 and HTTP/1.1 are spoken")),
    ("casefold_http_method", Nothing("methods are case-sensitive (RFC 9110, section 9.1)")),
    ("forwarder_headers", Nothing("headers with `_` in their names are dropped")),
    ("header_map", Nothing("headers with `_` in their names are dropped")),
    ("asgi_loop", Nothing(ASYNC)),
    ("asgi_lifespan", Nothing(ASYNC)),
    ("asgi_disconnect_grace_period", Nothing(ASYNC)),
    ("websocket_max_message_size", Nothing(ASYNC)),
    ("http_parser", Nothing("there is one parser")),
    ("root_path", Is("root-path")),
    ("dirty_apps", Nothing("there are no such workers")),
    ("dirty_workers", Nothing("there are no such workers")),
    ("dirty_timeout", Nothing("there are no such workers")),
    ("dirty_threads", Nothing("there are no such workers")),
    ("dirty_graceful_timeout", Nothing("there are no such workers")),
    ("control_socket", Nothing("--admin is for that")),
    ("control_socket_mode", Nothing("--admin is for that")),
    ("control_socket_disable", Nothing("--admin none is for that")),
    ("config", Nothing("one such file is read")),
];

/// The functions that are called, by gunicorn's names.
pub(crate) const HOOKS: &[&str] = &[
    "on_starting",
    "on_reload",
    "when_ready",
    "pre_fork",
    "post_fork",
    "post_worker_init",
    "worker_int",
    "worker_abort",
    "pre_exec",
    "pre_request",
    "post_request",
    "child_exit",
    "worker_exit",
    "nworkers_changed",
    "on_exit",
];

/// gunicorn's other functions, which nothing here would call.
pub(crate) const OTHER_HOOKS: &[&str] =
    &["ssl_context", "on_dirty_starting", "dirty_post_fork", "dirty_worker_init", "dirty_worker_exit"];

/// What a setting of gunicorn's is here; none: gunicorn has no setting of that name.
pub(crate) fn meaning(name: &str) -> Option<Means> {
    SETTINGS.iter().find(|(known, _)| *known == name).map(|(_, means)| *means)
}

/// The settings that count, under gunicorn's names, as a TOML document; times are seconds and sizes bytes.
pub fn gunicorn_settings(settings: &Settings) -> String {
    let mut text = String::new();
    for (name, means) in SETTINGS {
        let (Is(option) | IsUnlessZero(option)) = means else { continue };
        if let Some(value) = find(option).and_then(|found| found.opt.field.show_plain(settings)) {
            let _ = writeln!(text, "{name} = {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn settings_are_shown_in_gunicorn_s_units() {
        let text = gunicorn_settings(&Settings::default());
        for line in ["graceful_timeout = 30", "keepalive = 5", "threads = 16", "bind = [\"127.0.0.1:8000\"]"]
        {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn settings_lead_to_options() {
        let options = SETTINGS.iter().filter_map(|(_, means)| match means {
            Is(option) | IsUnlessZero(option) => Some(*option),
            _ => None,
        });
        let missing: Vec<_> = options.filter(|option| find(option).is_none()).collect();
        // It comes with the logs; until then it is named as what this version does not have.
        assert!(missing.iter().all(|option| *option == "log-config"), "{missing:?}");
    }

    #[test]
    fn each_setting_stands_once() {
        let mut seen = HashSet::new();
        for name in SETTINGS.iter().map(|(name, _)| name).chain(HOOKS).chain(OTHER_HOOKS) {
            assert!(seen.insert(name), "{name} twice");
        }
    }
}
