//! A server of plain Rust: `cargo run --release --example hello -- 127.0.0.1:8000`.

use std::error::Error;
use std::sync::Arc;

use stdserve_server::{Run, Server, Service, Settings, StdThreads};
use stdserve_sys::listener::{BindAddress, Registry};

struct Hello;

impl Service for Hello {
    fn run(&self, run: &mut Run<'_>) {
        while let Some(mut exchange) = run.next() {
            if exchange
                .begin(200, b"OK")
                .and_then(|()| exchange.field(b"Content-Type", b"text/plain"))
                .is_ok()
            {
                exchange.complete(b"Hello, world!\n");
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    let mut listeners = Vec::new();
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
        listeners.push(listener.try_clone()?);
    }
    let builder = Server::builder(Settings::default()).listeners(listeners);
    let server = builder.build(Arc::new(Hello), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
