//! What each verb takes, and what comes of it.

mod world;

use proptest::prelude::*;
use proptest::sample::select;
use stdserve_config::{
    Address, Command, FilesOptions, HandlerModel, Program, ScriptStderr, ServiceKind, Transport, Verb,
};
use world::{error, printed, run, serve, target};

fn files(argv: &[&str]) -> FilesOptions {
    match serve(argv, &[], &[]).groups.remove(0).services.remove(0).kind {
        ServiceKind::Files(options) => options,
        other => panic!("{other:?}"),
    }
}

fn kind(argv: &[&str]) -> ServiceKind {
    serve(argv, &[], &[]).groups.remove(0).services.remove(0).kind
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(left, right)| ((*left).to_owned(), (*right).to_owned())).collect()
}

#[test]
fn a_folder_is_named_or_the_current_one() {
    assert_eq!(files(&["files"]).directory.to_str(), Some("."));
    assert_eq!(files(&["files", "public"]).directory.to_str(), Some("public"));
    let file = [("stdserve.toml", "files = 'dist'\napp = 'shop'\nlisting = false")];
    let served = serve(&["files"], &[], &file);
    assert_eq!(target(&served), "dist");
    assert_eq!(target(&serve(&[], &[], &file)), "shop");
    assert_eq!(target(&serve(&["files"], &[("STDSERVE_FILES", "www")], &file)), "www");
    assert!(matches!(&served.groups[0].services[0].kind, ServiceKind::Files(files) if !files.listing));
}

#[test]
fn options_of_files() {
    let options = files(&[
        "files",
        "--index=a.html,b.html",
        "--no-listing",
        "--spa",
        "/index.html",
        "--header",
        "X-Frame-Options: DENY",
        "--header",
        "Link: </a>; rel=x, </b>; rel=y",
        "--cache-control",
        "*.css=public, max-age=3600",
        "--cors=https://A.example/,*",
        "--mime-type=.GLB=model/gltf-binary",
        "--auth",
        "ann:a:b",
        "--upload",
        "--upload-limit=5MB",
    ]);
    assert_eq!(options.index, ["a.html", "b.html"]);
    assert_eq!((options.listing, options.upload, options.upload_limit), (false, true, 5_000_000));
    assert_eq!(options.fallback.as_deref(), Some("index.html"));
    assert_eq!(options.headers, pairs(&[("X-Frame-Options", "DENY"), ("Link", "</a>; rel=x, </b>; rel=y")]));
    assert_eq!(options.cache_control, pairs(&[("*.css", "public, max-age=3600")]));
    assert_eq!(options.cors, ["https://a.example", "*"]);
    assert_eq!(options.types, pairs(&[("glb", "model/gltf-binary")]));
    assert_eq!(options.users, pairs(&[("ann", "a:b")]));
    let plain = files(&["files"]);
    assert!(plain.listing && plain.precompressed && !plain.hidden && !plain.compress && !plain.upload);
    assert_eq!((plain.index, plain.ranges), (vec!["index.html".to_owned(), "index.htm".to_owned()], 16));
}

#[test]
fn pairs_from_every_source() {
    let headers = |env: &[(&str, &str)], file: &str| match &serve(&["files"], env, &[("stdserve.toml", file)])
        .groups[0]
        .services[0]
        .kind
    {
        ServiceKind::Files(options) => options.headers.clone(),
        other => panic!("{other:?}"),
    };
    let two = pairs(&[("A", "1, 2"), ("B", "x: y")]);
    assert_eq!(headers(&[("STDSERVE_HEADER", "A: 1, 2\nB: x: y\n")], ""), two);
    assert_eq!(headers(&[], "header = ['A: 1, 2', 'B: x: y']"), two);
    assert_eq!(headers(&[], "[header]\nA = '1, 2'\nB = 'x: y'"), two);
    assert_eq!(headers(&[], "header = 'A: 1, 2'"), two[..1]);
    assert_eq!(
        error(&["files"], &[], &[("stdserve.toml", "[header]\n'A B' = 'x'")]),
        "error: stdserve.toml:1: header: {A B = x} has a name that no header field has"
    );
    assert_eq!(
        error(&["a"], &[], &[("stdserve.toml", "[threads]\na = '1'")]),
        "error: stdserve.toml:1: threads: {a = 1} is a table; this option takes one value"
    );
}

