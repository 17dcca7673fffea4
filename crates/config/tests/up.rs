//! `stdserve up`: the services of a file, and how they come together.

mod world;

use std::fmt::Write;

use proptest::prelude::*;
use stdserve_config::{MountSpec, Serve, ServiceKind};
use world::{error, printed, run, serve};

fn up(file: &str) -> Serve {
    serve(&["up"], &[], &[("stdserve.toml", file)])
}

fn refused(file: &str) -> String {
    error(&["up"], &[], &[("stdserve.toml", file)])
}

/// Names and listeners of the groups.
fn groups(serve: &Serve) -> Vec<(String, String)> {
    let binds =
        |binds: &[stdserve_config::Bind]| binds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    serve.groups.iter().map(|group| (group.name.clone(), binds(&group.binds))).collect()
}

fn mount(host: Option<&str>, prefix: &str) -> MountSpec {
    MountSpec { host: host.map(str::to_owned), prefix: prefix.to_owned() }
}

const SHOP: &str = r#"
workers = 2
threads = 4
log-level = "warning"

[services.shop]
app = "shop:app"
threads = 32

[services.static]
files = "public"
mount = "/static/"
cache-control = { "*.css" = "max-age=3600" }

[services.admin]
app = "admin:make()"
host = ["Admin.example", "admin.local"]
mount = ["/a", "/b"]
bind = "127.0.0.1:8000"

[services.dns]
udp = "dns:Handler"
bind = "127.0.0.1:8000"
workers = 1

[services.echo]
tcp = "echo:Handler"
bind = ["127.0.0.1:7000", "unix:/run/echo"]
handlers = "forks"

[services.stock]
rpc = "stock:Stock()"
bind = "127.0.0.1:9000"

[services.git]
cgi = "/usr/lib/git-core"
bind = "127.0.0.1:9000"
mount = "/git"
"#;

#[test]
fn services_that_share_a_listener_share_a_group() {
    let serve = up(SHOP);
    let expected = [
        ("shop+static+admin", "tcp://127.0.0.1:8000"),
        ("dns", "udp://127.0.0.1:8000"),
        ("echo", "tcp://127.0.0.1:7000 unix:/run/echo"),
        ("stock+git", "tcp://127.0.0.1:9000"),
    ];
    let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(groups(&serve), expected);
    let settings = |index: usize| &serve.groups[index].settings;
    assert_eq!((settings(0).workers.count, settings(0).workers.threads), (Some(2), 32));
    assert_eq!((settings(1).workers.count, settings(1).workers.threads), (Some(1), 4));
    assert_eq!(serve.groups[0].sources.of("threads").to_string(), "stdserve.toml:8: services.shop.threads");
    assert_eq!(serve.configuration.settings.logging.level, stdserve_config::LogLevel::Warning);
    let services = &serve.groups[0].services;
    assert_eq!(services[0].mounts, []);
    assert_eq!(services[1].mounts, [mount(None, "/static")]);
    let hosts = ["admin.example", "admin.local"];
    let all = hosts.map(|host| [mount(Some(host), "/a"), mount(Some(host), "/b")]).concat();
    assert_eq!(services[2].mounts, all);
    assert_eq!(services[2].kind.target(), "admin:make()");
    let ServiceKind::Files(files) = &services[1].kind else { panic!() };
    assert_eq!(files.cache_control, [("*.css".to_owned(), "max-age=3600".to_owned())]);
}

#[test]
fn what_stands_in_a_table_counts_before_all_else() {
    let file = [(
        "stdserve.toml",
        "threads = 1\n[services.a]\napp = 'a'\nthreads = 2\n[services.b]\napp = 'b'\nbind = ':1'",
    )];
    let env =
        [("STDSERVE_THREADS", "3"), ("PORT", "5000"), ("STDSERVE_LISTING", "no"), ("STDSERVE_APP", "x")];
    let serve = serve(&["up", "--keep-alive", "9"], &env, &file);
    let threads: Vec<_> = serve.groups.iter().map(|group| group.settings.workers.threads).collect();
    assert_eq!(threads, [2, 3]);
    let binds: Vec<_> = groups(&serve).into_iter().map(|(_, bind)| bind).collect();
    assert_eq!(binds, ["tcp://0.0.0.0:5000", "tcp://0.0.0.0:1"]);
    assert!(serve.groups.iter().all(|group| group.settings.timeouts.keep_alive.as_secs() == 9));
    assert!(!serve.groups[0].default_binds && !serve.groups[1].default_binds);
}

