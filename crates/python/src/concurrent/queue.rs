//! The state of a `PollableQueue`, and all that is done to it without waiting.
//!
//! The Python half (`stdserve/concurrent/queues.py`) waits: each waiting call has a lock of its own, which it holds and
//! tries to take once more. Whoever wakes it releases that lock. Three lines of such waiters are kept here: for an
//! item, for room, and for the last task to be done.
//!
//! # How no wake-up is lost
//!
//! 1. A call stands in line only if it found nothing to take (no room, tasks undone), and it looks and lines up in one
//!    step.
//! 2. Each item that is put wakes the first getter that was not woken yet; each item that is taken, the first such
//!    putter, if there is room.
//! 3. One that was woken keeps its place until it is served. It looks again: another call may have been faster, and then
//!    it waits on, to be woken before those behind it.
//! 4. One that gives up (time-out, `KeyboardInterrupt`) [leaves](Queue::leave) the line. If it had been woken, it wakes
//!    the next one in its stead, as long as there is something to take.
//!
//! So while getters wait that were not woken, at least as many others are on their way as there are items: the line
//! moves whenever one of these takes its item, finds it gone, or leaves. The same holds for putters and room. Everyone
//! is woken when the queue is shut down.
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
struct Line(Vec<Waiter>);

struct Waiter {
    /// Held by the waiting thread, which tries to take it again, until it is woken.
    lock: Py<PyAny>,
    thread: libc::pthread_t,
    woken: bool,
}

impl Line {
    /// At the end, or in the place that it has already.
    fn wait(&mut self, lock: &Bound<'_, PyAny>) {
        if let Some(waiter) = self.0.iter_mut().find(|waiter| waiter.lock.is(lock)) {
            waiter.woken = false;
        } else {
            self.0.push(Waiter { lock: lock.clone().unbind(), thread: this_thread(), woken: false });
        }
    }

    fn leave(&mut self, lock: &Bound<'_, PyAny>) -> Option<Waiter> {
        let place = self.0.iter().position(|waiter| waiter.lock.is(lock))?;
        Some(self.0.remove(place))
    }

    /// Those that were not woken yet. They are from now on.
    fn sleepers<'a, 'py: 'a>(&'a mut self, py: Python<'py>) -> impl Iterator<Item = Woken> + use<'a, 'py> {
        self.0.iter_mut().filter(|waiter| !waiter.woken).map(move |waiter| {
            waiter.woken = true;
            Woken(waiter.lock.clone_ref(py))
        })
    }

    /// After a fork: only the thread that forked is there. It may wait if a signal's handler forked.
    fn forget_others(&mut self) -> Vec<Waiter> {
        let this = this_thread();
        let (own, others) = std::mem::take(&mut self.0).into_iter().partition(|waiter| waiter.thread == this);
        self.0 = own;
        others
    }
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: has no preconditions.
    unsafe { libc::pthread_self() }
}