#[test]
fn passwords_come_from_a_file_and_are_told_to_nobody() {
    let auth = [("stdserve.toml", "auth-file = 'users'"), ("users", "# who\n\nann:secret\nbob:x:y\n")];
    let served = serve(&["files", "--auth", "eve:pw"], &[], &auth);
    let ServiceKind::Files(options) = &served.groups[0].services[0].kind else { panic!() };
    assert_eq!(options.users, pairs(&[("eve", "pw"), ("ann", "secret"), ("bob", "x:y")]));
    assert!(!format!("{served:?}").contains("secret"));
    let text = printed(&["files", "--auth", "eve:pw", "--print-config"], &[], &auth);
    assert!(text.contains("# auth: not shown") && !text.contains("pw"), "{text}");
    for (users, why) in [
        ("ann", "`users` has a line 1 that has no `:`; write USER:PASSWORD"),
        (":x", "`users` has a line 1 that names no user"),
        ("# nobody", "`users` names nobody, so that nobody could come in"),
    ] {
        let text = error(&["files"], &[], &[("stdserve.toml", "auth-file = 'users'"), ("users", users)]);
        assert!(text.starts_with(&format!("error: stdserve.toml:1: auth-file: {why}")), "{text}");
    }
    let text = error(&["files", "--auth-file", "none"], &[], &[]);
    assert_eq!(text, "error: --auth-file: `none` cannot be read: entity not found");
    let text = error(&["files", "--auth", "secret"], &[], &[]);
    assert_eq!(text, "error: --auth: is not of the form USER:PASSWORD");
}

#[test]
fn options_of_cgi() {
    let ServiceKind::Cgi(options) = kind(&[
        "cgi",
        "bin",
        "--interpreter",
        ".py=/usr/bin/python3 -I",
        "--cgi-timeout=none",
        "--cgi-processes=3",
        "--cgi-rlimit-memory=512MiB",
        "--cgi-rlimit-files=none",
        "--cgi-stderr=discard",
        "--cgi-env",
        "A=b=c",
        "--no-cgi-nph",
    ]) else {
        panic!()
    };
    assert_eq!(options.directory.to_str(), Some("bin"));
    assert_eq!(options.interpreters, pairs(&[("py", "/usr/bin/python3 -I")]));
    assert_eq!((options.timeout, options.processes, options.nph), (None, 3, false));
    assert_eq!(
        (options.limits.memory, options.limits.files, options.limits.core),
        (Some(512 << 20), None, Some(0))
    );
    assert_eq!(options.stderr, ScriptStderr::Discard);
    assert_eq!(options.environment, pairs(&[("A", "b=c")]));
    assert_eq!(options.head_timeout.map(|time| time.as_secs()), Some(60));
}

#[test]
fn options_of_rpc_and_handlers() {
    let ServiceKind::Rpc { object, options } = kind(&["rpc", "a:B()", "--rpc-path=*", "--gzip-minimum=none"])
    else {
        panic!()
    };
    assert_eq!(object.to_string(), "a:B()");
    assert_eq!((options.paths.len(), options.gzip_minimum, options.max_depth), (0, None, 200));
    let ServiceKind::Stream { handler, options } = kind(&["tcp", "a:H", "--handlers", "forks"]) else {
        panic!()
    };
    assert_eq!((handler.to_string().as_str(), options.model), ("a:H", HandlerModel::Forks));
    assert_eq!((options.max_children, options.request_timeout.map(|time| time.as_secs())), (40, Some(300)));
    let ServiceKind::Datagram { options, .. } = kind(&["udp", "a:H", "--max-packet-size=64KiB"]) else {
        panic!()
    };
    assert_eq!(options.max_packet_size, 65536);
}