#[test]
fn options_of_services_may_stand_at_the_top() {
    let serve = up("listing = false\nhidden = true\nstatic = '/s=public'\n\
                    [services.a]\nfiles = 'a'\n[services.b]\nfiles = 'b'\nmount = '/b'\nhidden = false\n\
                    [services.c]\napp = 'c'\nmount = '/c'");
    let services = &serve.groups[0].services;
    let hidden = services.iter().filter_map(|service| match &service.kind {
        ServiceKind::Files(files) => Some((service.name.as_str(), files.listing, files.hidden)),
        _ => None,
    });
    // The last is the folder beside the application, beneath its mount.
    assert_eq!(hidden.collect::<Vec<_>>(), [("a", false, true), ("b", false, false), ("/s", false, false)]);
    assert_eq!(services[3].mounts, [mount(None, "/c/s")]);
    assert!(serve.groups[0].default_binds);
}

#[test]
fn ports_that_the_kernel_chooses_are_told_apart_by_name() {
    let serve = up(
        "[services.a]\napp = 'a'\nbind = 'x=127.0.0.1:0'\n[services.b]\napp = 'b'\nbind = 'y=127.0.0.1:0'",
    );
    assert_eq!(serve.groups.len(), 2);
    let text = refused(
        "[services.a]\napp = 'a'\nbind = '127.0.0.1:0'\n[services.b]\napp = 'b'\nbind = '127.0.0.1:0'",
    );
    assert!(text.contains("`b` and `a` both answer /"), "{text}");
}

