//! From arguments, environment and files to settings, through the public door.

mod world;

use std::io;
use std::path::Path;

use proptest::prelude::*;
use stdserve_config::{
    MemoryLimit, Preload, Raw, Source, Surroundings, parse, parse_run, parse_server, without_python,
};
use world::{binds, error, printed, run, serve, target};

#[test]
fn the_verb_may_be_left_out_and_options_stand_anywhere() {
    for argv in [
        &["shop:app", "-w", "4"][..],
        &["-w4", "shop:app"],
        &["serve", "shop:app", "--workers=4"],
        &["--workers", "4", "serve", "--", "shop:app"],
    ] {
        let serve = serve(argv, &[], &[]);
        assert_eq!(target(&serve), "shop:app", "{argv:?}");
        assert_eq!(serve.configuration.settings.workers.count, Some(4));
        assert!(!serve.check);
    }
}

#[test]
fn a_verb_wins_over_a_module_and_serve_is_the_escape() {
    assert!(error(&["completions"], &[], &[]).contains("bash, zsh or fish"));
    assert_eq!(target(&serve(&["serve", "completions"], &[], &[])), "completions");
    assert_eq!(target(&serve(&["serve", "reload"], &[], &[])), "reload");
    assert_eq!(target(&serve(&["serve", "files"], &[], &[])), "files");
}

#[test]
fn precedence() {
    let file = [("stdserve.toml", "threads = 1\nworkers = 1\nkeep-alive = \"1s\"\nbacklog = 1\n")];
    let env = [("STDSERVE_THREADS", "2"), ("STDSERVE_WORKERS", "2"), ("STDSERVE_KEEP_ALIVE", "2")];
    let serve = serve(&["a", "--threads", "3"], &env, &file);
    let s = &serve.configuration.settings;
    assert_eq!((s.workers.threads, s.workers.count), (3, Some(2)));
    assert_eq!((s.timeouts.keep_alive.as_secs(), s.listen.backlog), (2, 1));
    let from = |name| serve.configuration.sources.of(name).to_string();
    assert_eq!(from("threads"), "--threads");
    assert_eq!(from("workers"), "$STDSERVE_WORKERS");
    assert_eq!(from("backlog"), "stdserve.toml:4: backlog");
    assert_eq!(serve.configuration.sources.of("max-body"), &Source::Default);
}

#[test]
fn our_variable_beats_the_platform_s_and_both_beat_the_file() {
    let count = |env: &[(&str, &str)]| {
        serve(&["a"], env, &[("stdserve.toml", "workers = 1")]).configuration.settings.workers.count
    };
    assert_eq!(count(&[]), Some(1));
    assert_eq!(count(&[("WEB_CONCURRENCY", "3")]), Some(3));
    assert_eq!(count(&[("WEB_CONCURRENCY", "3"), ("STDSERVE_WORKERS", "auto")]), None);
}

