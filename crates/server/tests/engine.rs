//! The rules of the engine, over real sockets: each test is named after what it excludes.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::io::Read;
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use stdserve_server::{Body, Exchange, Order, Settings, exchanges};
use support::{Client, LIMIT, Running, gate, ok};

/// Waits until the client's request is in `/hold`, or is answered. False: it is answered.
fn is_held(client: &Client, enters: &Receiver<()>) -> bool {
    let until = Instant::now() + LIMIT;
    loop {
        if enters.recv_timeout(Duration::from_millis(5)).is_ok() {
            return true;
        }
        if client.is_answered() {
            return false;
        }
        assert!(Instant::now() < until, "it is neither held nor answered");
    }
}

#[test]
fn lost_takeover_hello_beside_a_blocked_request_is_answered() {
    for threads in [2, 8, 64] {
        let (answer, enters, release) = gate();
        let running = Running::new(Settings { threads, ..Settings::default() }, exchanges(answer));
        let (mut slow, mut fast) = (running.connect(), running.connect());
        for _ in 0..20 {
            slow.get("/hold");
            enters.recv_timeout(LIMIT).unwrap();
            for _ in 0..10 {
                fast.get("/");
                assert_eq!(fast.answer(), (200, b"hello".to_vec()));
            }
            release.send(()).unwrap();
            assert_eq!(slow.answer().0, 200);
        }
    }
}

#[test]
fn lost_edge_a_request_that_arrives_while_its_connection_is_busy_is_answered() {
    let (answer, enters, release) = gate();
    let running = Running::new(Settings { threads: 2, ..Settings::default() }, exchanges(answer));
    let (mut client, mut other) = (running.connect(), running.connect());
    for _ in 0..50 {
        client.get("/hold");
        enters.recv_timeout(LIMIT).unwrap();
        client.get("/");
        // Another thread leads now, and has seen the edge.
        other.get("/");
        other.answer();
        release.send(()).unwrap();
        assert_eq!(client.answer().0, 200);
        assert_eq!(client.answer().0, 200);
    }
}

#[test]
fn lost_edge_what_stands_behind_a_blocked_request_is_read_at_its_end() {
    let (answer, enters, release) = gate();
    let running = Running::new(Settings { threads: 2, ..Settings::default() }, exchanges(answer));
    let mut client = running.connect();
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        // In one piece: no edge comes for the second, and none for anybody else.
        client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
        enters.recv_timeout(LIMIT).unwrap();
        thread::sleep(Duration::from_millis(20));
        let released = Instant::now();
        release.send(()).unwrap();
        assert_eq!(client.answer().0, 200);
        assert_eq!(client.answer().0, 200);
        quickest = quickest.min(released.elapsed());
    }
    // Lost, not one of them is read before the heartbeat.
    assert!(quickest < Duration::from_millis(500), "it waited {quickest:?}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let running = Running::new(
        Settings::default(),
        exchanges(|exchange: Exchange| {
            let path = exchange.head().path().to_vec();
            ok(exchange, &path);
        }),
    );
    let mut client = running.connect();
    let requests: Vec<String> = (0..300).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    client.send(requests.concat());
    for n in 0..300 {
        assert_eq!(client.answer(), (200, format!("/{n}").into_bytes()));
    }
}

#[test]
fn all_threads_blocked_the_rest_waits_and_is_refused_in_time() {
    let (answer, enters, release) = gate();
    let mut settings = Settings { threads: 1, ..Settings::default() };
    settings.timeouts.queue = Duration::from_millis(50);
    let running = Running::new(settings, exchanges(answer));
    // Where no thread is quick enough to take it, this one is refused too, and asked again.
    let mut slow = running.connect();
    slow.get("/hold");
    while !is_held(&slow, &enters) {
        assert_eq!(slow.answer().0, 503);
        slow = running.connect();
        slow.get("/hold");
    }
    let mut other = running.connect();
    other.get("/");
    assert_eq!(other.answer().0, 503);
    release.send(()).unwrap();
    assert_eq!(slow.answer().0, 200);
}

