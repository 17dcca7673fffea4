//! From options to processes: what the programs with and without Python share.
//!
//! [`main`] reads the command line, opens the listeners and becomes the supervisor, which forks a `template` for each
//! worker group, which forks the `worker`s. `engine` turns options into the engine's settings, `services` makes what
//! is served, `watcher` keeps the access log and the figures, the `warden` is what a worker's main thread does.
//! What only an interpreter can do stands behind the trait [`Interpreter`]; [`NoInterpreter`] does without.
#![forbid(unsafe_code)]

mod admin;
mod autopsy;
mod banner;
mod being;
mod changes;
mod command;
mod control;
mod ctl;
mod engine;
mod error_page;
mod interpreter;
mod launch;
mod listen;
mod log;
mod manager;
mod ready_made;
mod services;
mod setup;
mod succession;
mod template;
mod warden;
mod watcher;
mod worker;

pub use command::{Again, SHORT, complain, main, start};
pub use engine::settings;
pub use interpreter::{Hook, Interpreter, NoInterpreter, Place, Scene, Stack, Woken};
pub use listen::addresses;
pub use log::ErrorLog;
pub use stdserve_supervisor::Level;
pub use watcher::Watcher;
