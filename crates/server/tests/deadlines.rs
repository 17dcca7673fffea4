//! Requests that take too long, and those that wait too long: what clients and the coroner are told.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use stdserve_server::{Case, Coroner, Exchange, Order, Settings, Told, exchanges};
use support::{LIMIT, Running, gate, ok};

/// Hands cases to a test.
struct Morgue(Sender<Case>);

impl Coroner for Morgue {
    fn take(&self, case: Case) {
        // The test may have ended.
        let _ = self.0.send(case);
    }
}

/// A server of `answer`, and what its coroner is told.
fn watched(
    settings: Settings,
    answer: impl Fn(Exchange) + Send + Sync + 'static,
) -> (Running, Receiver<Case>) {
    let (give, cases) = channel();
    let running =
        Running::built(settings, exchanges(answer), |builder| builder.coroner(Arc::new(Morgue(give))));
    running.server.start().unwrap();
    (running, cases)
}

fn with_timeout(threads: usize, timeout: u64) -> Settings {
    let mut settings = Settings { threads, ..Settings::default() };
    settings.deadlines.timeout = Duration::from_millis(timeout);
    settings
}

#[test]
fn a_request_whose_time_is_over_is_answered_504_and_what_it_says_later_reaches_nobody() {
    let (answer, enters, release) = gate();
    let (running, cases) = watched(with_timeout(2, 50), answer);
    let mut stuck = running.connect();
    stuck.get("/hold");
    enters.recv_timeout(LIMIT).unwrap();
    another_is_served(&running);
    let rest = String::from_utf8(stuck.rest()).unwrap();
    assert!(rest.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{rest}");
    assert!(rest.contains("\r\nConnection: close\r\n"), "{rest}");
    let held_is_late = |case: &Case| {
        let Case::TimedOut(late, Told::Refused) = case else { panic!("no time-out") };
        assert!(late.running >= Duration::from_millis(50));
        late.request.head.target() == b"/hold"
    };
    while !held_is_late(&cases.recv_timeout(LIMIT).unwrap()) {}
    release.send(()).unwrap();
    another_is_served(&running);
    assert!(!cases.try_iter().any(|case| held_is_late(&case)));
}

/// Asks until it is answered in time: on a busy machine the time of any request may be over before it has begun.
fn another_is_served(running: &Running) {
    loop {
        let mut other = running.connect();
        other.get("/");
        match other.answer() {
            (200, body) => return assert_eq!(body, b"hello"),
            (status, _) => assert_eq!(status, 504),
        }
    }
}

#[test]
fn an_answer_that_has_begun_when_its_time_is_over_is_cut() {
    let (end, ended) = channel::<()>();
    let ended = Mutex::new(ended);
    let answer = move |mut exchange: Exchange| {
        exchange.begin(200, b"OK").unwrap();
        let mut stream = exchange.start(None);
        if stream.send(b"first").is_ok() {
            ended.lock().unwrap().recv().ok();
            assert!(stream.send(b"second").is_err());
        }
    };
    let (running, cases) = watched(with_timeout(2, 50), answer);
    let rest = loop {
        let mut client = running.connect();
        client.get("/");
        let rest = String::from_utf8(client.rest()).unwrap();
        // On a busy machine it may be over before the answer has begun.
        if !rest.starts_with("HTTP/1.1 504 ") {
            break rest;
        }
        assert!(matches!(cases.recv_timeout(LIMIT).unwrap(), Case::TimedOut(_, Told::Refused)));
    };
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("5\r\nfirst\r\n"), "{rest}");
    assert!(matches!(cases.recv_timeout(LIMIT).unwrap(), Case::TimedOut(_, Told::Cut)));
    end.send(()).unwrap();
}

