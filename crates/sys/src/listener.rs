//! Sockets that listen, and those that receive datagrams: opened, or inherited, each with a name.

mod bind;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use crate::holder::Holder;
use crate::users::Account;

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
    /// A UDP address and port; port 0 lets the kernel choose one.
    Udp(SocketAddr),
    /// A host name and a UDP port: every address that the name has.
    UdpHost(String, u16),
    /// A Unix socket for datagrams. `mode` as for [`Unix`](Self::Unix).
    Unixgram {
        /// The path of the socket's file.
        path: PathBuf,
        /// Permissions, such as `0o660`.
        mode: Option<u32>,
    },
    /// A listening socket, or one for datagrams that is bound, that was handed to this process, by its number.
    Descriptor(RawFd),
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", shown(path)),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::UdpHost(host, port) => write!(f, "udp://{host}:{port}"),
            Self::Unixgram { path, .. } => write!(f, "unixgram:{}", shown(path)),
            Self::Descriptor(number) => write!(f, "fd://{number}"),
        }
    }
}

/// A path of a Unix socket as ss(8) and others write it: a name without a file (unix(7)) begins with `@`.
fn shown(path: &Path) -> String {
    path.display().to_string().replace('\0', "@")
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
    /// This server listens there already: it was named twice.
    NamedTwice,
    /// The process may not (ports below 1024, folders it cannot write to).
    NotPermitted(io::Error),
    /// The path of a Unix socket leads to a file of another kind, which is left alone.
    NotASocket,
    /// An inherited descriptor is not open, or neither a listening stream socket nor a bound one for datagrams.
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
            BindCause::NamedTwice => {
                write!(f, "address {address} is named twice, or overlaps one named before it")
            }
            BindCause::NotASocket => {
                write!(f, "cannot listen on {address}: a file that is no socket stands there")
            }
            BindCause::NotAListener(error) => write!(f, "{address} is no listening socket: {error}"),
            BindCause::System(error) => write!(f, "cannot listen on {address}: {error}"),
        }?;
        match self.hint() {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl BindError {
    /// What to do about it, where the system's own message does not say.
    fn hint(&self) -> Option<&'static str> {
        let unix = self.address.starts_with("unix");
        let error = match &self.cause {
            BindCause::NotPermitted(_) if unix => {
                return Some("The folder has to be one that this user may write to.");
            }
            BindCause::NotPermitted(_) => {
                return Some(
                    "Ports below 1024 need the capability CAP_NET_BIND_SERVICE; take a higher one, or let a \
                     service manager or a proxy listen there.",
                );
            }
            BindCause::NotASocket => return Some("It is left alone: move it away, or take another path."),
            BindCause::NotAListener(_) => {
                return Some(
                    "Whoever starts the server has to hand it over open, bound and (but for datagrams) listening.",
                );
            }
            BindCause::System(error) => error,
            BindCause::InUse(_) | BindCause::NamedTwice => return None,
        };
        match error.kind() {
            io::ErrorKind::AddrNotAvailable => Some(
                "No interface of this machine has this address; 0.0.0.0 and [::] stand for all that it has.",
            ),
            io::ErrorKind::NotFound if unix => Some("The folder of the socket has to exist."),
            _ => None,
        }
    }
}

impl std::error::Error for BindError {}

/// What a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// A Unix stream socket.
    Unix,
    /// UDP over IPv4 or IPv6.
    Udp,
    /// A Unix socket for datagrams.
    Unixgram,
}

impl Kind {
    /// Whether datagrams come, and no connections.
    pub fn is_datagram(self) -> bool {
        matches!(self, Self::Udp | Self::Unixgram)
    }
}

/// The address that a listener has in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAddress {
    /// Address and port; the port is the one that the kernel chose where 0 was asked for.
    Tcp(SocketAddr),
    /// The path of a Unix socket; empty for one without a name.
    Unix(PathBuf),
    /// Address and port of a UDP socket.
    Udp(SocketAddr),
    /// The path of a Unix socket for datagrams; empty for one without a name.
    Unixgram(PathBuf),
}

impl LocalAddress {
    /// What the socket speaks.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Tcp(_) => Kind::Tcp,
            Self::Unix(_) => Kind::Unix,
            Self::Udp(_) => Kind::Udp,
            Self::Unixgram(_) => Kind::Unixgram,
        }
    }

    /// Address and port; `None` for a Unix socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Udp(address) => Some(*address),
            Self::Unix(_) | Self::Unixgram(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", shown(path)),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Unixgram(path) => write!(f, "unixgram:{}", shown(path)),
        }
    }
}

/// A listening socket, or one that receives datagrams: non-blocking and close-on-exec. One for TCP has `TCP_NODELAY`
/// set, which accepted sockets inherit on Linux.
#[derive(Debug)]
pub struct Listener {
    name: String,
    asked: String,
    local: LocalAddress,
    fd: OwnedFd,
}

impl Listener {
    /// What the user calls it; unless named, its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address as it was asked for, which differs from [`local`](Self::local) for hosts and for port 0. By this a
    /// server that replaces another knows which listener is which.
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// What it speaks.
    pub fn kind(&self) -> Kind {
        self.local.kind()
    }

