//! Every connection gets back what it sends: `cargo run --release --example tcp_echo -- 127.0.0.1:8000`, then
//! `nc 127.0.0.1 8000`.

use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Arc;

use stdserve_server::{NotFound, Server, Session, Settings, StdThreads, sessions};
use stdserve_sys::listener::{BindAddress, Registry};

/// Has a thread to itself, and may wait for its client as long as it likes.
fn echo(mut session: Session) -> io::Result<()> {
    let mut room = [0; 16 * 1024];
    loop {
        let count = session.read(&mut room)?;
        if count == 0 {
            return Ok(());
        }
        session.write_all(&room[..count])?;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let mut registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    for listener in registry.listeners() {
        println!("listening on {}", listener.local());
    }
    let service = sessions(|session| {
        let peer = *session.peer();
        if let Err(error) = echo(session) {
            eprintln!("{peer:?}: {error}");
        }
    });
    let settings = Settings { threads: 100, ..Settings::default() };
    let server = Server::builder(settings)
        .streams(registry.take(), Arc::new(service))
        .build(Arc::new(NotFound), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
