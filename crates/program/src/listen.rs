//! From the binds of a group to what the operating system is asked for.

use std::io;
use std::net::IpAddr;

use stdserve_config::{Address, Bind, GroupSpec, Transport};
use stdserve_sys::listener::{self, BindAddress, BindCause, BindError, Inherited, Registry};

/// Opens the listeners of a group. What the service manager has handed over takes the place of the default address.
/// `lookup` reads the environment. What is inherited takes the place of what would be opened.
pub(crate) fn open(
    group: &GroupSpec,
    lookup: impl Fn(&str) -> Option<String>,
    inherited: &mut Inherited,
) -> Result<Registry, BindError> {
    let options = &group.settings.listen;
    let mut addresses = Vec::new();
    if group.default_binds {
        addresses = listener::handed_over(&lookup);
    }
    if addresses.is_empty() {
        for bind in &group.binds {
            match &bind.address {
                Address::FdNamed(name) => addresses.extend(named(name, bind, &lookup)?),
                _ => addresses.extend(self::addresses(std::slice::from_ref(bind), options.unix_mode)),
            }
        }
    }
    let registry = Registry::open_or_adopt(&addresses, options.backlog, inherited)?;
    for listener in registry.listeners() {
        // Only a socket that was handed over can be of the wrong kind.
        if listener.kind().is_datagram() != takes_datagrams(group) {
            let what = if listener.kind().is_datagram() { "datagrams" } else { "connections" };
            let why = format!("it is a socket for {what}, which {} does not take", group.name);
            let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, why);
            let address = listener.name().to_owned();
            return Err(BindError { address, cause: BindCause::NotAListener(error) });
        }
    }
    Ok(registry)
}

/// The sockets of that name that the service manager has handed over (`FileDescriptorName=`, systemd.socket(5)).
fn named(
    name: &str,
    bind: &Bind,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(Option<String>, BindAddress)>, BindError> {
    let all = listener::handed_over(lookup);
    let known: Vec<_> = all.iter().filter_map(|(name, _)| name.clone()).collect();
    let found: Vec<_> = all.into_iter().filter(|(of, _)| of.as_deref() == Some(name)).collect();
    if found.is_empty() {
        let why = match known.as_slice() {
            [] => "no socket was handed over".to_owned(),
            known => format!("none of that name was handed over, but {}", known.join(", ")),
        };
        let cause = BindCause::NotAListener(io::Error::new(io::ErrorKind::NotFound, why));
        return Err(BindError { address: bind.address.to_string(), cause });
    }
    let name = |of: Option<String>| bind.name.clone().or(of);
    Ok(found.into_iter().map(|(of, address)| (name(of), address)).collect())
}

/// Whether a group serves datagrams; all its binds are alike in this.
fn takes_datagrams(group: &GroupSpec) -> bool {
    group.binds.iter().any(|bind| bind.transport == Some(Transport::Datagram))
}

/// The addresses to listen on, each with its name, where it has one. `unix_mode`: the mode of the files of Unix
/// sockets.
pub fn addresses(binds: &[Bind], unix_mode: u32) -> Vec<(Option<String>, BindAddress)> {
    binds.iter().map(|bind| (bind.name.clone(), address(bind, unix_mode))).collect()
}

fn address(bind: &Bind, unix_mode: u32) -> BindAddress {
    let datagrams = bind.transport == Some(Transport::Datagram);
    match &bind.address {
        Address::Inet { host, port } => match (host.parse::<IpAddr>(), datagrams) {
            (Ok(ip), false) => BindAddress::Tcp((ip, *port).into()),
            (Ok(ip), true) => BindAddress::Udp((ip, *port).into()),
            (Err(_), false) => BindAddress::Host(host.clone(), *port),
            (Err(_), true) => BindAddress::UdpHost(host.clone(), *port),
        },
        Address::Unix(path) => unix(path.clone(), Some(unix_mode), datagrams),
        // As unix(7) writes it: a path that begins with NUL.
        Address::Abstract(name) => unix(format!("\0{name}").into(), None, datagrams),
        Address::Fd(number) => BindAddress::Descriptor(*number),
        // Which number that is says the service manager; nobody hands over this one.
        Address::FdNamed(_) => BindAddress::Descriptor(-1),
    }
}

fn unix(path: std::path::PathBuf, mode: Option<u32>, datagrams: bool) -> BindAddress {
    if datagrams { BindAddress::Unixgram { path, mode } } else { BindAddress::Unix { path, mode } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str, transport: Transport) -> BindAddress {
        let bind = Bind { transport: Some(transport), ..Bind::parse(text).expect("an address") };
        address(&bind, 0o600)
    }

    #[test]
    fn an_address_is_opened_for_what_is_served_there() {
        let local = "127.0.0.1:7".parse().expect("an address");
        let path = std::path::PathBuf::from("a.sock");
        let hidden = std::path::PathBuf::from("\0hidden");
        for (text, stream, datagram) in [
            ("127.0.0.1:7", BindAddress::Tcp(local), BindAddress::Udp(local)),
            ("name:7", BindAddress::Host("name".into(), 7), BindAddress::UdpHost("name".into(), 7)),
            ("fd://9", BindAddress::Descriptor(9), BindAddress::Descriptor(9)),
        ] {
            assert_eq!(opened(text, Transport::Stream), stream);
            assert_eq!(opened(text, Transport::Datagram), datagram);
        }
        let mode = Some(0o600);
        assert_eq!(opened("unix:a.sock", Transport::Stream), BindAddress::Unix { path: path.clone(), mode });
        assert_eq!(opened("unixgram:a.sock", Transport::Datagram), BindAddress::Unixgram { path, mode });
        // A name without a file has no permissions.
        assert_eq!(opened("unix:@hidden", Transport::Stream), BindAddress::Unix { path: hidden, mode: None });
    }
}
