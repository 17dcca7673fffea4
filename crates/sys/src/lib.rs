//! What stdserve asks of the operating system (Linux).
//!
//! One module a concern: [sockets that listen](listener), [processes](process), [signals], [messages between
//! processes](channel), the [scoreboard], [limits], [log files](log_writer) and what loops need ([poller],
//! [timers], [net], [interests]). Together with the Python crate this is the only place for `unsafe`; every block says
//! why it is sound.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "stdserve serves on Linux only; on macOS and Windows run it in a container or a virtual machine."
);

pub mod beneath;
pub mod broadcast;
pub mod channel;
pub mod clock;
mod control_groups;
pub mod cpus;
pub mod daemon;
pub mod datagrams;
pub mod fork_guard;
mod holder;
pub mod interests;
pub mod limits;
pub mod listener;
pub mod log_writer;
pub mod memory;
pub mod net;
pub mod notify;
pub mod pidfile;
pub mod pipes;
pub mod poller;
pub mod process;
pub mod scoreboard;
pub mod signals;
pub mod tempfile;
pub mod terminal;
pub mod thread_clock;
pub mod timers;
pub mod users;
