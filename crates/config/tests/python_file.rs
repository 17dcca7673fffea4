//! Configuration files in Python: what their settings are here, and what is said of those that have no counterpart.
//! The files of this world are what comes of running one.

mod world;

use stdserve_config::{LogLevel, LogTarget, Preload, Source};
use world::{binds, error, printed, run, serve, target};

fn setting(name: &str, line: usize, value: &str) -> String {
    format!("[[setting]]\nname = \"{name}\"\nline = {line}\n{value}\n")
}

fn settings(list: &[(&str, &str)]) -> String {
    list.iter()
        .enumerate()
        .map(|(at, (name, value))| {
            let value = match *value {
                "def" => "function = true".to_owned(),
                value if value.starts_with('<') => format!("other = \"{}\"", &value[1..]),
                value => format!("value = {value}"),
            };
            setting(name, at + 1, &value)
        })
        .collect()
}

#[test]
fn gunicorn_s_settings_are_taken_over() {
    let file = settings(&[
        ("bind", "[\"127.0.0.1:9000\", \"unix:/tmp/a.sock\"]"),
        ("workers", "3"),
        ("threads", "4"),
        ("worker_class", "\"gthread\""),
        ("graceful_timeout", "12"),
        ("keepalive", "7"),
        ("preload_app", "true"),
        ("accesslog", "\"-\""),
        ("errorlog", "\"/var/log/e\""),
        ("loglevel", "\"warning\""),
        ("limit_request_fields", "50"),
        ("forwarded_allow_ips", "\"*\""),
        ("raw_env", "[\"A=b\", \"C=d=e\"]"),
        ("pythonpath", "\"lib,more\""),
        ("wsgi_app", "\"shop:app\""),
        ("backlog", "64"),
    ]);
    let serve = serve(&[], &[], &[("gunicorn.conf.py", &file)]);
    let settings = &serve.configuration.settings;
    assert_eq!(binds(&serve), ["127.0.0.1:9000", "unix:/tmp/a.sock"]);
    assert_eq!((settings.workers.count, settings.workers.threads), (Some(3), 4));
    assert_eq!((settings.timeouts.graceful.as_secs(), settings.timeouts.keep_alive.as_secs()), (12, 7));
    assert_eq!((settings.workers.preload, settings.logging.level), (Preload::On, LogLevel::Warning));
    assert_eq!(settings.logging.access, LogTarget::Standard);
    assert_eq!(settings.logging.error, LogTarget::File("/var/log/e".into()));
    assert_eq!((settings.limits.request_fields, settings.listen.backlog), (50, 64));
    assert_eq!(settings.process.env, [("A".into(), "b".into()), ("C".into(), "d=e".into())]);
    assert_eq!(settings.process.pythonpath.len(), 2);
    assert_eq!(settings.process.python_file.as_deref(), Some("/srv/gunicorn.conf.py".as_ref()));
    assert_eq!(target(&serve), "shop:app");
    assert_eq!(serve.configuration.notes, [""; 0]);
}

#[test]
fn what_has_no_counterpart_is_named_and_what_says_nothing_is_not() {
    let file = settings(&[
        ("threads", "2"),
        ("worker_class", "\"gevent\""),
        ("statsd_host", "\"localhost:8125\""),
        ("reuse_port", "false"),
        ("proxy_protocol", "true"),
        ("logger_class", "<type"),
        ("limit_request_line", "0"),
        ("max_requests", "0"),
        ("ssl_context", "def"),
        ("cores", "8"),
        ("host", "\"x\""),
        ("gracefull_timeout", "3"),
    ]);
    let serve = serve(&["a"], &[], &[("gunicorn.conf.py", &file)]);
    let named: Vec<_> = serve.configuration.notes.iter().filter_map(|note| note.split(": ").nth(1)).collect();
    let wanted = [
        "worker_class",
        "statsd_host",
        "proxy_protocol",
        "logger_class",
        "limit_request_line",
        "ssl_context",
        "gracefull_timeout",
    ];
    assert_eq!(named, wanted);
    assert_eq!(
        serve.configuration.notes.last().map(String::as_str),
        Some(
            "gunicorn.conf.py:12: gracefull_timeout: there is no such setting; did you mean `graceful_timeout`?"
        )
    );
    assert_eq!(binds(&serve), ["127.0.0.1:8000"]);
}

