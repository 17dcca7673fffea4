//! What is under `Exchange`: messages by name, to all processes that share the memory, or within this one.
//!
//! Nothing here waits, but some milliseconds for its turn to write: who wants to waits for a [`Reader`]'s descriptor in
//! Python. Locks are held with the interpreter's lock held, and never while Python code may run, so that no fork finds
//! them taken.

use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use stdserve_sys::broadcast::{
    self, Cursor, Fill, Index, Item, MAX_GAP, Memory, NAMES, Post, Refusal, Waiter,
};

use super::os_error;

/// `take()` ends when it has so many bytes, in case that messages are large.
const ENOUGH: usize = 1 << 20;

/// How long the lock of shared memory is waited for with the interpreter's lock held. The others need microseconds
/// each; where one was stopped, `exchange.py` waits on, and other threads run meanwhile.
const TURN: Duration = Duration::from_millis(2);

/// Where a name's messages are, in one process.
#[derive(Clone, Copy)]
struct Place {
    memory: &'static Memory,
    post: &'static Post,
    index: Index,
    /// In which process: private memory is another one in a forked child, and so is who waits.
    forks: u64,
}

impl Place {
    fn find(name: &str, private: bool) -> PyResult<Self> {
        let here = broadcast::here();
        let (memory, post) = if private {
            (here.private().map_err(os_error)?, &here.private_post)
        } else {
            (broadcast::shared().map_err(os_error)?.ok_or_else(none)?, &here.post)
        };
        let index = if private { memory.name(name) } else { memory.name_within(name, TURN) };
        let index = index.map_err(|why| refusal(why, memory))?;
        Ok(Self { memory, post, index, forks: broadcast::forks() })
    }
}

fn none() -> PyErr {
    PyRuntimeError::new_err(
        "named exchanges have no memory here: --exchange-memory is 0; give it a size, such as 8MiB",
    )
}

fn refusal(why: Refusal, memory: &Memory) -> PyErr {
    match why {
        Refusal::TooManyNames => PyRuntimeError::new_err(format!(
            "there are {NAMES} names of exchanges already, and no room for another: names are never given back"
        )),
        Refusal::TooLong(length) => PyValueError::new_err(format!(
            "a message of {length} bytes is longer than {}, an eighth of the memory: --exchange-memory makes it larger",
            memory.max_message()
        )),
        Refusal::Busy => PyTimeoutError::new_err(
            "a process was stopped in the middle of a send, and no other can send until it goes on or is killed",
        ),
        Refusal::System(error) => os_error(error),
    }
}

/// Makes the memory that is shared with the processes forked from now on, if there is none yet. For whoever imports
/// `stdserve.concurrent`. Where it cannot be had the first [`Channel`] says so.
#[pyfunction]
pub(crate) fn share_exchange_memory() {
    let _ = broadcast::shared();
}

/// A name's messages: `Channel(name, *, private=False)`.
///
/// All processes forked from the one in which the first was made share them; `private`: this process alone, and a
/// forked child begins anew.
#[pyclass(frozen, module = "stdserve._stdserve")]
pub(crate) struct Channel {
    name: String,
    private: bool,
    place: Mutex<Place>,
}

impl Channel {
    fn place(&self) -> PyResult<Place> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.forks != broadcast::forks() {
            *place = Place::find(&self.name, self.private)?;
        }
        Ok(*place)
    }

    /// In memory of one process nobody else tells its readers.
    fn tell(&self, place: &Place) {
        if self.private {
            place.post.look(place.memory);
        }
    }
}

#[pymethods]
impl Channel {
    #[new]
    #[pyo3(signature = (name, *, private = false))]
    fn new(name: String, private: bool) -> PyResult<Self> {
        let place = Mutex::new(Place::find(&name, private)?);
        Ok(Self { name, private, place })
    }

    /// The name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The longest message, in bytes.
    #[getter]
    fn max_message(&self) -> PyResult<usize> {
        Ok(self.place()?.memory.max_message())
    }

    /// Sends to all readers; never waits for them. `ValueError`: it is longer than `max_message`. `TimeoutError`:
    /// another process is in the middle of a send, and has been there for 2 ms: perhaps it was stopped.
    #[pyo3(signature = (payload, /))]
    fn send(&self, payload: &[u8]) -> PyResult<()> {
        let place = self.place()?;
        let sent = if self.private {
            place.memory.send(place.index, payload)
        } else {
            place.memory.send_within(place.index, payload, TURN)
        };
        sent.map_err(|why| refusal(why, place.memory))?;
        self.tell(&place);
        Ok(())
    }

