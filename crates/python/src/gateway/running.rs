//! Which request each thread is in, so that one whose time is over can be ended by an exception that never meets the
//! next.
//!
//! Both sides write under the interpreter's lock only. Whoever raises looks first whether the thread is in the expected
//! request; the thread that leaves one clears the record, and with it what was raised and has not come yet
//! (`PyThreadState_SetAsyncExc(self, NULL)`). Nothing of Python runs between the look and the raising, nor between
//! the clearing of the two.

use std::os::raw::c_long;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyo3::ffi;
use pyo3::prelude::*;

/// A thread that runs requests.
struct Post {
    /// The thread, as `threading.get_ident()` has it.
    ident: u64,
    /// The request that it is in; 0: none. Written under the interpreter's lock.
    request: AtomicU64,
    /// The exception was raised in it, in this request.
    raised: AtomicBool,
}

/// All threads that have run a request.
static POSTS: Mutex<Vec<Weak<Post>>> = Mutex::new(Vec::new());

thread_local! {
    static POST: Arc<Post> = Post::of_this_thread();
}

/// Held for a few instructions, never while Python code may run.
fn posts() -> MutexGuard<'static, Vec<Weak<Post>>> {
    POSTS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Post {
    fn of_this_thread() -> Arc<Self> {
        let post =
            Arc::new(Self { ident: ident(), request: AtomicU64::new(0), raised: AtomicBool::new(false) });
        let mut posts = posts();
        posts.retain(|post| post.strong_count() > 0);
        posts.push(Arc::downgrade(&post));
        post
    }
}

/// This thread, as `threading.get_ident()` has it.
pub(crate) fn ident() -> u64 {
    // SAFETY: has no precondition.
    unsafe { libc::pthread_self() as u64 }
}

/// A thread is in a request for as long as this lives. Dropped after `close()`, under the interpreter's lock.
pub(crate) struct Inside<'py> {
    _py: Python<'py>,
    /// The request that this one was begun in, where an application turns another server's loop.
    before: u64,
}

/// This thread begins a request.
pub(crate) fn enter(py: Python<'_>, request: u64) -> Inside<'_> {
    let before = POST.with(|post| post.request.swap(request, Ordering::Relaxed));
    Inside { _py: py, before }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        POST.with(|post| {
            post.request.store(self.before, Ordering::Relaxed);
            if post.raised.load(Ordering::Relaxed) {
                post.raised.store(false, Ordering::Relaxed);
                // SAFETY: we are attached, as the token says; null takes back what has not come yet.
                unsafe { ffi::PyThreadState_SetAsyncExc(post.ident as c_long, std::ptr::null_mut()) };
            }
        });
    }
}

/// Raises `stdserve.RequestTimeout` in the thread that is in `request`. False: none is, or it was raised there before.
pub(crate) fn end(py: Python<'_>, request: u64) -> PyResult<bool> {
    let exception = py.import("stdserve")?.getattr("RequestTimeout")?;
    let found = posts()
        .iter()
        .filter_map(Weak::upgrade)
        .find(|post| post.request.load(Ordering::Relaxed) == request && !post.raised.load(Ordering::Relaxed));
    let Some(post) = found else { return Ok(false) };
    // From the look to here no Python code has run, so the thread is where it was.
    // SAFETY: we are attached; the thread is named as CPython names it, and one that has ended is not found.
    let count = unsafe { ffi::PyThreadState_SetAsyncExc(post.ident as c_long, exception.as_ptr()) };
    post.raised.store(count > 0, Ordering::Relaxed);
    Ok(count > 0)
}

/// The requests that threads are in, each with its thread.
pub(crate) fn all() -> Vec<(u64, u64)> {
    let posts: Vec<_> = posts().iter().filter_map(Weak::upgrade).collect();
    let inside = posts.iter().map(|post| (post.ident, post.request.load(Ordering::Relaxed)));
    inside.filter(|(_, request)| *request != 0).collect()
}

/// Whether the time of the request is over that this thread is in.
pub(crate) fn is_over() -> bool {
    POST.with(|post| post.raised.load(Ordering::Relaxed))
}

/// Whether `error` is what was raised in this thread for its request's time being over: the autopsy has said so.
pub(crate) fn is_time_out(py: Python<'_>, error: &PyErr) -> bool {
    is_over()
        && py
            .import("stdserve")
            .and_then(|module| module.getattr("RequestTimeout"))
            .is_ok_and(|class| error.is_instance(py, &class))
}
