//! `stdserve ctl`: asks the operations plane of a server that runs, and shows what it answers.

mod client;
mod show;
mod top;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use stdserve_config::{Ctl, CtlOrder};
use stdserve_supervisor::exit_code;

use crate::complain;
use client::Place;

/// Exit codes beside those of the server.
mod code {
    /// It could not be done.
    pub(super) const FAILED: i32 = 1;
    /// There is no such server (as init scripts have it: Linux Standard Base, "Init Script Actions").
    pub(super) const NOT_RUNNING: i32 = 7;
}

/// How often a change under way is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long a change may take before nobody waits for it any more: it goes on.
const PATIENCE: Duration = Duration::from_secs(120);

/// What went wrong.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    code: i32,
    text: String,
}

impl Trouble {
    fn failed(text: String) -> Self {
        Self { code: code::FAILED, text }
    }

    /// No server is there.
    fn absent(text: &str, hint: &str) -> Self {
        Self { code: code::NOT_RUNNING, text: format!("{text}\n  {hint}") }
    }

    fn usage(text: &str, hint: &str) -> Self {
        Self { code: exit_code::USAGE, text: format!("{text}\n  {hint}") }
    }
}

/// Does what was asked; returns the exit code.
pub(crate) fn carry_out(ctl: &Ctl) -> i32 {
    match ask(ctl) {
        Ok(code) => code,
        Err(trouble) => complain(&trouble.text, trouble.code),
    }
}

fn ask(ctl: &Ctl) -> Result<i32, Trouble> {
    let place = Place::find(&ctl.server)?;
    let shown = |value: &Value, show: fn(&Value) -> String| {
        print(&if ctl.json { format!("{value}\n") } else { show(value) });
        Ok(exit_code::OK)
    };
    match &ctl.order {
        CtlOrder::Status => shown(&place.get("/status")?, show::status),
        CtlOrder::Requests => shown(&place.get("/requests")?, show::requests),
        CtlOrder::Config => shown(&place.get("/config")?, show::config),
        CtlOrder::Top { once } => top::run(&place, *once, ctl.json),
        CtlOrder::Stacks(pid) => {
            let of = pid.map_or_else(String::new, |pid| format!("?pid={pid}"));
            let answer = place.order(&format!("/stacks{of}"))?;
            let code = if answer["missing"].as_array().is_some_and(|list| !list.is_empty()) {
                code::FAILED
            } else {
                exit_code::OK
            };
            shown(&answer, show::stacks).map(|_| code)
        }
        CtlOrder::LogLevel(level) => {
            shown(&place.order(&format!("/log-level?level={}", escaped(level)))?, show::taken)
        }
        CtlOrder::Upgrade => upgrade(&place, ctl.json),
        CtlOrder::Reload => change(&place, ctl.json, "/reload", |then, _, now| {
            let (then, groups) = (groups(then), groups(now));
            let newer = then.len() == groups.len()
                && then.iter().zip(groups).all(|(then, now)| {
                    now["loading"].is_null() && now["generation"].as_u64() > then["generation"].as_u64()
                });
            let rolled = workers_of(now).iter().all(|worker| {
                let own = groups.iter().find(|group| group["name"] == worker["group"]);
                own.is_some_and(|group| group["generation"] == worker["generation"])
            });
            (newer && rolled && now["ready"] == true).then(|| "loaded anew".to_owned())
        }),
        CtlOrder::Scale { workers, group } => {
            let of = group.as_ref().map_or_else(String::new, |group| format!("&group={}", escaped(group)));
            let target = format!("/scale?workers={}{of}", escaped(workers));
            change(&place, ctl.json, &target, |_, taken, now| {
                let group = groups(now).iter().find(|group| group["name"] == taken["group"])?;
                let own = || workers_of(now).iter().filter(|worker| worker["group"] == group["name"]);
                let ready = own().filter(|worker| worker["state"] == "ready").count();
                let settled = group["wanted"].as_u64() == Some(ready as u64) && own().count() == ready;
                (settled && group["wanted"] == taken["wanted"]).then(|| {
                    let workers = if ready == 1 { "worker is" } else { "workers are" };
                    format!("{ready} {workers} ready")
                })
            })
        }
        CtlOrder::Drain(pid) => change(&place, ctl.json, &format!("/drain?pid={pid}"), |_, _, now| {
            let there = workers_of(now).iter().any(|worker| worker["pid"].as_u64() == Some(u64::from(*pid)));
            let ready = now["ready"] == true;
            (!there && ready).then(|| format!("worker {pid} has left, another is in its place"))
        }),
    }
}

