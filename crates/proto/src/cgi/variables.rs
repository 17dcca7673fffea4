//! A request as environment variables (RFC 3875 §4.1).

use std::ffi::CStr;
use std::net::IpAddr;

use crate::forwarded::Scheme;
use crate::h1::Version;

/// What a script is to know of a request and of the server, beside the request's fields.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// `REQUEST_METHOD`.
    pub method: &'a [u8],
    /// The target as it was sent: `REQUEST_URI`.
    pub target: &'a [u8],
    /// `SCRIPT_NAME`: the path that leads to the script, decoded.
    pub script_name: &'a [u8],
    /// `PATH_INFO`: the path behind it, decoded. Empty: there is none, and no `PATH_TRANSLATED`.
    pub path_info: &'a [u8],
    /// `QUERY_STRING`, as it was sent.
    pub query: &'a [u8],
    /// `SCRIPT_FILENAME`: the script's file.
    pub script_file: &'a [u8],
    /// `DOCUMENT_ROOT`, and the folder under which `PATH_TRANSLATED` stands.
    pub root: &'a [u8],
    /// `SERVER_PROTOCOL`.
    pub version: Version,
    /// How the client speaks to the server, or to a trusted proxy: `REQUEST_SCHEME`, and `HTTPS` where that is `https`.
    pub scheme: Scheme,
    /// Host and port that the client has named: `HTTP_HOST`, and without the port `SERVER_NAME`.
    pub host: Option<&'a [u8]>,
    /// Address and port that the server listens on: `SERVER_ADDR`, `SERVER_PORT`, and `SERVER_NAME` where the client
    /// named no host. `None`: a Unix socket.
    pub listener: Option<(IpAddr, u16)>,
    /// The client's address: `REMOTE_ADDR`. `None`: it is not known, and the variable is empty.
    pub client: Option<IpAddr>,
    /// The client's port: `REMOTE_PORT`. Left out where it is not known.
    pub client_port: Option<u16>,
    /// The body's length.
    pub length: Length,
    /// `SERVER_SOFTWARE`.
    pub software: &'a [u8],
    /// Whether the script sees `Authorization` and `Proxy-Authorization` (RFC 3875 §9.2).
    pub authorization: bool,
}

/// What a script is told of the length of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// There is none: no `CONTENT_LENGTH`, no `CONTENT_TYPE`.
    NoBody,
    /// `CONTENT_LENGTH`, in bytes.
    Known(u64),
    /// It is known at its end only: no `CONTENT_LENGTH`, and `HTTP_TRANSFER_ENCODING` tells that there is a body.
    ToTheEnd,
}

/// Variables, each with its name once, ready for execve(2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `NAME=value` and NUL, one after the other.
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Environment {
    /// Adds a variable whose value is `parts`, one after the other. False, and nothing is added, where it is there
    /// already, its name [is none](is_variable_name), or the value has a NUL.
    pub fn set(&mut self, name: &[u8], parts: &[&[u8]]) -> bool {
        let good = is_variable_name(name) && parts.iter().all(|part| memchr::memchr(0, part).is_none());
        if !good || self.get(name).is_some() {
            return false;
        }
        self.push(name, parts);
        true
    }

    fn push(&mut self, name: &[u8], parts: &[&[u8]]) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(name);
        self.bytes.push(b'=');
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
    }

    /// The value of a variable.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.strings().find_map(|entry| entry.to_bytes().strip_prefix(name)?.strip_prefix(b"="))
    }

    /// `NAME=value` each.
    pub fn strings(&self) -> impl Iterator<Item = &CStr> {
        let ends = self.starts.iter().skip(1).copied().chain([self.bytes.len()]);
        let spans = self.starts.iter().zip(ends);
        spans.filter_map(|(&start, end)| CStr::from_bytes_with_nul(&self.bytes[start..end]).ok())
    }
}

/// Whether a variable can have that name: not empty, and neither `=` nor NUL in it.
pub fn is_variable_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|&byte| byte == b'=' || byte == 0)
}

