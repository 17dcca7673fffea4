//! A folder, served without Python: `cargo run --release --example files -- 127.0.0.1:8000 DIR`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use stdserve_server::files::{Files, Options};
use stdserve_server::{Server, Settings, StdThreads};
use stdserve_sys::listener::{BindAddress, Registry};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let root = arguments.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    let mut listeners = Vec::new();
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
        listeners.push(listener.try_clone()?);
    }
    let files = Files::new(Options { root, ..Options::default() })?;
    let builder = Server::builder(Settings::default()).listeners(listeners);
    let server = builder.build(Arc::new(files), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
