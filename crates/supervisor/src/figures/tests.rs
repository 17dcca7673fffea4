//! Figures of workers that come and go: none falls, and the sums are those of the rows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use stdserve_sys::process::{Pid, Sample};
use stdserve_sys::scoreboard::{Entry, Scoreboard, State};

use super::*;
use crate::machine::{Cause, Doing, GroupReport, WorkerId, WorkerReport};

/// A server of two groups, with two and one places.
struct Server {
    board: Scoreboard,
    figures: Figures,
    report: Report,
}

impl Server {
    fn new() -> Self {
        let group = |name: &str, slots: std::ops::Range<usize>| GroupReport {
            name: name.to_owned(),
            generation: 1,
            loading: None,
            wanted: slots.len(),
            workers: Vec::new(),
            slots,
            template: None,
            template_ready: true,
            restarts: vec![(Cause::Signal(9), 2), (Cause::Reload, 1)],
        };
        let report = Report {
            ready: true,
            draining: false,
            groups: vec![group("web", 0..2), group("a \"name\"\\with\nall", 2..3)],
        };
        let board = Scoreboard::new(3).unwrap();
        Self { figures: Figures::new(3, UNIX_EPOCH + Duration::from_secs(1000), 0), board, report }
    }

    fn start(&mut self, slot: usize) {
        let row = &self.board.rows()[slot];
        row.claim(1);
        row.set_state(State::Serving);
    }

    /// As the runner does when a worker has ended, however it ended.
    fn end(&mut self, slot: usize) {
        let row = &self.board.rows()[slot];
        self.figures.ended(slot, row);
        row.clear();
    }

    fn text(&self) -> String {
        let (report, rows) = (&self.report, self.board.rows());
        prometheus(&Picture { report, rows, figures: &self.figures, clock: stdserve_sys::scoreboard::now() })
    }

    /// All samples, by name and labels as they are written.
    fn samples(&self) -> BTreeMap<String, f64> {
        let text = self.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut samples = BTreeMap::new();
        for line in lines {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let before = samples.insert(name.to_owned(), value.parse().unwrap());
            assert_eq!(before, None, "twice: {name}");
        }
        samples
    }
}

fn answer(server: &Server, slot: usize, status: u16, took: Duration) {
    let row = &server.board.rows()[slot];
    row.count(1, 1, 100, 200);
    row.queue_time.observe(Duration::from_micros(20));
    row.app_time.observe(took);
    row.requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    row.count_status(status);
}

#[test]
fn every_family_is_described_once_and_stands_together() {
    let mut server = Server::new();
    server.start(0);
    answer(&server, 0, 200, Duration::from_millis(3));
    let text = server.text();
    assert!(text.ends_with('\n'));
    let mut seen = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(!seen.contains(&name), "{name}");
            seen.push(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(Some(name), seen.last().map(String::as_str));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            assert!(line.starts_with(seen.last().unwrap().as_str()), "{line}");
        }
    }
}

#[test]
fn labels_are_escaped() {
    let samples = Server::new().samples();
    let name = r#"stdserve_workers_wanted{group="a \"name\"\\with\nall"}"#;
    assert_eq!(samples.get(name), Some(&1.0), "{samples:?}");
}

#[test]
fn a_histogram_counts_what_was_at_most_so_long() {
    let mut server = Server::new();
    server.start(0);
    server.start(1);
    answer(&server, 0, 200, Duration::from_millis(3));
    answer(&server, 1, 200, Duration::from_millis(5));
    answer(&server, 1, 200, Duration::from_secs(100));
    let samples = server.samples();
    let figure = |part: &str, le: &str| {
        let le = if le.is_empty() { String::new() } else { format!(",le=\"{le}\"") };
        samples[&format!("stdserve_request_application_seconds{part}{{group=\"web\"{le}}}")]
    };
    let counts = ["0.00001", "0.0025", "0.005", "1", "60", "+Inf"].map(|le| figure("_bucket", le) as u64);
    assert_eq!(counts, [0, 0, 2, 2, 2, 3]);
    assert!((figure("_sum", "") - 100.008).abs() < 1e-9);
    assert!((figure("_count", "") - 3.0).abs() < f64::EPSILON);
}

