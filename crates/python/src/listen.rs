//! From `--bind` to what the operating system is asked for.

use std::net::IpAddr;

use stdserve_config::{Address, Configuration, Settings, Source};
use stdserve_sys::listener::{self, BindAddress};

/// Where the command listens: what the service manager has handed over takes the place of the default address.
pub(crate) fn of_command(configuration: &Configuration) -> Vec<(Option<String>, BindAddress)> {
    if *configuration.sources.of("bind") == Source::Default {
        let handed = listener::handed_over(|name| std::env::var(name).ok());
        if !handed.is_empty() {
            return handed;
        }
    }
    addresses(&configuration.settings)
}

/// The addresses to listen on, each with its name, where it has one.
pub(crate) fn addresses(options: &Settings) -> Vec<(Option<String>, BindAddress)> {
    let mode = options.listen.unix_mode;
    options
        .listen
        .bind
        .iter()
        .map(|bind| {
            let address = match &bind.address {
                Address::Inet { host, port } => match host.parse::<IpAddr>() {
                    Ok(ip) => BindAddress::Tcp((ip, *port).into()),
                    Err(_) => BindAddress::Host(host.clone(), *port),
                },
                Address::Unix(path) => BindAddress::Unix { path: path.clone(), mode: Some(mode) },
                // As unix(7) writes it: a path that begins with NUL.
                Address::Abstract(name) => BindAddress::Unix { path: format!("\0{name}").into(), mode: None },
                Address::Fd(number) => BindAddress::Descriptor(*number),
            };
            (bind.name.clone(), address)
        })
        .collect()
}