#[test]
fn port_and_its_kin() {
    let file = [("stdserve.toml", "bind = '127.0.0.1:1'")];
    assert_eq!(binds(&serve(&["a"], &[], &[])), ["127.0.0.1:8000"]);
    assert_eq!(binds(&serve(&["a"], &[("PORT", "5000")], &file)), ["0.0.0.0:5000"]);
    assert_eq!(binds(&serve(&["a", "-b", ":1"], &[("PORT", "5000")], &[])), ["0.0.0.0:1"]);
    assert_eq!(binds(&serve(&["a"], &[("PORT", "5000"), ("STDSERVE_BIND", "[::1]:2")], &[])), ["[::1]:2"]);
    assert_eq!(binds(&serve(&["a", "--port", "5"], &[("STDSERVE_BIND", ":2")], &[])), ["127.0.0.1:5"]);
    assert_eq!(binds(&serve(&["a", "--host", "::1"], &[], &file)), ["[::1]:8000"]);
    assert_eq!(binds(&serve(&["a", "--host", "::1"], &[("PORT", "7")], &[])), ["[::1]:7"]);
    assert_eq!(binds(&serve(&["a", "--uds", "/x.sock"], &[("PORT", "7")], &[])), ["unix:/x.sock"]);
    assert!(error(&["a", "--port", "5", "-b", ":1"], &[], &[]).contains("stands beside --bind"));
    assert!(error(&["a", "--port", "5", "--uds", "x"], &[], &[]).contains("repeat --bind"));
    // What the server tells its children, and tests theirs.
    assert_eq!(
        binds(&serve(&["a"], &[("STDSERVE__FDS", "3"), ("STDSERVE_TEST_X", "y")], &[])),
        ["127.0.0.1:8000"]
    );
    // Kubernetes beside a service named stdserve.
    let links = [
        ("STDSERVE_PORT", "tcp://10.0.0.1:80"),
        ("STDSERVE_SERVICE_HOST", "10.0.0.1"),
        ("STDSERVE_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(binds(&serve(&["a"], &links, &[])), ["127.0.0.1:8000"]);
}

#[test]
fn repeated_options() {
    let two = serve(&["a", "-b", ":1", "-b", "admin=unix:x,[::1]:3", "-w", "1", "-w", "2"], &[], &[]);
    assert_eq!(binds(&two), ["0.0.0.0:1", "admin=unix:x", "[::1]:3"]);
    assert_eq!(two.configuration.settings.workers.count, Some(2));
    assert!(error(&["a", "-b", "x=:1", "-b", "x=:2"], &[], &[]).contains("same name"));
}

#[test]
fn switches() {
    let preload = |argv: &[&str], env: &[(&str, &str)], file: &str| {
        serve(argv, env, &[("stdserve.toml", file)]).configuration.settings.workers.preload != Preload::Off
    };
    assert!(preload(&["--preload", "a"], &[], ""));
    assert!(preload(&["--no-preload", "--preload", "a"], &[], ""));
    assert!(!preload(&["--preload", "--no-preload", "a"], &[], ""));
    assert!(!preload(&["--preload=no", "a"], &[], ""));
    assert!(preload(&["a"], &[("STDSERVE_PRELOAD", "1")], ""));
    assert!(!preload(&["a"], &[("STDSERVE_NO_PRELOAD", "yes")], "preload = true"));
    assert!(preload(&["a"], &[], "no-preload = false"));
    let plain = serve(&["a", "--no-server-header", "--no-half-close"], &[], &[]).configuration.settings;
    assert!(!plain.http.server_header && !plain.http.half_close);
}

#[test]
fn other_servers_spellings() {
    let s = serve(
        &[
            "a",
            "--timeout-keep-alive",
            "7",
            "--blocking-threads",
            "3",
            "--limit-request-field-size",
            "100",
            "--url-path-prefix",
            "/x/",
            "--uds-permissions",
            "660",
            "--log-level",
            "WARN",
        ],
        &[],
        &[],
    )
    .configuration
    .settings;
    assert_eq!(
        (s.timeouts.keep_alive.as_secs(), s.workers.threads, s.limits.request_field_size),
        (7, 3, 100)
    );
    assert_eq!((s.wsgi.root_path.as_str(), s.listen.unix_mode), ("/x", 0o660));
    assert_eq!(s.logging.level, stdserve_config::LogLevel::Warning);
}

#[test]
fn files() {
    let toml = "app = \"shop:make\"\nfactory = true\nbind = [\"127.0.0.1:1\", \"unix:a.sock\"]\nmax_body = \"2MiB\"\n\
                header-timeout = 0.5\nunix-mode = 0o600\nserver-header = false\nforwarded-allow-ips = \"10.0.0.0/8, unix\"\n";
    let file = serve(&[], &[], &[("stdserve.toml", toml)]);
    assert_eq!(target(&file), "shop:make()");
    assert_eq!(binds(&file), ["127.0.0.1:1", "unix:a.sock"]);
    let s = &file.configuration.settings;
    assert_eq!((s.limits.max_body, s.timeouts.header.as_millis(), s.listen.unix_mode), (2 << 20, 500, 0o600));
    assert_eq!(s.proxy.trusted_text(), "10.0.0.0/8,unix");
    let project = "[project]\nname = \"x\"\n[tool.stdserve]\nthreads = 9\n";
    let threads = |argv: &[&str], env: &[(&str, &str)], files: &[(&str, &str)]| {
        serve(argv, env, files).configuration.settings.workers.threads
    };
    assert_eq!(threads(&["a"], &[], &[("pyproject.toml", project)]), 9);
    assert_eq!(threads(&["a"], &[], &[("pyproject.toml", project), ("stdserve.toml", "")]), 16);
    assert_eq!(threads(&["a"], &[], &[("pyproject.toml", "[tool.other]\nx = 1\n# stdserve")]), 16);
    assert_eq!(threads(&["a"], &[], &[("pyproject.toml", "not our = concern")]), 16);
    let other = [("stdserve.toml", "threads = 1"), ("etc/prod.toml", "threads = 2")];
    assert_eq!(threads(&["a", "-c", "etc/prod.toml"], &[], &other), 2);
    assert_eq!(threads(&["a"], &[("STDSERVE_CONFIG", "/srv/etc/prod.toml")], &other), 2);
}

#[test]
fn errors_name_the_source_the_value_and_what_is_accepted() {
    let file = |text: &'static str| error(&["a"], &[], &[("stdserve.toml", text)]);
    for (text, expected) in [
        (
            error(&["a", "-w", "many"], &[], &[]),
            "error: --workers: `many` is not a whole number between 1 and 4096, nor `auto`",
        ),
        (
            error(&["a", "--threads", "-1"], &[], &[]),
            "error: --threads: `-1` is not a whole number between 1 and 10000",
        ),
        (
            error(&["a"], &[("STDSERVE_KEEP_ALIVE", "5x")], &[]),
            "error: $STDSERVE_KEEP_ALIVE: `5x` is not a time: give seconds, or a number with ms, s, m, h or d, such as 30s",
        ),
        (
            error(&["a"], &[("WEB_CONCURRENCY", "0")], &[]),
            "error: $WEB_CONCURRENCY: `0` is not a whole number between 1 and 4096, nor `auto`",
        ),
        (
            file("\nmax-body = \"big\""),
            "error: stdserve.toml:2: max-body: `big` is not a size: give bytes, or a number with KiB, MiB, GiB, KB, MB or GB, such as 512MiB",
        ),
        (
            file("worker = 2"),
            "error: stdserve.toml:1: worker: there is no such option\n  Did you mean `workers`?",
        ),
        (
            file("[limits]\nx = 1"),
            "error: stdserve.toml:1: limits: there is no such option\n  An option stands by itself, not in a table of its own.",
        ),
        (
            file("[service.a]\napp = 'a'"),
            "error: stdserve.toml:1: service: there is no such option\n  Did you mean [services.NAME]?",
        ),
        (
            file("threads = [1, 2]"),
            "error: stdserve.toml:1: threads: has the entry 1; a list here holds texts",
        ),
        (
            file("threads = 1979-05-27"),
            "error: stdserve.toml:1: threads: is a datetime; an option takes a text, a number, true or false",
        ),
        (
            error(&["a"], &[("STDSERVE_WORKER", "2")], &[]),
            "error: $STDSERVE_WORKER: there is no such option\n  Did you mean STDSERVE_WORKERS?",
        ),
    ] {
        assert_eq!(text, expected);
    }
    assert!(file("threads = ").starts_with("error: stdserve.toml:1: "));
}

#[test]
fn memory_is_a_size_or_a_part() {
    for (text, expected) in [
        ("none", None),
        ("512MiB", Some(MemoryLimit::Bytes(512 << 20))),
        ("40%", Some(MemoryLimit::Percent(40))),
        ("100 %", Some(MemoryLimit::Percent(100))),
    ] {
        let serve = serve(&["a", "--max-rss", text], &[], &[]);
        assert_eq!(serve.groups[0].settings.recycling.rss, expected, "{text}");
    }
    for wrong in ["0%", "101%", "-1%", "1.5%", "%"] {
        let expected = format!("error: --max-rss: `{wrong}` is not a part: from 1% to 100%");
        assert_eq!(error(&["a", &format!("--max-rss={wrong}")], &[], &[]), expected);
    }
    assert!(error(&["a", "--max-rss", "5"], &[], &[]).contains("is too small: at least 1MiB"));
}

#[test]
fn errors_of_the_command_line() {
    for (text, expected) in [
        (
            error(&["a", "--wokers", "2"], &[], &[]),
            "error: there is no option --wokers\n  Did you mean --workers?",
        ),
        (error(&["a", "--frob"], &[], &[]), "error: there is no option --frob\n  See stdserve --help."),
        (
            error(&["a", "--worker-class", "gevent"], &[], &[]),
            "error: there is no option --worker-class\n  There is one kind of worker, for WSGI; it starts threads as requests block (--threads).",
        ),
        (
            error(&["a", "-k", "gevent"], &[], &[]),
            "error: there is no option -k\n  There is one kind of worker, for WSGI; it starts threads as requests block (--threads).",
        ),
        (error(&["a", "--workers"], &[], &[]), "error: --workers: needs a value"),
        (
            error(&["a", "--preload=maybe"], &[], &[]),
            "error: --preload: `maybe` is not one of false, true, force",
        ),
        (
            error(&["a", "--log-level", "loud"], &[], &[]),
            "error: --log-level: `loud` is not one of debug, info, warning, error, critical",
        ),
        (
            error(&["a", "-b", "/run/x.sock"], &[], &[]),
            "error: --bind: `/run/x.sock` looks like a path; write unix:/run/x.sock",
        ),
        (
            error(&["a", "-b", ":1,8000"], &[], &[]),
            "error: --bind: [:1, 8000] has the entry `8000`, which has no host; write 127.0.0.1:8000, or :8000 for every address",
        ),
        (
            error(&["a", "--forwarded-allow-ips", "10.0.0.0/40"], &[], &[]),
            "error: --forwarded-allow-ips: `10.0.0.0/40` has the prefix `/40`, which is not between /0 and /32",
        ),
        (
            error(&["a", "--root-path", "x"], &[], &[]),
            "error: --root-path: `x` does not start with `/`; write /x",
        ),
        (
            error(&["my-app"], &[], &[]),
            "error: APP: `my-app` names neither a module (dotted name) nor a Python file",
        ),
        (
            error(&["a", "b"], &[], &[]),
            "error: `b` stands after the application\n  One application is served at a time.",
        ),
        (
            error(&["a", "-c", "none.toml"], &[], &[]),
            "error: --config: `none.toml` cannot be read: entity not found",
        ),
        (
            error(&["a", "-c", "gunicorn.conf.py"], &[], &[]),
            "error: --config: gunicorn.conf.py cannot be read: no such file",
        ),
        (
            error(&["--help=limit"], &[], &[]),
            "error: --help: `limit` is not one of app, folders, answers, listen, workers, limits, timeouts, http, logs, operations, process\n  Did you mean --help=limits?",
        ),
    ] {
        assert_eq!(text, expected);
    }
    let text = error(&[], &[], &[]);
    assert!(text.starts_with("error: no application is named\n  Name it as MODULE:CALLABLE"), "{text}");
}

#[test]
fn all_errors_are_told_at_once_also_those_that_a_stronger_value_hides() {
    let text = error(&["a", "-w", "2"], &[("STDSERVE_WORKERS", "x"), ("STDSERVE_FROB", "1")], &[]);
    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 2, "{text}");
}

#[test]
fn a_value_cannot_play_with_the_terminal() {
    let text = error(&["a", "-w", "\u{1b}[31m"], &[], &[]);
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn arguments_that_are_not_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let read = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let around = Surroundings { env: Vec::new(), cwd: "/".into(), read: &read, python: &without_python };
    let argv = [std::ffi::OsString::from_vec(vec![b'a', 0xff])];
    assert!(parse(argv, &around).expect_err("refused").to_string().contains("not valid UTF-8"));
}

#[test]
fn print_config_can_be_used_as_a_file() {
    let args = [
        "--print-config",
        "a:b",
        "-w",
        "3",
        "--port",
        "9",
        "--access-logformat",
        "%(h)s \"%(r)s\"",
        "--pythonpath",
        "x,y",
        "--keep-alive",
        "1500ms",
        "--max-body",
        "3000",
    ];
    let text = printed(&args, &[("STDSERVE_THREADS", "5")], &[]);
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("workers = 3 ").ends_with("# --workers"), "{text}");
    assert!(line("threads = 5 ").ends_with("# $STDSERVE_THREADS"), "{text}");
    assert!(line("bind = [\"127.0.0.1:9\"] ").ends_with("# --port"), "{text}");
    assert!(line("backlog = 2048 ").ends_with("# default"), "{text}");
    assert!(line("# chdir: the current folder").ends_with("# default"), "{text}");
    let again = serve(&[], &[], &[("stdserve.toml", &text)]);
    let direct = serve(&args[1..], &[("STDSERVE_THREADS", "5")], &[]);
    let (mut left, mut right) = (again.configuration.settings, direct.configuration.settings);
    assert_eq!(left.listen.bind, right.listen.bind);
    // How the address was spelt is the one thing that differs.
    (left.listen, right.listen) = Default::default();
    assert_eq!(left, right);
}

