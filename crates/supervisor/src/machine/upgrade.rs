//! One server takes another's place: a new supervisor is executed beside this one, and whoever is ended first leaves
//! the other serving.
//!
//! ```text
//!             executed            says it is ready          this one is told to end, or was to be replaced
//! ─ Upgrade ──────────> starting ─────────────────> beside ─────────────────────────────────────────────> handed over
//!                          │ it ends                   │ it ends
//!                          v                           v
//!                  this one serves on          this one serves on
//! ```

use std::time::Instant;

use stdserve_sys::process::{Exit, Pid};

use super::{Action, Level, Machine, StopHow};
use crate::exit_code;

/// Where this server stands among those that replace one another.
#[derive(Debug)]
pub(super) struct Succession {
    /// The server that this one replaces is still there.
    replaces: bool,
    successor: Option<Successor>,
}

impl Succession {
    pub(super) fn new(replaces: bool) -> Self {
        Self { replaces, successor: None }
    }
}

/// A server that was executed to take this one's place.
#[derive(Debug)]
struct Successor {
    /// Its process; `None` while it is being forked.
    pid: Option<Pid>,
    ready: bool,
    /// This server ends when that one is ready.
    replace: bool,
}

impl Machine {
    pub(super) fn upgrade(&mut self, replace: bool, actions: &mut Vec<Action>) {
        let refused = if self.ending.is_some() {
            Some("no new server is started: this one is ending".to_owned())
        } else if self.succession.replaces {
            Some("no new server is started: the one that this one replaces is still there".to_owned())
        } else {
            self.succession.successor.as_ref().map(|successor| {
                let pid = successor.pid.map_or_else(String::new, |pid| format!(", process {pid},"));
                format!("no other new server is started: one{pid} is there already")
            })
        };
        if let Some(text) = refused {
            actions.push(Action::Log(Level::Warning, text));
            return;
        }
        self.succession.successor = Some(Successor { pid: None, ready: false, replace });
        actions.push(Action::Log(Level::Info, "starting a new server beside this one".to_owned()));
        actions.push(Action::Execute);
    }

    pub(super) fn successor_executed(&mut self, pid: Pid) {
        if let Some(successor) = &mut self.succession.successor {
            successor.pid = Some(pid);
        }
    }

    pub(super) fn successor_failed(&mut self, why: &str, actions: &mut Vec<Action>) {
        self.succession.successor = None;
        let text = format!("no new server could be started, this one serves on: {why}");
        actions.push(Action::Log(Level::Error, text));
    }

    pub(super) fn successor_ready(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(successor) = &mut self.succession.successor else { return };
        let Some(pid) = successor.pid else { return };
        let replace = std::mem::take(&mut successor.replace);
        successor.ready = true;
        let then = if replace { "this one leaves" } else { "both serve until one is ended" };
        actions.push(Action::Log(Level::Info, format!("the new server, process {pid}, is ready: {then}")));
        if replace {
            let within = self.policy.graceful_timeout;
            self.end(exit_code::OK, StopHow::Graceful { within }, now, actions);
        }
    }

    /// A process has ended. Whether it was the new server.
    pub(super) fn successor_ended(&mut self, pid: Pid, exit: Exit, actions: &mut Vec<Action>) -> bool {
        let Some(successor) = self.succession.successor.take_if(|successor| successor.pid == Some(pid))
        else {
            return false;
        };
        if self.ending.is_none() {
            let (level, when) = match (successor.ready, exit) {
                (true, Exit::Code(0)) => (Level::Info, ""),
                (true, _) => (Level::Error, ""),
                (false, _) => (Level::Error, " before it was ready"),
            };
            let text = format!("the new server, process {pid}, {exit}{when}: this one serves on");
            actions.push(Action::Log(level, text));
        }
        true
    }

    pub(super) fn predecessor_ended(&mut self, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.succession.replaces) {
            let text = "the server that this one replaces has ended".to_owned();
            actions.push(Action::Log(Level::Info, text));
            actions.push(Action::Inherit);
        }
    }

    /// The server that goes on when this one has ended.
    pub(super) fn successor(&self) -> Option<Pid> {
        self.succession.successor.as_ref().and_then(|successor| successor.pid)
    }
}
