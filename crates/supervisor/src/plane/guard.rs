//! Who may ask what, so that no foreign page in an operator's browser reads or orders anything.
//!
//! - The host that a request names must be an address, `localhost`, or a name that the operator has given: a page
//!   whose own name is made to point here (DNS rebinding) names its own.
//! - An `Origin`, which browsers send with whatever a page asks of others, must be the plane itself.
//! - An order needs the field [`OWN`], which a foreign page cannot set without being asked for leave first (the
//!   preflight of the Fetch standard), and that is never given.
//! - Orders are taken from this machine only: whoever else reaches the address may read.

use std::net::{IpAddr, Ipv6Addr};

use stdserve_proto::h1::RequestHead;

/// The field that an order needs; its value does not matter.
pub(crate) const OWN: &str = "X-Stdserve";

/// The names by which the plane may be asked for, beside addresses and `localhost`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// These names, without ports, in any case of letters.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether the plane may be asked for by this authority: a host, with or without a port.
    fn allow(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        let name = host.to_ascii_lowercase();
        name.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

/// The host of an authority, without brackets and port.
fn host_of(authority: &str) -> Option<&str> {
    if let Some(inner) = authority.strip_prefix('[') {
        let (host, _) = inner.split_once(']')?;
        return host.parse::<Ipv6Addr>().is_ok().then_some(host);
    }
    Some(authority.split_once(':').map_or(authority, |(host, _)| host))
}

/// What is wrong with a request, whatever it asks for: a status and a sentence.
pub(super) fn objection(
    head: &RequestHead,
    host: Option<&[u8]>,
    hosts: &Hosts,
) -> Option<(u16, &'static str)> {
    // Only HTTP/1.0 knows requests without one, and no browser speaks it.
    let host = host.map(|host| str::from_utf8(host).unwrap_or_default());
    if host.is_some_and(|host| !hosts.allow(host)) {
        return Some((
            421,
            "This name is not one of the plane's. Ask by address or localhost, or allow it: --admin-host NAME.",
        ));
    }
    let mut origins = head.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"origin"));
    let own = |origin: &[u8]| {
        let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        authority
            .is_some_and(|authority| host.is_some_and(|host| authority.eq_ignore_ascii_case(host.as_bytes())))
    };
    if origins.any(|(_, origin)| !own(origin)) {
        return Some((403, "Pages of other origins may not ask."));
    }
    None
}

/// What is wrong with an order: a status and a sentence.
pub(super) fn objection_to_order(head: &RequestHead, local: bool) -> Option<(u16, &'static str)> {
    if !local {
        return Some((403, "Orders are taken from this machine only: use stdserve ctl there."));
    }
    if head.field(OWN).is_none() {
        return Some((403, "An order needs the field X-Stdserve: 1, which no foreign page can set."));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdserve_proto::h1::{Event, HeadLimits, RequestReader};

    fn head(fields: &str) -> RequestHead {
        let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        let read = RequestReader::new().read(text.as_bytes(), &HeadLimits::default(), &mut head);
        assert!(matches!(read, Ok((_, Event::Head))), "{text}: {read:?}");
        head
    }

    fn status(fields: &str) -> Option<u16> {
        let head = head(fields);
        let hosts = Hosts::new(["Admin.Example".to_owned()]);
        objection(&head, head.host(), &hosts).map(|(status, _)| status)
    }

    #[test]
    fn foreign_names_are_refused() {
        for good in [
            "127.0.0.1:9000",
            "[::1]:9",
            "[::1]",
            "10.1.2.3",
            "localhost",
            "LOCALHOST:1",
            "a.localhost:2",
            "admin.example:9",
        ] {
            assert_eq!(status(&format!("Host: {good}\r\n")), None, "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example:9000",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "admin.example.org",
        ] {
            assert_eq!(status(&format!("Host: {bad}\r\n")), Some(421), "{bad}");
        }
    }

    #[test]
    fn foreign_origins_are_refused() {
        let with = |origin: &str| status(&format!("Host: localhost:9000\r\nOrigin: {origin}\r\n"));
        assert_eq!(with("http://localhost:9000"), None);
        assert_eq!(with("https://LOCALHOST:9000"), None);
        for bad in [
            "null",
            "http://localhost:9001",
            "http://localhost",
            "http://evil.example",
            "localhost:9000",
            "file://",
        ] {
            assert_eq!(with(bad), Some(403), "{bad}");
        }
        let twice = "Host: a.localhost\r\nOrigin: http://a.localhost\r\nOrigin: http://b.example\r\n";
        assert_eq!(status(twice), Some(403));
    }

    #[test]
    fn orders_need_the_field_and_this_machine() {
        let order = |fields: &str, local| {
            objection_to_order(&head(&format!("Host: a\r\n{fields}")), local).map(|(status, _)| status)
        };
        assert_eq!(order("X-Stdserve: 1\r\n", true), None);
        assert_eq!(order("X-Stdserve: 1\r\n", false), Some(403));
        assert_eq!(order("", true), Some(403));
    }
}