#[test]
fn check_config_version_and_completions() {
    assert!(serve(&["a", "--check-config"], &[], &[]).check);
    assert!(printed(&["--version"], &[], &[]).starts_with("stdserve 0."));
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell], &[], &[]);
        assert!(script.contains("limit-request-line") && script.contains("serve"), "{shell}");
    }
    assert!(error(&["completions", "tcsh"], &[], &[]).contains("`tcsh`"));
}

#[test]
fn keywords_of_run() {
    let read = |_: &Path| Ok("threads = 2\nworkers = 2".to_owned());
    let around = Surroundings {
        env: vec![("STDSERVE_WORKERS".into(), "3".into())],
        cwd: "/".into(),
        read: &read,
        python: &without_python,
    };
    let bind = Raw::List(vec![":1".into(), "unix:a,b".into()]);
    let run = |pairs: &[(&str, Raw)]| {
        parse_run(pairs.iter().map(|(name, raw)| ((*name).to_owned(), raw.clone())), &around)
    };
    let settings = run(&[("bind", bind), ("keep_alive", "2.5".into())]).expect("valid").settings;
    assert_eq!(settings.listen.bind.len(), 2);
    assert_eq!((settings.workers.count, settings.workers.threads), (Some(3), 2));
    assert_eq!(settings.timeouts.keep_alive.as_millis(), 2500);
    let text = run(&[("worker", "2".into())]).expect_err("refused").to_string();
    assert_eq!(text, "error: worker=: there is no such option\n  Did you mean workers=?");
}

