//! The last ten minutes, a sample a second.

use super::view::View;

/// The samples of the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct History {}

impl History {
    /// Takes a sample. Due once a second.
    pub(super) fn sample(&mut self, _: &View<'_>) {}
}