#[test]
fn some_of_them() {
    let only = |argv: &[&str]| {
        let serve = serve(argv, &[], &[("stdserve.toml", SHOP)]);
        groups(&serve).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(only(&["up", "--only", "static,echo"]), ["static", "echo"]);
    assert_eq!(
        error(&["up", "--only", "sop"], &[], &[("stdserve.toml", SHOP)]),
        "error: --only: `sop` is not one of shop, static, admin, dns, echo, stock, git\n  Did you mean shop?"
    );
}

#[test]
fn a_pyproject_will_do() {
    let file = "[tool.stdserve.services.a]\napp = 'a'\n";
    let serve = serve(&["up"], &[], &[("pyproject.toml", file)]);
    assert_eq!(serve.groups[0].name, "a");
}

#[test]
fn what_cannot_stand_together() {
    let two =
        |first: &str, second: &str| refused(&format!("[services.a]\n{first}\n[services.b]\n{second}\n"));
    for (text, expected) in [
        (
            two("app = 'a'", "files = 'b'"),
            "error: stdserve.toml:3: services.b: `b` and `a` both answer /\n  Give one of them a mount (mount = \
             \"/path\"), a host (host = \"example.org\") or a bind of its own.",
        ),
        (
            two("app = 'a'\nmount = '/x'\nhost = 'h'", "files = 'b'\nmount = ['/y', '/x/']\nhost = 'H'"),
            "error: stdserve.toml:7: services.b.mount: `b` and `a` both answer /x on h\n  Give one of them a mount \
             (mount = \"/path\"), a host (host = \"example.org\") or a bind of its own.",
        ),
        (
            two("app = 'a'\nstatic = '/s=x'", "files = 'b'\nmount = '/s'"),
            "error: stdserve.toml:6: services.b.mount: `b` and `a` both answer /s\n  Give one of them a mount (mount = \
             \"/path\"), a host (host = \"example.org\") or a bind of its own.",
        ),
        (
            two("app = 'a'", "tcp = 'b:H'"),
            "error: stdserve.toml:3: services.b: `b` shares tcp://127.0.0.1:8000 with `a`, but a tcp service needs a \
             listener for itself\n  Give it one: bind = \"tcp://127.0.0.1:PORT\".",
        ),
        (
            two("udp = 'a:H'\nbind = ':1'", "udp = 'b:H'\nbind = 'udp://:1'"),
            "error: stdserve.toml:6: services.b.bind: `b` shares udp://0.0.0.0:1 with `a`, but a udp service needs a \
             listener for itself\n  Give it one: bind = \"udp://127.0.0.1:PORT\".",
        ),
        (
            two("app = 'a'\nbind = [':1', ':2']", "app = 'b'\nbind = ':2'"),
            "error: stdserve.toml:6: services.b.bind: `b` and `a` share some of their listeners, but not all: \
             tcp://0.0.0.0:1, tcp://0.0.0.0:2\n  Services that share a listener share their workers: give both the \
             same addresses, or none in common.",
        ),
        (
            two("app = 'a'\nbind = 'x=:1'", "app = 'b'\nbind = ':1'\nmount = '/b'"),
            "error: stdserve.toml:6: services.b.bind: `tcp://0.0.0.0:1` is `x=tcp://0.0.0.0:1` in service `a`\n  \
             Write it the same way in both.",
        ),
        (
            two("app = 'a'\nthreads = 4", "app = 'b'\nmount = '/b'\nthreads = 8"),
            "error: stdserve.toml:7: services.b.threads: differs from stdserve.toml:3: services.a.threads, with which \
             it shares its workers\n  Services on one listener share their workers: say it once, or give them \
             listeners of their own.",
        ),
    ] {
        assert_eq!(text, expected);
    }
    // The same value twice is no quarrel.
    up("[services.a]\napp = 'a'\nkeep-alive = 60\n[services.b]\napp = 'b'\nmount = '/b'\nkeep-alive = '1m'");
    // Neither are hosts of their own, nor TCP and UDP on one port.
    up("[services.a]\napp = 'a'\nhost = 'a'\n[services.b]\napp = 'b'\nhost = 'b'\n[services.c]\nudp = 'c:H'");
}

#[test]
fn what_a_table_may_hold() {
    let one = |table: &str| refused(&format!("[services.a]\n{table}"));
    for (text, expected) in [
        (
            one("threads = 3"),
            "error: stdserve.toml:1: services.a: does not say what it serves\n  Give it one of app, files, cgi, rpc, \
             tcp, udp.",
        ),
        (
            one("filse = 'a'"),
            "error: stdserve.toml:1: services.a: does not say what it serves\n  Did you mean `files` where `filse` \
             stands?",
        ),
        (
            one("app = 'a'\nfiles = 'b'"),
            "error: stdserve.toml:3: services.a.files: stands beside `app`\n  A service serves one thing; give the \
             other a table of its own.",
        ),
        (
            one("app = 'a'\nlog-level = 'debug'"),
            "error: stdserve.toml:3: services.a.log-level: is an option of the server as a whole\n  Write it at the \
             top of the file, before the first table.",
        ),
        (
            one("cgi = 'a'\nlisting = true"),
            "error: stdserve.toml:3: services.a.listing: is no option of a service with cgi\n  Services with files \
             have it.",
        ),
        (
            one("files = 'a'\nlistin = true"),
            "error: stdserve.toml:3: services.a.listin: there is no such option\n  Did you mean `listing`?",
        ),
        (
            one("files = 'a'\nmont = '/x'"),
            "error: stdserve.toml:3: services.a.mont: there is no such option\n  Did you mean `mount`?",
        ),
        (
            one("app = 'a'\nport = 1"),
            "error: stdserve.toml:3: services.a.port: is not for a service's table\n  Write bind = \"HOST:PORT\".",
        ),
        (
            one("app = 'a'\nmount = 'x'"),
            "error: stdserve.toml:3: services.a.mount: `x` does not start with `/`; write /x",
        ),
        (
            one("app = 'a'\nhost = 'example.org:80'"),
            "error: stdserve.toml:3: services.a.host: `example.org:80` is not the name of a host, such as example.org or \
             *.example.org (without a port)",
        ),
        (
            one("app = 'a'\nhost = 3"),
            "error: stdserve.toml:3: services.a.host: `3` is neither a text nor a list of texts",
        ),
        (
            one("tcp = 'a:H'\nmount = '/x'"),
            "error: stdserve.toml:3: services.a.mount: a tcp service has no paths and no hosts\n  It has its \
             listeners alone.",
        ),
        (
            one("udp = 'a:H'\nbind = 'tcp://:1'"),
            "error: stdserve.toml:3: services.a.bind: `tcp://0.0.0.0:1` is for connections; what is served takes \
             datagrams\n  Write udp://HOST:PORT or unixgram:PATH.",
        ),
        (
            one("app = 'a'\nthreads = 'many'"),
            "error: stdserve.toml:3: services.a.threads: `many` is not a whole number between 1 and 10000",
        ),
        (
            refused("[services.'a b']\napp = 'a'"),
            "error: stdserve.toml:1: services.a b: is not a name for a service\n  Letters, digits, `-`, `_` and `.` \
             make one.",
        ),
        (
            refused("[services]\na = 3"),
            "error: stdserve.toml:2: services.a: is not a table\n  Each service has a table: [services.NAME].",
        ),
        (
            refused("services = 3"),
            "error: stdserve.toml:1: services: is not a table\n  Each service has a table: [services.NAME].",
        ),
        (
            refused("app = 'x'\n[services.a]\napp = 'a'"),
            "error: stdserve.toml:1: app: stands outside of the services' tables\n  To have it served by stdserve up, \
             put it into one: [services.app].",
        ),
        (
            refused("threads = 3"),
            "error: stdserve.toml has no services\n  Give each a table: [services.shop], with app = \"shop:app\" and \
             bind = \"127.0.0.1:8000\".",
        ),
    ] {
        assert_eq!(text, expected);
    }
    let text = error(&["up"], &[], &[]);
    assert!(text.starts_with("error: there is no stdserve.toml"), "{text}");
    let text = error(&["up", "shop"], &[], &[("stdserve.toml", SHOP)]);
    assert!(text.starts_with("error: `shop` stands after up\n  "), "{text}");
}

#[test]
fn all_errors_are_told_at_once() {
    let text = refused(
        "[services.a]\napp = 'a'\nx = 1\nthreads = 0\n[services.b]\n[services.c]\ncgi = 'x'\nmount = 'y'",
    );
    assert_eq!(text.matches("error: ").count(), 4, "{text}");
    let text = refused("threads = 0\n[services.a]\napp = 'a'\nthreads = 'x'\n[services.b]\napp = 'b'");
    assert_eq!(text.matches("error: ").count(), 2, "{text}");
}

#[test]
fn the_other_verbs_leave_the_services_alone() {
    let served = serve(&["files"], &[], &[("stdserve.toml", "[services.a]\nx = 1")]);
    assert_eq!(served.groups.len(), 1);
    assert_eq!(
        error(&[], &[], &[("stdserve.toml", "[services.a]\napp = 'a'")]),
        "error: no application is named\n  The file has services (a): stdserve up runs them."
    );
}

#[test]
fn print_config_can_be_used_as_a_file() {
    let text = printed(&["up", "--print-config"], &[], &[("stdserve.toml", SHOP)]);
    assert!(text.contains("[services.static]  # stdserve.toml:10"), "{text}");
    let (again, direct) = (up(&text), up(SHOP));
    assert_eq!(groups(&again), groups(&direct));
    for (left, right) in again.groups.iter().zip(&direct.groups) {
        assert_eq!((&left.services, &left.settings), (&right.services, &right.settings));
    }
}

proptest! {
    /// Whatever stands in the tables, the answer is a command or an error that says something.
    #[test]
    fn nothing_panics(
        tables in proptest::collection::vec(
            (
                "[a-c]",
                proptest::collection::vec(
                    (
                        "(app|files|cgi|rpc|tcp|udp|mount|host|bind|threads|static|header|listing|[a-z-]{1,8})",
                        "(\"(a:b|/x|[0-9:]{1,6}|\\PC{0,6})\"|[0-9]{1,3}|\\[\"/a\", \":1\"\\]|\\{ a = \"b\" \\}|true)",
                    ),
                    0..5,
                ),
            ),
            0..4,
        ),
        top in "(threads = 3\n|bind = ':1'\n|static = '/a=b'\n|app = 'x'\n|\\PC{0,6}\n){0,2}",
        only in "(--only=[a-d])?",
    ) {
        let mut file = top;
        for (name, entries) in tables {
            let _ = writeln!(file, "[services.{name}]");
            for (key, value) in entries {
                let _ = writeln!(file, "{key} = {value}");
            }
        }
        for print in ["--print-config", "--check-config"] {
            let argv: Vec<&str> = ["up", print, only.as_str()].into_iter().filter(|arg| !arg.is_empty()).collect();
            if let Err(error) = run(&argv, &[], &[("stdserve.toml", &file)]) {
                prop_assert!(error.to_string().starts_with("error: "));
            }
        }
    }
}
