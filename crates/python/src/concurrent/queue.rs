//! The state of a `PollableQueue`, and all that is done to it without waiting.
//!
//! The Python half (`stdserve/concurrent/queues.py`) waits: each waiting call has a lock of its own, which it holds and
//! tries to take once more. Whoever wakes it releases that lock. Three lines of such waiters are kept here: for an item,
//! for room, and for the last task to be done.
//!
//! # How no wake-up is lost
//!
//! 1. A call stands in line only if it found nothing to take (no room, tasks undone), and it looks and lines up in one
//!    step.
//! 2. Each item that is put takes the first getter out of its line and wakes it; each item that is taken, the first
//!    putter, if there is room.
//! 3. One that was woken looks again. Another call may have been faster: then it goes back to the head of the line.
//! 4. One that gives up (time-out, `KeyboardInterrupt`) looks a last time, or [leaves](Queue::leave). If it is no longer
//!    in line it had been woken, and wakes the next one in its stead, as long as there is something to take.
//!
//! So while getters stand in line, at least as many others are on their way as there are items: the line moves whenever
//! one of these takes its item, finds it gone, or leaves. The same holds for putters and room. Everyone is woken when
//! the queue is shut down.
//!
//! # The descriptor
//!
//! An eventfd, made when it is first asked for. Its counter is 1 exactly while there are items or the queue is shut
//! down: only the change from the one to the other costs a system call.
//!
//! # Forks
//!
//! [`queues_after_fork`] gives each queue of the child a descriptor of its own under the same number, and takes the
//! waiters out that did not come along.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};
use stdserve_sys::pipes::Bell;

use super::os_error;

/// Memory for more items than this is given back when the last one is taken.
const KEPT: usize = 1024;

/// All queues of this process, by their address.
static QUEUES: Mutex<BTreeMap<usize, Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// Never held while Python code runs, and only with the GIL held: nobody ever waits for it.
type Shared = Mutex<State>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the Python half of a queue stands on.
#[pyclass(frozen, subclass, name = "Queue", module = "stdserve._stdserve")]
pub(crate) struct Queue(Arc<Shared>);

#[derive(Default)]
struct State {
    items: VecDeque<Py<PyAny>>,
    /// No bound where it is not positive.
    maxsize: isize,
    unfinished: usize,
    shut_down: bool,
    getters: Line,
    putters: Line,
    joiners: Line,
    bell: Option<Bell>,
    /// Whether the bell is readable.
    rung: bool,
}

/// Who waits, in the order in which they are woken.
#[derive(Default)]
struct Line(VecDeque<Waiter>);

struct Waiter {
    /// Held by the waiting thread, which tries to take it again.
    lock: Py<PyAny>,
    thread: libc::pthread_t,
}

impl Line {
    /// At the head if it was woken in vain; nothing if it stands in line already.
    fn join(&mut self, lock: &Bound<'_, PyAny>, again: bool) {
        if self.0.iter().any(|waiter| waiter.lock.is(lock)) {
            return;
        }
        let waiter = Waiter { lock: lock.clone().unbind(), thread: this_thread() };
        if again {
            self.0.push_front(waiter);
        } else {
            self.0.push_back(waiter);
        }
    }

    /// Whether it stood in line.
    fn leave(&mut self, lock: &Bound<'_, PyAny>) -> bool {
        let place = self.0.iter().position(|waiter| waiter.lock.is(lock));
        place.and_then(|place| self.0.remove(place)).is_some()
    }

    fn next(&mut self) -> Option<Woken> {
        self.0.pop_front().map(|waiter| Woken(waiter.lock))
    }

    fn all(&mut self) -> impl Iterator<Item = Woken> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|waiter| Woken(waiter.lock))
    }

    /// After a fork: only the thread that forked is there. It may wait if a signal's handler forked.
    fn forget_others(&mut self) -> Vec<Waiter> {
        let this = this_thread();
        let (own, others) = std::mem::take(&mut self.0).into_iter().partition(|waiter| waiter.thread == this);
        self.0 = own;
        Vec::from_iter::<VecDeque<_>>(others)
    }
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: has no preconditions.
    unsafe { libc::pthread_self() }
}

/// One who is out of its line and has to be told so, when the state is unlocked.
#[must_use]
struct Woken(Py<PyAny>);

impl Woken {
    fn wake(self, py: Python<'_>) {
        // It is held, so that this cannot fail; and what was put or taken is, whatever becomes of this.
        if let Err(error) = self.0.call_method0(py, intern!(py, "release")) {
            error.write_unraisable(py, Some(self.0.bind(py)));
        }
    }
}

