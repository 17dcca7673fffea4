//! Where to listen.

use super::STREAMS;
use crate::field::Field;
use crate::option::{Group, Opt};

const LISTEN: Opt = Opt { group: Group::Listen, reload: false, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[BIND, HOST, PORT, UDS, UNIX_MODE, BACKLOG];

const BIND: Opt = Opt {
    name: "bind",
    short: Some('b'),
    metavar: "ADDRESS",
    default: Some("127.0.0.1:8000"),
    help: "HOST:PORT, unix:PATH or fd://N; repeatable",
    doc: "Where to listen; several addresses may be given. `:8000` listens on every IPv4 address, `[::]:8000` on \
        every IPv6 one (give both to have both), port 0 on one that the kernel chooses. Without an address the \
        sockets count that systemd hands over (`LISTEN_FDS`, sd_listen_fds(3)). `unix:@NAME` is a socket in Linux's \
        abstract name space, `fd://N` an inherited descriptor that listens already, `fd://NAME` one that systemd \
        hands over by that name. `tcp://HOST:PORT`, `udp://HOST:PORT` and `unixgram:PATH` (Unix datagrams) say what \
        is listened for; without such a word the verb does. A listener may be named: `internal=127.0.0.1:9000`.",
    field: Field::Binds(|s| &mut s.listen.bind),
    ..LISTEN
};

const HOST: Opt = Opt {
    name: "host",
    metavar: "HOST",
    default: Some(""),
    unset: "127.0.0.1",
    help: "Host, in place of --bind",
    doc: "A short form of `--bind`, and not to be given beside it.",
    field: Field::Text(|s| &mut s.listen.short.host, host),
    ..LISTEN
};

const PORT: Opt = Opt {
    name: "port",
    variables: &["PORT"],
    metavar: "PORT",
    unset: "8000",
    help: "Port, in place of --bind",
    doc: "A short form of `--bind`, and not to be given beside it. Where a platform sets `PORT` and no host is \
        given, the server listens on every IPv4 address (`0.0.0.0`), as such platforms expect; `STDSERVE_BIND` \
        and a `--bind` on the command line count more.",
    field: Field::MaybeCount(|s| &mut s.listen.short.port, "", 0, 65_535),
    ..LISTEN
};

const UDS: Opt = Opt {
    name: "uds",
    metavar: "PATH",
    unset: "none",
    help: "Unix socket, in place of --bind",
    doc: "A short form of `--bind`, and not to be given beside it.",
    field: Field::MaybePath(|s| &mut s.listen.short.uds),
    ..LISTEN
};

const UNIX_MODE: Opt = Opt {
    name: "unix-mode",
    aliases: &["uds-permissions"],
    metavar: "MODE",
    default: Some("0666"),
    help: "Mode of Unix sockets, in octal digits",
    doc: "Who may connect to a Unix socket: those who may write to it. The process's umask does not matter.",
    field: Field::Mode(|s| &mut s.listen.unix_mode),
    ..LISTEN
};

const BACKLOG: Opt = Opt {
    name: "backlog",
    verbs: STREAMS,
    metavar: "N",
    default: Some("2048"),
    help: "Connections waiting to be accepted",
    doc: "For each listener; the kernel cuts it to `net.core.somaxconn`.",
    field: Field::Number(|s| &mut s.listen.backlog),
    ..LISTEN
};

fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let fine = bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        || bare.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    if fine { Ok(bare.to_owned()) } else { Err("is neither an address nor a host's name".into()) }
}
