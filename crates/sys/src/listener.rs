//! Sockets that listen: opened, or inherited, each with a name.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use socket2::{Domain, Socket, Type};

pub use crate::holder::Holder;
use crate::{holder, process};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// An address and a port; port 0 lets the kernel choose one.
    Tcp(SocketAddr),
    /// A host name and a port: every address that the name has.
    Host(String, u16),
    /// A Unix socket. `mode` is the permission of its file; without one the umask decides.
    Unix {
        /// The path of the socket's file.
        path: PathBuf,
        /// Permissions, such as `0o660`.
        mode: Option<u32>,
    },
    /// A listening socket that was handed to this process, by its number.
    Descriptor(RawFd),
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display().to_string().replace('\0', "@")),
            Self::Descriptor(number) => write!(f, "fd://{number}"),
        }
    }
}

/// Why an address could not be taken.
#[derive(Debug)]
pub struct BindError {
    /// The address, as the user would write it.
    pub address: String,
    /// What was wrong.
    pub cause: BindCause,
}

/// What was wrong with an address.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindCause {
    /// Somebody else listens there.
    InUse(Option<Holder>),
    /// The process may not (ports below 1024, folders it cannot write to).
    NotPermitted(io::Error),
    /// The path of a Unix socket leads to a file of another kind, which is left alone.
    NotASocket,
    /// An inherited descriptor is not open, or not a listening stream socket.
    NotAListener(io::Error),
    /// Anything else.
    System(io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.cause {
            BindCause::InUse(Some(holder)) => write!(f, "address {address} is in use by {holder}"),
            BindCause::InUse(None) => write!(f, "address {address} is in use"),
            BindCause::NotPermitted(error) => write!(f, "not permitted to listen on {address}: {error}"),
            BindCause::NotASocket => {
                write!(f, "cannot listen on {address}: a file that is no socket stands there")
            }
            BindCause::NotAListener(error) => write!(f, "{address} is no listening socket: {error}"),
            BindCause::System(error) => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Whether a listener speaks TCP or stands in the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// A Unix stream socket.
    Unix,
}

/// The address that a listener has in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAddress {
    /// Address and port; the port is the one that the kernel chose where 0 was asked for.
    Tcp(SocketAddr),
    /// The path of a Unix socket; empty for one without a name.
    Unix(PathBuf),
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            // As ss(8) and others write names without a file (unix(7)).
            Self::Unix(path) => write!(f, "unix:{}", path.display().to_string().replace('\0', "@")),
        }
    }
}

/// A listening socket: non-blocking, close-on-exec, with `TCP_NODELAY` set, which accepted sockets inherit on Linux.
#[derive(Debug)]
pub struct Listener {
    name: String,
    local: LocalAddress,
    fd: OwnedFd,
}

impl Listener {
    /// What the user calls it; unless named, its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is TCP or Unix.
    pub fn kind(&self) -> Kind {
        match self.local {
            LocalAddress::Tcp(_) => Kind::Tcp,
            LocalAddress::Unix(_) => Kind::Unix,
        }
    }

    /// The address that it listens on.
    pub fn local(&self) -> &LocalAddress {
        &self.local
    }

    /// The address as a link where it can be one: `http://127.0.0.1:8000`, `unix:/run/app.sock`.
    pub fn url(&self) -> String {
        match &self.local {
            LocalAddress::Tcp(address) => format!("http://{address}"),
            unix @ LocalAddress::Unix(_) => unix.to_string(),
        }
    }

    /// A second descriptor of the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { name: self.name.clone(), local: self.local.clone(), fd: self.fd.try_clone()? })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The file of a Unix socket that this process made, and removes in the end.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// All listeners of a process. Whoever opened it removes the files of its Unix sockets, by
/// [`unlink`](Registry::unlink) or when it is dropped; forked copies never do.
#[derive(Debug)]
pub struct Registry {
    listeners: Vec<Listener>,
    files: Vec<SocketFile>,
    owner: u32,
}

impl Registry {
    /// Opens all of `addresses`, each with its name (`None`: its address), or none of them.
    ///
    /// `backlog` is the length of the queue of connections that are not accepted yet (listen(2)); the kernel bounds it
    /// by `net.core.somaxconn`.
    pub fn open(addresses: &[(Option<String>, BindAddress)], backlog: u32) -> Result<Self, BindError> {
        let mut registry = Self { listeners: Vec::new(), files: Vec::new(), owner: std::process::id() };
        for (name, address) in addresses {
            let sockets =
                bind(address, backlog).map_err(|cause| BindError { address: address.to_string(), cause })?;
            for (fd, local) in sockets {
                if let (LocalAddress::Unix(path), BindAddress::Unix { .. }) = (&local, address) {
                    registry.remember_file(path);
                }
                let name = name.clone().unwrap_or_else(|| local.to_string());
                registry.listeners.push(Listener { name, local, fd });
            }
        }
        Ok(registry)
    }

