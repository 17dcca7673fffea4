//! What supervisor, template and worker say to each other: one message of a channel each.
//!
//! All ends run the same binary, so the form needs no version: a tag, numbers of eight bytes, text to the end.

use std::time::Duration;

use stdserve_sys::process::Pid;

/// The longest text in a message, in bytes; longer ones are cut.
const TEXT_LIMIT: usize = 16 * 1024;

/// From the supervisor to a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToTemplate {
    /// Fork a worker. The worker's end of its channel comes along.
    Spawn {
        /// The supervisor's name for it.
        worker: u64,
        /// Its row of the scoreboard.
        slot: u64,
        /// Which load of the application it serves.
        generation: u64,
    },
    /// What has happened. It needs no answer.
    Told(Notice),
}

/// What a template is told: most of it for hooks of the application, which run in no other process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A worker of the group has ended.
    WorkerEnded {
        /// Which.
        worker: u64,
        /// What its process was.
        pid: Pid,
    },
    /// The group is to have another number of workers.
    Workers {
        /// How many it was to have.
        before: u64,
        /// How many from now on.
        now: u64,
    },
    /// The supervisor is about to be replaced by a newly executed one.
    Upgrading,
    /// The log files are to be opened again by their paths: they were moved away.
    Reopen,
    /// The server ends. The template's channel is closed next; what has to come last waits until the workers have left.
    Ending,
}

/// From a template to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromTemplate {
    /// Workers can be forked.
    Ready,
    /// A worker was forked; it goes on only after this was sent.
    Forked {
        /// Which.
        worker: u64,
        /// Its process.
        pid: Pid,
    },
    /// The application could not be loaded.
    LoadFailed(String),
    /// A worker could not be forked.
    ForkFailed {
        /// Which.
        worker: u64,
        /// Why.
        reason: String,
    },
}

/// From the supervisor to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// Accept no more, finish what runs and what is queued, within this time; then end.
    Drain(Duration),
    /// End at once.
    StopNow,
    /// Open the log files again by their paths: they were moved away.
    Reopen,
    /// Log from this level on, by rank: 0 debug, 1 info, 2 warning, 3 error, 4 nothing but the end.
    LogLevel(u8),
    /// Write an autopsy of all threads to the error log, and send it as [`FromWorker::Autopsy`].
    Stacks,
}

/// From a worker to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// It accepts connections.
    Ready,
    /// The application could not be loaded.
    LoadFailed(String),
    /// Replace me: a limit was met, or an exception was put into a thread. It goes on until it is told to drain. A
    /// word for the figures (such as `timeout`), where one is wanted followed by a colon and the story.
    Retire(String),
    /// Files have changed since it was loaded: load it anew. The text names them and their state, so that the same
    /// change is the same text from every worker.
    Changed {
        /// Whether the configuration is among them.
        configuration: bool,
        /// Which, a line each.
        what: String,
    },
    /// What its threads do, or one of them that is late: kept for the operator. Already in its error log.
    Autopsy(String),
}

/// From a server that starts to who waits for it: the command that went on in the background, or the supervisor that
/// it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromStarted {
    /// Something went wrong.
    Said(String),
    /// It serves.
    Ready,
    /// It ended with this code.
    Ended(i32),
}

fn encode(tag: u8, numbers: &[u64], text: &str) -> Vec<u8> {
    let mut bytes = vec![tag];
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    // The end of a traceback says most.
    bytes.extend_from_slice(&text.as_bytes()[text.len().saturating_sub(TEXT_LIMIT)..]);
    bytes
}

fn decode<const N: usize>(bytes: &[u8]) -> Option<([u64; N], String)> {
    let (words, text) = bytes.split_at_checked(8 * N)?;
    let mut numbers = [0; N];
    for (number, word) in numbers.iter_mut().zip(words.chunks_exact(8)) {
        *number = u64::from_le_bytes(word.try_into().ok()?);
    }
    Some((numbers, String::from_utf8_lossy(text).into_owned()))
}

impl ToTemplate {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Spawn { worker, slot, generation } => encode(b'S', &[*worker, *slot, *generation], ""),
            Self::Told(Notice::WorkerEnded { worker, pid }) => encode(b'E', &[*worker, u64::from(pid.0)], ""),
            Self::Told(Notice::Workers { before, now }) => encode(b'W', &[*before, *now], ""),
            Self::Told(Notice::Upgrading) => encode(b'U', &[], ""),
            Self::Told(Notice::Reopen) => encode(b'O', &[], ""),
            Self::Told(Notice::Ending) => encode(b'X', &[], ""),
        }
    }

    /// From bytes; `None` when they are no such message.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(match bytes.split_first()? {
            (b'S', rest) => {
                let ([worker, slot, generation], _) = decode(rest)?;
                Self::Spawn { worker, slot, generation }
            }
            (b'E', rest) => {
                let ([worker, pid], _) = decode(rest)?;
                Self::Told(Notice::WorkerEnded { worker, pid: Pid(u32::try_from(pid).ok()?) })
            }
            (b'W', rest) => {
                let ([before, now], _) = decode(rest)?;
                Self::Told(Notice::Workers { before, now })
            }
            (b'U', _) => Self::Told(Notice::Upgrading),
            (b'O', _) => Self::Told(Notice::Reopen),
            (b'X', _) => Self::Told(Notice::Ending),
            _ => return None,
        })
    }
}

