//! Requests through a pair of sockets and the poller, without a supervisor: what is answered, what is ordered, and what
//! is bounded. Time is what the test says it is.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use stdserve_sys::process::Pid;
use stdserve_sys::scoreboard::{self, Scoreboard};

use super::clients::Clients;
use super::connection::{Connection, Turn};
use super::history::History;
use super::routes::Order;
use super::{Hosts, Setting, View};
use crate::figures::Figures;
use crate::journal::Journal;
use crate::machine::{Action, Doing, Event, GroupReport, Report, ScaleTo, WorkerId, WorkerReport};
use crate::messages::ToWorker;

/// A server with one group, and what a client hears of it.
struct World {
    report: Report,
    board: Scoreboard,
    figures: Figures,
    journal: Journal,
    history: History,
    hosts: Hosts,
    began: Instant,
    orders: Vec<Order>,
}

impl World {
    fn new() -> Self {
        let began = Instant::now();
        let worker = |id: u64, state| WorkerReport {
            id: WorkerId(id),
            pid: Some(Pid(100 + id as u32)),
            slot: id as usize,
            state,
            since: began,
            generation: 1,
            leaves: None,
        };
        let group = GroupReport {
            name: "a+b".to_owned(),
            generation: 1,
            loading: None,
            wanted: 2,
            slots: 0..10,
            template: Some(Pid(99)),
            template_ready: true,
            workers: vec![worker(1, Doing::Ready), worker(2, Doing::Ready)],
            restarts: Vec::new(),
        };
        Self {
            report: Report { ready: true, draining: false, groups: vec![group] },
            board: Scoreboard::new(10).expect("memory"),
            figures: Figures::new(10, SystemTime::now(), scoreboard::now()),
            journal: Journal::default(),
            history: History::default(),
            hosts: Hosts::default(),
            began,
            orders: Vec::new(),
        }
    }

    /// Drives a connection so many milliseconds after the start.
    fn drive(&mut self, connection: &mut Connection, millis: u64, due: bool) -> bool {
        let now = self.began + Duration::from_millis(millis);
        let options = || {
            vec![Setting {
                service: None,
                name: "auth".to_owned(),
                value: None,
                unset: "not shown".to_owned(),
                source: "--auth".to_owned(),
            }]
        };
        let view = View {
            report: &self.report,
            board: &self.board,
            figures: &self.figures,
            journal: &self.journal,
            began: self.began,
            now,
            clock: scoreboard::now(),
            options: &options,
        };
        let turn = Turn { view: &view, hosts: &self.hosts, history: &self.history, due, now };
        connection.drive(&turn, true, &mut self.orders)
    }

    /// A connection from this machine.
    fn connect(&self) -> (UnixStream, Connection) {
        let (client, server) = UnixStream::pair().expect("sockets");
        server.set_nonblocking(true).expect("a mode");
        client.set_nonblocking(true).expect("a mode");
        (client, Connection::new(OwnedFd::from(server), true, self.began))
    }

    /// One request on a connection of its own: status and body.
    fn ask(&mut self, method: &str, target: &str) -> (u16, String) {
        let (mut client, mut connection) = self.connect();
        let text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nX-Stdserve: 1\r\n\r\n");
        client.write_all(text.as_bytes()).expect("room");
        assert!(self.drive(&mut connection, 1, false));
        let answer = heard(&mut client);
        let status = answer.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
    }
}

/// What has come.
fn heard(client: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    // It ends with what would have to be waited for.
    let _ = client.read_to_end(&mut bytes);
    String::from_utf8(bytes).expect("text")
}

#[test]
fn health_is_what_the_machine_says() {
    let mut world = World::new();
    assert_eq!(world.ask("GET", "/ready"), (200, "ready\n".to_owned()));
    world.report.ready = false;
    assert_eq!(world.ask("GET", "/ready"), (503, "not ready\n".to_owned()));
    world.report.draining = true;
    assert_eq!(world.ask("GET", "/ready"), (503, "draining\n".to_owned()));
    assert_eq!(world.ask("GET", "/live"), (200, "live\n".to_owned()));
    assert_eq!(world.ask("HEAD", "/live"), (200, String::new()));
}

