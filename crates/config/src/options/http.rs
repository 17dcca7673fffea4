//! How HTTP is spoken, and what is believed of a proxy in front.

use super::HTTP;
use super::checks::field_name;
use crate::field::Field;
use crate::option::{Group, Opt};

const HTTP_GROUP: Opt = Opt { group: Group::Http, verbs: HTTP, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[FORWARDED, HALF_CLOSE, REQUEST_ID_HEADER, SERVER_HEADER];

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
    ..HTTP_GROUP
};

const HALF_CLOSE: Opt = Opt {
    name: "half-close",
    default: Some("true"),
    help: "Do not run requests of half-closed clients",
    doc: "Many simple clients close their sending half after the request and read on: they are served. \
        `--no-half-close` treats them as gone.",
    field: Field::Switch(|s| &mut s.http.half_close),
    ..HTTP_GROUP
};

const REQUEST_ID_HEADER: Opt = Opt {
    name: "request-id-header",
    metavar: "NAME",
    unset: "none",
    help: "Tell each request's id in this response header",
    doc: "Such as X-Request-Id; unless the application sets that header. The id is what a peer of `--forwarded-allow-ips` says in \
        X-Request-Id, else one is made. It is `stdserve.request_id` in the environ, and stands in the logs. See docs/logs.md.",
    field: Field::MaybeText(|s| &mut s.http.request_id_header, field_name),
    ..HTTP_GROUP
};

const SERVER_HEADER: Opt = Opt {
    name: "server-header",
    default: Some("true"),
    help: "Do not send `Server: stdserve`",
    doc: "Responses carry `Server: stdserve` where the application sends no such field.",
    field: Field::Switch(|s| &mut s.http.server_header),
    ..HTTP_GROUP
};
