//! Where the threads of a crew come from, and how the crew grows.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::Crew;

/// Makes threads. A gateway to an interpreter makes them there, so that each keeps one thread state for life.
pub trait ThreadSource: Send + Sync + 'static {
    /// Starts a thread named `name` that calls `entry`. May wait (for an interpreter's lock): it is never called by
    /// whoever runs the loop.
    fn spawn(&self, name: String, entry: Box<dyn FnOnce() + Send>) -> io::Result<()>;

    /// Waits until the threads that were made have ended, where that matters; their crew has stopped. Does nothing
    /// unless the source says otherwise.
    fn join(&self) {}
}

/// Threads of the standard library: for services that need no interpreter.
#[derive(Debug, Clone, Copy, Default)]
pub struct StdThreads;

impl ThreadSource for StdThreads {
    fn spawn(&self, name: String, entry: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::Builder::new().name(name).spawn(entry).map(drop)
    }
}

/// Makes further threads when they are asked for: a thread of its own, since making one may wait.
pub(super) struct Grower {
    source: Arc<dyn ThreadSource>,
    /// So many threads are made at most.
    limit: usize,
    made: AtomicUsize,
    state: Mutex<State>,
    asked: Condvar,
    /// Its own thread.
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    asked: bool,
    /// A thread was made and has not joined yet.
    coming: bool,
    stopped: bool,
}

impl Grower {
    pub(super) fn new(source: Arc<dyn ThreadSource>, limit: usize) -> Self {
        Self {
            source,
            limit,
            made: AtomicUsize::new(0),
            state: Mutex::default(),
            asked: Condvar::new(),
            thread: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes thread `number` of `crew`.
    pub(super) fn make(&self, number: usize, crew: Arc<Crew>) -> io::Result<()> {
        self.made.store(number + 1, Ordering::Relaxed);
        self.source.spawn(format!("stdserve-crew-{number}"), Box::new(move || crew.serve()))
    }

    /// Asks for one thread more. Cheap; asked again before that one has come, it does nothing.
    pub(super) fn ask(&self) {
        if self.made.load(Ordering::Relaxed) >= self.limit {
            return;
        }
        let mut state = self.state();
        if !state.asked && !state.coming {
            state.asked = true;
            self.asked.notify_one();
        }
    }

    /// A thread has joined the crew.
    pub(super) fn arrived(&self) {
        self.state().coming = false;
    }

    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.asked.notify_one();
    }

    /// Begins to listen for what is asked.
    pub(super) fn start(this: &Arc<Crew>) -> io::Result<()> {
        let crew = Arc::clone(this);
        let run = move || {
            // Signals are for the main thread; where that cannot be, one of them ends up here as it would without us.
            let _ = stdserve_sys::signals::block_for_crew();
            while crew.grower.wait() {
                let number = crew.grower.made.load(Ordering::Relaxed);
                if let Err(error) = crew.grower.make(number, Arc::clone(&crew)) {
                    crew.grower.made.store(number, Ordering::Relaxed);
                    crew.grower.arrived();
                    crew.log.error(&format!("cannot make thread {}: {error}", number + 1));
                }
            }
        };
        let thread = thread::Builder::new().name("stdserve-grower".to_owned()).spawn(run)?;
        *this.grower.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Waits until nobody makes threads any more, and those that were made have ended. After [`stop`](Self::stop).
    pub(super) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It cannot have panicked but in a source, which is nothing to whoever waits here.
            let _ = thread.join();
        }
        self.source.join();
    }

    /// Waits until a thread is wanted. False: the crew ends.
    fn wait(&self) -> bool {
        let mut state = self.state();
        loop {
            if state.stopped {
                return false;
            }
            if state.asked && self.made.load(Ordering::Relaxed) < self.limit {
                state.asked = false;
                state.coming = true;
                return true;
            }
            state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