#[test]
fn an_answer_delimited_by_its_connection_is_reset_when_its_time_is_over() {
    let (end, ended) = channel::<()>();
    let ended = Mutex::new(ended);
    let answer = move |exchange: Exchange| {
        let mut stream = exchange.start_verbatim(200);
        if stream.send(b"HTTP/1.1 200 OK\r\n\r\nfirst").is_ok() {
            ended.lock().unwrap().recv().ok();
        }
    };
    let (running, _cases) = watched(with_timeout(2, 50), answer);
    let error = loop {
        let mut client = running.connect();
        client.get("/");
        let mut got = Vec::new();
        match std::io::Read::read_to_end(&mut client.socket, &mut got) {
            Err(error) => break error,
            // On a busy machine it may be over before the answer has begun.
            Ok(_) => assert!(got.starts_with(b"HTTP/1.1 504 "), "{}", String::from_utf8_lossy(&got)),
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    end.send(()).unwrap();
}

/// Whoever wins the answer writes it, the other writes nothing: requests that take about as long as they may.
#[test]
fn the_race_of_time_outs_against_answers_gives_each_client_one_whole_answer() {
    const CLIENTS: usize = 8;
    const TIMES: usize = 60;
    let answer = |exchange: Exchange| {
        let micros: u64 = std::str::from_utf8(&exchange.head().path()[1..]).unwrap().parse().unwrap();
        thread::sleep(Duration::from_micros(micros));
        ok(exchange, b"in time");
    };
    let (running, cases) = watched(with_timeout(CLIENTS, 10), answer);
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (running, refused) = (&running, &refused);
            scope.spawn(move || {
                for time in 0..TIMES {
                    let mut connection = running.connect();
                    let micros = 9_000 + (client * TIMES + time) * 4;
                    connection
                        .send(format!("GET /{micros} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
                    let all = String::from_utf8(connection.rest()).unwrap();
                    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
                    if all.starts_with("HTTP/1.1 504 ") {
                        refused.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert!(all.starts_with("HTTP/1.1 200 ") && all.ends_with("in time"), "{all}");
                    }
                }
            });
        }
    });
    let is_refused = |case: &Case| matches!(case, Case::TimedOut(_, Told::Refused));
    // The coroner is told after the client.
    for _ in 0..refused.into_inner() {
        while !is_refused(&cases.recv_timeout(LIMIT).unwrap()) {}
    }
    assert!(!cases.try_iter().any(|case| is_refused(&case)));
}

#[test]
fn what_is_slow_and_that_all_are_stuck_is_told_and_nothing_else_happens() {
    let (answer, enters, release) = gate();
    let mut settings = Settings { threads: 2, ..Settings::default() };
    settings.deadlines.slow = Duration::from_millis(20);
    settings.deadlines.stuck = Duration::from_millis(60);
    let (running, cases) = watched(settings, answer);
    let mut clients = [running.connect(), running.connect()];
    for client in &mut clients {
        client.get("/hold");
        enters.recv_timeout(LIMIT).unwrap();
    }
    let mut slow = 0;
    loop {
        match cases.recv_timeout(LIMIT).unwrap() {
            Case::Slow(_) => slow += 1,
            Case::AllStuck(late) => {
                assert_eq!(late.len(), 2);
                break;
            }
            Case::TimedOut(..) => panic!("nothing times out"),
        }
    }
    assert_eq!(slow, 2);
    for client in &mut clients {
        release.send(()).unwrap();
        assert_eq!(client.answer().0, 200);
    }
}

#[test]
fn a_server_that_ends_does_not_wait_for_a_request_whose_time_is_over() {
    let (answer, enters, release) = gate();
    let (running, cases) = watched(with_timeout(2, 20), answer);
    let mut client = running.connect();
    client.get("/hold");
    enters.recv_timeout(LIMIT).unwrap();
    cases.recv_timeout(LIMIT).unwrap();
    assert!(client.rest().starts_with(b"HTTP/1.1 504 "));
    running.server.control().order(Order::Drain { within: Duration::from_secs(600) });
    assert!(running.server.wait(Some(Duration::from_secs(60))));
    drop(release);
}

#[test]
fn past_queue_size_the_answer_is_503_at_once_and_says_when_to_try_again() {
    let (answer, enters, release) = gate();
    let mut settings = Settings { threads: 1, ..Settings::default() };
    settings.queue.size = Some(1);
    let (running, _) = watched(settings, answer);
    let (mut runs, mut waits) = (running.connect(), running.connect());
    runs.get("/hold");
    enters.recv_timeout(LIMIT).unwrap();
    waits.get("/waits");
    while running.server.queued() < 1 {
        thread::yield_now();
    }
    let mut more = running.connect();
    more.get("/more");
    let refused = String::from_utf8(more.rest()).unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
    release.send(()).unwrap();
    assert_eq!(runs.answer().0, 200);
    assert_eq!(waits.answer().0, 200);
}

#[test]
fn newest_first_in_an_overload() {
    let (entered, enters) = channel();
    let (release, released) = channel::<()>();
    let (entered, released) = (Mutex::new(entered), Mutex::new(released));
    let answer = move |exchange: Exchange| {
        entered.lock().unwrap().send(exchange.head().path().to_vec()).unwrap();
        if exchange.head().path() == b"/hold" {
            released.lock().unwrap().recv().unwrap();
        }
        ok(exchange, b"");
    };
    let mut settings = Settings { threads: 1, ..Settings::default() };
    settings.queue.newest_first = true;
    let (running, _) = watched(settings, answer);
    let mut first = running.connect();
    first.get("/hold");
    assert_eq!(enters.recv_timeout(LIMIT).unwrap(), b"/hold");
    let mut waiting = Vec::new();
    let mut begun = None;
    for number in 1..=3 {
        let mut client = running.connect();
        client.get(&format!("/{number}"));
        // One after the other: what has come is seen as a request that waits.
        while running.server.queued() < number {
            thread::yield_now();
        }
        begun.get_or_insert_with(Instant::now);
        waiting.push(client);
    }
    // An overload is a matter of how long the first has waited.
    let begun = begun.unwrap();
    while begun.elapsed() < Duration::from_millis(150) {
        thread::yield_now();
    }
    release.send(()).unwrap();
    let order: Vec<_> = (0..3).map(|_| enters.recv_timeout(LIMIT).unwrap()).collect();
    assert_eq!(order, [b"/3", b"/2", b"/1"]);
    for client in &mut waiting {
        assert_eq!(client.answer().0, 200);
    }
}
