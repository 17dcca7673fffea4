//! One server executes another in its place (SIGUSR2): what the old one hands to the new one, and how the new one
//! knows.
//!
//! The new one gets a channel as descriptor 3 and the listeners from 4 on; a variable of its environment says whose
//! they are and for which addresses. Through the channel it says what goes wrong and that it is ready; its end is how
//! it learns that the old one has gone.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use stdserve_sys::channel::Channel;
use stdserve_sys::listener::{Inherited, Listener};
use stdserve_sys::process::{self, Origin, Pid, Program};

use crate::launch::Launch;

/// The variable: the number of the old server, then the address of each listener, a line each.
pub(crate) const VARIABLE: &str = "_STDSERVE_PREDECESSOR";

/// Variables whose value is the number of the process that they are meant for (`sd_listen_fds(3)`,
/// `sd_watchdog_enabled(3)`).
const MEANT_FOR: [&str; 2] = ["LISTEN_PID", "WATCHDOG_PID"];

/// The number of the channel.
const CHANNEL: i32 = 3;

/// The server that this one replaces.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pid: Pid,
    channel: Option<Channel>,
    listeners: Inherited,
}

/// The server that has executed this process to be replaced by it, if one has.
pub(crate) fn predecessor() -> Option<Predecessor> {
    let told = std::env::var_os(VARIABLE)?;
    let told = told.to_str()?;
    let (pid, addresses) = parse(told)?;
    // Somebody else's child, which has got the variable from further up, has nothing at these numbers.
    if pid != Pid::parent() {
        return None;
    }
    let channel = Channel::from(process::take_descriptor(CHANNEL).ok()?);
    let take = |(address, number): (String, i32)| Some((address, process::take_descriptor(number).ok()?));
    let listeners = addresses.into_iter().zip(CHANNEL + 1..).filter_map(take).collect();
    Some(Predecessor { pid, channel: Some(channel), listeners: Inherited::new(listeners) })
}

impl Predecessor {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// It waits for this server to be ready.
    pub(crate) fn launch(&self) -> Launch {
        let copy = self.channel.as_ref().and_then(|channel| channel.as_fd().try_clone_to_owned().ok());
        copy.map(|fd| Launch::by_predecessor(Channel::from(fd))).unwrap_or_default()
    }

    pub(crate) fn listeners(&mut self) -> Inherited {
        std::mem::take(&mut self.listeners)
    }

    pub(crate) fn take_channel(&mut self) -> Option<Channel> {
        self.channel.take()
    }
}

/// Executes this program anew, as it was started, from where it was started.
pub(crate) fn execute(origin: &Origin, channel: BorrowedFd<'_>, listeners: &[&Listener]) -> io::Result<Pid> {
    let folder = File::open(&origin.folder)?;
    let environment = environment(origin, listeners.iter().map(|listener| listener.asked()))?;
    let strings: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
    let arguments: Vec<&CStr> = origin.arguments.iter().map(CString::as_c_str).collect();
    let descriptors: Vec<_> =
        std::iter::once(channel).chain(listeners.iter().map(|one| one.as_fd())).collect();
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let child = process::spawn(&Program {
        path: &origin.program,
        arguments: &arguments,
        environment: &strings,
        folder: folder.as_fd(),
        streams: [input.as_fd(), output.as_fd(), error.as_fd()],
        descriptors: &descriptors,
        session: false,
        limits: &[],
        account: None,
    });
    let program = || OsStr::from_bytes(origin.program.as_bytes()).to_string_lossy().into_owned();
    let child = child.map_err(|error| io::Error::other(format!("{}: {error}", program())))?;
    Ok(child.release())
}

/// The environment of the new server: the old one's, with what is said to this one said to the next.
fn environment<'a>(origin: &Origin, addresses: impl Iterator<Item = &'a str>) -> io::Result<Vec<CString>> {
    let own = Pid::this().to_string();
    // What was meant for this process, or for the one that it replaced, is handed on.
    let meant = |value: &[u8]| value == own.as_bytes() || told_pid(origin).is_some_and(|pid| value == pid);
    let mut variables = Vec::new();
    for entry in &origin.environment {
        let (name, value) = split(entry.as_bytes());
        if name == VARIABLE.as_bytes() {
            continue;
        }
        if MEANT_FOR.iter().any(|known| known.as_bytes() == name) && meant(value) {
            let name = String::from_utf8_lossy(name);
            variables.push(CString::new(format!("{name}={own}"))?);
        } else {
            variables.push(entry.clone());
        }
    }
    variables.push(CString::new(format!("{VARIABLE}={}", format(&own, addresses)))?);
    Ok(variables)
}

/// The server that this one has replaced, as text.
fn told_pid(origin: &Origin) -> Option<&[u8]> {
    let entry = origin.environment.iter().map(|entry| split(entry.as_bytes()));
    let (_, value) = entry.into_iter().find(|(name, _)| *name == VARIABLE.as_bytes())?;
    value.split(|byte| *byte == b'\n').next()
}

fn split(entry: &[u8]) -> (&[u8], &[u8]) {
    match entry.iter().position(|byte| *byte == b'=') {
        Some(at) => (&entry[..at], &entry[at + 1..]),
        None => (entry, &[]),
    }
}

/// A line each. Paths may hold line ends, too.
fn format<'a>(pid: &str, addresses: impl Iterator<Item = &'a str>) -> String {
    let mut text = pid.to_owned();
    for address in addresses {
        text.push('\n');
        text.push_str(&address.replace('%', "%25").replace('\n', "%0A"));
    }
    text
}

fn parse(text: &str) -> Option<(Pid, Vec<String>)> {
    let mut lines = text.split('\n');
    let pid = Pid(lines.next()?.parse().ok()?);
    Some((pid, lines.map(|line| line.replace("%0A", "\n").replace("%25", "%")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_meant_for_the_old_server_is_meant_for_the_new_one() {
        let own = Pid::this().to_string();
        let entries = [
            "A=1".to_owned(),
            format!("LISTEN_PID={own}"),
            "WATCHDOG_PID=17".to_owned(),
            format!("{VARIABLE}=17\n127.0.0.1:80"),
        ];
        let origin = Origin {
            program: c"/bin/true".to_owned(),
            arguments: Vec::new(),
            environment: entries.into_iter().map(|entry| CString::new(entry).expect("no NUL")).collect(),
            folder: "/".into(),
        };
        let found = environment(&origin, ["unix:a"].into_iter()).expect("no NUL");
        let found: Vec<_> = found.iter().map(|entry| entry.to_string_lossy().into_owned()).collect();
        let wanted = [
            "A=1".to_owned(),
            format!("LISTEN_PID={own}"),
            format!("WATCHDOG_PID={own}"),
            format!("{VARIABLE}={own}\nunix:a"),
        ];
        assert_eq!(found, wanted);
    }

    proptest! {
        #[test]
        fn addresses_come_through(pid: u32, addresses in proptest::collection::vec("(\\PC|\n|%|0|A){0,12}", 0..4)) {
            let text = format(&pid.to_string(), addresses.iter().map(String::as_str));
            prop_assert_eq!(parse(&text), Some((Pid(pid), addresses)));
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(text: String) {
            let _ = parse(&text);
        }
    }
}
