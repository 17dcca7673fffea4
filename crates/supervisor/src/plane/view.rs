//! What the plane can see of the server.

use std::time::Instant;

use stdserve_sys::scoreboard::Scoreboard;

use crate::figures::{Figures, Picture};
use crate::journal::Journal;
use crate::machine::Report;

/// What the plane can see of the server.
pub(crate) struct View<'a> {
    /// What the machine knows.
    pub(crate) report: &'a Report,
    /// The workers' own figures.
    pub(crate) board: &'a Scoreboard,
    /// What is counted and kept beside it.
    pub(crate) figures: &'a Figures,
    /// The last autopsies and log lines.
    pub(crate) journal: &'a Journal,
    /// When the supervisor began.
    pub(crate) began: Instant,
    /// Now.
    pub(crate) now: Instant,
    /// Now, in milliseconds of the scoreboard's [clock](stdserve_sys::scoreboard::now).
    pub(crate) clock: u64,
    /// The options that count, asked for where somebody wants to see them.
    pub(crate) options: &'a dyn Fn() -> Vec<Setting>,
}

impl<'a> View<'a> {
    /// What figures are made of.
    pub(crate) fn picture(&self) -> Picture<'a> {
        Picture { report: self.report, rows: self.board.rows(), figures: self.figures, clock: self.clock }
    }
}

/// The value of an option, as an operator may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The service that it is said of; none: all.
    pub service: Option<String>,
    /// The option's name.
    pub name: String,
    /// The value as TOML; none where it has none, or is a secret.
    pub value: Option<String>,
    /// What stands in the place of a value that is missing.
    pub unset: String,
    /// Where the value came from.
    pub source: String,
}
