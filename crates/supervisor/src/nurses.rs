//! Which template forks for a group now, and so hears what concerns the hooks of the application; and which changes of
//! files were heard of already.

use std::collections::HashMap;

use stdserve_sys::process::Pid;

use crate::machine::{GroupPlan, TemplateId, WorkerId};

/// A worker, as far as hooks are told of it.
#[derive(Debug)]
struct Ward {
    group: usize,
    pid: Option<Pid>,
}

/// What each group's templates and workers are to the loop around the machine.
#[derive(Debug, Default)]
pub(crate) struct Nurses {
    /// How many rows of the scoreboard each group has.
    rows: Vec<usize>,
    /// The template of each group that was asked for a worker last.
    templates: Vec<Option<TemplateId>>,
    wards: HashMap<WorkerId, Ward>,
    /// The last change that each group was loaded anew for.
    changes: Vec<String>,
}

impl Nurses {
    pub(crate) fn new(plans: &[GroupPlan]) -> Self {
        Self {
            rows: plans.iter().map(|plan| plan.rows).collect(),
            templates: vec![None; plans.len()],
            wards: HashMap::new(),
            changes: vec![String::new(); plans.len()],
        }
    }

    /// A template was asked for a worker in this row of the scoreboard.
    pub(crate) fn asked(&mut self, template: TemplateId, worker: WorkerId, slot: usize) {
        let Some(group) = self.group_of(slot) else { return };
        self.templates[group] = Some(template);
        self.wards.insert(worker, Ward { group, pid: None });
    }

    /// The worker has a process.
    pub(crate) fn forked(&mut self, worker: WorkerId, pid: Pid) {
        if let Some(ward) = self.wards.get_mut(&worker) {
            ward.pid = Some(pid);
        }
    }

    /// The worker has ended: who is to hear of it, and what its process was.
    pub(crate) fn ended(&mut self, worker: WorkerId) -> Option<(TemplateId, Pid)> {
        let ward = self.wards.remove(&worker)?;
        self.templates[ward.group].zip(ward.pid)
    }

    /// The template of a group that hears what concerns it.
    pub(crate) fn template(&self, group: usize) -> Option<TemplateId> {
        self.templates.get(group).copied().flatten()
    }

    /// The templates of all groups that hear what concerns them.
    pub(crate) fn templates(&self) -> impl Iterator<Item = TemplateId> {
        self.templates.iter().copied().flatten()
    }

    /// A worker has seen files change: its group, unless it was loaded anew for that already.
    pub(crate) fn changed(&mut self, worker: WorkerId, what: &str) -> Option<usize> {
        let group = self.wards.get(&worker)?.group;
        if self.changes[group] == what {
            return None;
        }
        what.clone_into(&mut self.changes[group]);
        Some(group)
    }

    /// The group of a row.
    fn group_of(&self, slot: usize) -> Option<usize> {
        let mut end = 0;
        self.rows.iter().position(|rows| {
            end += rows;
            slot < end
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Limits;

    fn two_groups() -> Nurses {
        let plan = |name: &str| GroupPlan { rows: 3, ..GroupPlan::new(name, 1, Limits::default()) };
        Nurses::new(&[plan("a"), plan("b")])
    }

    #[test]
    fn the_newest_template_of_its_own_group_hears_of_an_end() {
        let mut nurses = two_groups();
        nurses.asked(TemplateId(1), WorkerId(2), 2);
        nurses.asked(TemplateId(3), WorkerId(4), 3);
        nurses.forked(WorkerId(2), Pid(20));
        nurses.asked(TemplateId(5), WorkerId(6), 0);
        assert_eq!(nurses.ended(WorkerId(2)), Some((TemplateId(5), Pid(20))));
        assert_eq!(nurses.ended(WorkerId(2)), None);
        // It never had a process.
        assert_eq!(nurses.ended(WorkerId(4)), None);
        assert_eq!((nurses.template(0), nurses.template(1)), (Some(TemplateId(5)), Some(TemplateId(3))));
    }

    #[test]
    fn a_change_that_all_workers_see_counts_once() {
        let mut nurses = two_groups();
        nurses.asked(TemplateId(1), WorkerId(2), 0);
        nurses.asked(TemplateId(1), WorkerId(3), 1);
        nurses.asked(TemplateId(4), WorkerId(5), 4);
        assert_eq!(nurses.changed(WorkerId(2), "app.py 1"), Some(0));
        assert_eq!(nurses.changed(WorkerId(3), "app.py 1"), None);
        assert_eq!(nurses.changed(WorkerId(5), "app.py 1"), Some(1));
        assert_eq!(nurses.changed(WorkerId(3), "app.py 2"), Some(0));
        assert_eq!(nurses.changed(WorkerId(9), "app.py 3"), None);
    }
}
