//! The supervisor: a pure state machine, and the small loop that carries its actions out.
//!
//! [`Machine`] decides: events and the time go in, actions come out; it reads no clock and touches nothing.
//! [`run`] is the loop around it: signals, children and messages become events, actions become system calls. What
//! only the host of the application can do (forking an interpreter) stands behind [`Host`]. [`TemplateSeat`] and
//! [`WorkerSeat`] are the other ends, for the processes that the supervisor starts.
//!
//! `docs/lifecycle.md` has the states in a picture.
#![forbid(unsafe_code)]

mod autopsy;
mod figures;
mod host;
mod journal;
mod machine;
mod measure;
mod messages;
mod nurses;
mod plane;
mod runner;
mod seats;

pub use host::Host;
pub use machine::{
    Action, Cause, Configured, Doing, Event, GroupPlan, GroupReport, Level, Limits, Loader, Machine, Policy,
    Report, ScaleTo, Signal, StopHow, TemplateId, WorkerId, WorkerReport,
};
pub use messages::{FromStarted, FromTemplate, FromWorker, Notice, ToTemplate, ToWorker};
pub use plane::{Hosts, Plane, Setting};
pub use runner::run;
pub use seats::{Nursery, TemplateSeat, WorkerSeat};

/// Exit codes, gunicorn's where it has them.
pub mod exit_code {
    /// Ended as asked.
    pub const OK: i32 = 0;
    /// Wrong use: an option, a file of settings.
    pub const USAGE: i32 = 2;
    /// Workers keep failing to boot.
    pub const WORKERS_FAIL: i32 = 3;
    /// The application could not be loaded.
    pub const APPLICATION: i32 = 4;
    /// An address is in use or not permitted.
    pub const ADDRESS: i32 = 5;
}