impl FromTemplate {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => encode(b'R', &[], ""),
            Self::Forked { worker, pid } => encode(b'F', &[*worker, u64::from(pid.0)], ""),
            Self::LoadFailed(why) => encode(b'L', &[], why),
            Self::ForkFailed { worker, reason } => encode(b'X', &[*worker], reason),
        }
    }

    /// From bytes; `None` when they are no such message.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'R', _) => Some(Self::Ready),
            (b'L', rest) => Some(Self::LoadFailed(String::from_utf8_lossy(rest).into_owned())),
            (b'F', rest) => {
                let ([worker, pid], _) = decode(rest)?;
                Some(Self::Forked { worker, pid: Pid(u32::try_from(pid).ok()?) })
            }
            (b'X', rest) => {
                let ([worker], reason) = decode(rest)?;
                Some(Self::ForkFailed { worker, reason })
            }
            _ => None,
        }
    }
}

impl ToWorker {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Drain(within) => encode(b'D', &[u64::try_from(within.as_millis()).unwrap_or(u64::MAX)], ""),
            Self::StopNow => encode(b'N', &[], ""),
            Self::Reopen => encode(b'O', &[], ""),
            Self::LogLevel(rank) => encode(b'V', &[u64::from(*rank)], ""),
            Self::Stacks => encode(b'S', &[], ""),
        }
    }

    /// From bytes; `None` when they are no such message.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'D', rest) => {
                let ([within], _) = decode(rest)?;
                Some(Self::Drain(Duration::from_millis(within)))
            }
            (b'N', _) => Some(Self::StopNow),
            (b'O', _) => Some(Self::Reopen),
            (b'V', rest) => {
                let ([rank], _) = decode(rest)?;
                Some(Self::LogLevel(u8::try_from(rank).ok()?))
            }
            (b'S', _) => Some(Self::Stacks),
            _ => None,
        }
    }
}

impl FromWorker {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => encode(b'R', &[], ""),
            Self::LoadFailed(why) => encode(b'L', &[], why),
            Self::Retire(why) => encode(b'T', &[], why),
            Self::Changed { configuration, what } => encode(b'C', &[u64::from(*configuration)], what),
            Self::Autopsy(text) => encode(b'A', &[], text),
        }
    }

    /// From bytes; `None` when they are no such message.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = |rest: &[u8]| String::from_utf8_lossy(rest).into_owned();
        match bytes.split_first()? {
            (b'R', _) => Some(Self::Ready),
            (b'L', rest) => Some(Self::LoadFailed(text(rest))),
            (b'T', rest) => Some(Self::Retire(text(rest))),
            (b'C', rest) => {
                let ([configuration], what) = decode(rest)?;
                Some(Self::Changed { configuration: configuration != 0, what })
            }
            (b'A', rest) => Some(Self::Autopsy(text(rest))),
            _ => None,
        }
    }
}

impl FromStarted {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Said(text) => encode(b'T', &[], text),
            Self::Ready => encode(b'R', &[], ""),
            Self::Ended(code) => encode(b'E', &[u64::from(code.cast_unsigned())], ""),
        }
    }

    /// From bytes; `None` when they are no such message.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'T', rest) => Some(Self::Said(String::from_utf8_lossy(rest).into_owned())),
            (b'R', _) => Some(Self::Ready),
            (b'E', rest) => {
                let ([code], _) = decode(rest)?;
                Some(Self::Ended(u32::try_from(code).ok()?.cast_signed()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(a: u64, b: u64, c: u64, pid: u32, rank: u8, text in ".{0,40}") {
            let spawn = ToTemplate::Spawn { worker: a, slot: b, generation: c };
            let told = [
                Notice::WorkerEnded { worker: a, pid: Pid(pid) },
                Notice::Workers { before: a, now: b },
                Notice::Upgrading,
                Notice::Reopen,
                Notice::Ending,
            ];
            for message in told.map(ToTemplate::Told).into_iter().chain([spawn]) {
                prop_assert_eq!(ToTemplate::decode(&message.encode()), Some(message));
            }
            for message in [
                FromTemplate::Ready,
                FromTemplate::Forked { worker: a, pid: Pid(pid) },
                FromTemplate::ForkFailed { worker: a, reason: text.clone() },
                FromTemplate::LoadFailed(text.clone()),
            ] {
                prop_assert_eq!(FromTemplate::decode(&message.encode()), Some(message));
            }
            for message in [
                FromWorker::Ready,
                FromWorker::LoadFailed(text.clone()),
                FromWorker::Retire(text.clone()),
                FromWorker::Changed { configuration: b.is_multiple_of(2), what: text.clone() },
                FromWorker::Autopsy(text),
            ] {
                prop_assert_eq!(FromWorker::decode(&message.encode()), Some(message));
            }
            for message in [
                ToWorker::Drain(Duration::from_millis(a)),
                ToWorker::StopNow,
                ToWorker::Reopen,
                ToWorker::LogLevel(rank),
                ToWorker::Stacks,
            ] {
                prop_assert_eq!(ToWorker::decode(&message.encode()), Some(message));
            }
        }

        #[test]
        fn what_a_start_says_is_understood(code: i32, text in ".{0,40}") {
            for message in [FromStarted::Said(text), FromStarted::Ready, FromStarted::Ended(code)] {
                prop_assert_eq!(FromStarted::decode(&message.encode()), Some(message));
            }
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = (ToTemplate::decode(&bytes), FromTemplate::decode(&bytes));
            let _ = (ToWorker::decode(&bytes), FromWorker::decode(&bytes));
            let _ = FromStarted::decode(&bytes);
        }
    }
}
