//! Why a worker leaves, or has ended.

use std::borrow::Cow;
use std::fmt;

/// Why a worker leaves, or has ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It ended by itself, with whatever code.
    Exited,
    /// A signal ended it.
    Signal(i32),
    /// It ended in its first moments, or could not be forked.
    Early,
    /// It has answered as many requests as it may.
    Requests,
    /// It has lived as long as it may.
    Lifetime,
    /// It uses more memory than it may.
    Rss,
    /// It asked to be replaced; the word says why (`timeout`).
    Retired(String),
    /// The interpreter's lock could not be had.
    Stuck,
    /// The application was loaded anew.
    Reload,
    /// There are to be fewer.
    Scale,
    /// An operator wanted it.
    Drain,
}

impl Cause {
    /// The word for a worker's own reason to be replaced: what stands before the colon, where that is a short word in
    /// lower case, since it names a figure, and no word for another cause.
    pub(super) fn retired(why: &str) -> Self {
        let word = why.split(':').next().unwrap_or_default().trim();
        let others = [
            Self::Exited,
            Self::Early,
            Self::Requests,
            Self::Lifetime,
            Self::Rss,
            Self::Stuck,
            Self::Reload,
            Self::Scale,
            Self::Drain,
        ];
        let fits = others.iter().all(|other| other.word() != word)
            && (1..=24).contains(&word.len())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_');
        Self::Retired(if fits { word.to_owned() } else { "retired".to_owned() })
    }

    /// A word for figures: `exited`, `SIGKILL`, `early`, `max-requests`, `timeout`.
    pub fn word(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Exited => "exited",
            Self::Signal(number) => return Cow::Owned(stdserve_sys::signals::name(*number)),
            Self::Early => "early",
            Self::Requests => "max-requests",
            Self::Lifetime => "max-lifetime",
            Self::Rss => "max-rss",
            Self::Retired(word) => word,
            Self::Stuck => "stuck",
            Self::Reload => "reload",
            Self::Scale => "scale",
            Self::Drain => "drain",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word())
    }
}