    fn remember_file(&mut self, path: &Path) {
        // Absolute, since the process may change its folder before the end.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if let Ok(meta) = fs::symlink_metadata(&path) {
            self.files.push(SocketFile { path, device: meta.dev(), inode: meta.ino() });
        }
    }

    /// The listeners, in the order in which they were named.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Closes this process's listeners; the files of Unix sockets stay until [`unlink`](Self::unlink).
    pub fn close(&mut self) {
        self.listeners.clear();
    }

    /// The listeners alone, for a process that serves and leaves the files of Unix sockets to others.
    pub fn into_listeners(mut self) -> Vec<Listener> {
        self.owner = 0;
        self.take()
    }

    /// Takes the listeners out, for whoever serves.
    pub fn take(&mut self) -> Vec<Listener> {
        std::mem::take(&mut self.listeners)
    }

    /// Removes the files of the Unix sockets, if this process made them and they are still the same files.
    pub fn unlink(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        for file in self.files.drain(..) {
            let same = fs::symlink_metadata(&file.path)
                .is_ok_and(|meta| (meta.dev(), meta.ino()) == (file.device, file.inode));
            if same {
                // Somebody else removed it in between: as wanted.
                let _ = fs::remove_file(&file.path);
            }
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.unlink();
    }
}

type Bound = (OwnedFd, LocalAddress);

fn bind(address: &BindAddress, backlog: u32) -> Result<Vec<Bound>, BindCause> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    match address {
        BindAddress::Tcp(address) => Ok(vec![bind_tcp(*address, backlog)?]),
        BindAddress::Host(host, port) => bind_host(host, *port, backlog),
        BindAddress::Unix { path, mode } => Ok(vec![bind_unix(path, *mode, backlog)?]),
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

fn bind_host(host: &str, port: u16, backlog: i32) -> Result<Vec<Bound>, BindCause> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(BindCause::System)?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    let mut bound: Vec<Bound> = Vec::new();
    let mut failure = None;
    for mut address in addresses {
        // Port 0: all addresses of the name share the port that the first one got.
        if port == 0
            && let Some((_, LocalAddress::Tcp(first))) = bound.first()
        {
            address.set_port(first.port());
        }
        match bind_tcp(address, backlog) {
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

fn bind_unix(path: &Path, mode: Option<u32>, backlog: i32) -> Result<Bound, BindCause> {
    remove_stale(path)?;
    let open = || -> io::Result<Bound> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
        if let Some(mode) = mode {
            // On Linux the file gets the mode of the socket, less the umask: it is never more open than asked for.
            rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
        }
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        if let Some(mode) = mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        socket.listen(backlog)?;
        Ok((socket.into(), LocalAddress::Unix(path.to_owned())))
    };
    open().map_err(|error| cause_of(error, || holder::of_unix(path)))
}

/// Removes a socket's file that no process listens on any more. One that answers is in use, and other files are left.
fn remove_stale(path: &Path) -> Result<(), BindCause> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(BindCause::NotASocket);
    }
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

fn adopt(number: RawFd) -> io::Result<Bound> {
    let socket = Socket::from(process::adopt_descriptor(number)?);
    if socket.r#type()? != Type::STREAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a stream socket"));
    }
    if !socket.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not listening"));
    }
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let local = if let Some(address) = address.as_socket() {
        socket.set_tcp_nodelay(true)?;
        LocalAddress::Tcp(address)
    } else {
        LocalAddress::Unix(address.as_pathname().map(Path::to_owned).unwrap_or_default())
    };
    Ok((socket.into(), local))
}

