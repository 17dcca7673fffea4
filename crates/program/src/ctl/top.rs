//! `stdserve ctl top`: a picture of the server, drawn anew each second.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use serde_json::Value;
use stdserve_supervisor::exit_code;
use stdserve_sys::terminal::{self, Keys};

use super::client::Place;
use super::{Trouble, groups, print, show, workers_of};

/// Without a terminal that says more.
const SIZE: (usize, usize) = (100, 40);

/// So many seconds of rates are drawn.
const RATES: usize = 600;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

/// What happens while the picture stands.
enum News {
    /// An event of the plane: its name and its data.
    Event(String, Value),
    Key(u8),
    /// The server sends no more.
    End,
}

/// Shows the server until a key ends it. `once`: one picture; `json`: what the server tells, a line each second.
pub(super) fn run(place: &Place, once: bool, json: bool) -> Result<i32, Trouble> {
    let events = place.follow()?;
    let (sender, news) = mpsc::channel();
    read_events(events, sender.clone());
    let live = !once && !json && io::stdout().is_terminal();
    let screen = live.then(|| Screen::open(&sender));
    drop(sender);
    let outcome = draw(&news, once || (!json && !live), json);
    drop(screen);
    match outcome {
        Some(code) => Ok(code),
        None => Err(Trouble::absent(
            &format!("{place}: the server has ended"),
            "See stdserve ctl status for what runs now.",
        )),
    }
}

/// Until the end that the user wants; none: until that of the server.
fn draw(news: &Receiver<News>, once: bool, json: bool) -> Option<i32> {
    let mut rates = VecDeque::new();
    loop {
        match news.recv() {
            Ok(News::Event(name, data)) if name == "history" => {
                let samples = data["samples"].as_array().into_iter().flatten();
                rates.extend(samples.map(|sample| sample[1].as_f64().unwrap_or(0.0)));
            }
            Ok(News::Event(name, data)) if name == "tick" => {
                if !once || rates.is_empty() {
                    rates.push_back(data["now"]["rate"].as_f64().unwrap_or(0.0));
                }
                while rates.len() > RATES {
                    rates.pop_front();
                }
                if json {
                    print(&format!("{data}\n"));
                } else if once {
                    print(&picture(&data, &rates, terminal::size(&io::stdout()).unwrap_or(SIZE)));
                } else {
                    let size = terminal::size(&io::stdout()).unwrap_or(SIZE);
                    let lines = picture(&data, &rates, size).replace('\n', "\x1b[K\r\n");
                    print(&format!("\x1b[H{}\x1b[J", lines.trim_end_matches("\r\n")));
                    let _ = io::stdout().flush();
                }
                if once {
                    return Some(exit_code::OK);
                }
            }
            Ok(News::Key(b'q' | b'Q' | CTRL_C | CTRL_D)) => return Some(exit_code::OK),
            Ok(News::Event(..) | News::Key(_)) => {}
            Ok(News::End) | Err(_) => return None,
        }
    }
}