#[test]
fn what_a_worker_counted_survives_it() {
    let mut server = Server::new();
    server.start(0);
    answer(&server, 0, 200, Duration::from_millis(3));
    answer(&server, 0, 503, Duration::from_millis(3));
    // It is killed in the middle of a third.
    let row = &server.board.rows()[0];
    row.queue_time.observe(Duration::ZERO);
    let line: [&[u8]; 5] = [b"GET", b" ", b"/", b" ", b"HTTP/1.1"];
    let entry = Entry { id: 1, arrived: 1, began: Some(1), thread: 1, client: None, line };
    row.in_hand.tell(std::iter::once(entry));
    let pid = Pid(std::process::id());
    server.figures.saw(0, pid, Sample { rss: 5000, cpu: Duration::from_millis(1500) });
    let before = server.samples();
    assert_eq!(before[r#"stdserve_worker_resident_memory_bytes{group="web",worker="0"}"#] as u64, 5000);
    assert!(before[r#"stdserve_worker_oldest_request_seconds{group="web",worker="0"}"#] > 0.0);
    server.end(0);
    let check = |samples: &BTreeMap<String, f64>, more: u64| {
        let figure = |name: &str| samples[name];
        assert_eq!(figure(r#"stdserve_requests_total{group="web",status="2xx"}"#) as u64, 1 + more);
        assert_eq!(figure(r#"stdserve_requests_total{group="web",status="5xx"}"#) as u64, 1);
        assert_eq!(figure(r#"stdserve_worker_requests_total{group="web",worker="0"}"#) as u64, 2 + more);
        assert_eq!(figure(r#"stdserve_requests_unfinished_total{group="web"}"#) as u64, 1);
        assert_eq!(figure(r#"stdserve_received_bytes_total{group="web"}"#) as u64, 200 + 100 * more);
        let cpu = figure(r#"stdserve_worker_cpu_seconds_total{group="web",worker="0"}"#);
        assert!((cpu - 1.5).abs() < 1e-9, "{cpu}");
    };
    let samples = server.samples();
    check(&samples, 0);
    // Of the dead nothing is told but what they have counted.
    assert!(!samples.contains_key(r#"stdserve_worker_resident_memory_bytes{group="web",worker="0"}"#));
    server.start(0);
    check(&server.samples(), 0);
    answer(&server, 0, 200, Duration::from_millis(3));
    check(&server.samples(), 1);
}

#[test]
fn what_a_process_uses_is_told_of_that_process_only() {
    let mut server = Server::new();
    server.start(0);
    server.figures.saw(0, Pid(1), Sample { rss: 5000, cpu: Duration::ZERO });
    let name = r#"stdserve_worker_resident_memory_bytes{group="web",worker="0"}"#;
    assert!(!server.samples().contains_key(name));
}

#[test]
fn workers_are_told_by_what_they_do() {
    let mut server = Server::new();
    let worker = |slot, state| WorkerReport {
        id: WorkerId(slot as u64),
        pid: Some(Pid(7)),
        slot,
        state,
        since: Instant::now(),
        generation: 1,
        leaves: None,
    };
    server.report.groups[0].workers = vec![worker(0, Doing::Ready), worker(1, Doing::Draining)];
    let samples = server.samples();
    let states = ["asked", "booting", "ready", "draining", "killed"]
        .map(|state| samples[&format!("stdserve_workers{{group=\"web\",state=\"{state}\"}}")] as u64);
    assert_eq!(states, [0, 0, 1, 1, 0]);
    assert_eq!(samples[r#"stdserve_restarts_total{group="web",cause="SIGKILL"}"#] as u64, 2);
    assert_eq!(samples["stdserve_start_time_seconds"] as u64, 1000);
}

#[derive(Debug, Clone)]
enum Step {
    Start(usize),
    Answer(usize, u16),
    End(usize),
    Uses(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3_usize).prop_map(Step::Start),
        (0..3_usize, 0..700_u16).prop_map(|(slot, status)| Step::Answer(slot, status)),
        (0..3_usize, 0..700_u16).prop_map(|(slot, status)| Step::Answer(slot, status)),
        (0..3_usize).prop_map(Step::End),
        (0..3_usize, 0..1000_u64).prop_map(|(slot, cpu)| Step::Uses(slot, cpu)),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// In whatever order workers come, answer and die.
    #[test]
    fn no_counter_ever_falls(steps in steps()) {
        let mut server = Server::new();
        let mut before = server.samples();
        let (mut answered, mut cpu) = (0, [0; 3]);
        for step in steps {
            let lives = |slot: usize| server.board.rows()[slot].state() != State::Free;
            match step {
                Step::Start(slot) if !lives(slot) => {
                    cpu[slot] = 0;
                    server.start(slot);
                }
                Step::Answer(slot, status) if lives(slot) => {
                    answer(&server, slot, status, Duration::from_millis(u64::from(status)));
                    answered += 1;
                }
                Step::End(slot) if lives(slot) => server.end(slot),
                // Processor time does not run backwards.
                Step::Uses(slot, more) if lives(slot) => {
                    cpu[slot] += more;
                    let sample = Sample { rss: 1, cpu: Duration::from_millis(cpu[slot]) };
                    server.figures.saw(slot, Pid::this(), sample);
                }
                _ => {}
            }
            let after = server.samples();
            for (name, value) in &before {
                let family = name.split('{').next().unwrap_or_default();
                if ["_total", "_bucket", "_sum", "_count"].iter().any(|end| family.ends_with(end)) {
                    prop_assert!(after[name] >= *value, "{} fell from {} to {}", name, value, after[name]);
                }
            }
            let sum = |start: &str| {
                after.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, value)| *value as u64).sum::<u64>()
            };
            prop_assert_eq!(sum("stdserve_requests_total"), answered);
            prop_assert_eq!(sum("stdserve_worker_requests_total"), answered);
            prop_assert_eq!(sum("stdserve_request_application_seconds_count"), answered);
            before = after;
        }
    }
}

#[test]
fn a_time_before_the_epoch_is_none() {
    let figures = Figures::new(1, SystemTime::UNIX_EPOCH - Duration::from_secs(5), 2000);
    assert!((figures.unix_time(3500) - 1.5).abs() < 1e-9);
}
