//! Connections and datagrams that a service has to itself, bodies that it reads while it runs, and mounts.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use stdserve_proto::h1::RequestHead;
use stdserve_server::{
    Arrival, Bodies, Body, Exchange, Mount, NotFound, Order, Run, Server, Service, Session, Settings,
    StdThreads, Timeouts, datagrams, exchanges, sessions,
};
use stdserve_sys::listener::{BindAddress, Listener, Registry};
use support::{LIMIT, Running, ok};

fn open(address: BindAddress) -> (Vec<Listener>, SocketAddr) {
    let listeners = Registry::open(&[(None, address)], 128).unwrap().into_listeners();
    let address = listeners[0].local().ip().unwrap();
    (listeners, address)
}

fn tcp() -> (Vec<Listener>, SocketAddr) {
    open(BindAddress::Tcp("127.0.0.1:0".parse().unwrap()))
}

/// Runs `build` of a server until the end of the test.
struct Guard(Server);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.control().order(Order::Stop);
    }
}

fn serve(settings: Settings, handle: impl Fn(Session) + Send + Sync + 'static) -> (Guard, SocketAddr) {
    let (listeners, address) = tcp();
    let server = Server::builder(settings)
        .streams(listeners, Arc::new(sessions(handle)))
        .build(Arc::new(NotFound), Arc::new(StdThreads))
        .unwrap();
    server.start().unwrap();
    (Guard(server), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn echo(mut session: Session) {
    let mut room = [0; 1024];
    loop {
        match session.read(&mut room) {
            Ok(count) if count > 0 => session.write_all(&room[..count]).unwrap(),
            _ => return,
        }
    }
}

#[test]
fn more_sessions_than_threads_wait_for_their_turn() {
    let (_server, address) = serve(Settings { threads: 2, ..Settings::default() }, echo);
    let mut clients: Vec<_> = (0..6).map(|_| connect(address)).collect();
    // Two are in their handlers; each that ends lets the next one in.
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "hello");
    }
}

#[test]
fn no_more_sessions_are_accepted_than_connections_may_be_held() {
    let settings = Settings { threads: 1, connections: 1, ..Settings::default() };
    let (_server, address) = serve(settings, echo);
    for _ in 0..20 {
        let (mut first, mut second) = (connect(address), connect(address));
        for client in [&mut first, &mut second] {
            client.write_all(b"x").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
        for client in [&mut first, &mut second] {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"x");
        }
    }
}

#[test]
fn a_drain_lets_a_session_finish() {
    let (entered, enters) = channel();
    let entered = Mutex::new(entered);
    let (server, address) = serve(Settings::default(), move |session| {
        entered.lock().unwrap().send(()).unwrap();
        echo(session);
    });
    let mut client = connect(address);
    enters.recv_timeout(LIMIT).unwrap();
    server.0.control().order(Order::Drain { within: Duration::from_secs(20) });
    client.write_all(b"still").unwrap();
    let mut room = [0; 5];
    client.read_exact(&mut room).unwrap();
    assert!(!server.0.wait(Some(Duration::ZERO)));
    drop(client);
    assert!(server.0.wait(Some(Duration::from_secs(20))));
}

#[test]
fn every_datagram_that_the_kernel_kept_is_answered() {
    let (sockets, address) = open(BindAddress::Udp("127.0.0.1:0".parse().unwrap()));
    // By both ways to answer.
    let echo = datagrams(|datagram| {
        let answer = datagram.data().to_ascii_uppercase();
        if datagram.id() % 3 == 0 { datagram.reply(&answer).unwrap() } else { datagram.answer(answer) }
    });
    let server = Server::builder(Settings::default())
        .datagrams(sockets, Arc::new(echo))
        .build(Arc::new(NotFound), Arc::new(StdThreads))
        .unwrap();
    server.start().unwrap();
    let server = Guard(server);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for round in 0..40 {
        for number in 0..50 {
            client.send(format!("r{round}n{number}").as_bytes()).unwrap();
        }
        let mut room = [0; 64];
        // Several threads may answer: in what order is not said.
        let mut got: Vec<_> = (0..50)
            .map(|_| {
                let count = client.recv(&mut room).unwrap();
                String::from_utf8_lossy(&room[..count]).into_owned()
            })
            .collect();
        got.sort();
        let mut expected: Vec<_> = (0..50).map(|number| format!("R{round}N{number}")).collect();
        expected.sort();
        assert_eq!(got, expected);
    }
    drop(server);
}

/// Reads its body while it runs: `/first` answers after the first piece, the rest is counted.
struct Streaming {
    first: Mutex<Sender<usize>>,
    go_on: Mutex<Receiver<()>>,
}

impl Service for Streaming {
    fn bodies(&self, head: &RequestHead) -> Bodies {
        if head.path() == b"/buffered" { Bodies::Buffered } else { Bodies::Streamed }
    }

