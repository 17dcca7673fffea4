//! What the plane can see of the server.

use stdserve_sys::scoreboard::Scoreboard;

/// What the plane can see of the server.
pub(crate) struct View<'a> {
    /// Whether all wanted workers are ready, and none of it is ending.
    pub(crate) ready: bool,
    /// The workers' own figures.
    pub(crate) board: &'a Scoreboard,
}