#[test]
fn the_verb_says_what_a_plain_address_is_for() {
    let bind = |argv: &[&str]| serve(argv, &[], &[]).groups[0].binds[0].to_string();
    assert_eq!(bind(&["tcp", "a:H", "-b", ":7000"]), "tcp://0.0.0.0:7000");
    assert_eq!(bind(&["udp", "a:H", "-b", ":7000"]), "udp://0.0.0.0:7000");
    assert_eq!(bind(&["udp", "a:H", "-b", "udp://:7000"]), "udp://0.0.0.0:7000");
    assert_eq!(bind(&["udp", "a:H", "--port", "7"]), "udp://127.0.0.1:7");
    assert_eq!(bind(&["udp", "a:H", "--uds", "/x"]), "unixgram:/x");
    assert_eq!(bind(&["tcp", "a:H", "--uds", "/x"]), "unix:/x");
    assert_eq!(bind(&["udp", "a:H", "-b", "unixgram:@x"]), "unixgram:@x");
    let fd = serve(&["udp", "a:H", "-b", "fd://3"], &[], &[]).groups.remove(0).binds.remove(0);
    assert_eq!((fd.address, fd.transport), (Address::Fd(3), Some(Transport::Datagram)));
    for (argv, expected) in [
        (
            &["udp", "a:H", "-b", "tcp://:1"][..],
            "error: --bind: `tcp://0.0.0.0:1` is for connections; what is served takes datagrams\n  \
             Write udp://HOST:PORT or unixgram:PATH.",
        ),
        (
            &["a", "-b", "unixgram:x"],
            "error: --bind: `unixgram:x` is for datagrams; what is served takes connections\n  \
             Write tcp://HOST:PORT or unix:PATH.",
        ),
    ] {
        assert_eq!(error(argv, &[], &[]), expected);
    }
}

#[test]
fn folders_beside_an_application() {
    let served = serve(
        &[
            "shop",
            "--static",
            "/static/=public",
            "--static",
            "/media=/srv/media",
            "--sendfile-root=/srv/a",
            "--accel-root",
            "/protected=/srv/b",
            "--cache-control",
            "**=no-cache",
        ],
        &[],
        &[("stdserve.toml", "upload = true\nlisting = true\nauth = 'a:b'")],
    );
    let services = &served.groups[0].services;
    let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["app", "/static", "/media"]);
    assert_eq!(services[1].mounts[0].prefix, "/static");
    let ServiceKind::Files(folder) = &services[1].kind else { panic!() };
    assert_eq!((folder.directory.to_str(), folder.ranges), (Some("public"), 16));
    assert_eq!(folder.cache_control, pairs(&[("**", "no-cache")]));
    // What the file says for `stdserve files` is not meant for these.
    assert!(!folder.upload && !folder.listing && folder.users.is_empty());
    let ServiceKind::Wsgi { options, .. } = &services[0].kind else { panic!() };
    assert_eq!(options.accel_roots, pairs(&[("/protected", "/srv/b")]));
    assert_eq!(options.sendfile_roots.len(), 1);
    let text = error(&["shop", "--static", "/=public"], &[], &[]);
    assert_eq!(text, "error: --static: `/=public` would hide the whole application; write /PATH=DIR");
}

#[test]
fn programs_are_run_as_they_are() {
    let Ok(Command::Run(program)) = run(&["run", "-m", "http.server", "--help"], &[], &[]) else { panic!() };
    assert_eq!(program.program, Program::Module("http.server".into()));
    assert_eq!(program.arguments, ["--help"]);
    // Nothing of ours is looked at.
    assert!(run(&["run", "x.py"], &[("STDSERVE_THREADS", "many")], &[("stdserve.toml", "=")]).is_ok());
    assert!(printed(&["run", "--help"], &[], &[]).starts_with("Run a program with"));
    let text = error(&["--threads", "3", "run", "x.py"], &[], &[]);
    assert!(text.starts_with("error: `run` has to be the first word"), "{text}");
}

