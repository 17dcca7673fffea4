//! Every option of stdserve, written once.
//!
//! [`options`] declares them; all else is made from the declarations: the command line, the reading of
//! files and the environment, help, the reference page, completions and the types for Python.
//! [`parse`] turns what a user gave into a [`Command`]; what it may see of the world is passed in.
#![forbid(unsafe_code)]

pub mod app_spec;
mod bind;
mod cli;
mod command;
mod completions;
mod ctl;
mod environment;
mod error;
mod field;
mod file;
pub mod generate;
mod gunicorn;
mod help;
mod layers;
pub mod option;
pub mod options;
mod python_file;
mod reload;
mod report;
mod run_script;
mod service;
mod service_options;
mod services;
mod settings;
mod suggest;
mod surroundings;
mod units;
mod up;
mod value;
mod verb;

pub use app_spec::{AppSpec, Callable, Target};
pub use bind::{Address, Bind, DEFAULT_PORT, Transport};
pub use command::{Command, Control, Order, Serve, parse, parse_run, parse_server};
pub use ctl::{Ctl, CtlOrder, CtlServer};
pub use error::{Problem, Source, UsageError};
pub use field::{Check, Field, Pair, PairKind, Place, Raw};
pub use gunicorn::gunicorn_settings;
pub use layers::{Configuration, Sources};
pub use reload::{Kept, keep_fixed};
pub use report::Shown;
pub use run_script::{Program, RunScript};
pub use service_options::{
    CgiOptions, FilesOptions, HandlerModel, HandlerOptions, RpcOptions, ScriptLimits, ScriptStderr, Targets,
    WsgiOptions,
};
pub use services::{GroupSpec, MountSpec, ServiceKind, ServiceSpec};
pub use settings::{
    AccessFormat, Admin, ColorChoice, Http, Limits, Listen, LogFormat, LogLevel, LogTarget, Logging,
    MemoryLimit, Operations, Preload, Process, Proxy, Recycling, Reload, Rlimits, Settings, Timeouts,
    TrustedPeer, Workers,
};
pub use surroundings::{Surroundings, without_python};
pub use verb::Verb;