fn wake_all(py: Python<'_>, woken: impl IntoIterator<Item = Woken>) {
    woken.into_iter().for_each(|woken| woken.wake(py));
}

impl State {
    fn has_room(&self) -> bool {
        usize::try_from(self.maxsize).map_or(true, |most| most == 0 || self.items.len() < most)
    }

    /// Makes the descriptor say what is so.
    fn tell(&mut self) {
        let Some(bell) = &self.bell else { return };
        let ready = self.shut_down || !self.items.is_empty();
        if ready && !self.rung {
            bell.ring();
        } else if !ready && self.rung {
            bell.silence();
        }
        self.rung = ready;
    }

    /// Puts an item, for which there is room.
    fn push(&mut self, item: Py<PyAny>) -> Option<Woken> {
        self.items.push_back(item);
        self.unfinished += 1;
        self.tell();
        self.getters.next()
    }

    fn pop(&mut self) -> Option<(Py<PyAny>, Option<Woken>)> {
        let item = self.items.pop_front()?;
        if self.items.is_empty() && self.items.capacity() > KEPT {
            self.items = VecDeque::new();
        }
        self.tell();
        Some((item, self.next_putter()))
    }

    /// What a forked child does to its copy. Returns the waiters that it has no longer.
    fn come_along(&mut self) -> [Vec<Waiter>; 3] {
        // Where there are no descriptors left the parent's is at least let go of, and `fileno()` makes another one.
        if let Some(bell) = &mut self.bell
            && bell.renew().is_err()
        {
            self.bell = None;
        }
        self.rung = false;
        self.tell();
        [&mut self.getters, &mut self.putters, &mut self.joiners].map(Line::forget_others)
    }

    /// One putter, if there is room for what it has.
    fn next_putter(&mut self) -> Option<Woken> {
        if self.has_room() { self.putters.next() } else { None }
    }
}

#[pymethods]
impl Queue {
    /// Takes any arguments: those of a subclass's `__init__`.
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        let shared = Arc::new(Shared::default());
        lock(&QUEUES).insert(Arc::as_ptr(&shared).addr(), Arc::downgrade(&shared));
        Self(shared)
    }

    #[getter]
    fn maxsize(&self) -> isize {
        lock(&self.0).maxsize
    }

    #[setter]
    fn set_maxsize(&self, py: Python<'_>, maxsize: isize) {
        let woken: Vec<_> = {
            let mut state = lock(&self.0);
            state.maxsize = maxsize;
            // Those for whom there is no room go back into the line.
            if state.has_room() { state.putters.all().collect() } else { Vec::new() }
        };
        wake_all(py, woken);
    }

    #[getter]
    fn unfinished_tasks(&self) -> usize {
        lock(&self.0).unfinished
    }

    #[getter]
    fn is_shutdown(&self) -> bool {
        lock(&self.0).shut_down
    }

    fn qsize(&self) -> usize {
        lock(&self.0).items.len()
    }

    fn empty(&self) -> bool {
        lock(&self.0).items.is_empty()
    }

    fn full(&self) -> bool {
        !lock(&self.0).has_room()
    }

    fn put_nowait(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        if self.offer(py, item, None, false)? { Ok(()) } else { Err(full(py)) }
    }

    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let taken = self.try_take(py, None, false)?;
        taken.ok_or_else(|| empty(py))
    }

    /// Puts the item if there is room. If not, `waiter` stands in line: at the head if it was woken in vain (`again`).
    #[pyo3(name = "_offer", signature = (item, waiter = None, again = false, /))]
    fn offer(
        &self,
        py: Python<'_>,
        item: Py<PyAny>,
        waiter: Option<&Bound<'_, PyAny>>,
        again: bool,
    ) -> PyResult<bool> {
        let mut state = lock(&self.0);
        if state.shut_down {
            drop(state);
            return Err(shut_down(py));
        }
        if !state.has_room() {
            if let Some(waiter) = waiter {
                state.putters.join(waiter, again);
            }
            return Ok(false);
        }
        if let Some(waiter) = waiter {
            state.putters.leave(waiter);
        }
        let woken = state.push(item);
        drop(state);
        wake_all(py, woken);
        Ok(true)
    }

    /// Takes the next item, or returns `default`. Then `waiter` stands in line, as in `_offer`.
    #[pyo3(name = "_take", signature = (default, waiter = None, again = false, /))]
    fn take(
        &self,
        py: Python<'_>,
        default: Py<PyAny>,
        waiter: Option<&Bound<'_, PyAny>>,
        again: bool,
    ) -> PyResult<Py<PyAny>> {
        Ok(self.try_take(py, waiter, again)?.unwrap_or(default))
    }

    /// Whether all tasks are done. If not, `waiter` stands in line for that.
    #[pyo3(name = "_done", signature = (waiter, again = false, /))]
    fn done(&self, waiter: &Bound<'_, PyAny>, again: bool) -> bool {
        let mut state = lock(&self.0);
        if state.unfinished == 0 {
            state.joiners.leave(waiter);
            return true;
        }
        state.joiners.join(waiter, again);
        false
    }

    /// What one does who gives up.
    #[pyo3(name = "_leave")]
    fn leave(&self, py: Python<'_>, waiter: &Bound<'_, PyAny>) {
        let woken = {
            let mut state = lock(&self.0);
            if state.getters.leave(waiter) | state.putters.leave(waiter) | state.joiners.leave(waiter) {
                return;
            }
            let getter = if state.items.is_empty() { None } else { state.getters.next() };
            [getter, state.next_putter()]
        };
        wake_all(py, woken.into_iter().flatten());
    }

    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        let woken = {
            let mut state = lock(&self.0);
            let Some(left) = state.unfinished.checked_sub(1) else {
                return Err(PyValueError::new_err("task_done() called too many times"));
            };
            state.unfinished = left;
            if left > 0 {
                return Ok(());
            }
            state.joiners.all()
        };
        wake_all(py, woken);
        Ok(())
    }

    #[pyo3(signature = (immediate = false))]
    fn shutdown(&self, py: Python<'_>, immediate: bool) {
        let mut state = lock(&self.0);
        state.shut_down = true;
        // Items may run code when they are let go of: after the state is unlocked.
        let items = if immediate { std::mem::take(&mut state.items) } else { VecDeque::new() };
        state.unfinished = state.unfinished.saturating_sub(items.len());
        let mut woken: Vec<_> = state.getters.all().chain(state.putters.all()).collect();
        if state.unfinished == 0 {
            woken.extend(state.joiners.all());
        }
        state.tell();
        drop(state);
        wake_all(py, woken);
        drop(items);
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.descriptor().map_err(|error| os_error(py, error))
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static GENERIC_ALIAS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        GENERIC_ALIAS.import(class.py(), "types", "GenericAlias")?.call1((class, item))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(state) = self.0.try_lock() else { return Ok(()) };
        state.items.iter().try_for_each(|item| visit.call(item))
    }

    fn __clear__(&self) {
        let items = std::mem::take(&mut lock(&self.0).items);
        drop(items);
    }
}

