//! How HTTP is spoken, and what is believed of a proxy in front.

use crate::field::Field;
use crate::option::{Group, Opt};

const HTTP: Opt = Opt { group: Group::Http, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[FORWARDED, ROOT_PATH, HALF_CLOSE, SERVER_HEADER];

const FORWARDED: Opt = Opt {
    name: "forwarded-allow-ips",
    variables: &["FORWARDED_ALLOW_IPS"],
    metavar: "LIST",
    default: Some("127.0.0.1,::1,unix"),
    help: "Whose forwarded headers count: addresses, networks, unix, *",
    doc: "From these peers `X-Forwarded-For`, `-Proto`, `-Host`, `-Prefix` and `Forwarded` (RFC 7239) are \
        believed; from others they are removed. The client is the rightmost address in the chain that is not in \
        this list. Where `X-Forwarded-` fields are there, `Forwarded` does not count. `unix` stands for peers on \
        Unix sockets, `*` for everybody: the client is then the leftmost address, which anyone can forge.",
    field: Field::Peers(|s| &mut s.proxy.trusted),
    ..HTTP
};

const ROOT_PATH: Opt = Opt {
    name: "root-path",
    aliases: &["url-path-prefix"],
    metavar: "PATH",
    default: Some(""),
    unset: "none",
    help: "Path that the application lies under (SCRIPT_NAME)",
    doc: "Where the request's path starts with it, it is taken off `PATH_INFO`.",
    field: Field::Text(|s| &mut s.wsgi.root_path, root_path),
    ..HTTP
};

const HALF_CLOSE: Opt = Opt {
    name: "half-close",
    default: Some("true"),
    help: "Do not run requests of half-closed clients",
    doc: "Many simple clients close their sending half after the request and read on: they are served. \
        `--no-half-close` treats them as gone.",
    field: Field::Switch(|s| &mut s.http.half_close),
    ..HTTP
};

const SERVER_HEADER: Opt = Opt {
    name: "server-header",
    default: Some("true"),
    help: "Do not send `Server: stdserve`",
    doc: "Responses carry `Server: stdserve` where the application sends no such field.",
    field: Field::Switch(|s| &mut s.http.server_header),
    ..HTTP
};

/// PEP 3333: `SCRIPT_NAME` may be empty; it does not end with a slash.
fn root_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    if !path.is_empty() && !path.starts_with('/') {
        return Err(format!("does not start with `/`; write /{path}"));
    }
    if path.chars().any(|c| c.is_control() || matches!(c, '?' | '#')) {
        return Err("has a character that no path has".into());
    }
    Ok(path.to_owned())
}
