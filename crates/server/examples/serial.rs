//! One request after the other, in a process of one thread: `cargo run --release --example serial -- 127.0.0.1:8000`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stdserve_server::{Server, Settings, StdThreads, exchanges};
use stdserve_sys::listener::{BindAddress, Registry};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let mut registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
    }
    let count = AtomicU64::new(0);
    let service = exchanges(move |mut exchange| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        if exchange.begin(200, b"OK").is_ok() {
            exchange.complete(format!("request {number}\n").as_bytes());
        }
    });
    let server = Server::builder(Settings::default())
        .listeners(registry.take())
        .build(Arc::new(service), Arc::new(StdThreads))?;
    // Not started: this thread is the loop, and calls the service. Connections are many all the same; a handler that
    // waits keeps them all waiting.
    while server.turn(None) {}
    Ok(())
}