    fn run(&self, run: &mut Run<'_>) {
        while let Some(mut exchange) = run.next() {
            match exchange.take_body() {
                Body::Stream(mut incoming) => {
                    if exchange.path() == b"/unread" {
                        drop(incoming);
                        ok(exchange, b"unread");
                        continue;
                    }
                    let first = incoming.next_piece().map_or(0, <[u8]>::len);
                    self.first.lock().unwrap().send(first).unwrap();
                    if exchange.path() == b"/first" {
                        self.go_on.lock().unwrap().recv().unwrap();
                    }
                    let mut total = first;
                    let mut room = vec![0; 10_000];
                    let end = loop {
                        match incoming.read(&mut room) {
                            Ok(0) => break format!("{total}"),
                            Ok(count) => total += count,
                            Err(error) => break format!("{:?}", error.kind()),
                        }
                    };
                    ok(exchange, end.as_bytes());
                }
                other => ok(exchange, format!("buffered {}", other.len()).as_bytes()),
            }
        }
    }
}

fn streaming(settings: Settings) -> (Running, Receiver<usize>, Sender<()>) {
    let (first, firsts) = channel();
    let (go_on, goes_on) = channel();
    let service = Streaming { first: Mutex::new(first), go_on: Mutex::new(goes_on) };
    (Running::new(settings, service), firsts, go_on)
}

