//! A bare epoll loop without Python: reads all that is ready, parses the heads, then writes all.
//!
//! What it spends on a request is the floor under every server of the bench. It answers each request
//! with the same short line, and refuses nothing: it is a measuring stick, not a server.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const BODY: &str = "Hello, world!\n";

struct Connection {
    socket: TcpStream,
    /// Bytes of a head that has not fully come.
    partial: Vec<u8>,
    keep_alive: bool,
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(8000);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: HashMap<usize, Connection> = HashMap::new();
    let mut next = 0;
    let mut scratch = vec![0; 64 << 10];
    let mut ready: Vec<(usize, usize)> = Vec::new();
    let mut gone: Vec<usize> = Vec::new();
    let mut clock = Clock::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections, &mut next)?;
                continue;
            }
            let Token(id) = event.token();
            let Some(connection) = connections.get_mut(&id) else { continue };
            match read(connection, &mut scratch) {
                Some(0) => {}
                Some(requests) => ready.push((id, requests)),
                None => gone.push(id),
            }
        }
        clock.tick();
        for (id, requests) in ready.drain(..) {
            let Some(connection) = connections.get_mut(&id) else { continue };
            let response = if connection.keep_alive { &clock.kept } else { &clock.closing };
            // The response is far smaller than an empty socket buffer: a short write is a client that misbehaves.
            let sent =
                (0..requests).all(|_| connection.socket.write(response).is_ok_and(|n| n == response.len()));
            if !sent || !connection.keep_alive {
                gone.push(id);
            }
        }
        for id in gone.drain(..) {
            connections.remove(&id);
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut HashMap<usize, Connection>,
    next: &mut usize,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut socket, _)) => {
                socket.set_nodelay(true)?;
                poll.registry().register(&mut socket, Token(*next), Interest::READABLE)?;
                connections.insert(*next, Connection { socket, partial: Vec::new(), keep_alive: true });
                *next += 1;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Returns how many requests have come, or `None` where the connection has ended.
fn read(connection: &mut Connection, scratch: &mut [u8]) -> Option<usize> {
    let mut requests = 0;
    loop {
        let size = match connection.socket.read(scratch) {
            Ok(0) => return None,
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(requests),
            Err(_) => return None,
        };
        requests += if connection.partial.is_empty() {
            let (found, used) = parse(&scratch[..size], &mut connection.keep_alive)?;
            connection.partial.extend_from_slice(&scratch[used..size]);
            found
        } else {
            let mut bytes = std::mem::take(&mut connection.partial);
            bytes.extend_from_slice(&scratch[..size]);
            let (found, used) = parse(&bytes, &mut connection.keep_alive)?;
            connection.partial.extend_from_slice(&bytes[used..]);
            found
        };
        // A short read has emptied the socket: what comes later brings a new edge.
        if size < scratch.len() {
            return Some(requests);
        }
    }
}

/// Parses the heads that stand at the front of `bytes`; returns how many, and how long they are.
fn parse(bytes: &[u8], keep_alive: &mut bool) -> Option<(usize, usize)> {
    let (mut found, mut used) = (0, 0);
    while used < bytes.len() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut headers);
        match head.parse(&bytes[used..]).ok()? {
            httparse::Status::Partial => break,
            httparse::Status::Complete(size) => {
                used += size;
                found += 1;
            }
        }
        *keep_alive &= !head.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close")
        });
    }
    Some((found, used))
}

/// The response, with the date of the second.
struct Clock {
    kept: Vec<u8>,
    closing: Vec<u8>,
    until: Instant,
}

impl Clock {
    fn new() -> Self {
        let mut clock = Self { kept: Vec::new(), closing: Vec::new(), until: Instant::now() };
        clock.tick();
        clock
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.until {
            return;
        }
        // Any date of the right length will do here.
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() % 86400);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let response = |connection: &str| {
            format!(
                "HTTP/1.1 200 OK\r\nDate: Wed, 01 Jan 2025 {hour:02}:{minute:02}:{second:02} GMT\r\n{connection}\
                 Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{BODY}",
                BODY.len()
            )
            .into_bytes()
        };
        self.kept = response("");
        self.closing = response("Connection: close\r\n");
        self.until = now + Duration::from_secs(1);
    }
}