#[test]
fn a_computing_request_does_not_stop_the_others() {
    let running = Running::new(
        Settings { threads: 4, ..Settings::default() },
        exchanges(|exchange: Exchange| {
            if exchange.head().path() == b"/spin" {
                let clock = stdserve_sys::thread_clock::ThreadClock::of_this_thread().unwrap();
                let until = clock.read().unwrap() + Duration::from_millis(100);
                while clock.read().unwrap() < until {}
            }
            ok(exchange, b"");
        }),
    );
    let (mut slow, mut fast) = (running.connect(), running.connect());
    slow.get("/spin");
    for _ in 0..100 {
        fast.get("/");
        assert_eq!(fast.answer().0, 200);
    }
    assert_eq!(slow.answer().0, 200);
}

#[test]
fn a_panic_of_the_service_costs_one_request() {
    let running = Running::new(
        Settings::default(),
        exchanges(|exchange: Exchange| {
            assert!(exchange.head().path() != b"/panic");
            ok(exchange, b"fine");
        }),
    );
    for _ in 0..10 {
        let mut client = running.connect();
        client.get("/panic");
        assert_eq!(client.rest(), b"");
        let mut client = running.connect();
        client.get("/");
        assert_eq!(client.answer(), (200, b"fine".to_vec()));
    }
}

#[test]
fn a_half_closed_client_is_served_and_a_gone_one_is_not_run() {
    let ran = Arc::new(AtomicUsize::new(0));
    let (gated, enters, release) = gate();
    let counter = Arc::clone(&ran);
    let running = Running::new(
        Settings { threads: 1, ..Settings::default() },
        exchanges(move |exchange: Exchange| {
            counter.fetch_add(1, Ordering::SeqCst);
            gated(exchange);
        }),
    );
    let mut half = running.connect();
    half.get("/");
    half.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.answer().0, 200);
    let mut slow = running.connect();
    slow.get("/hold");
    enters.recv_timeout(LIMIT).unwrap();
    let mut gone = running.connect();
    gone.get("/");
    socket2::SockRef::from(&gone.socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(gone);
    // Refused requests on other connections show that the loop has been round since: the first may share a turn with
    // the request that is gone, the second polls again.
    for _ in 0..2 {
        let mut witness = running.connect();
        witness.send("nonsense\r\n\r\n");
        assert_eq!(witness.answer().0, 400);
    }
    release.send(()).unwrap();
    slow.answer();
    let mut last = running.connect();
    last.get("/");
    last.answer();
    assert_eq!(ran.load(Ordering::SeqCst), 3);
}

#[test]
fn a_body_too_large_for_memory_is_whole_in_a_file() {
    let running = Running::new(
        Settings { body_buffer: 10_000, ..Settings::default() },
        exchanges(|mut exchange: Exchange| {
            let Body::File { file, len } = exchange.take_body() else { panic!("not in a file") };
            let mut bytes = vec![0; len as usize];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
            let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
            ok(exchange, format!("{len} {sum}").as_bytes());
        }),
    );
    let mut client = running.connect();
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    for _ in 0..3 {
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()));
        client.send(&body);
        assert_eq!(client.answer(), (200, format!("{} {sum}", body.len()).into_bytes()));
    }
}

#[test]
fn a_stream_waits_for_a_slow_client_and_keeps_the_order() {
    let running = Running::new(
        Settings { response_buffer: 100_000, ..Settings::default() },
        exchanges(|mut exchange: Exchange| {
            exchange.begin(200, b"OK").unwrap();
            let mut stream = exchange.start(None);
            for n in 0..200_u8 {
                let block = vec![n; 30_000];
                let mut rest = &block[..];
                while !rest.is_empty() {
                    let taken = stream.send(rest).unwrap();
                    rest = &rest[taken..];
                    if !rest.is_empty() {
                        stream.wait().unwrap();
                    }
                }
            }
            stream.end();
        }),
    );
    let mut client = running.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let all = client.rest();
    let at = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let expected: Vec<u8> = (0..200_u8).flat_map(|n| vec![n; 30_000]).collect();
    assert!(all[at..] == expected[..]);
}