    /// The address that it listens on.
    pub fn local(&self) -> &LocalAddress {
        &self.local
    }

    /// The address as a link where it can be one: `http://127.0.0.1:8000`, `unix:/run/app.sock`.
    pub fn url(&self) -> String {
        match &self.local {
            LocalAddress::Tcp(address) => format!("http://{address}"),
            other => other.to_string(),
        }
    }

    /// A second descriptor of the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            name: self.name.clone(),
            asked: self.asked.clone(),
            local: self.local.clone(),
            fd: self.fd.try_clone()?,
        })
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

/// The file of a Unix socket that this process made, or has taken over, and removes in the end.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Another process has it still.
    shared: bool,
}

/// Listeners that another server of ours hands over, which this process replaces: each by the address that it was
/// [asked](Listener::asked) for.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(String, OwnedFd)>);

impl Inherited {
    /// These, each with its address.
    pub fn new(list: Vec<(String, OwnedFd)>) -> Self {
        Self(list)
    }

    /// All for an address: a host name may have had several.
    fn take(&mut self, address: &str) -> Vec<OwnedFd> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(of, _)| of == address);
        self.0 = left;
        taken.into_iter().map(|(_, fd)| fd).collect()
    }
}

/// All listeners of a process. Whoever opened it removes the files of its Unix sockets, by
/// [`unlink`](Registry::unlink) or when it is dropped; forked copies never do.
#[derive(Debug)]
pub struct Registry {
    /// They may be handed to another process, with the files of Unix sockets.
    shareable: bool,
    listeners: Vec<Listener>,
    files: Vec<SocketFile>,
    owner: u32,
}

impl Registry {
    /// Opens all of `addresses`, each with its name (`None`: its address), or none of them.
    ///
    /// Sockets for datagrams are [listeners](Listener) too, of another [kind](Kind::is_datagram).
    ///
    /// `backlog` is the length of the queue of connections that are not accepted yet (listen(2)); the kernel bounds it
    /// by `net.core.somaxconn`.
    pub fn open(addresses: &[(Option<String>, BindAddress)], backlog: u32) -> Result<Self, BindError> {
        let mut registry = Self::open_or_adopt(addresses, backlog, &mut Inherited::default())?;
        registry.shareable = false;
        Ok(registry)
    }

    /// The same, where what is inherited takes the place of what would be opened. The files of Unix sockets among them
    /// stay the other process's until [`claim`](Self::claim).
    pub fn open_or_adopt(
        addresses: &[(Option<String>, BindAddress)],
        backlog: u32,
        inherited: &mut Inherited,
    ) -> Result<Self, BindError> {
        let mut registry =
            Self { shareable: true, listeners: Vec::new(), files: Vec::new(), owner: std::process::id() };
        for (name, address) in addresses {
            let asked = address.to_string();
            let handed = inherited.take(&asked);
            let shared = !handed.is_empty();
            let opened = if shared { bind::adopt_all(handed) } else { bind::bind(address, backlog) };
            let sockets = opened.map_err(|cause| {
                let twice = matches!(&cause, BindCause::InUse(Some(holder))
                    if holder.pid.0 == std::process::id() && !registry.listeners.is_empty());
                let cause = if twice { BindCause::NamedTwice } else { cause };
                BindError { address: asked.clone(), cause }
            })?;
            for (fd, local) in sockets {
                if let BindAddress::Unix { path, .. } | BindAddress::Unixgram { path, .. } = address {
                    registry.remember_file(path, shared);
                }
                let name = name.clone().unwrap_or_else(|| local.to_string());
                registry.listeners.push(Listener { name, asked: asked.clone(), local, fd });
            }
        }
        Ok(registry)
    }

    fn remember_file(&mut self, path: &Path, shared: bool) {
        // Absolute, since the process may change its folder before the end.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if let Ok(meta) = fs::symlink_metadata(&path) {
            self.files.push(SocketFile { path, device: meta.dev(), inode: meta.ino(), shared });
        }
    }

    /// The listeners that another process may take over: none of what was [opened](Self::open) for this one alone.
    pub fn shareable(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|_| self.shareable)
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

    /// The process that the listeners came from has ended: the files of its Unix sockets are this one's.
    pub fn claim(&mut self) {
        self.files.iter_mut().for_each(|file| file.shared = false);
    }

    /// Another process goes on with the listeners that it may have taken over: the files of their Unix sockets are left
    /// to it.
    pub fn leave_files(&mut self) {
        if self.shareable {
            self.files.clear();
        }
    }

    /// Gives the files of the Unix sockets to a user and a group (chown(2)).
    pub fn give_files(&self, account: &Account) -> io::Result<()> {
        for file in self.files.iter().filter(|file| file.is_there()) {
            std::os::unix::fs::lchown(&file.path, Some(account.user), Some(account.group))?;
        }
        Ok(())
    }

    /// Removes the files of the Unix sockets, if this process made them and they are still the same files.
    pub fn unlink(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        for file in self.files.drain(..) {
            if file.is_there() && !file.shared {
                // Somebody else removed it in between: as wanted.
                let _ = fs::remove_file(&file.path);
            }
        }
    }
}

impl SocketFile {
    /// Whether the path still leads to this file.
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.unlink();
    }
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