#[test]
fn orders_become_events_of_the_machine() {
    for (target, order) in [
        ("/reload", Order::Event(Event::Reconfigure)),
        ("/upgrade", Order::Event(Event::Upgrade { replace: true })),
        ("/scale?workers=3", Order::Event(Event::Scale { group: 0, workers: ScaleTo::To(3) })),
        ("/scale?workers=%2B1", Order::Event(Event::Scale { group: 0, workers: ScaleTo::To(3) })),
        ("/scale?workers=-1&group=a%2Bb", Order::Event(Event::Scale { group: 0, workers: ScaleTo::To(1) })),
        ("/drain?pid=102", Order::Event(Event::Drain(Pid(102)))),
        ("/log-level?level=WARN", Order::LogLevel(2)),
    ] {
        let mut world = World::new();
        let (status, text) = world.ask("POST", target);
        assert_eq!((status, &world.orders), (202, &vec![order]), "{target}: {text}");
    }
}

#[test]
fn what_cannot_be_carried_out_is_no_order() {
    for (method, target, status) in [
        ("POST", "/scale?workers=0", 400),
        ("POST", "/scale?workers=-2", 400),
        ("POST", "/scale?workers=+", 400),
        ("POST", "/scale?workers=99999999999999999999", 400),
        ("POST", "/scale?workers=10", 409),
        ("POST", "/scale?workers=1&group=x", 404),
        ("POST", "/drain?pid=7", 404),
        ("POST", "/drain?pid=%31%30", 404),
        ("POST", "/log-level", 400),
        ("POST", "/stacks?pid=7", 404),
        ("GET", "/reload", 405),
        ("POST", "/live", 405),
        ("DELETE", "/drain?pid=101", 405),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/stop", 404),
    ] {
        let mut world = World::new();
        let (found, text) = world.ask(method, target);
        assert_eq!(found, status, "{method} {target}: {text}");
        assert!(text.contains("\"error\""), "{text}");
        assert_eq!(world.orders, [], "{method} {target}");
    }
}

#[test]
fn nothing_is_ordered_once_it_is_ending() {
    let mut world = World::new();
    world.report.draining = true;
    assert_eq!(world.ask("POST", "/reload").0, 409);
    assert_eq!(world.orders, []);
}

