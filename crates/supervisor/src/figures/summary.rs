//! The figures of each group and worker, added up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stdserve_sys::process::{Pid, Sample};
use stdserve_sys::scoreboard::{Row, State};

use super::{Counted, Picture};
use crate::machine::GroupReport;

/// The figures of a group.
#[derive(Debug)]
pub(crate) struct GroupFigures<'a> {
    /// What the machine knows of it.
    pub(crate) report: &'a GroupReport,
    /// What all its workers have counted since the start.
    pub(crate) counted: Counted,
    /// What its workers are at now.
    pub(crate) now: Now,
    /// Its workers, and those that have ended, by slot: one place each.
    pub(crate) workers: Vec<WorkerFigures>,
}

/// The figures of a place for a worker.
#[derive(Debug)]
pub(crate) struct WorkerFigures {
    /// The place, counted from 0 in its group.
    pub(crate) place: usize,
    /// What all workers have counted that had the place.
    pub(crate) counted: Counted,
    /// The worker that has it now.
    pub(crate) live: Option<Live>,
}

/// A worker that lives.
#[derive(Debug)]
pub(crate) struct Live {
    /// What it is at.
    pub(crate) now: Now,
    /// What its process was last seen to use.
    pub(crate) process: Option<Sample>,
    /// How long ago its loop turned.
    pub(crate) loop_silence: Duration,
    /// How long ago the interpreter's lock was had.
    pub(crate) interpreter_silence: Duration,
    /// When it began, in seconds since 1970.
    pub(crate) began: f64,
    /// How long the oldest of its requests has been there.
    pub(crate) oldest: Duration,
}

/// What one worker or several are at now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Connections that are open.
    pub(crate) connections: u64,
    /// Threads that are in the application.
    pub(crate) busy: u64,
    /// Threads that are not.
    pub(crate) idle: u64,
    /// Requests that wait for a thread.
    pub(crate) queued: u64,
}

impl Now {
    fn of(row: &Row) -> Self {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let busy = read(&row.running);
        Self {
            connections: read(&row.connections),
            busy,
            idle: read(&row.threads).saturating_sub(busy),
            queued: read(&row.queued),
        }
    }

    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.busy += other.busy;
        self.idle += other.idle;
        self.queued += other.queued;
    }
}

/// The figures of all groups, in the order of the plan.
pub(crate) fn summary<'a>(picture: &Picture<'a>) -> Vec<GroupFigures<'a>> {
    picture.report.groups.iter().map(|report| group(picture, report)).collect()
}

fn group<'a>(picture: &Picture<'a>, report: &'a GroupReport) -> GroupFigures<'a> {
    let mut figures =
        GroupFigures { report, counted: Counted::default(), now: Now::default(), workers: Vec::new() };
    for (place, slot) in report.slots.clone().enumerate() {
        let Some(row) = picture.rows.get(slot) else { break };
        let live = (row.state() != State::Free).then(|| live(picture, slot, row));
        if live.is_none() && !picture.figures.was_used(slot) {
            continue;
        }
        let counted = picture.figures.counted(slot, row);
        figures.counted += counted;
        if let Some(live) = &live {
            figures.now.add(live.now);
        }
        figures.workers.push(WorkerFigures { place, counted, live });
    }
    figures
}

fn live(picture: &Picture<'_>, slot: usize, row: &Row) -> Live {
    let since =
        |beat: &AtomicU64| Duration::from_millis(picture.clock.saturating_sub(beat.load(Ordering::Relaxed)));
    Live {
        now: Now::of(row),
        process: picture.figures.process(slot, Pid(row.pid.load(Ordering::Acquire))),
        loop_silence: since(&row.loop_beat),
        interpreter_silence: since(&row.gil_beat),
        began: picture.figures.unix_time(row.started.load(Ordering::Relaxed)),
        oldest: row.in_flight().first().map_or(Duration::ZERO, |oldest| oldest.age(picture.clock)),
    }
}
