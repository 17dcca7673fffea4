//! What an observer is told, over real sockets.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::io::Read;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use stdserve_server::{Exchange, InHand, Load, Observer, Record, Service, Settings, Traffic, exchanges};
use support::{LIMIT, Running, ok};

/// Everything that was told, and who waits for more.
#[derive(Default)]
struct Witness {
    told: Mutex<Told>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    waited: Vec<Duration>,
    left: Vec<Duration>,
    statuses: Vec<u16>,
    traffic: Traffic,
    load: Load,
    /// The targets of what is in hand, as last told, and whether a thread has it.
    in_hand: Vec<(String, bool)>,
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
    fn took(&self, waited: Duration) {
        self.0.note(|told| told.waited.push(waited));
    }

    fn left(&self, inside: Duration) {
        self.0.note(|told| told.left.push(inside));
    }

    fn ended(&self, records: &mut dyn Iterator<Item = Record<'_>>) {
        self.0.note(|told| told.statuses.extend(records.map(|record| record.status)));
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

    fn in_hand(&self, requests: &mut dyn Iterator<Item = InHand<'_>>) {
        let told_of = |InHand { request, taken }: InHand<'_>| {
            assert!(taken.is_none_or(|(began, thread)| began >= request.queued && thread > 0));
            (String::from_utf8_lossy(request.head.target()).into_owned(), taken.is_some())
        };
        let in_hand: Vec<_> = requests.map(told_of).collect();
        self.0.note(|told| told.in_hand = in_hand);
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
fn what_is_in_hand_is_told_until_nothing_is() {
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
    enters.recv_timeout(LIMIT).unwrap();
    let runs_alone = [("/hold".to_owned(), true)];
    witness.until("one runs", |told| (told.load.busy == 1 && told.in_hand == runs_alone).then_some(()));
    waits.get("/behind?a=1");
    witness.until("one waits", |told| (told.load.queued == 1 && told.in_hand.len() == 2).then_some(()));
    other.get("/further");
    let told = witness.until("both wait", |told| (told.in_hand.len() == 3).then(|| told.in_hand.clone()));
    let expected = [("/hold", true), ("/behind?a=1", false), ("/further", false)];
    assert!(told.iter().map(|(target, runs)| (target.as_str(), *runs)).eq(expected), "{told:?}");
    release.send(()).unwrap();
    for client in [&mut runs, &mut waits, &mut other] {
        assert_eq!(client.answer(), (200, b"hello".to_vec()));
    }
    witness.until("nothing is in hand", |told| {
        let idle = told.load.busy == 0 && told.load.queued == 0 && told.in_hand.is_empty();
        (idle && told.waited.len() == 3 && told.left.len() == 3).then_some(())
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
    // That a thread has left the service is told after that its request has ended.
    witness.until("all is told", |told| {
        (told.traffic == expected && told.statuses.len() == 4 && told.left.len() == 3).then_some(())
    });
    let told = witness.told.lock().unwrap();
    assert_eq!(told.statuses.iter().filter(|status| **status == 200).count(), 3);
    assert_eq!((told.waited.len(), told.left.len()), (3, 3));
}
