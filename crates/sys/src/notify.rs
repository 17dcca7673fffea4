//! Telling the service manager how it goes: `sd_notify(3)`, and what it asks of a watched service.
//!
//! A message is a datagram of `NAME=value` lines to the Unix socket that `NOTIFY_SOCKET` names. Sending never waits:
//! what the manager has no room for now is kept, in order, and sent later. Every function here does nothing where no
//! manager asked to be told.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::process::Pid;

/// How many messages wait at most; of more the oldest are given up.
const WAITING: usize = 16;

/// The variables that concern one process alone: not for its children.
pub const VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The way to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: OwnedFd,
    address: SocketAddrUnix,
    waiting: VecDeque<String>,
}

impl Notifier {
    /// To the socket of this path; a name that begins with `@` is an abstract one (unix(7)).
    pub fn new(path: &OsStr) -> io::Result<Self> {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            [b'/', ..] => SocketAddrUnix::new(path)?,
            // Others (vsock:) are for whole virtual machines.
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "neither a path nor an abstract name",
                ));
            }
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        Ok(Self { socket, address, waiting: VecDeque::new() })
    }

    /// Sends a message: lines of `NAME=value`. Where there is no room it waits for the next [`flush`](Self::flush). An
    /// error says that the manager is not there any more.
    pub fn send(&mut self, message: String) -> io::Result<()> {
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(message);
        self.flush()
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(message) = self.waiting.front() {
            let sent =
                rustix::net::sendto(&self.socket, message.as_bytes(), SendFlags::NOSIGNAL, &self.address);
            match sent {
                Ok(_) => {
                    self.waiting.pop_front();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => return Ok(()),
                Err(error) => {
                    self.waiting.clear();
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Whether messages wait.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// The time on the clock that `RELOADING=1` is told with: `MONOTONIC_USEC`, in microseconds.
pub fn monotonic_usec() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// How often the manager wants to hear that all is well (`sd_watchdog_enabled(3)`); `None`: not at all, or it means
/// another process than those of `meant`. `lookup` reads the environment: `WATCHDOG_USEC`, `WATCHDOG_PID`.
pub fn watchdog(lookup: impl Fn(&str) -> Option<String>, meant: &[Pid]) -> Option<Duration> {
    let for_us = match lookup("WATCHDOG_PID") {
        Some(pid) => meant.contains(&Pid(pid.parse().ok()?)),
        None => true,
    };
    let limit = lookup("WATCHDOG_USEC")?.parse().ok().filter(|limit| *limit > 0)?;
    for_us.then(|| Duration::from_micros(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    fn receiver(name: &str) -> (UnixDatagram, String) {
        let name = format!("stdserve-notify-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
    }

    fn read(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn messages_arrive_whole() {
        let (socket, name) = receiver("whole");
        let mut notifier = Notifier::new(OsStr::new(&name)).unwrap();
        notifier.send("READY=1\nSTATUS=well".into()).unwrap();
        assert_eq!(read(&socket), "READY=1\nSTATUS=well");
    }

    #[test]
    fn what_has_no_room_comes_later_and_in_order() {
        let (socket, name) = receiver("later");
        let mut notifier = Notifier::new(OsStr::new(&name)).unwrap();
        let mut sent = 0;
        while !notifier.is_behind() {
            notifier.send(format!("N={sent}")).unwrap();
            sent += 1;
            assert!(sent < 100_000, "no queue is that long");
        }
        for expected in 0..sent {
            assert_eq!(read(&socket), format!("N={expected}"));
            notifier.flush().unwrap();
        }
        assert!(!notifier.is_behind());
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_and_nothing_is_kept_for_it() {
        let (socket, name) = receiver("gone");
        drop(socket);
        let mut notifier = Notifier::new(OsStr::new(&name)).unwrap();
        assert!(notifier.send("READY=1".into()).is_err());
        assert!(!notifier.is_behind());
        for bad in ["", "relative", "vsock:2:1234"] {
            assert!(Notifier::new(OsStr::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_watchdog_is_meant_for_one_process() {
        let told = |usec: &'static str, pid: Option<&'static str>| {
            let lookup = move |name: &str| match name {
                "WATCHDOG_USEC" => Some(usec.to_owned()),
                "WATCHDOG_PID" => pid.map(str::to_owned),
                _ => None,
            };
            watchdog(lookup, &[Pid(7), Pid(8)])
        };
        let limit = Some(Duration::from_secs(3));
        assert_eq!([told("3000000", None), told("3000000", Some("8"))], [limit, limit]);
        for (usec, pid) in [("3000000", Some("9")), ("0", None), ("x", None), ("3000000", Some("x"))] {
            assert_eq!(told(usec, pid), None, "{usec} {pid:?}");
        }
        assert_eq!(watchdog(|_| None, &[Pid(7)]), None);
    }
}
