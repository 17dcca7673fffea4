//! One JSON object a line, with the attribute names of OpenTelemetry's conventions for HTTP.

use std::io::Write;

use super::render::{basic_user, number};
use super::{Entry, escape};

/// Appends the object. What is not known is left out. Writing to a `Vec` does not fail.
pub(super) fn render(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    entry.time.rfc3339(out);
    out.push(b'"');
    if let Some(address) = entry.remote {
        key("client.address", out);
        drop(write!(out, "\"{address}\""));
    }
    text("http.request.method", entry.method, out);
    text("url.scheme", entry.scheme.as_bytes(), out);
    text("url.path", entry.path, out);
    text("url.query", entry.query, out);
    text("network.protocol.version", entry.protocol.trim_start_matches("HTTP/").as_bytes(), out);
    if entry.status != 0 {
        key("http.response.status_code", out);
        number(entry.status.into(), out);
    }
    if entry.aborted {
        text("error.type", b"aborted", out);
    }
    key("http.response.body.size", out);
    number(entry.sent, out);
    key("http.server.request.duration", out);
    drop(write!(out, "{}.{:06}", entry.duration.as_secs(), entry.duration.subsec_micros()));
    text("user_agent.original", (entry.request)("user-agent").unwrap_or_default(), out);
    text("http.request.header.referer", (entry.request)("referer").unwrap_or_default(), out);
    user((entry.request)("authorization"), out);
    key("process.pid", out);
    number(entry.pid.into(), out);
    key("stdserve.request_id", out);
    out.push(b'"');
    (entry.id)(out);
    out.extend_from_slice(b"\"}");
}

fn key(name: &str, out: &mut Vec<u8>) {
    drop(write!(out, ",\"{name}\":"));
}

fn text(name: &str, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        key(name, out);
        out.push(b'"');
        escape::json(value, out);
        out.push(b'"');
    }
}

fn user(authorization: Option<&[u8]>, out: &mut Vec<u8>) {
    let start = out.len();
    key("user.name", out);
    out.push(b'"');
    let from = out.len();
    basic_user(authorization, escape::json, out);
    if out.len() == from {
        return out.truncate(start);
    }
    out.push(b'"');
}