#[test]
fn sync_workers_run_one_request_at_a_time() {
    let threads = |list: &[(&str, &str)], argv: &[&str]| {
        let serve = serve(argv, &[], &[("gunicorn.conf.py", &settings(list))]);
        (serve.configuration.settings.workers.threads, serve.configuration.notes.len())
    };
    assert_eq!(threads(&[("worker_class", "\"sync\"")], &["a"]), (1, 0));
    assert_eq!(threads(&[("worker_class", "\"sync\"")], &["a", "--threads", "8"]), (8, 0));
    assert_eq!(threads(&[("worker_class", "\"sync\""), ("threads", "3")], &["a"]), (3, 0));
    assert_eq!(threads(&[("workers", "3")], &["a"]), (16, 1));
}

#[test]
fn the_environment_and_the_command_line_count_more_and_other_files_less() {
    let files = [
        ("gunicorn.conf.py", &*settings(&[("workers", "3"), ("threads", "1")])),
        ("stdserve.toml", "workers = 5\ncohort = 9"),
    ];
    let workers = |argv: &[&str], env: &[(&str, &str)]| {
        let serve = serve(argv, env, &files);
        assert_eq!(serve.configuration.settings.workers.cohort, 9);
        (serve.configuration.settings.workers.count, serve.configuration.sources.of("workers").clone())
    };
    let place = Source::File { path: "gunicorn.conf.py".into(), line: 1, key: "workers".into() };
    assert_eq!(workers(&["a"], &[]), (Some(3), place));
    assert_eq!(workers(&["a"], &[("WEB_CONCURRENCY", "6")]).0, Some(6));
    assert_eq!(workers(&["a", "-w", "7"], &[("WEB_CONCURRENCY", "6")]).0, Some(7));
    let text = printed(&["a", "--print-config"], &[], &files);
    assert!(text.contains("workers = 3") && text.contains("# gunicorn.conf.py:1\n"), "{text}");
}

#[test]
fn a_file_that_is_named_stands_in_the_place_of_all_others() {
    let python = settings(&[("workers", "3"), ("threads", "1")]);
    let files = [
        ("stdserve_conf.py", &*settings(&[("workers", "4")])),
        ("prod.py", &*python),
        ("stdserve.toml", "workers = 5"),
        ("prod.toml", "cohort = 2"),
    ];
    let found = |argv: &[&str]| {
        let workers = serve(argv, &[], &files).configuration.settings.workers;
        (workers.count, workers.cohort)
    };
    assert_eq!(found(&["a"]), (Some(4), 64));
    assert_eq!(found(&["a", "-c", "prod.py"]), (Some(3), 64));
    assert_eq!(found(&["a", "-c", "prod.toml"]), (None, 2));
    assert_eq!(found(&["a", "-c", "prod.toml", "-c", "prod.py"]), (Some(3), 2));
}

#[test]
fn options_by_our_own_names_stand_in_our_own_file_only() {
    let file = settings(&[("cohort", "3"), ("host", "\"::1\"")]);
    assert_eq!(serve(&["a"], &[], &[("stdserve_conf.py", &file)]).configuration.settings.workers.cohort, 3);
    assert_eq!(serve(&["a"], &[], &[("gunicorn.conf.py", &file)]).configuration.settings.workers.cohort, 64);
}

#[test]
fn what_serves_without_python_looks_for_no_such_file() {
    let file = settings(&[("workers", "3")]);
    let files = [("gunicorn.conf.py", &*file), ("stdserve_conf.py", &*file)];
    for verb in [["files", "."], ["cgi", "."]] {
        assert_eq!(serve(&verb, &[], &files).configuration.settings.process.python_file, None);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    let wrong = |list: &[(&str, &str)]| error(&["a"], &[], &[("gunicorn.conf.py", &settings(list))]);
    assert_eq!(
        wrong(&[("threads", "1"), ("workers", "\"many\"")]),
        "error: gunicorn.conf.py:2: workers: `many` is not a whole number between 1 and 4096, nor `auto`"
    );
    assert!(wrong(&[("post_fork", "3")]).contains("gunicorn.conf.py:1: post_fork: is no function"));
    assert!(
        wrong(&[("certfile", "\"a.pem\"")])
            .contains("gunicorn.conf.py:1: certfile: connections are not encrypted")
    );
    assert!(wrong(&[("workers", "def")]).contains("is a function"));
    let failed = error(&["a"], &[], &[("gunicorn.conf.py", "error = \"Traceback\\nNameError: x\"")]);
    assert_eq!(failed, "error: gunicorn.conf.py failed\nTraceback\nNameError: x");
    assert!(run(&["a"], &[], &[("gunicorn.conf.py", "rubbish")]).is_err());
}