#[test]
fn errors_say_what_the_verb_takes() {
    for (argv, expected) in [
        (
            &["shop", "--listing"][..],
            "error: --listing: is no option of stdserve serve\n  It is one of stdserve files.",
        ),
        (
            &["udp", "a:H", "--keep-alive", "3"],
            "error: --keep-alive: is no option of stdserve udp\n  It is one of stdserve serve, files, cgi, rpc, up.",
        ),
        (
            &["up", "--spa", "x"],
            "error: --spa: is no option of stdserve up\n  Give it to a service in the file.",
        ),
        (&["files", "--lising"], "error: there is no option --lising\n  Did you mean --listing?"),
        (&["cgi", "x", "--lising"], "error: there is no option --lising\n  See stdserve cgi --help."),
        (
            &["cgi"],
            "error: no folder is named\n  Write stdserve cgi DIR, or `cgi` in stdserve.toml. More: stdserve cgi --help",
        ),
        (
            &["tcp"],
            "error: no handler class is named\n  \
             Write stdserve tcp MODULE:HANDLER, or `tcp` in stdserve.toml. More: stdserve tcp --help",
        ),
        (&["rpc", "stock"], "error: MODULE:OBJECT: `stock` names no object; write stock:NAME"),
        (
            &["files", "a", "b"],
            "error: `b` stands after the folder\n  One folder is served at a time; stdserve up serves several.",
        ),
        (
            &["files", "--spa", "../x"],
            "error: --spa: `../x` is not the path of a file beneath the folder, such as 404.html",
        ),
        (&["files", "--header", "x"], "error: --header: `x` has no `:`; write 'NAME: VALUE'"),
        (
            &["files", "--header", "A: b", "--header", "Content-Length: 3"],
            "error: --header: [A: b, Content-Length: 3] has the entry `Content-Length: 3`, which is a field that \
             the server itself writes",
        ),
        (&["cgi", "x", "--interpreter", ".py"], "error: --interpreter: `.py` has no `=`; write .EXT=PROGRAM"),
        (
            &["files", "--help=limit"],
            "error: --help: `limit` is not one of files, answers, listen, workers, limits, timeouts, http, logs, operations, \
             process\n  Did you mean --help=limits?",
        ),
    ] {
        assert_eq!(error(argv, &[], &[]), expected);
    }
}

#[test]
fn print_config_shows_what_concerns_the_verb_and_can_be_used_as_a_file() {
    let args = [
        "files",
        "www",
        "--header",
        "A: b",
        "--index",
        "x.html",
        "--spa=index.html",
        "--compress",
        "--file-cache=0",
        "--print-config",
    ];
    let text = printed(&args, &[], &[]);
    assert!(text.contains("files = \"www\"") && text.contains("header = [\"A: b\"]"), "{text}");
    assert!(!text.contains("factory") && !text.contains("cgi-timeout"), "{text}");
    let again = serve(&["files"], &[], &[("stdserve.toml", &text)]);
    let direct = serve(&args[..args.len() - 1], &[], &[]);
    assert_eq!(again.groups[0].services, direct.groups[0].services);
    let cgi = printed(&["cgi", "x", "--print-config", "--cgi-rlimit-cpu=7"], &[], &[]);
    let options = serve(&["cgi"], &[], &[("stdserve.toml", &cgi)]).groups.remove(0).services;
    assert_eq!(options, serve(&["cgi", "x", "--cgi-rlimit-cpu=7"], &[], &[]).groups.remove(0).services);
}

#[test]
fn help_and_verbs_that_were_misspelt() {
    for verb in Verb::ALL {
        let text = printed(&["help", verb.word()], &[], &[]);
        assert_eq!(text, printed(&[verb.word(), "--help"], &[], &[]));
        assert!(text.contains(verb.usage()[0]), "{text}");
    }
    assert_eq!(printed(&["help"], &[], &[]), printed(&["--help"], &[], &[]));
    assert_eq!(
        error(&["help", "fils"], &[], &[]),
        "error: there is no command `fils`\n  Did you mean files?"
    );
    assert_eq!(
        error(&["fils", "public"], &[], &[]),
        "error: `public` stands after the application\n  Did you mean stdserve files?"
    );
    assert_eq!(target(&serve(&["fils"], &[], &[])), "fils");
}

proptest! {
    /// Every option of the table, with any value, behind any verb.
    #[test]
    fn nothing_panics(
        verb in select(Verb::ALL.map(Verb::word).to_vec()),
        name in select(stdserve_config::options::all().map(|opt| opt.name).collect::<Vec<_>>()),
        value in "(-|/|\\.|=|:|\\*|none|[0-9]{1,3}|a:b|A: b|/a=b|\\PC){0,4}",
        word in "(a:b|\\PC{0,4})?",
        toml in any::<bool>(),
    ) {
        let option = format!("--{name}={value}");
        let file = format!("{name} = {}\n", toml::Value::String(value));
        let (argv, file) = if toml { (vec![verb, &word], file) } else { (vec![verb, &word, &option], String::new()) };
        if let Err(error) = run(&argv, &[], &[("stdserve.toml", &file)]) {
            prop_assert!(error.to_string().starts_with("error: "));
        }
    }
}