#[test]
fn an_application_thread_does_not_wait_for_a_slow_client_while_memory_and_disk_have_room() {
    let (done, finished) = channel();
    let done = Mutex::new(done);
    let running = Running::new(
        Settings::default(),
        exchanges(move |mut exchange: Exchange| {
            exchange.begin(200, b"OK").unwrap();
            let mut stream = exchange.start(None);
            for n in 0..100_u8 {
                // No call of `wait`: everything is taken at once, 10 MB of it.
                let block = vec![n; 100_000];
                assert_eq!(stream.send(&block), Ok(block.len()));
            }
            stream.end();
            done.lock().unwrap().send(()).unwrap();
        }),
    );
    let mut client = running.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    finished.recv_timeout(Duration::from_secs(20)).unwrap();
    let all = client.rest();
    let at = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let expected: Vec<u8> = (0..100_u8).flat_map(|n| vec![n; 100_000]).collect();
    assert!(all[at..] == expected[..]);
}

/// An ordinary end would say that the answer is whole.
#[test]
fn an_answer_that_ends_with_its_connection_is_cut_by_a_reset() {
    let running = Running::new(
        Settings::default(),
        exchanges(|mut exchange: Exchange| {
            exchange.begin(200, b"OK").unwrap();
            let mut stream = exchange.start(None);
            stream.send(b"half").unwrap();
            stream.abort();
        }),
    );
    let mut client = running.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut all = Vec::new();
    let error = client.socket.read_to_end(&mut all).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// The kernel holds back what is announced as the beginning of more.
#[test]
fn an_empty_file_is_answered_without_a_delay() {
    let running = Running::new(
        Settings::default(),
        exchanges(|mut exchange: Exchange| {
            exchange.begin(200, b"OK").unwrap();
            let mut stream = exchange.start(Some(0));
            stream.send_file(std::fs::File::open("/dev/null").unwrap(), 0, 0).unwrap();
            stream.end();
        }),
    );
    let mut client = running.connect();
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        client.get("/");
        assert_eq!(client.answer(), (200, Vec::new()));
        quickest = quickest.min(began.elapsed());
    }
    // Held back, not one of them comes sooner.
    assert!(quickest < Duration::from_millis(150), "it took {quickest:?}");
}

