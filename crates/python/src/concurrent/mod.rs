//! The native parts of `stdserve.concurrent`.
//!
//! Nothing here waits: a thread that waits in Rust while the interpreter ends could not be ended without aborting the
//! process (CPython before 3.14 ends it by `pthread_exit`). Waiting is done by the Python half of each part. What has a
//! state touches it with the GIL held and runs no Python code meanwhile, so that a fork never finds it half changed.
//!
//! A part is a module here, and its classes and functions are exported in `lib.rs`.

pub(crate) mod exchange;
pub(crate) mod lines;
pub(crate) mod queue;
