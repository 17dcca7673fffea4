//! `stdserve stop | reload | status`: speaks to a server that runs, which its pid file names.
//!
//! Whose the file is says its lock, not its number: see [`stdserve_sys::pidfile`]. While a server replaces itself
//! there are two, and the new one has a file of its own beside the old one's.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stdserve_config::{Control, Order};
use stdserve_supervisor::exit_code;
use stdserve_sys::pidfile::{self, PidFileError};
use stdserve_sys::process::{self, Handle, Look};
use stdserve_sys::signals::{SIGHUP, SIGTERM};

use crate::complain;

/// Exit codes of an init script (Linux Standard Base, "Init Script Actions").
mod lsb {
    /// `status`: it does not run, and its file is there.
    pub(super) const DEAD: i32 = 1;
    /// `status`: it does not run.
    pub(super) const STOPPED: i32 = 3;
    /// Another order to one that does not run.
    pub(super) const NOT_RUNNING: i32 = 7;
}

/// What a file of a server that replaces another is called until that one has left, as gunicorn has it.
pub(crate) fn successor(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".2");
    name.into()
}

/// Does what was asked; returns the exit code.
pub(crate) fn carry_out(control: &Control) -> i32 {
    let path = control.chdir.as_ref().map_or_else(|| control.pid.clone(), |at| at.join(&control.pid));
    let done = match control.order {
        Order::Stop => stop(&path).map(|ended| {
            say(if ended { "stopped" } else { "nothing runs" });
            exit_code::OK
        }),
        Order::Reload => reload(&path),
        Order::Status => status(&path),
    };
    done.unwrap_or_else(|why| complain(&format!("{}: {why}", path.display()), exit_code::USAGE))
}

fn say(text: &str) {
    // A reader that has left wants no more of it.
    let _ = writeln!(io::stdout(), "{text}");
}

/// The process that holds a file, held itself.
fn find(path: &Path) -> Result<Option<(process::Pid, Handle)>, PidFileError> {
    loop {
        let Some(pid) = pidfile::holder(path)? else { return Ok(None) };
        match Handle::open(pid) {
            // It is still the holder, so the handle is that of no other.
            Ok(handle) if pidfile::holder(path)? == Some(pid) => return Ok(Some((pid, handle))),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends the server of that file, and one that is about to take its place; waits until both have ended. Whether there
/// was one.
pub(crate) fn stop(path: &Path) -> Result<bool, PidFileError> {
    let mut ended = false;
    // The new one first: otherwise it would take the name of the old one's file meanwhile.
    loop {
        let (found, old) = match find(&successor(path))? {
            Some(found) => (found, false),
            None => match find(path)? {
                Some(found) => (found, true),
                None => return Ok(ended),
            },
        };
        ended = true;
        match found.1.signal(SIGTERM) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // The end has a deadline of its own: --graceful-timeout.
        found.1.wait(None)?;
        if old {
            return Ok(true);
        }
    }
}

fn reload(path: &Path) -> Result<i32, PidFileError> {
    let Some((pid, handle)) = find(path)? else {
        return Ok(complain(&format!("{}: nothing runs", path.display()), lsb::NOT_RUNNING));
    };
    match handle.signal(SIGHUP) {
        Ok(()) => {
            say(&format!("process {pid} reloads; its log says how that goes"));
            Ok(exit_code::OK)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(complain(&format!("{}: nothing runs", path.display()), lsb::NOT_RUNNING))
        }
        Err(error) => Err(error.into()),
    }
}

fn status(path: &Path) -> Result<i32, PidFileError> {
    let mut rows = Vec::new();
    let new = pidfile::holder(&successor(path))?;
    for (holder, what) in [(pidfile::holder(path)?, "supervisor"), (new, "successor")] {
        let Some(found) = holder.and_then(process::look) else { continue };
        let pid = found.pid;
        rows.push((what, found));
        // The new one is the old one's child, and has rows of its own.
        let children = process::children(pid).into_iter().filter(|child| Some(child.pid) != new);
        rows.extend(children.map(|child| (role(&child), child)));
    }
    if rows.is_empty() {
        let left = path.exists();
        say(&format!("nothing runs{}", if left { ": the pid file was left behind" } else { "" }));
        return Ok(if left { lsb::DEAD } else { lsb::STOPPED });
    }
    say(&format!("{:>9}  {:10}  {:>10}  {:>8}  {:>9}", "PID", "ROLE", "UP", "CPU", "MEMORY"));
    for (role, look) in rows {
        let (age, cpu, memory) = (clock(look.age), clock(look.cpu), look.rss >> 10);
        say(&format!("{:>9}  {role:10}  {age:>10}  {cpu:>8}  {memory:>5} KiB", look.pid));
    }
    Ok(exit_code::OK)
}

fn role(look: &Look) -> &'static str {
    match look.name.as_str() {
        "stdserve:worker" => "worker",
        "stdserve:templ" => "template",
        // A new server that has no file yet, or what the application left behind.
        _ => "other",
    }
}

/// `1-02:03:04`, as ps(1) writes times.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let rest = format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => rest,
        (0, hours) => format!("{hours:02}:{rest}"),
        (days, hours) => format!("{days}-{hours:02}:{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_ps_writes_them() {
        for (seconds, text) in [(0, "00:00"), (3599, "59:59"), (3600, "01:00:00"), (93_784, "1-02:03:04")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }
}