impl Queue {
    fn descriptor(&self) -> io::Result<RawFd> {
        let mut state = lock(&self.0);
        if state.bell.is_none() {
            state.bell = Some(Bell::new()?);
            state.rung = false;
            state.tell();
        }
        Ok(state.bell.as_ref().map_or(-1, |bell| bell.as_fd().as_raw_fd()))
    }

    fn try_take(
        &self,
        py: Python<'_>,
        waiter: Option<&Bound<'_, PyAny>>,
        again: bool,
    ) -> PyResult<Option<Py<PyAny>>> {
        let mut state = lock(&self.0);
        let Some((item, woken)) = state.pop() else {
            if state.shut_down {
                drop(state);
                return Err(shut_down(py));
            }
            if let Some(waiter) = waiter {
                state.getters.join(waiter, again);
            }
            return Ok(None);
        };
        if let Some(waiter) = waiter {
            state.getters.leave(waiter);
        }
        drop(state);
        wake_all(py, woken);
        Ok(Some(item))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        lock(&QUEUES).remove(&Arc::as_ptr(&self.0).addr());
    }
}

/// Runs in a child of `os.fork`, before `os.fork` returns there.
#[pyfunction]
pub(crate) fn queues_after_fork() {
    let queues: Vec<_> = lock(&QUEUES).values().filter_map(Weak::upgrade).collect();
    for queue in queues {
        let gone = lock(&queue).come_along();
        drop(gone);
    }
}

fn empty(py: Python<'_>) -> PyErr {
    static EMPTY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    raised(py, &EMPTY, "queue", "Empty")
}

fn full(py: Python<'_>) -> PyErr {
    static FULL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    raised(py, &FULL, "queue", "Full")
}

fn shut_down(py: Python<'_>) -> PyErr {
    static SHUT_DOWN: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    raised(py, &SHUT_DOWN, "stdserve.concurrent.queues", "ShutDown")
}

/// An exception of that class, which Python code has defined.
fn raised(py: Python<'_>, cell: &'static PyOnceLock<Py<PyType>>, module: &str, name: &str) -> PyErr {
    match cell.import(py, module, name) {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}
