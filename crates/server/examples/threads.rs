//! A thread for each request that waits: `cargo run --release --example threads -- 127.0.0.1:8000`.
//!
//! Threads are made when one is missing and used again; quick requests share one.

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use stdserve_server::{Server, Settings, StdThreads, exchanges};
use stdserve_sys::listener::{BindAddress, Registry};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let mut registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
    }
    let service = exchanges(|mut exchange| {
        if exchange.path() == b"/slow" {
            thread::sleep(Duration::from_millis(200)); // a database, say
        }
        let name = thread::current().name().unwrap_or_default().to_owned();
        if exchange.begin(200, b"OK").is_ok() {
            exchange.complete(format!("answered by {name}\n").as_bytes());
        }
    });
    // So many requests at most are in the service at once.
    let settings = Settings { threads: 1000, ..Settings::default() };
    let server = Server::builder(settings)
        .listeners(registry.take())
        .build(Arc::new(service), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
