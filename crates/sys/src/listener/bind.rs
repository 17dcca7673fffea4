//! How a listening socket comes to be: opened, or taken over.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::Mode;
use socket2::{Domain, Socket, Type};

use super::{BindAddress, BindCause, Holder, LocalAddress};
use crate::{holder, process};

/// A socket and where it listens. Those for connections do not block. Those for datagrams do: what is received is asked
/// for without waiting, but handlers answer by the same socket, and are to wait where its buffer is full.
pub(super) type Bound = (OwnedFd, LocalAddress);

/// Opens what `address` names; a host name may have several addresses.
pub(super) fn bind(address: &BindAddress, backlog: u32) -> Result<Vec<Bound>, BindCause> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    match address {
        BindAddress::Tcp(address) => Ok(vec![bind_tcp(*address, backlog)?]),
        BindAddress::Host(host, port) => bind_host(host, *port, |address| bind_tcp(address, backlog)),
        BindAddress::Unix { path, mode } => Ok(vec![bind_unix(path, *mode, Some(backlog))?]),
        BindAddress::Udp(address) => Ok(vec![bind_udp(*address)?]),
        BindAddress::UdpHost(host, port) => bind_host(host, *port, bind_udp),
        BindAddress::Unixgram { path, mode } => Ok(vec![bind_unix(path, *mode, None)?]),
        BindAddress::Descriptor(number) => Ok(vec![adopt(*number).map_err(BindCause::NotAListener)?]),
    }
}

fn cause_of(error: io::Error, holder: impl FnOnce() -> Option<Holder>) -> BindCause {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindCause::InUse(holder()),
        io::ErrorKind::PermissionDenied => BindCause::NotPermitted(error),
        _ => BindCause::System(error),
    }
}

fn bind_tcp(address: SocketAddr, backlog: i32) -> Result<Bound, BindCause> {
    let open = || -> io::Result<Bound> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec().nonblocking(), None)?;
        // A server that starts again need not wait for the connections of the last one to time out (tcp(7)).
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `[::]:8000` beside `0.0.0.0:8000`, whatever the system's default is (ipv6(7)).
            socket.set_only_v6(true)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket.into(), LocalAddress::Tcp(local)))
    };
    open().map_err(|error| cause_of(error, || holder::of_tcp(address)))
}

fn bind_udp(address: SocketAddr) -> Result<Bound, BindCause> {
    let open = || -> io::Result<Bound> {
        // Without SO_REUSEADDR, with which another process could take a share of the datagrams (socket(7)).
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM.cloexec(), None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket.into(), LocalAddress::Udp(local)))
    };
    open().map_err(|error| cause_of(error, || holder::of_udp(address)))
}

fn bind_host(
    host: &str,
    port: u16,
    bind: impl Fn(SocketAddr) -> Result<Bound, BindCause>,
) -> Result<Vec<Bound>, BindCause> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(BindCause::System)?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    let mut bound: Vec<Bound> = Vec::new();
    let mut failure = None;
    for mut address in addresses {
        // Port 0: all addresses of the name share the port that the first one got.
        if port == 0
            && let Some(first) = bound.first().and_then(|(_, local)| local.ip())
        {
            address.set_port(first.port());
        }
        match bind(address) {
            Ok(socket) => bound.push(socket),
            // A machine without IPv6 often has names with IPv6 addresses.
            Err(BindCause::System(error)) => failure = Some(BindCause::System(error)),
            Err(cause) => return Err(cause),
        }
    }
    if bound.is_empty() {
        let none = || BindCause::System(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        return Err(failure.unwrap_or_else(none));
    }
    Ok(bound)
}

/// Without a `backlog`: a socket for datagrams.
fn bind_unix(path: &Path, mode: Option<u32>, backlog: Option<i32>) -> Result<Bound, BindCause> {
    remove_stale(path)?;
    let open = || -> io::Result<Bound> {
        let kind = if backlog.is_some() { Type::STREAM.nonblocking() } else { Type::DGRAM };
        let socket = Socket::new(Domain::UNIX, kind.cloexec(), None)?;
        if let Some(mode) = mode {
            // On Linux the file gets the mode of the socket, less the umask: it is never more open than asked for.
            rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
        }
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        if let Some(mode) = mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        let local = if let Some(backlog) = backlog {
            socket.listen(backlog)?;
            LocalAddress::Unix(path.to_owned())
        } else {
            LocalAddress::Unixgram(path.to_owned())
        };
        Ok((socket.into(), local))
    };
    open().map_err(|error| cause_of(error, || holder::of_unix(path)))
}

/// Removes a socket's file that no process listens on any more. One that answers is in use, and other files are left.
fn remove_stale(path: &Path) -> Result<(), BindCause> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(BindCause::NotASocket);
    }
    // A socket for datagrams answers with EPROTOTYPE while somebody has it open, else as one for streams does.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| cause_of(error, || None))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(BindCause::NotPermitted(error)),
        // It answers, or its queue is full: somebody is there.
        _ => Err(BindCause::InUse(holder::of_unix(path))),
    }
}

/// Takes over sockets that are handed on from process to process.
pub(super) fn adopt_all(handed: Vec<OwnedFd>) -> Result<Vec<Bound>, BindCause> {
    handed.into_iter().map(|fd| take_over(fd).map_err(BindCause::NotAListener)).collect()
}

fn adopt(number: RawFd) -> io::Result<Bound> {
    take_over(process::adopt_descriptor(number)?)
}

fn take_over(fd: OwnedFd) -> io::Result<Bound> {
    let socket = Socket::from(fd);
    let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    let datagrams = match socket.r#type()? {
        Type::STREAM => false,
        Type::DGRAM => true,
        _ => return Err(refused("a socket for neither streams nor datagrams")),
    };
    let address = socket.local_addr()?;
    if datagrams {
        // A socket that is not bound has port 0, or no path, and nobody can send to it.
        let bound = address.as_socket().map_or(!address.is_unnamed(), |address| address.port() != 0);
        if !bound {
            return Err(refused("not bound to an address"));
        }
    } else if !socket.is_listener()? {
        return Err(refused("not listening"));
    }
    if !datagrams {
        socket.set_nonblocking(true)?;
    }
    let path = || address.as_pathname().map(Path::to_owned).unwrap_or_default();
    let local = match (address.as_socket(), datagrams) {
        (Some(address), false) => {
            socket.set_tcp_nodelay(true)?;
            LocalAddress::Tcp(address)
        }
        (Some(address), true) => LocalAddress::Udp(address),
        (None, false) => LocalAddress::Unix(path()),
        (None, true) => LocalAddress::Unixgram(path()),
    };
    Ok((socket.into(), local))
}
