//! What the supervisor has made ready, and what its children take over by being forked.

use std::ops::Range;
use std::sync::Arc;

use stdserve_config::{GroupSpec, Settings};
use stdserve_supervisor::{GroupPlan, Limits};
use stdserve_sys::listener::Registry;
use stdserve_sys::scoreboard::Scoreboard;

use crate::log::ErrorLog;

/// All groups, and what they share.
pub(crate) struct Setup {
    pub(crate) groups: Vec<Group>,
    pub(crate) board: Arc<Scoreboard>,
    pub(crate) log: Arc<ErrorLog>,
}

/// A worker group.
pub(crate) struct Group {
    pub(crate) spec: GroupSpec,
    pub(crate) registry: Registry,
    /// How many workers it is to have.
    pub(crate) workers: usize,
    /// Its rows of the scoreboard.
    pub(crate) slots: Range<usize>,
}

impl Group {
    pub(crate) fn options(&self) -> &Settings {
        &self.spec.settings
    }

    /// As the supervisor is told.
    pub(crate) fn plan(&self) -> GroupPlan {
        GroupPlan::new(self.spec.name.clone(), self.workers, Limits::default())
    }
}

impl Setup {
    /// In a child: takes out the group of this place. The addresses of the others are not held here any more.
    pub(crate) fn take_group(&mut self, place: usize) -> Option<Group> {
        std::mem::take(&mut self.groups).into_iter().nth(place)
    }
}
