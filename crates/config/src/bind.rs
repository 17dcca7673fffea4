//! Addresses to listen on, as they are written; the operating system's half opens them.

use std::fmt;
use std::path::PathBuf;

/// The port where none is written.
pub const DEFAULT_PORT: u16 = 8000;

/// One listener: `[NAME=]ADDRESS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The name that logs, figures and a hand-over use; the address serves where it is missing.
    pub name: Option<String>,
    /// What is listened for; none where it is not written: the service says which.
    pub transport: Option<Transport>,
    /// Where to listen.
    pub address: Address,
}

/// What a listener listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Connections: TCP (`tcp://`) or Unix streams (`unix:`).
    Stream,
    /// Datagrams: UDP (`udp://`) or Unix datagrams (`unixgram:`).
    Datagram,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host and a port. `host` is an IP address without brackets, or a name that is still to be resolved.
    Inet {
        /// An IPv4 or IPv6 address, or a host name.
        host: String,
        /// The port; 0 lets the kernel choose.
        port: u16,
    },
    /// A Unix socket in the file system.
    Unix(PathBuf),
    /// A Unix socket in Linux's abstract name space (`unix:@NAME`, unix(7)); without the `@`.
    Abstract(String),
    /// A descriptor that the process has inherited, already listening or bound.
    Fd(i32),
    /// The descriptors of that name that a service manager has handed over (`LISTEN_FDNAMES`, `sd_listen_fds(3)`).
    FdNamed(String),
}

impl Bind {
    /// A host and a port, without a name.
    pub fn inet(host: impl Into<String>, port: u16) -> Self {
        Self { name: None, transport: None, address: Address::Inet { host: host.into(), port } }
    }

    /// Reads one `[NAME=]ADDRESS`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, address) = match text.split_once('=') {
            Some((name, address)) if is_name(name) => (Some(name.to_owned()), address),
            _ => (None, text),
        };
        let (transport, address) = Address::parse(address)?;
        Ok(Self { name, transport, address })
    }
}

/// A name can be told from an address, which would need a `:`, `/` or `[` before any `=`.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

impl Address {
    fn parse(text: &str) -> Result<(Option<Transport>, Self), String> {
        for (prefix, transport) in [("unix:", Transport::Stream), ("unixgram:", Transport::Datagram)] {
            if let Some(path) = text.strip_prefix(prefix) {
                return Ok((Some(transport), Self::parse_unix(prefix, path)?));
            }
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return match number.parse() {
                Ok(fd) if fd >= 0 => Ok((None, Self::Fd(fd))),
                _ if is_name(number) => Ok((None, Self::FdNamed(number.to_owned()))),
                _ => Err("needs the number or the name of a descriptor after `fd://`".into()),
            };
        }
        for (prefix, transport) in [("tcp://", Transport::Stream), ("udp://", Transport::Datagram)] {
            if let Some(rest) = text.strip_prefix(prefix) {
                return Ok((Some(transport), Self::parse_inet(rest)?));
            }
        }
        Ok((None, Self::parse_inet(text)?))
    }

    fn parse_unix(prefix: &str, path: &str) -> Result<Self, String> {
        // Both unix:/run/x.sock and unix:///run/x.sock name /run/x.sock.
        let path = path.strip_prefix("//").unwrap_or(path);
        match path.strip_prefix('@') {
            _ if path.is_empty() || path.contains('\0') => Err(format!("has no path after `{prefix}`")),
            Some("") => Err(format!("has no name after `{prefix}@`")),
            Some(name) => Ok(Self::Abstract(name.to_owned())),
            // sun_path holds 108 bytes with the final NUL.
            None if path.len() > 107 => {
                Err("has a path that is too long for a socket (at most 107 bytes)".into())
            }
            None => Ok(Self::Unix(PathBuf::from(path))),
        }
    }

