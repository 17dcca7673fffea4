//! How many scripts run at once, and which they are.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stdserve_sys::process::{Child, Exit};
use stdserve_sys::signals::{SIGKILL, SIGTERM};

/// The places that scripts run in.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    state: Mutex<State>,
    freed: Condvar,
    /// A script was forgotten.
    forgotten: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// The groups of those that run. Taken out before the leader is waited for: until then the number is its own.
    children: Vec<(u64, SharedChild)>,
    next: u64,
}

/// A child that its own thread and [`Places::end_all`] know of.
type SharedChild = std::sync::Arc<Child>;

/// A place that is taken; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Places);

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            state: Mutex::default(),
            freed: Condvar::new(),
            forgotten: Condvar::new(),
        }
    }

    /// Nothing panics with the lock held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Takes a place, and waits for one at most `patience`.
    pub(super) fn take(&self, patience: Duration) -> Option<Place<'_>> {
        let began = Instant::now();
        let mut state = self.lock();
        while state.taken >= self.limit {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return None;
            }
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.taken += 1;
        Some(Place(self))
    }

    /// Notes a script that runs.
    pub(super) fn note(&self, child: Child) -> Noted<'_> {
        let child = SharedChild::new(child);
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.children.push((number, SharedChild::clone(&child)));
        Noted { places: self, number, child: Some(child) }
    }

    /// Ends all that run: SIGTERM, and after `grace` SIGKILL. Returns when they have been waited for, `within` at most.
    pub(super) fn end_all(&self, grace: Duration, within: Duration) {
        for (signal, patience) in [(SIGTERM, grace), (SIGKILL, within.saturating_sub(grace))] {
            let state = self.lock();
            for (_, child) in &state.children {
                child.signal_group(signal);
            }
            let running = |state: &mut State| !state.children.is_empty();
            let waited = self.forgotten.wait_timeout_while(state, patience, running);
            if waited.is_ok_and(|(_, timeout)| !timeout.timed_out()) {
                return;
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().taken -= 1;
        self.0.freed.notify_one();
    }
}

/// A script that runs, ended and forgotten when this is dropped.
#[derive(Debug)]
pub(super) struct Noted<'a> {
    places: &'a Places,
    number: u64,
    child: Option<SharedChild>,
}

impl Noted<'_> {
    pub(super) fn child(&self) -> Option<&Child> {
        self.child.as_deref()
    }

    /// Ends what is left of its group. How the script itself has ended, where that is known.
    pub(super) fn end(mut self) -> Option<Exit> {
        self.forget()?.end().ok()
    }

    /// Takes it out of the list: this was the other of its two owners.
    fn forget(&mut self) -> Option<Child> {
        self.places.lock().children.retain(|(number, _)| *number != self.number);
        self.places.forgotten.notify_all();
        SharedChild::into_inner(self.child.take()?)
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        drop(self.forget());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_given_up_goes_to_who_waits() {
        let places = Places::new(1);
        let place = places.take(Duration::ZERO).unwrap();
        assert!(places.take(Duration::ZERO).is_none());
        assert!(places.take(Duration::from_millis(5)).is_none());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| places.take(Duration::from_secs(60)).is_some());
            drop(place);
            assert!(waiter.join().unwrap());
        });
        assert_eq!(places.taken(), 0);
    }
}
