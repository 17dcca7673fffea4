//! Who waits for this start: the command that started a daemon, or the supervisor that this one is to replace.
//!
//! They are told what goes wrong, when the server is ready, and with which code it ended where it never was.

use std::io::{self, Write};

use stdserve_supervisor::{FromStarted, exit_code};
use stdserve_sys::channel::Channel;
use stdserve_sys::daemon::{self, Detached};
use stdserve_sys::process::{ForkError, ForkHooks};

/// The way to who waits; without one nobody does.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    channel: Option<Channel>,
}

/// What came of [`Launch::detach`].
pub(crate) enum Start {
    /// This is the command that was started: the server has got so far, and this is the command's exit code.
    Told(i32),
    /// This is the server, in the background.
    GoOn(Launch),
}

impl Launch {
    /// Goes on in the background, in a child's child. The process must have one thread.
    pub(crate) fn detach(hooks: &mut dyn ForkHooks) -> Result<Start, ForkError> {
        let (ours, theirs) = Channel::pair()?;
        match daemon::detach(hooks)? {
            Detached::Starter => {
                drop(theirs);
                Ok(Start::Told(wait(&ours)))
            }
            Detached::Daemon => {
                drop(ours);
                let launch = Self { channel: Some(theirs) };
                daemon::silence()?;
                Ok(Start::GoOn(launch))
            }
        }
    }

    /// The server that waits for its successor, at the other end of this channel.
    pub(crate) fn by_predecessor(channel: Channel) -> Self {
        Self { channel: Some(channel) }
    }

    /// Whether somebody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.channel.is_some()
    }

    /// Tells of what is wrong.
    pub(crate) fn say(&self, text: &str) {
        self.tell(&FromStarted::Said(text.to_owned()));
    }

    /// The server serves: nobody waits any longer.
    pub(crate) fn ready(&mut self) {
        self.tell(&FromStarted::Ready);
        self.channel = None;
    }

    /// It ended, and never was ready.
    pub(crate) fn ended(&mut self, code: i32) {
        self.tell(&FromStarted::Ended(code));
        self.channel = None;
    }

    fn tell(&self, message: &FromStarted) {
        if let Some(channel) = &self.channel {
            // Who has left has nothing to wait for.
            let _ = channel.send(&message.encode(), None);
        }
    }
}

/// The command that started a daemon: passes on what that says, and returns with its code.
fn wait(channel: &Channel) -> i32 {
    while let Ok(Some(message)) = channel.receive() {
        match FromStarted::decode(&message.bytes) {
            Some(FromStarted::Said(text)) => {
                let _ = writeln!(io::stderr(), "{text}");
            }
            Some(FromStarted::Ready) => return exit_code::OK,
            Some(FromStarted::Ended(code)) => return code,
            None => {}
        }
    }
    crate::complain(&"the server was ended before it was ready", exit_code::WORKERS_FAIL)
}
