//! Which service a request is for: by host name and path, decided when its head is complete.

use std::sync::Arc;

use stdserve_proto::h1::RequestHead;
use stdserve_proto::percent;

use crate::service::Service;

/// Where a service stands beside others on the same listeners.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// The host name that the request must name, without a port, in any case. `*.example.org` means every name that
    /// ends in `.example.org`; `None`: any.
    pub host: Option<String>,
    /// The path beneath which it is, decoded: `/static`, without a slash at its end; empty: everything.
    pub prefix: String,
}

/// The services of a server, and how requests find theirs. The first is for what no mount takes.
pub(crate) struct Routes {
    services: Vec<Arc<dyn Service>>,
    /// In the order that they are tried in: names before wildcards, longer wildcards first, those for any host last;
    /// for one host longer prefixes first.
    mounts: Vec<(Mount, u16)>,
}

/// The service of a request, and how many bytes of its raw path the mount took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) service: u16,
    pub(crate) taken: usize,
}

impl Routes {
    pub(crate) fn new(default: Arc<dyn Service>) -> Self {
        Self { services: vec![default], mounts: Vec::new() }
    }

    /// Adds a service that no request finds by itself: that of a raw listener. Returns its number.
    pub(crate) fn add(&mut self, service: Arc<dyn Service>) -> u16 {
        self.services.push(service);
        (self.services.len() - 1) as u16
    }

    pub(crate) fn mount(&mut self, mut mount: Mount, service: Arc<dyn Service>) {
        mount.host = mount.host.map(|host| host.to_ascii_lowercase());
        let number = self.add(service);
        self.mounts.push((mount, number));
        self.mounts.sort_by_key(|(mount, _)| {
            let host = match &mount.host {
                Some(host) if !host.starts_with("*.") => (0, 0),
                Some(host) => (1, usize::MAX - host.len()),
                None => (2, 0),
            };
            (host, usize::MAX - mount.prefix.len())
        });
    }

    pub(crate) fn service(&self, number: u16) -> &dyn Service {
        // Numbers come from `add` alone.
        &**self.services.get(usize::from(number)).unwrap_or(&self.services[0])
    }

    /// Tells each service that the server drains.
    pub(crate) fn draining(&self) {
        self.services.iter().for_each(|service| service.draining());
    }

    /// Whether there is but one service.
    pub(crate) fn is_single(&self) -> bool {
        self.services.len() == 1
    }

    /// Finds the service of a request.
    pub(crate) fn find(&self, head: &RequestHead) -> Route {
        if self.mounts.is_empty() {
            return Route::default();
        }
        let host = head.host().map(|host| without_port(host).to_ascii_lowercase());
        for (mount, service) in &self.mounts {
            if let Some(wanted) = &mount.host
                && !host.as_deref().is_some_and(|host| is_named(host, wanted.as_bytes()))
            {
                continue;
            }
            if let Some(taken) = beneath(head.path(), mount.prefix.as_bytes()) {
                return Route { service: *service, taken };
            }
        }
        Route::default()
    }
}

/// Whether the host is what `wanted` says. The asterisk stands for at least one label (as in nginx).
fn is_named(host: &[u8], wanted: &[u8]) -> bool {
    match wanted.strip_prefix(b"*") {
        Some(end) => host.len() > end.len() && !host.starts_with(b".") && host.ends_with(end),
        None => host == wanted,
    }
}

/// How many bytes of the raw `path` stand for `prefix`, if the path is it or beneath it.
fn beneath(path: &[u8], prefix: &[u8]) -> Option<usize> {
    let mut at = 0;
    for wanted in prefix {
        let (byte, length) = percent::first(&path[at..])?;
        if byte != *wanted {
            return None;
        }
        at += length;
    }
    match percent::first(&path[at..]) {
        None => (at == path.len()).then_some(at),
        Some((b'/', _)) => Some(at),
        // The empty prefix takes `*` and whatever else there is.
        Some(_) => prefix.is_empty().then_some(at),
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        // The colons of an IPv6 address stand in brackets.
        Some(colon) if !host[colon..].contains(&b']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_slash_and_may_be_encoded() {
        assert_eq!(beneath(b"/static", b"/static"), Some(7));
        assert_eq!(beneath(b"/static/a", b"/static"), Some(7));
        assert_eq!(beneath(b"/%73tatic/a", b"/static"), Some(9));
        assert_eq!(beneath(b"/statics", b"/static"), None);
        assert_eq!(beneath(b"/stat", b"/static"), None);
        assert_eq!(beneath(b"/static%zz", b"/static"), None);
        assert_eq!(beneath(b"*", b""), Some(0));
        assert_eq!(beneath(b"", b""), Some(0));
    }

    #[test]
    fn an_asterisk_stands_for_labels() {
        assert!(is_named(b"a.example.org", b"*.example.org"));
        assert!(is_named(b"a.b.example.org", b"*.example.org"));
        assert!(!is_named(b"example.org", b"*.example.org"));
        assert!(!is_named(b".example.org", b"*.example.org"));
        assert!(!is_named(b"badexample.org", b"*.example.org"));
        assert!(is_named(b"example.org", b"example.org"));
    }

    #[test]
    fn names_come_before_wildcards_and_these_before_any_host() {
        struct Nothing;
        impl Service for Nothing {
            fn run(&self, _: &mut crate::Run<'_>) {}
        }
        let mut routes = Routes::new(Arc::new(Nothing));
        let mounts = [
            (None, ""),
            (Some("*.org"), "/deep"),
            (Some("*.example.org"), ""),
            (Some("www.example.org"), ""),
            (Some("www.example.org"), "/deep"),
        ];
        for (host, prefix) in mounts {
            let mount = Mount { host: host.map(str::to_owned), prefix: prefix.to_owned() };
            routes.mount(mount, Arc::new(Nothing));
        }
        let order: Vec<_> =
            routes.mounts.iter().map(|(mount, _)| (mount.host.as_deref(), &*mount.prefix)).collect();
        let wanted = [
            (Some("www.example.org"), "/deep"),
            (Some("www.example.org"), ""),
            (Some("*.example.org"), ""),
            (Some("*.org"), "/deep"),
            (None, ""),
        ];
        assert_eq!(order, wanted);
    }

    #[test]
    fn a_port_is_no_part_of_the_name() {
        assert_eq!(without_port(b"example.org:80"), b"example.org");
        assert_eq!(without_port(b"[::1]:80"), b"[::1]");
        assert_eq!(without_port(b"[::1]"), b"[::1]");
    }
}