/// One who has to be told so, when the state is unlocked.
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
    /// For how many more items.
    fn room(&self) -> usize {
        match usize::try_from(self.maxsize) {
            Ok(most) if most > 0 => most.saturating_sub(self.items.len()),
            _ => usize::MAX,
        }
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
    fn push(&mut self, py: Python<'_>, item: Py<PyAny>) -> Option<Woken> {
        self.items.push_back(item);
        self.unfinished += 1;
        self.tell();
        self.getters.sleepers(py).next()
    }

    fn pop(&mut self, py: Python<'_>) -> Option<(Py<PyAny>, Option<Woken>)> {
        let item = self.items.pop_front()?;
        if self.items.is_empty() && self.items.capacity() > KEPT {
            self.items = VecDeque::new();
        }
        self.tell();
        Some((item, self.next_putter(py)))
    }

    /// One putter, if there is room for what it has.
    fn next_putter(&mut self, py: Python<'_>) -> Option<Woken> {
        if self.room() > 0 { self.putters.sleepers(py).next() } else { None }
    }

    /// One getter, if there is something for it.
    fn next_getter(&mut self, py: Python<'_>) -> Option<Woken> {
        if self.items.is_empty() { None } else { self.getters.sleepers(py).next() }
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
            let room = state.room();
            state.putters.sleepers(py).take(room).collect()
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
        lock(&self.0).room() == 0
    }

    fn put_nowait(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        if self.offer(py, item, None)? { Ok(()) } else { Err(full(py)) }
    }

    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let taken = self.try_take(py, None)?;
        taken.ok_or_else(|| empty(py))
    }

    /// Puts the item if there is room. If not, `waiter` waits in line.
    #[pyo3(name = "_offer", signature = (item, waiter = None, /))]
    fn offer(&self, py: Python<'_>, item: Py<PyAny>, waiter: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let mut state = lock(&self.0);
        if state.shut_down {
            drop(state);
            return Err(shut_down(py));
        }
        if state.room() == 0 {
            if let Some(waiter) = waiter {
                state.putters.wait(waiter);
            }
            return Ok(false);
        }
        let served = waiter.and_then(|waiter| state.putters.leave(waiter));
        let woken = state.push(py, item);
        drop(state);
        drop(served);
        wake_all(py, woken);
        Ok(true)
    }

    /// Takes the next item, or returns `default`. Then `waiter` waits in line.
    #[pyo3(name = "_take", signature = (default, waiter = None, /))]
    fn take(
        &self,
        py: Python<'_>,
        default: Py<PyAny>,
        waiter: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Ok(self.try_take(py, waiter)?.unwrap_or(default))
    }

    /// Whether all tasks are done. If not, `waiter` waits in line for that.
    #[pyo3(name = "_done", signature = (waiter = None, /))]
    fn done(&self, waiter: Option<&Bound<'_, PyAny>>) -> bool {
        let mut state = lock(&self.0);
        if state.unfinished == 0 {
            return true;
        }
        if let Some(waiter) = waiter {
            state.joiners.wait(waiter);
        }
        false
    }

    /// What a call does at its end that has waited.
    #[pyo3(name = "_leave", signature = (waiter, /))]
    fn leave(&self, py: Python<'_>, waiter: &Bound<'_, PyAny>) {
        let mut state = lock(&self.0);
        let getter = state.getters.leave(waiter);
        let putter = state.putters.leave(waiter);
        let joiner = state.joiners.leave(waiter);
        let was_woken = |left: &Option<Waiter>| left.as_ref().is_some_and(|left| left.woken);
        let woken = [
            if was_woken(&getter) { state.next_getter(py) } else { None },
            if was_woken(&putter) { state.next_putter(py) } else { None },
        ];
        drop(state);
        drop([getter, putter, joiner]);
        wake_all(py, woken.into_iter().flatten());
    }

    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        let woken: Vec<_> = {
            let mut state = lock(&self.0);
            let Some(left) = state.unfinished.checked_sub(1) else {
                return Err(PyValueError::new_err("task_done() called too many times"));
            };
            state.unfinished = left;
            if left > 0 {
                return Ok(());
            }
            state.joiners.sleepers(py).collect()
        };
        wake_all(py, woken);
        Ok(())
    }

    /// Returns the items that nobody will take: the caller lets go of them, as that may run any code.
    #[pyo3(name = "_shutdown")]
    fn shutdown(&self, py: Python<'_>, immediate: bool) -> Vec<Py<PyAny>> {
        let mut state = lock(&self.0);
        state.shut_down = true;
        let items = if immediate { std::mem::take(&mut state.items) } else { VecDeque::new() };
        state.unfinished = state.unfinished.saturating_sub(items.len());
        let mut woken: Vec<_> = state.getters.sleepers(py).collect();
        woken.extend(state.putters.sleepers(py));
        if state.unfinished == 0 {
            woken.extend(state.joiners.sleepers(py));
        }
        state.tell();
        drop(state);
        wake_all(py, woken);
        items.into()
    }

    fn fileno(&self) -> PyResult<RawFd> {
        self.descriptor().map_err(os_error)
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

    fn try_take(&self, py: Python<'_>, waiter: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Py<PyAny>>> {
        let mut state = lock(&self.0);
        let Some((item, woken)) = state.pop(py) else {
            if state.shut_down {
                drop(state);
                return Err(shut_down(py));
            }
            if let Some(waiter) = waiter {
                state.getters.wait(waiter);
            }
            return Ok(None);
        };
        let served = waiter.and_then(|waiter| state.getters.leave(waiter));
        drop(state);
        drop(served);
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