#[test]
fn heads_in_pieces_count_for_the_common_budget() {
    let settings = Settings { buffer_total: 100_000, ..Settings::default() };
    let running = Running::new(settings, exchanges(|exchange: Exchange| ok(exchange, b"hello")));
    let part = format!("GET / HTTP/1.1\r\nHost: h\r\n{}", format!("X: {}\r\n", "x".repeat(5000)).repeat(8));
    let mut refused = 0;
    let mut other = running.connect();
    // What was sent before this is answered has been read.
    let mut turn = || {
        other.get("/");
        assert_eq!(other.answer().0, 200);
    };
    let mut clients: Vec<_> = (0..4).map(|_| running.connect()).collect();
    for client in &mut clients {
        client.send(&part);
        turn();
    }
    for client in &mut clients {
        client.send("\r\n");
        match client.answer().0 {
            200 => {}
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(refused, 2);
    // All of it was given back.
    for _ in 0..2 {
        let mut client = running.connect();
        client.send(&part);
        turn();
        client.send("\r\n");
        assert_eq!(client.answer().0, 200);
    }
}

/// The socket holds the pages of a spooled file, not copies of them: what overwrote the file reached slow clients in
/// place of what they had been sent.
#[test]
fn a_spooled_file_is_not_written_over_while_a_client_reads_it() {
    const FIRST: usize = 12 << 20;
    /// More than the first: it reaches the place in the file where that ended, though sockets and memory take some of
    /// it.
    const SECOND: usize = 40 << 20;
    /// The client leaves so much of the first part in its socket.
    const UNREAD: usize = 16 << 10;
    let (go_on, may_go_on) = channel::<()>();
    let (wrote, written) = channel::<()>();
    let (may_go_on, wrote) = (Mutex::new(may_go_on), Mutex::new(wrote));
    let answer = move |mut exchange: Exchange| {
        exchange.begin(200, b"OK").unwrap();
        let mut stream = exchange.start(Some((FIRST + SECOND) as u64));
        assert_eq!(stream.send(&vec![b'a'; FIRST]), Ok(FIRST));
        // Without a limit a client that fails would leave this thread behind, and the test waiting for it.
        if may_go_on.lock().unwrap().recv_timeout(Duration::from_secs(20)).is_ok() {
            assert_eq!(stream.send(&vec![b'b'; SECOND]), Ok(SECOND));
            wrote.lock().unwrap().send(()).unwrap();
        }
        stream.end();
    };
    let settings = Settings { response_buffer: 64 << 20, ..Settings::default() };
    let running = Running::new(settings, exchanges(answer));
    let mut client = running.connect();
    client.get("/");
    let mut got = Vec::new();
    let head = loop {
        let mut piece = [0; 4096];
        let count = client.socket.read(&mut piece).unwrap();
        got.extend_from_slice(&piece[..count]);
        if let Some(at) = got.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(count > 0);
    };
    let read = got.len();
    got.resize(head + FIRST - UNREAD, 0);
    client.socket.read_exact(&mut got[read..]).unwrap();
    // The rest of it has come this far, so the server has nothing of it any more.
    let (mut peeked, end) = (vec![0; UNREAD], Instant::now() + Duration::from_secs(20));
    while client.socket.peek(&mut peeked).unwrap() < UNREAD {
        assert!(Instant::now() < end, "the first part does not come");
        thread::yield_now();
    }
    go_on.send(()).unwrap();
    let mut second = vec![0; UNREAD + SECOND];
    written.recv_timeout(Duration::from_secs(20)).unwrap();
    client.socket.read_exact(&mut second).unwrap();
    got.extend_from_slice(&second);
    let body = &got[head..];
    assert!(body[..FIRST].iter().all(|&byte| byte == b'a'), "the first part was written over");
    assert!(body[FIRST..].iter().all(|&byte| byte == b'b'));
}

#[test]
fn a_drain_finishes_what_runs_and_then_ends() {
    let (answer, enters, release) = gate();
    let running = Running::new(Settings::default(), exchanges(answer));
    let mut client = running.connect();
    client.get("/hold");
    enters.recv_timeout(LIMIT).unwrap();
    running.server.control().order(Order::Drain { within: Duration::from_secs(30) });
    release.send(()).unwrap();
    assert_eq!(client.answer().0, 200);
    assert!(running.server.wait(Some(Duration::from_secs(20))));
}

#[test]
fn a_drain_that_takes_too_long_is_cut() {
    let (answer, enters, _release) = gate();
    let running = Running::new(Settings::default(), exchanges(answer));
    let mut client = running.connect();
    client.get("/hold");
    enters.recv_timeout(LIMIT).unwrap();
    running.server.control().order(Order::Drain { within: Duration::from_millis(50) });
    assert!(running.server.wait(Some(Duration::from_secs(20))));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_server_can_be_turned_from_another_loop() {
    let running =
        Running::unstarted(Settings::default(), exchanges(|exchange: Exchange| ok(exchange, b"turned")));
    let mut client = running.connect();
    let asker = thread::spawn(move || {
        client.get("/");
        client.answer()
    });
    while !asker.is_finished() {
        assert!(running.server.turn(Some(Duration::from_millis(5))));
    }
    assert_eq!(asker.join().unwrap(), (200, b"turned".to_vec()));
}
