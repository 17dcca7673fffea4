//! Who holds an address: looked up in `/proc`, so that "address in use" can name the process.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::process::Pid;

/// A process that has a socket open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: Pid,
    /// Its command line, shortened.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// The first process that listens where `address` would. `None` where it belongs to another user and is not shown.
pub(crate) fn of_tcp(address: SocketAddr) -> Option<Holder> {
    // 0A: LISTEN.
    of_internet(address, ["/proc/net/tcp", "/proc/net/tcp6"], "0A")
}

/// The first process that receives UDP where `address` would.
pub(crate) fn of_udp(address: SocketAddr) -> Option<Holder> {
    // 07: the state of a socket that is not connected, which the tables call CLOSE.
    of_internet(address, ["/proc/net/udp", "/proc/net/udp6"], "07")
}

fn of_internet(address: SocketAddr, tables: [&str; 2], state: &str) -> Option<Holder> {
    let mut inodes = Vec::new();
    for table in tables {
        let Ok(text) = fs::read_to_string(table) else { continue };
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            // sl, local_address, rem_address, st, …, inode at 9 (proc(5)).
            let (Some(local), Some(found), Some(inode)) = (words.get(1), words.get(3), words.get(9)) else {
                continue;
            };
            if *found != state {
                continue;
            }
            let overlaps = parse_local(local).is_some_and(|(ip, port)| {
                port == address.port()
                    && (ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified())
            });
            if overlaps {
                inodes.push((*inode).to_owned());
            }
        }
    }
    of_inodes(&inodes)
}

/// The first process that has the Unix socket of this path open.
pub(crate) fn of_unix(path: &Path) -> Option<Holder> {
    let text = fs::read("/proc/net/unix").ok()?;
    let mut inodes = Vec::new();
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        // Num, RefCount, Protocol, Flags, Type, St, Inode, Path (proc(5)).
        let (Some(inode), Some(named)) = (words.nth(6), words.next()) else { continue };
        if named == path.as_os_str().as_bytes() {
            inodes.push(String::from_utf8_lossy(inode).into_owned());
        }
    }
    of_inodes(&inodes)
}

/// `0100007F:1F90`: the address in words of the machine's own byte order, the port in hexadecimal.
fn parse_local(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = if ip.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let mut bytes = [0; 16];
        for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
            chunk.copy_from_slice(&word(index * 8)?);
        }
        Ipv6Addr::from(bytes).to_canonical()
    };
    Some((ip, port))
}

fn of_inodes(inodes: &[String]) -> Option<Holder> {
    let wanted: Vec<_> =
        inodes.iter().filter(|inode| *inode != "0").map(|inode| format!("socket:[{inode}]")).collect();
    if wanted.is_empty() {
        return None;
    }
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // The oldest of several is the parent, as a rule.
    pids.sort_unstable();
    pids.into_iter()
        .map(Pid)
        .find(|pid| has_open(*pid, &wanted))
        .map(|pid| Holder { pid, command: command(pid) })
}

fn has_open(pid: Pid, wanted: &[String]) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| wanted.iter().any(|name| target.as_os_str() == name.as_str()))
}

fn command(pid: Pid) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&line).replace('\0', " ");
    let text: String = text.trim_end().chars().filter(|c| !c.is_control()).take(80).collect();
    if text.is_empty() { "unknown command".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_this_process_behind_its_own_listener() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let holder = of_tcp(listener.local_addr().unwrap()).unwrap();
            assert_eq!(holder.pid, Pid::this());
            assert_ne!(holder.command, "unknown command");
            let Ok(socket) = std::net::UdpSocket::bind(address) else { continue };
            assert_eq!(of_udp(socket.local_addr().unwrap()).unwrap().pid, Pid::this());
        }
    }

    #[test]
    fn addresses_of_the_table() {
        if cfg!(target_endian = "little") {
            assert_eq!(parse_local("0100007F:1F90"), Some((Ipv4Addr::LOCALHOST.into(), 8080)));
            let v6 = parse_local("00000000000000000000000001000000:0050");
            assert_eq!(v6, Some((Ipv6Addr::LOCALHOST.into(), 80)));
        }
        assert_eq!(parse_local("zz:1"), None);
        assert_eq!(parse_local("0100:1"), None);
    }
}
