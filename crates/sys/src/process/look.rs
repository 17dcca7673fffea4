//! What the machine shows of processes (`/proc/PID/stat`, proc(5)).

use std::fs;
use std::time::Duration;

use super::Pid;

/// A process, as it is seen from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Its number.
    pub pid: Pid,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its parent.
    pub parent: Pid,
    /// Processor time used, by all its threads.
    pub cpu: Duration,
    /// How long it has been there.
    pub age: Duration,
    /// Resident memory, in bytes.
    pub rss: u64,
}

/// One process; `None`: there is none, or it has ended and was not waited for.
pub fn look(pid: Pid) -> Option<Look> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &text, uptime()?)
}

/// The children of a process.
pub fn children(parent: Pid) -> Vec<Look> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<Look> =
        pids.filter_map(|pid| look(Pid(pid))).filter(|found| found.parent == parent).collect();
    found.sort_by_key(|found| found.pid);
    found
}

fn uptime() -> Option<Duration> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?))
}

fn parse(pid: Pid, text: &str, uptime: Duration) -> Option<Look> {
    // The name stands in parentheses and may hold anything, a closing one included.
    let (start, end) = (text.find('(')?, text.rfind(')')?);
    let rest: Vec<&str> = text.get(end + 1..)?.split_ascii_whitespace().collect();
    // state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime … starttime at 19, rss at 21.
    if matches!(*rest.first()?, "Z" | "X") {
        return None;
    }
    let number = |at: usize| rest.get(at)?.parse::<u64>().ok();
    let ticks = rustix::param::clock_ticks_per_second();
    let time = |count: u64| Duration::from_millis(count.saturating_mul(1000) / ticks.max(1));
    Some(Look {
        pid,
        name: text.get(start + 1..end)?.to_owned(),
        parent: Pid(u32::try_from(number(1)?).ok()?),
        cpu: time(number(11)?.saturating_add(number(12)?)),
        age: uptime.saturating_sub(time(number(19)?)),
        rss: number(21)?.saturating_mul(rustix::param::page_size() as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let me = look(Pid::this()).unwrap();
        assert!(me.rss > 100_000 && me.parent == Pid::parent());
        assert!(children(Pid::this()).iter().any(|found| found.pid == Pid(child.id())));
        child.kill().unwrap();
        // It has ended, and nobody has waited for it.
        super::super::Handle::open(Pid(child.id())).unwrap().wait(None).unwrap();
        assert_eq!(look(Pid(child.id())), None);
        child.wait().unwrap();
    }

    #[test]
    fn names_may_hold_anything() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 500 1000 3 0";
        let found = parse(Pid(7), text, Duration::from_secs(60)).unwrap();
        assert_eq!((found.name.as_str(), found.parent), ("a) b (c", Pid(1)));
        assert_eq!((found.cpu, found.age), (Duration::from_secs(2), Duration::from_secs(55)));
        for rubbish in ["", "7 (", ")(", "7 (a) S", "7 (a) S x y"] {
            assert_eq!(parse(Pid(7), rubbish, Duration::ZERO), None);
        }
    }
}