#[test]
fn secrets_have_no_value() {
    let (status, text) = World::new().ask("GET", "/config");
    assert_eq!(status, 200);
    assert!(
        text.contains(r#""name":"auth","service":null,"source":"--auth","unset":"not shown","value":null"#),
        "{text}"
    );
}

#[test]
fn stacks_are_waited_for_then_asked_by_signal_then_answered_without() {
    let mut world = World::new();
    let (mut client, mut connection) = world.connect();
    client.write_all(b"POST /stacks HTTP/1.1\r\nHost: localhost\r\nX-Stdserve: 1\r\n\r\n").expect("room");
    assert!(world.drive(&mut connection, 0, false));
    let tell = |id| Order::Act(Action::Tell { worker: WorkerId(id), message: ToWorker::Stacks });
    assert_eq!(std::mem::take(&mut world.orders), [tell(1), tell(2)]);
    assert_eq!(connection.deadline(), Some(world.began + Duration::from_secs(1)));
    world.journal.autopsy(WorkerId(2), Some(Pid(102)), "what it does", SystemTime::now());
    // Of another worker, and so no answer.
    world.journal.autopsy(WorkerId(9), None, "other", SystemTime::now());
    assert!(world.drive(&mut connection, 999, false));
    assert_eq!((heard(&mut client).as_str(), world.orders.len()), ("", 0));
    assert!(world.drive(&mut connection, 1000, false));
    let asked = [Order::Act(Action::Autopsy { worker: WorkerId(1), pid: Pid(101) })];
    assert_eq!(std::mem::take(&mut world.orders), asked);
    assert!(world.drive(&mut connection, 2999, false));
    assert_eq!((heard(&mut client).as_str(), world.orders.len()), ("", 0));
    assert!(world.drive(&mut connection, 3000, false));
    let answer = heard(&mut client);
    assert!(answer.contains("what it does") && answer.contains(r#""missing":[101]"#), "{answer}");
    assert!(!answer.contains("other"), "{answer}");
}

#[test]
fn a_request_that_does_not_come_is_given_up() {
    let mut world = World::new();
    let (mut client, mut connection) = world.connect();
    client.write_all(b"GET /live HT").expect("room");
    assert!(world.drive(&mut connection, 0, false));
    assert_eq!(connection.deadline(), Some(world.began + Duration::from_secs(5)));
    assert!(world.drive(&mut connection, 4999, false));
    assert!(!world.drive(&mut connection, 5000, false));
}

#[test]
fn pipelined_requests_are_answered_a_few_at_a_turn() {
    let mut world = World::new();
    let (mut client, mut connection) = world.connect();
    client.write_all("GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20).as_bytes()).expect("room");
    let mut answers = String::new();
    for turn in 0..3 {
        assert!(world.drive(&mut connection, turn, false));
        answers.push_str(&heard(&mut client));
        let more = answers.matches("HTTP/1.1 200").count() < 20;
        assert_eq!(connection.deadline() <= Some(world.began + Duration::from_secs(1)), more);
    }
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 20);
}

#[test]
fn a_follower_is_told_each_second_until_it_takes_nothing_more() {
    let mut world = World::new();
    let (mut client, mut connection) = world.connect();
    client.write_all(b"GET /events HTTP/1.0\r\n\r\n").expect("room");
    assert!(world.drive(&mut connection, 0, false));
    let first = heard(&mut client);
    assert!(
        first.contains("Connection: close")
            && first.contains("event: history")
            && first.contains("event: tick")
    );
    assert!(connection.follows() && connection.deadline().is_none());
    world.journal.line(crate::machine::Level::Error, "two\nlines", SystemTime::now());
    assert!(world.drive(&mut connection, 500, false));
    assert_eq!(heard(&mut client), "");
    assert!(world.drive(&mut connection, 1000, true));
    let second = heard(&mut client);
    assert!(second.contains(r"two\nlines") && second.matches("event: ").count() == 2, "{second}");
    // Nobody reads any more: what waits is bounded, and patience ends.
    let turns = (2..20_000).take_while(|second| world.drive(&mut connection, second * 1000, true)).count();
    assert!(turns < 19_000, "never cut off");
    let left = heard(&mut client);
    assert!(left.matches("event: ").count() + 12 > turns, "one was made for each second until the last ten");
}

#[test]
fn the_one_that_waits_for_longest_makes_room() {
    use stdserve_sys::listener::{BindAddress, Registry};
    use stdserve_sys::poller::Poller;

    let world = World::new();
    let name = format!("\0stdserve-plane-{}", std::process::id());
    let address = BindAddress::Unix { path: name.clone().into(), mode: None };
    let registry = Registry::open(&[(None, address)], 128).expect("a socket");
    let poller = Poller::new(8).expect("a poller");
    let mut clients = Clients::default();
    let connect = || {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name[1..]).expect("a name");
        let client = UnixStream::connect_addr(&address).expect("a listener");
        client.set_nonblocking(true).expect("a mode");
        client
    };
    let mut slow: Vec<_> = (0..100).map(|_| connect()).collect();
    for client in &mut slow {
        client.write_all(b"GET /live HTTP/1.1\r\nHost: ").expect("room");
    }
    let mut quick = connect();
    quick.write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("room");
    let view = View {
        report: &world.report,
        board: &world.board,
        figures: &world.figures,
        journal: &world.journal,
        began: world.began,
        now: world.began,
        clock: 0,
        options: &Vec::new,
    };
    let turn =
        Turn { view: &view, hosts: &world.hosts, history: &world.history, due: false, now: world.began };
    let mut orders = Vec::new();
    while clients.accept(&registry.listeners()[0], &poller, &turn, &mut orders) {}
    assert!(heard(&mut quick).contains("live"));
    // Those that came first had to go; the last ones are still there.
    let gone = |client: &mut UnixStream| matches!(client.read(&mut [0; 16]), Ok(0));
    let left = slow.iter_mut().map(gone).filter(|gone| !gone).count();
    assert_eq!(left, 31);
    assert!(gone(&mut slow[0]) && !gone(&mut slow[99]));
}
