//! A folder of CGI scripts: `cargo run --release --example cgi -- cgi-bin 127.0.0.1:8000`.

use std::error::Error;
use std::sync::Arc;

use stdserve_server::cgi::{Cgi, Options};
use stdserve_server::{Log, Server, Settings, StdThreads};
use stdserve_sys::listener::{BindAddress, Registry};

/// What scripts write to their standard error stream, and what is wrong with them.
struct ToStderr;

impl Log for ToStderr {
    fn error(&self, message: &str) {
        eprintln!("{message}");
    }

    fn debug(&self, _message: &str) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "cgi-bin".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let options = Options {
        root: folder.into(),
        interpreters: vec![("py".to_owned(), vec!["python3".to_owned()])],
        max_processes: 8,
        ..Options::default()
    };
    let scripts = Cgi::new(options)?.log(Arc::new(ToStderr));
    let registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    let mut listeners = Vec::new();
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
        listeners.push(listener.try_clone()?);
    }
    let builder = Server::builder(Settings::default()).listeners(listeners);
    let server = builder.build(Arc::new(scripts), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
