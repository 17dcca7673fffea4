//! A folder beneath `/static`, another service for one host name, and code for the rest:
//! `cargo run --release --example mounts -- 127.0.0.1:8000 DIR`.

use std::error::Error;
use std::sync::Arc;

use stdserve_server::files::{Files, Options};
use stdserve_server::{Mount, Server, Service, Settings, StdThreads, exchanges};
use stdserve_sys::listener::{BindAddress, Registry};

/// Says its name, and where the request was for.
fn named(name: &'static str) -> impl Service {
    exchanges(move |mut exchange| {
        let path = String::from_utf8_lossy(exchange.path()).into_owned();
        let begun = exchange.begin(200, b"OK");
        if begun.and_then(|()| exchange.field(b"Content-Type", b"text/plain; charset=utf-8")).is_ok() {
            exchange.complete(format!("{name}: {path}\n").as_bytes());
        }
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let root = arguments.next().unwrap_or_else(|| ".".to_owned()).into();
    let mut registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
    }
    let files = Files::new(Options { root, ..Options::default() })?;
    let server = Server::builder(Settings::default())
        .listeners(registry.take())
        .mount(Mount { host: None, prefix: "/static".to_owned() }, Arc::new(files))
        .mount(
            Mount { host: Some("api.localhost".to_owned()), prefix: String::new() },
            Arc::new(named("interface")),
        )
        .build(Arc::new(named("site")), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