/// The listeners that systemd, or whoever speaks its protocol, has handed to this process (`sd_listen_fds(3)`): numbers
/// from 3 on, with their names. `lookup` reads the environment: `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`.
pub fn handed_over(lookup: impl Fn(&str) -> Option<String>) -> Vec<(Option<String>, BindAddress)> {
    let meant_for_us = lookup("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count = lookup("LISTEN_FDS").and_then(|count| count.parse::<u16>().ok()).unwrap_or(0);
    if !meant_for_us {
        return Vec::new();
    }
    let names = lookup("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    (0..count)
        .map(|index| {
            let name = names.next().filter(|name| !name.is_empty() && *name != "unknown");
            (name.map(str::to_owned), BindAddress::Descriptor(3 + RawFd::from(index)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;

    fn open(address: BindAddress) -> Result<Registry, BindError> {
        Registry::open(&[(None, address)], 16)
    }

    fn tcp(text: &str) -> BindAddress {
        BindAddress::Tcp(text.parse().unwrap())
    }

    fn local_tcp(registry: &Registry) -> SocketAddr {
        match registry.listeners()[0].local() {
            LocalAddress::Tcp(address) => *address,
            LocalAddress::Unix(_) => panic!("not TCP"),
        }
    }

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("stdserve-{}-{name}.sock", std::process::id()))
    }

    #[test]
    fn tcp_listeners_accept_and_hand_on_nodelay() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let registry = open(tcp(address)).unwrap();
            let listener = &registry.listeners()[0];
            assert!(listener.url().starts_with("http://"));
            assert_eq!(listener.kind(), Kind::Tcp);
            let _client = TcpStream::connect(local_tcp(&registry)).unwrap();
            let (accepted, peer) = crate::net::accept(listener.as_fd()).unwrap();
            assert!(peer.is_some());
            assert!(TcpStream::from(accepted).nodelay().unwrap());
        }
    }

    #[test]
    fn an_address_in_use_names_its_holder() {
        let first = open(tcp("127.0.0.1:0")).unwrap();
        let error = open(BindAddress::Tcp(local_tcp(&first))).unwrap_err();
        assert!(matches!(&error.cause, BindCause::InUse(Some(holder)) if holder.pid.0 == std::process::id()));
        assert!(error.to_string().contains("is in use by process"), "{error}");
    }

    #[test]
    fn a_name_takes_all_its_addresses_on_one_port() {
        let registry = open(BindAddress::Host("localhost".into(), 0)).unwrap();
        let ports: Vec<_> = registry
            .listeners()
            .iter()
            .map(|listener| listener.url().rsplit(':').next().map(str::to_owned))
            .collect();
        assert!(ports.iter().all(|port| *port == ports[0]));
        assert!(open(BindAddress::Host("no-such-host.invalid".into(), 0)).is_err());
    }

    #[test]
    fn unix_sockets_have_their_mode_and_go_with_their_owner() {
        let path = path("mode");
        let registry = open(BindAddress::Unix { path: path.clone(), mode: Some(0o640) }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let error = open(BindAddress::Unix { path: path.clone(), mode: None }).unwrap_err();
        assert!(error.to_string().contains("in use by process"), "{error}");
        drop(registry);
        assert!(!path.exists());
    }

    #[test]
    fn names_without_a_file() {
        let name = format!("\0stdserve-{}", std::process::id());
        let registry = open(BindAddress::Unix { path: name.into(), mode: None }).unwrap();
        assert!(registry.listeners()[0].url().starts_with("unix:@stdserve-"));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_another_file_is_not() {
        let path = path("stale");
        // The standard library leaves the file behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(open(BindAddress::Unix { path: path.clone(), mode: None }).unwrap());
        fs::write(&path, "precious").unwrap();
        let error = open(BindAddress::Unix { path: path.clone(), mode: None }).unwrap_err();
        assert!(matches!(error.cause, BindCause::NotASocket));
        let mut text = String::new();
        fs::File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "precious");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_was_replaced_is_not_removed() {
        let path = path("replaced");
        let first = open(BindAddress::Unix { path: path.clone(), mode: None }).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        drop(first);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn descriptors_are_taken_over_only_when_they_listen() {
        let first = open(tcp("127.0.0.1:0")).unwrap();
        let second = open(BindAddress::Descriptor(first.listeners()[0].as_raw_fd())).unwrap();
        assert_eq!(local_tcp(&first), local_tcp(&second));
        for number in [0, 1_000_000] {
            let error = open(BindAddress::Descriptor(number)).unwrap_err();
            assert!(matches!(error.cause, BindCause::NotAListener(_)), "{error}");
        }
        let file = fs::File::open("/dev/null").unwrap();
        assert!(open(BindAddress::Descriptor(file.as_raw_fd())).is_err());
    }

    #[test]
    fn systemd_hands_over_by_number_and_name() {
        let pid = std::process::id().to_string();
        let given = handed_over(|key| match key {
            "LISTEN_PID" => Some(pid.clone()),
            "LISTEN_FDS" => Some("2".into()),
            "LISTEN_FDNAMES" => Some("web:".into()),
            _ => None,
        });
        let expected =
            [(Some("web".to_owned()), BindAddress::Descriptor(3)), (None, BindAddress::Descriptor(4))];
        assert_eq!(given, expected);
        let other = handed_over(|key| Some(if key == "LISTEN_PID" { "1" } else { "2" }.into()));
        assert!(other.is_empty() || std::process::id() == 1);
    }
}