#[test]
fn a_streamed_body_is_read_while_it_comes_and_the_connection_goes_on() {
    let (running, firsts, go_on) = streaming(Settings::default());
    let mut client = running.connect();
    for _ in 0..3 {
        client.send("POST /first HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        assert_eq!(firsts.recv_timeout(LIMIT).unwrap(), 5);
        go_on.send(()).unwrap();
        client.send("6\r\n world\r\n0\r\n\r\n");
        assert_eq!(client.answer(), (200, b"11".to_vec()));
        client.send("POST /buffered HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.answer(), (200, b"buffered 3".to_vec()));
    }
}

#[test]
fn a_streamed_body_that_is_not_read_waits_with_the_client() {
    let (running, firsts, go_on) = streaming(Settings::default());
    let mut client = running.connect();
    let body = vec![7; 30_000_000];
    client.send(format!("POST /first HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()));
    let mut socket = client.socket.try_clone().unwrap();
    let sender = thread::spawn(move || socket.write_all(&body).is_ok());
    firsts.recv_timeout(LIMIT).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(client.answer(), (200, b"30000000".to_vec()));
    assert!(sender.join().unwrap());
}

/// The loop had stopped reading for want of room with the last byte, and never looked for the end again.
#[test]
fn a_streamed_body_that_ends_where_its_room_ends_is_seen_to_end() {
    /// What the loop reads ahead of the service: `incoming::ROOM`.
    const ROOM: usize = 256 << 10;
    let (running, firsts, go_on) = streaming(Settings::default());
    let mut client = running.connect();
    // Whether the loop comes to the last byte before the service goes on is up to the machine: mostly it does.
    for _ in 0..20 {
        client.send(format!("POST /first HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", ROOM + 1));
        client.send("x");
        assert_eq!(firsts.recv_timeout(LIMIT).unwrap(), 1);
        client.send(vec![7; ROOM]);
        go_on.send(()).unwrap();
        assert_eq!(client.answer(), (200, format!("{}", ROOM + 1).into_bytes()));
    }
}

#[test]
fn what_is_not_read_of_a_streamed_body_never_becomes_a_request() {
    let (running, _firsts, _go_on) = streaming(Settings::default());
    let mut client = running.connect();
    client.send("POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer(), (200, b"unread".to_vec()));
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_service_learns_why_a_streamed_body_broke_off() {
    let quick = Duration::from_millis(100);
    let timeouts = Timeouts { body_period: quick, ..Timeouts::default() };
    let (hurried, firsts, _go_on) = streaming(Settings { timeouts, ..Settings::default() });
    let mut slow = hurried.connect();
    slow.send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx");
    firsts.recv_timeout(LIMIT).unwrap();
    assert_eq!(slow.answer(), (200, b"TimedOut".to_vec()));
    // With all the time that it needs.
    let (running, firsts, _go_on) = streaming(Settings { max_body: 100_000, ..Settings::default() });
    let mut large = running.connect();
    large.send("POST /large HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [&b"c350\r\n"[..], &vec![1; 50_000], b"\r\n"].concat();
    large.send([&chunk[..], &chunk, &chunk].concat());
    firsts.recv_timeout(LIMIT).unwrap();
    assert_eq!(large.answer(), (200, b"FileTooLarge".to_vec()));
}

#[test]
fn what_no_mount_takes_is_not_found() {
    let beneath = exchanges(|exchange: Exchange| ok(exchange, b"beneath"));
    let running = Running::mounted(NotFound, "/a", beneath);
    let mut client = running.connect();
    client.get("/a/x");
    assert_eq!(client.answer(), (200, b"beneath".to_vec()));
    client.get("/b");
    assert_eq!(client.answer(), (404, b"Not found\n".to_vec()));
}

#[test]
fn a_request_finds_its_service_by_host_and_path() {
    let named = |name: &'static str| -> Arc<dyn Service> {
        Arc::new(exchanges(move |exchange: Exchange| {
            let told = format!(
                "{name} {} {}",
                String::from_utf8_lossy(exchange.mount()),
                String::from_utf8_lossy(exchange.path())
            );
            ok(exchange, told.as_bytes());
        }))
    };
    let mount =
        |host: Option<&str>, prefix: &str| Mount { host: host.map(str::to_owned), prefix: prefix.to_owned() };
    let (listeners, address) = tcp();
    let server = Server::builder(Settings::default())
        .listeners(listeners)
        .mount(mount(None, "/a"), named("a"))
        .mount(mount(None, "/a/b"), named("ab"))
        .mount(mount(Some("Other.example"), ""), named("other"))
        .build(named("default"), Arc::new(StdThreads))
        .unwrap();
    server.start().unwrap();
    let _server = Guard(server);
    let mut client = connect(address);
    let mut ask = |host: &str, path: &str| {
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        let mut room = [0; 4096];
        let count = client.read(&mut room).unwrap();
        let text = String::from_utf8_lossy(&room[..count]).into_owned();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!(ask("h", "/"), "default  /");
    assert_eq!(ask("h", "/a"), "a /a ");
    assert_eq!(ask("h", "/a/x?y"), "a /a /x");
    assert_eq!(ask("h", "/%61/x"), "a /%61 /x");
    assert_eq!(ask("h", "/ab"), "default  /ab");
    assert_eq!(ask("h", "/a/b/"), "ab /a/b /");
    assert_eq!(ask("other.EXAMPLE:8000", "/a/b"), "other  /a/b");
    // Requests for different services that arrive together are each answered, in order.
    let mut client = connect(address);
    let paths = ["/", "/a", "/", "/a/b", "/a"];
    for _ in 0..20 {
        let burst = paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).concat();
        client.write_all(burst.as_bytes()).unwrap();
        let mut got = String::new();
        let mut room = [0; 4096];
        while got.matches("HTTP/1.1 200").count() < paths.len() || !got.ends_with("a /a ") {
            let count = client.read(&mut room).unwrap();
            assert!(count > 0);
            got.push_str(&String::from_utf8_lossy(&room[..count]));
        }
    }
}

/// Answers requests as they are, in pieces: `/slow` tells that its first piece is out, and waits before the second.
struct Verbatim {
    first: Mutex<Sender<()>>,
    go_on: Mutex<Receiver<()>>,
}

impl Service for Verbatim {
    fn run(&self, run: &mut Run<'_>) {
        while let Some(arrival) = run.next_arrival() {
            match arrival {
                Arrival::Exchange(exchange) => {
                    let slow = exchange.path() == b"/slow";
                    let mut count = 0;
                    if let Some(mut kept) = exchange.attachment() {
                        count = kept.take().and_then(|kept| kept.downcast().ok()).map_or(0, |n: Box<u32>| *n);
                        *kept = Some(Box::new(count + 1));
                    }
                    let mut stream = exchange.start_verbatim(200);
                    stream.send_soon(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n").unwrap();
                    stream.send_soon(format!("{count}-").as_bytes()).unwrap();
                    if slow {
                        self.first.lock().unwrap().send(()).unwrap();
                        self.go_on.lock().unwrap().recv().unwrap();
                    }
                    stream.send_soon(b"done").unwrap();
                    stream.end();
                }
                Arrival::Session(mut session) => {
                    let mut room = [0; 100];
                    let count = session.read(&mut room).unwrap();
                    session.write_all(&[b"raw ", &room[..count]].concat()).unwrap();
                }
                Arrival::Datagram(_) => {}
            }
        }
    }
}

fn verbatim() -> (Running, Receiver<()>, Sender<()>) {
    let (first, firsts) = channel();
    let (go_on, goes_on) = channel();
    let settings = Settings { hand_over_refused: true, ..Settings::default() };
    let service = Verbatim { first: Mutex::new(first), go_on: Mutex::new(goes_on) };
    (Running::new(settings, service), firsts, go_on)
}

#[test]
fn what_is_held_back_goes_out_when_its_thread_is_late() {
    let (running, firsts, go_on) = verbatim();
    let mut client = running.connect();
    for number in 0..4 {
        client.get("/");
        assert_eq!(client.answer(), (200, format!("{}-done", number * 2).into_bytes()));
        client.get("/slow");
        firsts.recv_timeout(LIMIT).unwrap();
        // The handler waits, and what it has written is here all the same.
        let mut room = [0; 200];
        let mut got = 0;
        while !room[..got].ends_with(b"-") {
            let count = client.socket.read(&mut room[got..]).unwrap();
            assert!(count > 0);
            got += count;
        }
        go_on.send(()).unwrap();
        let mut rest = [0; 4];
        client.socket.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"done");
    }
}

#[test]
fn a_refused_head_is_handed_over_whole() {
    let (running, _firsts, _go_on) = verbatim();
    let mut client = running.connect();
    client.get("/");
    client.answer();
    client.send("GET / HTTP/1.1\r\nBad header\r\n\r\n");
    assert_eq!(client.rest(), b"raw GET / HTTP/1.1\r\nBad header\r\n\r\n");
}