    /// Tells the readers, in its place among the messages, that `count` are missing at their source; `exact`: no more,
    /// no less. For private messages only.
    #[pyo3(signature = (count, exact, /))]
    fn note_missed(&self, count: u64, exact: bool) -> PyResult<()> {
        if !self.private {
            return Err(PyValueError::new_err("only a private channel has a source that can miss messages"));
        }
        if !(1..=MAX_GAP).contains(&count) {
            return Err(PyValueError::new_err(format!("count must be from 1 to {MAX_GAP}")));
        }
        let place = self.place()?;
        place.memory.note_missed(place.index, count, exact).map_err(|why| refusal(why, place.memory))?;
        self.tell(&place);
        Ok(())
    }

    /// Reads what is sent from now on; with `past` also what the memory has of the name.
    #[pyo3(signature = (past = false, /))]
    fn reader(&self, past: bool) -> PyResult<Reader> {
        let place = self.place()?;
        let Place { memory, index, .. } = place;
        let cursor = if past { memory.beginning(index) } else { memory.cursor(index) };
        let state = State { place, cursor, waiter: None, closed: false };
        Ok(Reader { name: self.name.clone(), private: self.private, state: Mutex::new(state) })
    }
}

/// One reader's place among the messages of a name.
#[pyclass(frozen, module = "stdserve._stdserve")]
pub(crate) struct Reader {
    name: String,
    private: bool,
    state: Mutex<State>,
}

struct State {
    place: Place,
    cursor: Cursor,
    /// Made when somebody wants to wait.
    waiter: Option<Waiter>,
    closed: bool,
}

/// What was taken, before it is Python's.
enum Taken {
    Message(Py<PyBytes>),
    Missed(u64, bool),
}

impl Reader {
    /// The state, as it is in this process. In a forked child the reader goes on from where the parent's was, where
    /// that memory is shared; whoever waits there is another.
    fn state(&self) -> PyResult<MutexGuard<'_, State>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(PyValueError::new_err("the reader is closed"));
        }
        if state.place.forks != broadcast::forks() {
            state.waiter = None;
            state.place = Place::find(&self.name, self.private)?;
            if self.private {
                state.cursor = state.place.memory.beginning(state.place.index);
            }
        }
        Ok(state)
    }
}

impl State {
    /// Takes at most so many. Without running any Python code: bytes are no business of the collector's.
    fn take(&mut self, py: Python<'_>, most: usize) -> PyResult<Vec<Taken>> {
        let mut taken: Vec<Taken> = Vec::new();
        let mut size = 0;
        let mut make = |length: usize, fill: Fill<'_>| {
            PyBytes::new_with(py, length, |bytes| {
                fill(bytes);
                Ok(())
            })
            .map(|bytes| (length, bytes.unbind()))
        };
        while taken.len() < most && size < ENOUGH {
            match self.place.memory.next(&mut self.cursor, &mut make) {
                Ok(Some(Item::Message((length, bytes)))) => {
                    size += length;
                    taken.push(Taken::Message(bytes));
                }
                Ok(Some(Item::Missed { count, exact })) => match taken.last_mut() {
                    Some(Taken::Missed(sum, all)) => {
                        (*sum, *all) = (sum.saturating_add(count), *all && exact);
                    }
                    _ => taken.push(Taken::Missed(count, exact)),
                },
                Err(error) if taken.is_empty() => return Err(error),
                // Nothing, or no memory for it now: it comes first the next time.
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(waiter) = &self.waiter {
            waiter.settle(&self.cursor);
        }
        Ok(taken)
    }
}

#[pymethods]
impl Reader {
    /// Takes at most `most` messages, in order; never waits. A tuple `(count, exact)` stands where messages were
    /// missed. There may be more when it has taken fewer; none: there is nothing. `ValueError`: the reader is closed.
    #[pyo3(signature = (most = 64, /))]
    fn take<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let taken = self.state()?.take(py, most)?;
        let list = PyList::empty(py);
        for item in taken {
            match item {
                Taken::Message(bytes) => list.append(bytes)?,
                Taken::Missed(count, exact) => list.append((count, exact))?,
            }
        }
        Ok(list)
    }

    /// A descriptor that is readable while `take()` has something; made when it is first asked for, and closed with the
    /// object.
    fn fileno(&self) -> PyResult<RawFd> {
        let mut state = self.state()?;
        let state = &mut *state;
        if state.waiter.is_none() {
            let made = Waiter::new(state.place.memory, state.place.post, &state.cursor);
            state.waiter = Some(made.map_err(os_error)?);
        }
        Ok(state.waiter.as_ref().map_or(-1, Waiter::descriptor))
    }

    /// Takes nothing any more, and wakes who waits for the descriptor.
    fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        if let Some(waiter) = &state.waiter
            && state.place.forks == broadcast::forks()
        {
            waiter.raise();
        }
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed
    }
}