/// Orders a change, and waits until it is made. `made`: what has come of it, by the state before, the server's answer
/// and the state now, once that is known.
fn change(
    place: &Place,
    json: bool,
    target: &str,
    made: impl Fn(&Value, &Value, &Value) -> Option<String>,
) -> Result<i32, Trouble> {
    let before = place.get("/status")?;
    let taken = place.order(target)?;
    let end = Instant::now() + PATIENCE;
    let outcome = loop {
        thread::sleep(LOOK);
        let now = place.get("/status")?;
        if now["draining"] == true {
            break Err("the server is ending".to_owned());
        }
        if let Some(text) = made(&before, &taken, &now) {
            break Ok(text);
        }
        let log = place.get(&format!("/log?after={}", taken["after"]))?;
        if let Some(why) = failure(&log, &now) {
            break Err(why);
        }
        if Instant::now() >= end {
            break Err("it is not done yet, and goes on: see stdserve ctl status".to_owned());
        }
    };
    match outcome {
        Ok(text) => Ok(done(&text, json)),
        Err(why) => Err(Trouble::failed(why)),
    }
}

/// Orders an upgrade, and waits until the new server is ready: what the server logs of it says so.
fn upgrade(place: &Place, json: bool) -> Result<i32, Trouble> {
    let before = place.get("/status")?;
    let taken = place.order("/upgrade")?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        thread::sleep(LOOK);
        let told = place.get(&format!("/log?after={}", taken["after"])).and_then(|log| {
            // Asked after the log: if it is still the same server, that was its own.
            let now = place.get("/status")?;
            Ok((log, now["pid"] != before["pid"]))
        });
        let log = match told {
            Ok((log, false)) => log,
            // It leaves as soon as the other is ready, which may have its address by now.
            Ok((_, true)) => return Ok(done("the server was replaced", json)),
            Err(trouble) if trouble.code == code::NOT_RUNNING => {
                return Ok(done("the server was replaced", json));
            }
            Err(trouble) => return Err(trouble),
        };
        for line in log["lines"].as_array().into_iter().flatten() {
            let text = line["text"].as_str().unwrap_or_default();
            if line["level"] == "error" || text.starts_with("no ") {
                return Err(Trouble::failed(show::cleaned_lines(text)));
            }
            if text.contains("is ready: ") {
                return Ok(done(&show::cleaned(text), json));
            }
        }
    }
    Err(Trouble::failed("the new server is not ready yet: see the log".to_owned()))
}

/// Says what has come of an order.
fn done(text: &str, json: bool) -> i32 {
    print(&if json { format!("{}\n", serde_json::json!({ "done": text })) } else { format!("{text}\n") });
    exit_code::OK
}

/// Why nothing comes of a change: what the server has logged of it since, once nothing is under way any more.
fn failure(log: &Value, now: &Value) -> Option<String> {
    let moving = groups(now).iter().any(|group| !group["loading"].is_null());
    let lines = log["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "error").collect();
    (!moving && !errors.is_empty()).then(|| {
        let texts = errors.iter().filter_map(|line| line["text"].as_str());
        texts.map(show::cleaned_lines).collect::<Vec<_>>().join("\n")
    })
}

fn groups(status: &Value) -> &[Value] {
    status["groups"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn workers_of(status: &Value) -> &[Value] {
    status["workers"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A value for a query: all but letters, digits and a few signs as `%XX` (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn print(text: &str) {
    // A reader that has left wants no more of it.
    let _ = io::stdout().write_all(text.as_bytes());
}