/// Reads server-sent events on a thread of its own, until their end.
fn read_events(mut events: Box<dyn BufRead + Send>, sender: Sender<News>) {
    thread::spawn(move || {
        let (mut line, mut name) = (String::new(), String::new());
        loop {
            line.clear();
            match events.read_line(&mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if let Some(text) = line.strip_prefix("event: ") {
                text.trim_end().clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("data: ")
                && let Ok(data) = serde_json::from_str(text)
                && sender.send(News::Event(name.clone(), data)).is_err()
            {
                return;
            }
        }
        let _ = sender.send(News::End);
    });
}

/// The terminal's second screen, which leaves the first as it was.
struct Screen {
    _keys: Option<Keys>,
}

impl Screen {
    fn open(sender: &Sender<News>) -> Self {
        let keys = Keys::take(&io::stdin()).ok();
        if keys.is_some() {
            let sender = sender.clone();
            thread::spawn(move || {
                for key in BufReader::new(io::stdin()).bytes().map_while(Result::ok) {
                    if sender.send(News::Key(key)).is_err() {
                        return;
                    }
                }
            });
        }
        print("\x1b[?1049h\x1b[?25l");
        Self { _keys: keys }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print("\x1b[?25h\x1b[?1049l");
        let _ = io::stdout().flush();
    }
}

/// The picture, in at most so many columns and rows.
fn picture(tick: &Value, rates: &VecDeque<f64>, (columns, rows): (usize, usize)) -> String {
    let now = &tick["now"];
    let figure = |name: &str| now[name].as_f64().map_or("-".to_owned(), number);
    let time = |name: &str| show::age(now[name].as_f64().map(|millis| millis / 1000.0));
    let mut text = show::summary(tick);
    let _ = writeln!(
        text,
        "{} requests/s  {} errors/s  latency p50 {}  p95 {}  p99 {}  queue p95 {}",
        figure("rate"),
        figure("errors"),
        time("p50"),
        time("p95"),
        time("p99"),
        time("wait")
    );
    // The newest sample may be a second old; the workers are as they are now.
    let workers = workers_of(tick);
    let sum = |name: &str| workers.iter().filter_map(|worker| worker[name].as_u64()).sum::<u64>();
    let ready = workers.iter().filter(|worker| worker["state"] == "ready").count();
    let wanted: u64 = groups(tick).iter().filter_map(|group| group["wanted"].as_u64()).sum();
    let _ = writeln!(
        text,
        "{} running  {} queued  {} connections  {ready} of {wanted} workers ready",
        sum("running"),
        sum("queued"),
        sum("connections")
    );
    let _ = writeln!(text, "{}\n", spark(rates, columns));
    text.push_str(&show::workers(tick));
    text.push('\n');
    text.push_str(&show::requests(&tick["in_flight"]));
    let cut = |line: &str| line.chars().take(columns).collect::<String>();
    text.lines().take(rows.saturating_sub(1)).map(|line| cut(line) + "\n").collect()
}

/// A figure with as many digits as it needs.
fn number(figure: f64) -> String {
    if figure.fract() == 0.0 || figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.1}") }
}

/// The rates of the last seconds, each a sign as high as it.
fn spark(rates: &VecDeque<f64>, columns: usize) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown: Vec<f64> = rates.iter().copied().skip(rates.len().saturating_sub(columns)).collect();
    let most = shown.iter().copied().fold(0.0, f64::max);
    let sign = |rate: f64| {
        let height = if most > 0.0 { (rate / most * 7.0).round() as usize } else { 0 };
        SIGNS[height.min(7)]
    };
    shown.into_iter().map(sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_picture_keeps_to_the_terminal() {
        let requests: Vec<_> = (0..100)
            .map(|id| json!({ "age": 1.0, "phase": "running", "pid": id, "client": "::1", "line": "x".repeat(300) }))
            .collect();
        let tick = json!({
            "version": "1", "pid": 1, "uptime": 5.0, "ready": true, "draining": false,
            "groups": [{ "name": "app", "wanted": 1, "generation": 1, "loading": null, "restarts": {} }],
            "workers": [{ "pid": 2, "state": "ready", "age": 4.0, "gil_age": 9.5 }],
            "now": { "rate": 12.5, "p50": 1.5, "ready": 1.0, "wanted": 1.0 },
            "in_flight": { "total": 100, "requests": requests },
        });
        let rates = (0..600).map(f64::from).collect();
        let text = picture(&tick, &rates, (80, 24));
        assert_eq!(text.lines().count(), 23);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for part in ["ready", "12.5 requests/s", "p50 2ms", "stuck 9.5s", "1 of 1 workers ready"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn sparks_are_as_high_as_their_rates() {
        assert_eq!(spark(&VecDeque::from([0.0, 50.0, 100.0]), 10), "▁▅█");
        assert_eq!(spark(&VecDeque::from([0.0, 50.0, 100.0]), 2), "▅█");
        assert_eq!(spark(&VecDeque::from([0.0, 0.0]), 10), "▁▁");
    }

    #[test]
    fn events_are_read_with_their_names() {
        let text = "event: history\ndata: {\"samples\":[[0,7]]}\n\nevent: log\ndata: {}\n\nevent: tick\ndata: not json\n\n";
        let (sender, news) = mpsc::channel();
        read_events(Box::new(io::Cursor::new(text)), sender);
        assert!(
            matches!(news.recv(), Ok(News::Event(name, data)) if name == "history" && data["samples"][0][1] == 7)
        );
        assert!(matches!(news.recv(), Ok(News::Event(name, _)) if name == "log"));
        assert!(matches!(news.recv(), Ok(News::End)));
    }
}
