//! What an observer is told, over real sockets.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::collections::HashMap;
use std::io::Read;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use stdserve_server::{
    Exchange, Load, Observer, Record, Service, Settings, Started, Traffic, Waiting, exchanges,
};
use support::{Running, ok};

/// Everything that was told, and who waits for more.
#[derive(Default)]
struct Witness {
    told: Mutex<Told>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    /// What each thread has taken and not left.
    inside: HashMap<usize, u64>,
    left: Vec<Duration>,
    statuses: Vec<u16>,
    traffic: Traffic,
    load: Load,
    /// The targets of those that wait, as last told.
    waiting: Vec<String>,
}

impl Witness {
    fn note(&self, note: impl FnOnce(&mut Told)) {
        note(&mut self.told.lock().unwrap());
        self.more.notify_all();
    }

    /// Waits until what was told is so.
    fn until<R>(&self, what: &str, check: impl Fn(&Told) -> Option<R>) -> R {
        let mut told = self.told.lock().unwrap();
        loop {
            if let Some(found) = check(&told) {
                return found;
            }
            let (next, waited) = self.more.wait_timeout(told, Duration::from_secs(30)).unwrap();
            assert!(!waited.timed_out(), "{what}: {next:?}");
            told = next;
        }
    }
}

struct Eyes(Arc<Witness>);

impl Observer for Eyes {
    fn began(&self, seat: usize, started: &Started<'_>) {
        assert!(started.started >= started.queued);
        self.0.note(|told| assert_eq!(told.inside.insert(seat, started.id), None));
    }

    fn left(&self, seat: usize, took: Duration) {
        self.0.note(|told| {
            told.inside.remove(&seat).expect("it was inside");
            told.left.push(took);
        });
    }

    fn ended(&self, record: &Record<'_>) {
        self.0.note(|told| told.statuses.push(record.status));
    }

    fn turned(&self, traffic: &Traffic) {
        self.0.note(|told| {
            told.traffic.accepted += traffic.accepted;
            told.traffic.arrived += traffic.arrived;
            told.traffic.received += traffic.received;
            told.traffic.sent += traffic.sent;
        });
    }

    fn load(&self, load: &Load) {
        assert!(load.busy <= load.threads);
        self.0.note(|told| told.load = *load);
    }

    fn waiting(&self, requests: &mut dyn Iterator<Item = Waiting<'_>>) {
        let targets = requests.map(|request| String::from_utf8_lossy(request.head.target()).into_owned());
        let targets: Vec<_> = targets.collect();
        self.0.note(|told| told.waiting = targets);
    }
}

fn observed(settings: Settings, service: impl Service) -> (Running, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    let eyes = Arc::new(Eyes(Arc::clone(&witness)));
    let running = Running::built(settings, service, |builder| builder.observer(eyes));
    running.server.start().unwrap();
    (running, witness)
}

#[test]
fn a_busy_crew_is_told_with_those_who_wait() {
    let (entered, enters) = channel();
    let (release, released) = channel::<()>();
    let (entered, released) = (Mutex::new(entered), Mutex::new(released));
    let service = exchanges(move |exchange: Exchange| {
        if exchange.head().path() == b"/hold" {
            entered.lock().unwrap().send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
        ok(exchange, b"hello");
    });
    let (running, witness) = observed(Settings { threads: 1, ..Settings::default() }, service);
    let (mut runs, mut waits, mut other) = (running.connect(), running.connect(), running.connect());
    runs.get("/hold");
    enters.recv().unwrap();
    witness.until("one is busy", |told| (told.load.busy == 1).then_some(()));
    waits.get("/behind?a=1");
    witness.until("one waits", |told| (told.load.queued == 1 && told.waiting.len() == 1).then_some(()));
    other.get("/further");
    let waiting = witness.until("both wait", |told| (told.waiting.len() == 2).then(|| told.waiting.clone()));
    assert_eq!(waiting, ["/behind?a=1", "/further"]);
    release.send(()).unwrap();
    for client in [&mut runs, &mut waits, &mut other] {
        assert_eq!(client.answer(), (200, b"hello".to_vec()));
    }
    witness.until("nobody waits", |told| {
        let idle = told.load.busy == 0 && told.load.queued == 0 && told.waiting.is_empty();
        (idle && told.inside.is_empty() && told.left.len() == 3).then_some(())
    });
}

#[test]
fn every_byte_and_every_request_is_told_once() {
    let (running, witness) = observed(
        Settings { threads: 4, ..Settings::default() },
        exchanges(|exchange: Exchange| {
            let size = if exchange.head().path() == b"/large" { 3 << 20 } else { 10 };
            ok(exchange, &vec![b'x'; size]);
        }),
    );
    let mut sent = 0;
    let mut received = 0;
    for path in ["/small", "/large", "/small"] {
        let mut client = running.connect();
        let asked = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        client.send(&asked);
        sent += asked.len() as u64;
        let mut answer = Vec::new();
        client.socket.read_to_end(&mut answer).unwrap();
        received += answer.len() as u64;
    }
    let mut client = running.connect();
    client.send("BROKEN\r\n\r\n");
    sent += 10;
    received += client.rest().len() as u64;
    let expected = Traffic { accepted: 4, arrived: 3, received: sent, sent: received };
    witness.until("all is told", |told| (told.traffic == expected && told.statuses.len() == 4).then_some(()));
    let told = witness.told.lock().unwrap();
    assert_eq!(told.statuses.iter().filter(|status| **status == 200).count(), 3);
    assert_eq!(told.left.len(), 3);
    assert!(told.inside.is_empty());
}
