//! Worker processes that share a listener: `cargo run --release --example forks -- 127.0.0.1:8000 4`.
//!
//! `stdserve-supervisor` does this for the command, and replaces workers, reloads them and drains them.

use std::error::Error;
use std::sync::Arc;

use stdserve_server::{Server, Settings, StdThreads, exchanges};
use stdserve_sys::listener::{BindAddress, Listener, Registry};
use stdserve_sys::process::{self, Fork, NoHooks, Pid};
use stdserve_sys::signals::SIGTERM;

/// One worker: a loop and a crew of its own.
fn serve(listeners: Vec<Listener>) -> Result<(), Box<dyn Error>> {
    let service = exchanges(|mut exchange| {
        if exchange.begin(200, b"OK").is_ok() {
            exchange.complete(format!("answered by process {}\n", Pid::this()).as_bytes());
        }
    });
    let server = Server::builder(Settings::default())
        .listeners(listeners)
        .build(Arc::new(service), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let count: usize = arguments.next().unwrap_or_else(|| "2".to_owned()).parse()?;
    // Opened once: the kernel shares connections out among those who accept.
    let mut registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    let parent = Pid::this();
    let mut workers = Vec::new();
    for _ in 0..count {
        // There is one thread still; a process with more is not forked.
        match process::fork(&mut NoHooks)? {
            Fork::Parent(worker) => workers.push(worker),
            Fork::Child => {
                process::signal_on_parent_death(SIGTERM)?;
                if Pid::parent() != parent {
                    return Ok(()); // it has ended already
                }
                return serve(registry.take());
            }
        }
    }
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
    }
    for worker in workers {
        println!("process {worker} {}", process::wait(worker)?);
    }
    Ok(())
}