#[test]
fn every_verb_that_serves_has_a_service() {
    for (argv, verb, python) in [
        (&["a"][..], Verb::Serve, true),
        (&["files"], Verb::Files, false),
        (&["cgi", "a"], Verb::Cgi, false),
        (&["rpc", "a:b"], Verb::Rpc, true),
        (&["tcp", "a:b"], Verb::Tcp, true),
        (&["udp", "a:b"], Verb::Udp, true),
    ] {
        let served = serve(argv, &[], &[]);
        let group = &served.groups[0];
        assert_eq!((served.verb, group.default_binds), (verb, true));
        assert_eq!(group.services[0].kind.needs_python(), python);
        assert_eq!(group.services[0].kind.speaks_http(), !matches!(verb, Verb::Tcp | Verb::Udp));
    }
}

fn control(argv: &[&str], files: &[(&str, &str)]) -> stdserve_config::Control {
    match run(argv, &[], files) {
        Ok(Command::Control(control)) => control,
        other => panic!("{argv:?}: {other:?}"),
    }
}

#[test]
fn a_server_that_runs_is_found_by_its_pid_file() {
    use stdserve_config::Order;
    let file = [(
        "stdserve.toml",
        "pid = 'run/shop.pid'\nchdir = '/srv/shop'\nworkers = 4\n[services.a]\nfiles = '.'",
    )];
    for (word, order) in [("stop", Order::Stop), ("reload", Order::Reload), ("status", Order::Status)] {
        let found = control(&[word], &file);
        assert_eq!((found.order, found.pid.to_str()), (order, Some("run/shop.pid")));
        assert_eq!(found.chdir.as_deref().and_then(|path| path.to_str()), Some("/srv/shop"));
        assert_eq!(control(&["--pid=x", word], &file).pid.to_str(), Some("x"));
        let text = error(&[word], &[], &[]);
        assert!(text.starts_with("error: no pid file is named") && text.contains("--pid FILE"), "{text}");
        let text = error(&[word, "shop:app", "--pid=x", "--workers=2"], &[], &[]);
        assert!(text.contains("`shop:app` stands after") && text.contains("--workers"), "{text}");
    }
}

#[test]
fn start_and_restart_stand_before_what_is_served() {
    let start = serve(&["start", "shop:app", "-w2"], &[], &[]);
    assert!(start.configuration.settings.process.daemon && !start.restart);
    assert_eq!((start.verb, target(&start).as_str()), (Verb::Serve, "shop:app"));
    let restart = serve(&["restart", "files", "public"], &[], &[]);
    assert!(restart.configuration.settings.process.daemon && restart.restart);
    assert_eq!((restart.verb, target(&restart).as_str()), (Verb::Files, "public"));
    assert!(!serve(&["shop:app"], &[], &[]).configuration.settings.process.daemon);
    assert!(error(&["start", "start"], &[], &[]).contains("once"));
    assert_eq!(printed(&["start", "files", "--help"], &[], &[]), printed(&["files", "--help"], &[], &[]));
    assert!(printed(&["start", "--help"], &[], &[]).contains("stdserve start [COMMAND]"));
    // As the first argument of a verb it is a name like any other.
    assert_eq!(target(&serve(&["files", "start"], &[], &[])), "start");
}

#[test]
fn the_process_and_its_bounds() {
    use std::time::Duration;
    let argv =
        ["a", "-D", "-p/run/a.pid", "-uwww-data", "-g33", "-m027", "--rlimit-as=1GiB", "--rlimit-cpu=90m"];
    let process = serve(&argv, &[], &[]).configuration.settings.process;
    assert!(process.daemon);
    assert_eq!((process.user.as_deref(), process.group.as_deref()), (Some("www-data"), Some("33")));
    assert_eq!((process.umask, process.rlimits.address_space), (Some(0o027), Some(1 << 30)));
    assert_eq!((process.rlimits.cpu, process.rlimits.files), (Some(Duration::from_secs(5400)), None));
    for (option, why) in [("--umask=888", "octal"), ("--user=a b", "neither"), ("--rlimit-nofile=3", "64")] {
        let text = error(&["a", option], &[], &[]);
        assert!(text.contains(why), "{text}");
    }
}