    fn parse_inet(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Err("is a link; write HOST:PORT without the scheme".into());
        }
        if text.starts_with('/') || text.starts_with("./") {
            return Err(format!("looks like a path; write unix:{text}"));
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("has no host; write 127.0.0.1:{text}, or :{text} for every address"));
        }
        if let Some(inner) = text.strip_prefix('[') {
            let (host, rest) = inner.split_once(']').ok_or("has no `]` after the IPv6 address")?;
            let bare = host.split('%').next().unwrap_or(host);
            if bare.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("has no IPv6 address between its brackets".into());
            }
            let port = match rest.strip_prefix(':') {
                Some(port) => parse_port(port)?,
                None if rest.is_empty() => DEFAULT_PORT,
                None => return Err("has something other than `:PORT` after `]`".into()),
            };
            return Ok(Self::Inet { host: host.to_owned(), port });
        }
        // `::1:8000` is an address in itself, but hardly what was meant; `::1:18000` is none.
        let is_address = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
        let with_port = text.rsplit_once(':').filter(|(host, _)| is_address(host));
        if with_port.is_some() || is_address(text) {
            let (host, port) = with_port.unwrap_or((text, "8000"));
            return Err(format!("is an IPv6 address; write it in brackets: [{host}]:{port}"));
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, parse_port(port)?),
            None => (text, DEFAULT_PORT),
        };
        if text.is_empty() {
            return Err("is empty".into());
        }
        if host.bytes().any(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))) {
            return Err("has a host that is neither an address nor a name".into());
        }
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        Ok(Self::Inet { host: host.to_owned(), port })
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    // from_str would take "+80".
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| format!("has the port `{text}`, which is not between 0 and 65535"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Inet { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Fd(fd) => write!(f, "fd://{fd}"),
            Self::FdNamed(name) => write!(f, "fd://{name}"),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        match (self.transport, &self.address) {
            (Some(Transport::Stream), Address::Inet { .. }) => f.write_str("tcp://")?,
            (Some(Transport::Datagram), Address::Inet { .. }) => f.write_str("udp://")?,
            (Some(Transport::Datagram), Address::Unix(path)) => {
                return write!(f, "unixgram:{}", path.display());
            }
            (Some(Transport::Datagram), Address::Abstract(name)) => return write!(f, "unixgram:@{name}"),
            _ => {}
        }
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        for (text, shown) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("localhost", "localhost:8000"),
            (":80", "0.0.0.0:80"),
            ("[::1]:8000", "[::1]:8000"),
            ("[::]", "[::]:8000"),
            ("[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
            ("udp://[::1]:53", "udp://[::1]:53"),
            ("dns=udp://:53", "dns=udp://0.0.0.0:53"),
            ("unixgram:/dev/x", "unixgram:/dev/x"),
            ("unixgram:@hidden", "unixgram:@hidden"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("unix:a=b.sock", "unix:a=b.sock"),
            ("unix:@hidden", "unix:@hidden"),
            ("fd://3", "fd://3"),
            ("admin=127.0.0.1:9000", "admin=127.0.0.1:9000"),
            ("web=unix:x.sock", "web=unix:x.sock"),
        ] {
            let bind = Bind::parse(text).unwrap_or_else(|why| panic!("{text} {why}"));
            assert_eq!(bind.to_string(), shown);
            assert_eq!(Bind::parse(shown), Ok(bind));
        }
    }

    #[test]
    fn refusals_say_what_to_write() {
        for (text, why) in [
            ("", "is empty"),
            ("8000", "127.0.0.1:8000"),
            ("::1", "[::1]:8000"),
            ("::1:8003", "[::1]:8003"),
            ("::1:18003", "[::1]:18003"),
            ("[::1", "no `]`"),
            ("[::1]x", "after `]`"),
            ("[host]:1", "no IPv6"),
            ("a:99999", "between 0 and 65535"),
            ("a:+80", "between 0 and 65535"),
            ("http://a:1", "without the scheme"),
            ("/run/x.sock", "unix:/run/x.sock"),
            ("unix:", "no path"),
            ("unix:@", "no name"),
            ("unixgram:", "no path after `unixgram:`"),
            ("udp://", "is empty"),
            ("fd://a b", "the name"),
            ("fd://-1", "the name"),
            ("a b:1", "neither"),
        ] {
            let error = Bind::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Bind::parse(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_all_reads_back(text in "\\PC*") {
            if let Ok(bind) = Bind::parse(&text) {
                prop_assert_eq!(Bind::parse(&bind.to_string()), Ok(bind));
            }
        }
    }
}
