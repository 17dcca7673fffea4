//! Every datagram goes back to its sender: `cargo run --release --example udp_echo -- 127.0.0.1:8000`, then
//! `nc -u 127.0.0.1 8000`. With a path, `/tmp/echo.sock`, the datagrams of a Unix socket.

use std::error::Error;
use std::sync::Arc;

use stdserve_server::{NotFound, Server, Settings, StdThreads, datagrams};
use stdserve_sys::listener::{BindAddress, Registry};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let address = if address.contains('/') {
        BindAddress::Unixgram { path: address.into(), mode: Some(0o600) }
    } else {
        BindAddress::Udp(address.parse()?)
    };
    let mut registry = Registry::open(&[(None, address)], 0)?;
    for socket in registry.listeners() {
        println!("listening on {}", socket.local());
    }
    // The loop reads what has come with one system call, the handler is called for each, and the answers leave with
    // one call.
    let echo = datagrams(|datagram| {
        let data = datagram.data().to_vec();
        datagram.answer(data);
    });
    let server = Server::builder(Settings::default())
        .datagrams(registry.take(), Arc::new(echo))
        .build(Arc::new(NotFound), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
