//! What the supervisor leaves to its host, the program that it is a part of: forking an interpreter, reading the
//! configuration, logs, and executing another server.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use stdserve_sys::channel::Channel;
use stdserve_sys::listener::Listener;
use stdserve_sys::process::{Fork, ForkError, Pid};

use crate::machine::{Action, Configured, Level, Machine};
use crate::plane::{Plane, Setting};
use crate::seats::TemplateSeat;

/// What only the host of the application can do.
pub trait Host {
    /// Forks this process, with the host language's hooks around it.
    fn fork(&mut self) -> Result<Fork, ForkError>;
    /// The child's life as a template. Everything of the supervisor's is closed and no signal is blocked.
    fn template(&mut self, seat: TemplateSeat) -> !;
    /// Writes a log line.
    fn log(&mut self, level: Level, text: &str);
    /// Opens the log files again by their paths.
    fn reopen(&mut self);
    /// Reads the configuration again and keeps it for [`adopt`](Self::adopt). An error says what is wrong with it, for
    /// the log. What it changes that cannot be changed now is named in the log by this.
    fn configure(&mut self) -> Result<Configured, String>;
    /// The settings that were read last are those of this load of a group, and of later ones.
    fn adopt(&mut self, group: usize, generation: u64);
    /// This load of a group serves: the settings of all others are needed no more.
    fn keep(&mut self, group: usize, generation: u64);
    /// All workers are ready for the first time.
    fn ready(&mut self);
    /// The end has begun: close this process's copies of the listeners, so that nobody queues who is not served.
    fn close_listeners(&mut self);
    /// The end has begun, and another server goes on: this one.
    fn announce(&mut self, _successor: Pid) {}
    /// Executes a new server, which is given `channel` and the listeners: those of the host, and these of the plane.
    fn execute(&mut self, _channel: BorrowedFd<'_>, _plane: &[&Listener]) -> io::Result<Pid> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// This server has ended, but for its exit: what only one can have is left to the one that goes on.
    fn hand_over(&mut self) {}
    /// The way to the server that this one replaces, where there is one. Asked once, at the start.
    fn predecessor(&mut self) -> Option<Channel> {
        None
    }
    /// The server that this one replaces has ended.
    fn inherit(&mut self) {}
    /// A reload has begun, or was refused at once.
    fn reloading(&mut self) {}
    /// Called after each round, for whoever wants to know how things stand. Returns when it wants to be called again.
    fn turn(&mut self, _machine: &Machine, _now: Instant) -> Option<Instant> {
        None
    }
    /// The operations plane, where there is to be one. Asked once, at the start.
    fn plane(&mut self) -> Option<Plane> {
        None
    }
    /// From now on messages of this level and the graver ones are logged, by rank: 0 debug, 1 info, 2 warning, 3 error,
    /// 4 critical.
    fn set_log_level(&mut self, _rank: u8) {}
    /// The options that count, as operators may see them.
    fn options(&self) -> Vec<Setting> {
        Vec::new()
    }
}

/// Carries out what concerns the host alone; all else is the runner's.
pub(crate) fn tell_host(action: &Action, host: &mut dyn Host) {
    match *action {
        Action::Ready => host.ready(),
        Action::Adopt { group, generation } => host.adopt(group, generation),
        Action::Keep { group, generation } => host.keep(group, generation),
        Action::Announce(pid) => host.announce(pid),
        Action::HandOver => host.hand_over(),
        Action::Inherit => host.inherit(),
        _ => {}
    }
}
