//! A server of plain Rust on a port of its own, and a client that speaks bytes.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails
#![allow(dead_code)] // each test file uses its part

pub(crate) mod scripts;

pub(crate) mod site;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stdserve_server::{Builder, Exchange, Log, Mount, Order, Server, Service, Settings, StdThreads};
use stdserve_sys::listener::{BindAddress, LocalAddress, Registry};

/// What has not happened by then never will: no test waits longer for one thing.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Answers 200 with `body`.
pub(crate) fn ok(mut exchange: Exchange, body: &[u8]) {
    exchange.begin(200, b"OK").unwrap();
    exchange.complete(body);
}

/// A service whose `/hold` says that it is entered and waits to be let go; anything else is answered at once.
pub(crate) fn gate() -> (impl Fn(Exchange) + Send + Sync + 'static, Receiver<()>, Sender<()>) {
    let (entered, enters) = channel();
    let (release, released) = channel::<()>();
    let (entered, released) = (Mutex::new(entered), Mutex::new(released));
    let answer = move |exchange: Exchange| {
        if exchange.head().path() == b"/hold" {
            entered.lock().unwrap().send(()).unwrap();
            // A test that has ended lets it go as well.
            released.lock().unwrap().recv().ok();
        }
        ok(exchange, b"hello");
    };
    (answer, enters, release)
}

/// Prints what is said, and keeps the errors.
#[derive(Default)]
pub(crate) struct KeptLog(Mutex<Vec<String>>);

impl KeptLog {
    /// What was said up to now that an operator should see.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Log for KeptLog {
    fn error(&self, message: &str) {
        eprintln!("error: {message}");
        self.0.lock().unwrap().push(message.to_owned());
    }

    fn debug(&self, message: &str) {
        eprintln!("debug: {message}");
    }
}

/// A running server. It is stopped when it goes out of scope.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<KeptLog>,
}

impl Running {
    pub(crate) fn new(settings: Settings, service: impl Service) -> Self {
        let running = Self::unstarted(settings, service);
        running.server.start().unwrap();
        running
    }

    /// With one service at the root and another beneath `prefix`.
    pub(crate) fn mounted(service: impl Service, prefix: &str, beneath: impl Service) -> Self {
        let mount = Mount { host: None, prefix: prefix.to_owned() };
        let beneath: Arc<dyn Service> = Arc::new(beneath);
        let running = Self::built(Settings::default(), service, |builder| builder.mount(mount, beneath));
        running.server.start().unwrap();
        running
    }

    pub(crate) fn unstarted(settings: Settings, service: impl Service) -> Self {
        Self::built(settings, service, |builder| builder)
    }

    pub(crate) fn built(
        settings: Settings,
        service: impl Service,
        more: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let anywhere = BindAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let listeners = Registry::open(&[(None, anywhere)], 128).unwrap();
        let listeners: Vec<_> =
            listeners.listeners().iter().map(|listener| listener.try_clone().unwrap()).collect();
        let LocalAddress::Tcp(address) = *listeners[0].local() else { panic!("no TCP listener") };
        let log = Arc::new(KeptLog::default());
        let builder = Server::builder(settings).listeners(listeners).log(Arc::clone(&log) as Arc<dyn Log>);
        let server = more(builder).build(Arc::new(service), Arc::new(StdThreads)).unwrap();
        Self { server, address, log }
    }

    pub(crate) fn connect(&self) -> Client {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client { socket, buffer: Vec::new() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.control().order(Order::Stop);
    }
}

/// A client of one connection.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"));
    }

    /// The next answer that has a Content-Length: its status and body.
    pub(crate) fn answer(&mut self) -> (u16, Vec<u8>) {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more(), "the connection ended within a head");
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |n| n.parse().unwrap());
        while self.buffer.len() < length {
            assert!(self.more(), "the connection ended within a body");
        }
        (status, self.buffer.drain(..length).collect())
    }

    /// Whether anything has come that was not read, or the end. Does not wait.
    pub(crate) fn is_answered(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let found = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false).unwrap();
        found.is_ok()
    }

    fn more(&mut self) -> bool {
        let mut piece = [0; 16384];
        let count = loop {
            match self.socket.read(&mut piece) {
                // A read with a time limit is not begun again by the kernel when a child of the process ends.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result.unwrap(),
            }
        };
        self.buffer.extend_from_slice(&piece[..count]);
        count > 0
    }

    /// All that comes until the connection ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }
}
