//! What a user got wrong: where, what, and what to write instead.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag on the command line, as `--name`; or the application argument.
    CommandLine(String),
    /// A keyword of `stdserve.run` or `stdserve.Server`.
    Keyword(String),
    /// An environment variable.
    Environment(String),
    /// A key in a file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, as it is written.
        key: String,
    },
    /// Nobody gave one.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine(flag) => f.write_str(flag),
            Self::Keyword(name) => write!(f, "{name}="),
            Self::Environment(name) => write!(f, "${name}"),
            Self::File { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was given; none where something is missing or the arguments as a whole are wrong.
    pub source: Option<Source>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl Problem {
    pub(crate) fn new(source: impl Into<Option<Source>>, message: impl Into<String>) -> Self {
        Self { source: source.into(), message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// All that is wrong with what the user gave. Shown, it is ready to print on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl UsageError {
    /// The exit code of a usage error.
    pub const EXIT_CODE: i32 = 2;

    /// An error that was found later than in the parser: an option's value, whatever its source, is refused.
    pub fn new(source: Option<Source>, message: impl Into<String>, hint: Option<String>) -> Self {
        Self::from(Problem { source, message: message.into(), hint })
    }

    /// Without `error:` before each, for the message of an exception.
    pub fn plain(&self) -> String {
        let problems: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        problems.join("\n")
    }
}

impl From<Problem> for UsageError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let gap = if index > 0 { "\n" } else { "" };
            write!(f, "{gap}error: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for UsageError {}

/// Shortens and cleans a value for a message: a terminal must not obey it.
pub(crate) fn shown(value: &str) -> String {
    const MOST: usize = 80;
    let mut text: String =
        value.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(MOST).is_some() {
        text.push('…');
    }
    text
}