/// The environment of a script. `fields` are the request's, names and values as sent.
///
/// A field becomes `HTTP_` and its name. Left out are: those that have a variable of their own (Content-Length,
/// Content-Type, Host); `Proxy`, since programs take `HTTP_PROXY` for the proxy that they should use (httpoxy,
/// CVE-2016-1000111); names with anything but letters, digits and hyphens, since `_` cannot be told from a hyphen; and
/// what carries passwords, unless that is wished. Fields of one name are joined by a comma, cookies by a semicolon.
pub fn environment(request: &Request<'_>, fields: &[(&[u8], &[u8])]) -> Environment {
    let mut variables = Environment { bytes: Vec::with_capacity(2048), starts: Vec::with_capacity(48) };
    let mut put = |name: &str, parts: &[&[u8]]| {
        variables.set(name.as_bytes(), parts);
    };
    put("GATEWAY_INTERFACE", &[b"CGI/1.1"]);
    put("SERVER_SOFTWARE", &[request.software]);
    put("SERVER_PROTOCOL", &[request.version.as_str().as_bytes()]);
    put("REQUEST_METHOD", &[request.method]);
    put("REQUEST_URI", &[request.target]);
    put("REQUEST_SCHEME", &[request.scheme.as_str().as_bytes()]);
    if request.scheme == Scheme::Https {
        put("HTTPS", &[b"on"]);
    }
    put("SCRIPT_NAME", &[request.script_name]);
    put("SCRIPT_FILENAME", &[request.script_file]);
    put("DOCUMENT_ROOT", &[request.root]);
    if !request.path_info.is_empty() {
        put("PATH_INFO", &[request.path_info]);
        let root = request.root.strip_suffix(b"/").unwrap_or(request.root);
        put("PATH_TRANSLATED", &[root, request.path_info]);
    }
    put("QUERY_STRING", &[request.query]);
    // PHP's own program refuses to run without it, lest it be called by a path of its own.
    put("REDIRECT_STATUS", &[b"200"]);
    put_addresses(request, &mut put);
    match request.length {
        Length::NoBody => {}
        Length::Known(length) => put("CONTENT_LENGTH", &[itoa::Buffer::new().format(length).as_bytes()]),
        Length::ToTheEnd => put("HTTP_TRANSFER_ENCODING", &[b"chunked"]),
    }
    let mut name_buffer = Vec::with_capacity(40);
    for (at, &(name, value)) in fields.iter().enumerate() {
        let same = |other: &&(&[u8], &[u8])| other.0.eq_ignore_ascii_case(name);
        if name.eq_ignore_ascii_case(b"content-type") {
            if request.length != Length::NoBody {
                variables.set(b"CONTENT_TYPE", &[value]);
            }
            continue;
        }
        if !is_passed(name, request.authorization) || fields[..at].iter().any(|earlier| same(&earlier)) {
            continue;
        }
        name_buffer.clear();
        name_buffer.extend_from_slice(b"HTTP_");
        name_buffer
            .extend(name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
        let separator: &[u8] = if name.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " };
        let mut further = fields[at + 1..].iter().filter(same).peekable();
        if further.peek().is_none() {
            variables.set(&name_buffer, &[value]);
        } else {
            let further = further.flat_map(|&(_, value)| [separator, value]);
            variables.set(&name_buffer, &[value].into_iter().chain(further).collect::<Vec<_>>());
        }
    }
    variables
}

/// Who speaks to whom.
fn put_addresses(request: &Request<'_>, put: &mut impl FnMut(&str, &[&[u8]])) {
    let listener = request.listener.map(|(address, port)| (address.to_canonical(), port));
    let address = listener.map(|(address, _)| address.to_string());
    let own = address.as_deref().unwrap_or("localhost");
    let bracketed = matches!(listener, Some((IpAddr::V6(_), _))).then(|| format!("[{own}]"));
    put("SERVER_NAME", &[request.host.map_or(bracketed.as_deref().unwrap_or(own).as_bytes(), without_port)]);
    put("SERVER_PORT", &[itoa::Buffer::new().format(listener.map_or(80, |(_, port)| port)).as_bytes()]);
    if let Some(address) = &address {
        put("SERVER_ADDR", &[address.as_bytes()]);
    }
    if let Some(host) = request.host {
        put("HTTP_HOST", &[host]);
    }
    let client = request.client.map(|address| address.to_canonical().to_string());
    put("REMOTE_ADDR", &[client.as_deref().unwrap_or_default().as_bytes()]);
    if let Some(port) = request.client_port {
        put("REMOTE_PORT", &[itoa::Buffer::new().format(port).as_bytes()]);
    }
}

/// The host of `host [":" port]`, with the brackets of an IPv6 address (RFC 3875 §4.1.14).
fn without_port(host: &[u8]) -> &[u8] {
    let end = match memchr::memrchr(b']', host) {
        Some(bracket) => bracket + 1,
        None => memchr::memchr(b':', host).unwrap_or(host.len()),
    };
    &host[..end]
}

/// Whether a field becomes a variable with `HTTP_` at its front.
fn is_passed(name: &[u8], authorization: bool) -> bool {
    // Transfer-Encoding: what of it is true for the script is said by `Length`.
    const NEVER: [&[u8]; 4] = [b"proxy", b"host", b"content-length", b"transfer-encoding"];
    const SECRET: [&[u8]; 2] = [b"authorization", b"proxy-authorization"];
    let is = |other: &&[u8]| name.eq_ignore_ascii_case(other);
    !name.is_empty()
        && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !NEVER.iter().any(is)
        && (authorization || !SECRET.iter().any(is))
}

#[cfg(test)]
mod tests;
