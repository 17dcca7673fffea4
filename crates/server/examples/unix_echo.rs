//! Lines in capitals, over a Unix socket: `cargo run --release --example unix_echo -- /tmp/echo.sock`, then
//! `nc -U /tmp/echo.sock`.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use stdserve_server::{NotFound, Server, Session, Settings, StdThreads, sessions};
use stdserve_sys::listener::{BindAddress, Registry};

fn capitals(session: Session) -> std::io::Result<()> {
    // The socket itself, for what wants a type of the standard library; the guard keeps the session's place.
    let (socket, _guard) = session.into_socket();
    let mut client = UnixStream::from(socket);
    for line in BufReader::new(client.try_clone()?).lines() {
        writeln!(client, "{}", line?.to_uppercase())?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/tmp/stdserve-echo.sock".to_owned());
    let address = BindAddress::Unix { path: path.into(), mode: Some(0o600) };
    // It removes the socket's file when it is dropped.
    let mut registry = Registry::open(&[(None, address)], 2048)?;
    for listener in registry.listeners() {
        println!("listening on {}", listener.local());
    }
    let service = sessions(|session| {
        if let Err(error) = capitals(session) {
            eprintln!("{error}");
        }
    });
    let server = Server::builder(Settings::default())
        .streams(registry.take(), Arc::new(service))
        .build(Arc::new(NotFound), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
