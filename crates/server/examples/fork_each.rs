//! A process for each connection: `cargo run --release --example fork_each -- 127.0.0.1:8000`, then
//! `nc 127.0.0.1 8000`.
//!
//! For handlers that must not share memory. The process that accepts has one thread, and forks from within the service.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use stdserve_server::{
    NotFound, Order, Server, Session, SessionGuard, Settings, StdThreads, Watch, sessions,
};
use stdserve_sys::fork_guard;
use stdserve_sys::listener::{BindAddress, Registry};
use stdserve_sys::process::{self, Fork, NoHooks, Pid};
use stdserve_sys::signals::{self, SIGCHLD, SignalReader};

/// The processes that run, each with its session's place: as many as there may be connections.
type Children = Arc<Mutex<HashMap<Pid, SessionGuard>>>;

/// Runs in the child.
fn echo(mut client: &TcpStream) -> io::Result<()> {
    writeln!(client, "process {}", Pid::this())?;
    let mut room = [0; 16 * 1024];
    loop {
        let count = client.read(&mut room)?;
        if count == 0 {
            return Ok(());
        }
        client.write_all(&room[..count])?;
    }
}

fn handle(session: Session, children: &Children) {
    let (socket, guard) = session.into_socket();
    match process::fork(&mut NoHooks) {
        Ok(Fork::Child) => {
            // Neither the listener nor the loop is the child's.
            fork_guard::close_in_child();
            let client = TcpStream::from(socket);
            let done = signals::unblock_all().and_then(|()| echo(&client));
            // Another child, forked meanwhile, may have a copy of the socket: closing it would not end the connection.
            let _ = client.shutdown(Shutdown::Both);
            process::exit_now(i32::from(done.is_err()));
        }
        Ok(Fork::Parent(child)) => {
            children.lock().unwrap_or_else(PoisonError::into_inner).insert(child, guard);
        }
        Err(error) => eprintln!("{error}"),
    }
}

/// Children that have ended, told by the loop.
struct Ends(SignalReader, Children);

impl AsFd for Ends {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Watch for Ends {
    fn ready(&mut self) -> Option<Order> {
        while self.0.next().is_some() {}
        for (child, _) in process::reap() {
            // With its guard the session ends, and there is room for another.
            self.1.lock().unwrap_or_else(PoisonError::into_inner).remove(&child);
        }
        None
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let mut registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    for listener in registry.listeners() {
        println!("listening on {}", listener.local());
    }
    let children = Children::default();
    let ends = Ends(SignalReader::new(&[SIGCHLD])?, Arc::clone(&children));
    let settings = Settings { connections: 40, ..Settings::default() };
    let server = Server::builder(settings)
        .streams(registry.take(), Arc::new(sessions(move |session| handle(session, &children))))
        .watch(Box::new(ends))
        .build(Arc::new(NotFound), Arc::new(StdThreads))?;
    while server.turn(None) {}
    Ok(())
}