#[test]
fn an_access_format_without_an_atom_would_make_all_lines_alike() {
    for value in ["xml", "JSON", "combined", "h s"] {
        let refused = parse_server([("access_logformat".to_owned(), Raw::from(value))]).expect_err("no atom");
        let expected = format!(
            "error: access_logformat=: `{value}` is neither `json` nor a text with atoms, such as %(h)s"
        );
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
fn keywords_of_server() {
    let server = |name: &str, value: &str| parse_server([(name.to_owned(), Raw::from(value))]);
    assert_eq!(server("threads", "3").expect("valid").settings.workers.threads, 3);
    assert!(server("workers", "3").expect_err("refused").to_string().contains("stdserve.run has"));
    let late = server("access_logformat", "%(q").expect("valid").refuse("access-logformat", "`%(q` is open");
    assert_eq!(late.to_string(), "error: access_logformat=: `%(q` is open");
}

proptest! {
    /// Whatever is given, the answer is a command or an error that says something.
    #[test]
    fn nothing_panics(
        argv in proptest::collection::vec("(-{0,2}[a-z-]{0,12}=?)?\\PC{0,8}", 0..5),
        name in "STDSERVE_[A-Z_]{0,12}",
        value in "\\PC{0,12}",
        toml in "([a-z-]{1,10} = (\"\\PC{0,8}\"|[0-9.]{1,4}|\\[\\]|true)\n){0,4}\\PC{0,8}",
    ) {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        if let Err(error) = run(&argv, &[(&name, &value)], &[("stdserve.toml", &toml)]) {
            prop_assert!(error.to_string().starts_with("error: "));
        }
    }
}
