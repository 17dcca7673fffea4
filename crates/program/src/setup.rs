//! What the supervisor has made ready, and what its children take over by being forked.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stdserve_config::{GroupSpec, MemoryLimit, Settings};
use stdserve_supervisor::{GroupPlan, Limits};
use stdserve_sys::listener::Registry;
use stdserve_sys::memory;
use stdserve_sys::scoreboard::Scoreboard;
use stdserve_sys::users::Account;

use crate::log::ErrorLog;

/// All groups, and what they share.
pub(crate) struct Setup {
    pub(crate) groups: Vec<Group>,
    pub(crate) board: Arc<Scoreboard>,
    pub(crate) log: Arc<ErrorLog>,
    /// Who template and workers run as, where that is not who the supervisor is.
    pub(crate) account: Option<Account>,
}

/// A worker group.
pub(crate) struct Group {
    pub(crate) spec: GroupSpec,
    /// What was read since, with the load of the application from which on it counts; the newest last.
    newer: Vec<(u64, GroupSpec)>,
    pub(crate) registry: Registry,
    /// How many workers a group has that does not say.
    workers: usize,
    /// Its rows of the scoreboard.
    pub(crate) slots: Range<usize>,
}

/// How long a request that is past its time may keep the interpreter's lock.
const GRACE: Duration = Duration::from_secs(5);

impl Group {
    /// A group whose rows begin at `first`. `workers`: how many it has where it does not say.
    pub(crate) fn new(spec: GroupSpec, registry: Registry, workers: usize, first: usize) -> Self {
        let rows = plan(&spec, workers).rows;
        Self { spec, newer: Vec::new(), registry, workers, slots: first..first + rows }
    }

    pub(crate) fn options(&self) -> &Settings {
        &self.spec.settings
    }

    /// How many workers it is to have.
    pub(crate) fn workers(&self) -> usize {
        self.options().workers.count.unwrap_or(self.workers)
    }

    /// As the supervisor is told.
    pub(crate) fn plan(&self) -> GroupPlan {
        self.plan_of(&self.spec)
    }

    /// The same, with settings that were read anew.
    pub(crate) fn plan_of(&self, spec: &GroupSpec) -> GroupPlan {
        GroupPlan { rows: self.slots.len(), ..plan(spec, self.workers) }
    }

    /// Has settings that count from this load on.
    pub(crate) fn adopt(&mut self, generation: u64, spec: GroupSpec) {
        self.newer.push((generation, spec));
    }

    /// Keeps the settings of this load, and forgets all others.
    pub(crate) fn keep(&mut self, generation: u64) {
        let mut newer = std::mem::take(&mut self.newer).into_iter();
        if let Some((_, spec)) = newer.rfind(|(from, _)| *from <= generation) {
            self.spec = spec;
        }
    }
}

fn plan(spec: &GroupSpec, workers: usize) -> GroupPlan {
    let settings = &spec.settings;
    GroupPlan::new(spec.name.clone(), settings.workers.count.unwrap_or(workers), limits(settings))
}

fn limits(settings: &Settings) -> Limits {
    let (recycling, timeout) = (&settings.recycling, settings.timeouts.request);
    let requests = recycling.requests;
    Limits {
        requests: (requests > 0).then_some(requests as u64),
        requests_jitter: recycling.requests_jitter.unwrap_or(requests / 10) as u64,
        lifetime: Some(recycling.lifetime).filter(|time| !time.is_zero()),
        rss: recycling.rss.and_then(|limit| match limit {
            MemoryLimit::Bytes(bytes) => Some(bytes),
            MemoryLimit::Percent(part) => Some(memory::allowed(Path::new("/"))? / 100 * u64::from(part)),
        }),
        stuck: (!timeout.is_zero()).then(|| timeout.saturating_add(GRACE)),
    }
}

impl Setup {
    /// In a child: takes out the group of this place, as it is for this load. The addresses of the others are not held
    /// here any more.
    pub(crate) fn take_group(&mut self, place: usize, generation: u64) -> Option<Group> {
        let mut group = std::mem::take(&mut self.groups).into_iter().nth(place)?;
        group.keep(generation);
        Some(group)
    }
}
