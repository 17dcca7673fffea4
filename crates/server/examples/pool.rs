//! A bounded pool that ends in order: `cargo run --release --example pool -- 127.0.0.1:8000`, and Ctrl-C.
//!
//! Four requests run, others wait, and past a hundred the answer is 503.

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use stdserve_server::{Order, Server, Settings, StdThreads, Watch, exchanges};
use stdserve_sys::listener::{BindAddress, Registry};
use stdserve_sys::signals::{SIGINT, SIGTERM, SignalReader};

/// Signals, read by the loop.
struct Signals(SignalReader);

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Watch for Signals {
    fn ready(&mut self) -> Option<Order> {
        self.0.next().map(|_| Order::Drain { within: Duration::from_secs(30) })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Before the first thread: all of them are to leave these signals to the reader.
    let signals = SignalReader::new(&[SIGINT, SIGTERM])?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let mut registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
    }
    let service = exchanges(|mut exchange| {
        if exchange.path() == b"/slow" {
            thread::sleep(Duration::from_secs(1));
        }
        if exchange.begin(200, b"OK").is_ok() {
            exchange.complete(b"Hello from the pool\n");
        }
    });
    let settings = Settings { threads: 4, concurrency: Some(100), ..Settings::default() };
    let server = Server::builder(settings)
        .listeners(registry.take())
        .watch(Box::new(Signals(signals)))
        .build(Arc::new(service), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    println!("ended in order");
    Ok(())
}
