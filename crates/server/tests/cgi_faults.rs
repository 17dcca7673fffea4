//! Scripts that misbehave, clients that leave, and more of both than there is room for.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use support::scripts::{Scripts, Served, parse};

const HEAD: &str = "printf 'Content-Type: text/plain\\n\\n'";

/// Waits until a script has written process numbers to a file, and gives them.
fn pids(path: &Path) -> Vec<u32> {
    for _ in 0..2000 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.ends_with('\n') {
            return text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{} was never written", path.display());
}

/// Waits until none of the processes is there any more; zombies of other parents do not count.
fn gone(pids: &[u32]) {
    for pid in pids {
        let stat = PathBuf::from(format!("/proc/{pid}/stat"));
        for round in 0.. {
            match std::fs::read_to_string(&stat) {
                Err(_) => break,
                Ok(stat) if stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")) => break,
                Ok(stat) => assert!(round < 2000, "it is still there: {stat}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// `sleep` in the background and in front, its own number and theirs in `pids`.
fn lingering(scripts: &Scripts, name: &str, before: &str) -> PathBuf {
    let pids = scripts.0.join(format!("{name}.pids"));
    let file = pids.display();
    scripts.sh(name, &format!("{before}\nsleep 1000 &\necho $$ $! > {file}.new\nmv {file}.new {file}\nwait"));
    pids
}

/// Tries with longer and longer times, until one was enough for what comes before it is over: how long that is depends
/// on what else the machine does. Each attempt begins without `file`.
fn within_some_time(file: &Path, attempt: impl Fn(Duration) -> bool) {
    let done = [300, 1000, 3000, 15_000].into_iter().any(|time| {
        let _ = std::fs::remove_file(file);
        attempt(Duration::from_millis(time))
    });
    assert!(done, "nothing is that slow");
}

/// Whether a script has written its file before it ended.
fn has_written(served: &Served, file: &Path) -> bool {
    while !file.exists() && served.service.running() > 0 {
        thread::yield_now();
    }
    file.exists()
}

fn ask(served: &Served, target: &str) -> support::Client {
    let mut client = served.running.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    client
}

#[test]
fn a_script_that_never_reads_its_body() {
    let scripts = Scripts::new();
    scripts.sh("a", &format!("{HEAD}; echo done"));
    let served = scripts.serve();
    for size in [1, 70_000, 1 << 20, 5 << 20] {
        assert_eq!(served.post("/a", &vec![b'x'; size]).text(), "done\n", "{size}");
    }
}

#[test]
fn a_script_that_writes_before_it_reads() {
    let scripts = Scripts::new();
    scripts.sh("a", &format!("{HEAD}; head -c 3000000 /dev/zero; cat; echo; cat | wc -c"));
    scripts.sh("echo", &format!("{HEAD}; exec cat"));
    let served = scripts.serve();
    for size in [3_usize, 65_536, 1 << 20, 9 << 20] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let answer = served.post("/a", &body);
        assert_eq!(answer.body.len(), 3_000_000 + size + 3);
        assert!(answer.body[3_000_000..].starts_with(&body));
        assert!(served.post("/echo", &body).body == body);
    }
}

#[test]
fn a_script_that_never_answers_is_ended_with_all_that_it_has_started() {
    let scripts = Scripts::new();
    let file = lingering(&scripts, "a", "");
    within_some_time(&file, |time| {
        let served = scripts.serve_with(|options| options.head_timeout = Some(time));
        assert_eq!(served.get("/a").status, 504);
        if !has_written(&served, &file) {
            return false;
        }
        gone(&pids(&file));
        served.log.wait_for("cgi: /a: it took too long to answer");
        true
    });
}

#[test]
fn a_script_that_never_ends_is_cut_and_one_that_ignores_the_signal_is_killed() {
    let scripts = Scripts::new();
    let file = lingering(&scripts, "a", &format!("trap '' TERM\n{HEAD}; echo begun"));
    within_some_time(&file, |time| {
        let served = scripts.serve_with(|options| {
            options.timeout = Some(time);
            options.grace = Duration::from_millis(100);
        });
        let answer = served.get_cut("/a");
        assert!(answer.as_ref().is_none_or(|answer| answer.status == 504), "{answer:?}");
        if answer.is_some() || !has_written(&served, &file) {
            return false;
        }
        gone(&pids(&file));
        served.log.wait_for("cgi: /a: it took too long, and is ended; its answer is cut");
        true
    });
}

#[test]
fn a_script_that_goes_on_when_its_answer_is_whole_holds_nobody_up() {
    let scripts = Scripts::new();
    let file = lingering(&scripts, "a", &format!("{HEAD}; echo whole\nexec >/dev/null 2>&1"));
    within_some_time(&file, |time| {
        let begun = Instant::now();
        let served = scripts.serve_with(|options| options.timeout = Some(4 * time));
        let answer = served.get_cut("/a");
        if answer.is_none_or(|answer| answer.text() != "whole\n") || !has_written(&served, &file) {
            assert!(begun.elapsed() >= time);
            return false;
        }
        let found = pids(&file);
        // It has time to finish what it does.
        let goes_on = Path::new(&format!("/proc/{}", found[0])).exists();
        assert!(goes_on || begun.elapsed() >= time);
        gone(&found);
        goes_on
    });
}

#[test]
fn a_grandchild_that_holds_the_output_does_not_hold_the_answer() {
    let scripts = Scripts::new();
    let file = scripts.0.join("a.pids");
    scripts.sh(
        "a",
        &format!("{HEAD}; echo whole; sleep 1000 & echo $! > {0}.new; mv {0}.new {0}", file.display()),
    );
    let served = scripts.serve();
    assert_eq!(served.get("/a").text(), "whole\n");
    gone(&pids(&file));
}

#[test]
fn a_client_that_leaves_ends_the_script() {
    let scripts = Scripts::new();
    let writes = lingering(
        &scripts,
        "writes",
        &format!("(trap '' PIPE; {HEAD}; while :; do echo x; sleep 0.02; done) &"),
    );
    let silent = lingering(&scripts, "silent", "");
    let served = scripts.serve();
    let client = ask(&served, "/writes");
    let found = pids(&writes);
    assert!(client.socket.peek(&mut [0; 100]).unwrap_or(1) > 0);
    drop(client);
    gone(&found);
    // One that says nothing is found out where the connection is reset.
    let client = ask(&served, "/silent");
    let found = pids(&silent);
    socket2::SockRef::from(&client.socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    gone(&found);
}

#[test]
fn scripts_that_die() {
    let scripts = Scripts::new();
    for (name, lines) in [
        ("silent", "exit 3"),
        ("killed", "kill -9 $$"),
        ("within", "printf 'Content-Type: text/plain\\nX'"),
        ("bad", "echo 'Traceback (most recent call last):'; echo"),
        ("headless", "echo; echo body"),
        ("endless", "yes x | tr -d '\\n'"),
        ("status", "printf 'Status: 20x\\n\\n'"),
    ] {
        scripts.sh(name, lines);
    }
    scripts.file("interpreter", "#!/nonexistent/interpreter\n", 0o755);
    scripts.file("nothing", "echo no #! line\n", 0o755);
    let served = scripts.serve();
    for (target, status, message) in [
        ("/silent", 502, "cgi: /silent: it ended before it answered"),
        ("/killed", 502, "cgi: /killed: it ended before it answered"),
        ("/within", 502, "cgi: /within: it ended within its answer's head"),
        ("/bad", 502, "cgi: /bad: a line of its head is not \"Name: value\""),
        ("/headless", 502, "cgi: /headless: its head has no field"),
        ("/endless", 502, "cgi: /endless: its head is too large"),
        ("/status", 502, "cgi: /status: its status is not a number from 200 to 999"),
        ("/interpreter", 500, "cgi: /interpreter: cannot execute it"),
        ("/nothing", 500, "it has no #! line"),
    ] {
        let answer = served.get(target);
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.text().starts_with(&status.to_string()) && answer.text().len() < 40, "{target}");
        served.log.wait_for(message);
    }
}

#[test]
fn a_script_that_is_killed_within_its_answer_does_not_look_whole() {
    let scripts = Scripts::new();
    scripts.sh("early", &format!("{HEAD}; echo half; kill -9 $$"));
    let read = scripts.0.join("read");
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", read.display());
    scripts.sh("late", &format!("{HEAD}; echo half; {wait}; kill -9 $$"));
    scripts.sh("short", "printf 'Content-Type: text/plain\\nContent-Length: 10\\n\\nhalf'");
    scripts.sh("long", "printf 'Content-Type: text/plain\\nContent-Length: 4\\n\\nwhole'");
    let served = scripts.serve();
    assert!(served.get_cut("/early").is_none_or(|answer| answer.status == 502));
    let mut late = ask(&served, "/late");
    read_until(&mut late.socket, b"half\n");
    std::fs::write(&read, "").unwrap();
    // Neither the last chunk nor anything else; the end of this one may have been read with it.
    let rest = late.rest();
    assert!(rest.is_empty() || rest == b"\r\n", "{rest:?}");
    assert_eq!(served.get_cut("/short"), None);
    assert_eq!(served.get("/long").text(), "whol");
    served.log.wait_for("cgi: /late: it was ended by SIGKILL");
}

#[test]
fn what_it_writes_to_its_error_stream_is_logged_and_a_flood_of_it_is_bounded() {
    let scripts = Scripts::new();
    scripts.sh("a", &format!("echo 'first thing' >&2; {HEAD}; echo body; printf 'last' >&2; exit 4"));
    scripts.sh("flood", &format!("head -c 20000000 /dev/zero >&2; {HEAD}; echo body"));
    let served = scripts.serve();
    assert_eq!(served.get("/a").text(), "body\n");
    for message in ["cgi: /a: first thing", "cgi: /a: last", "cgi: /a: it ended with code 4"] {
        served.log.wait_for(message);
    }
    assert_eq!(served.get("/flood").text(), "body\n");
    served.log.wait_for("more bytes of its standard error are not logged");
    assert!(served.log.all().len() < 1 << 20);
}

#[test]
fn no_more_than_the_bound_run_at_once() {
    let scripts = Scripts::new();
    let gate = scripts.0.join("gate");
    scripts.sh(
        "wait",
        &format!(
            "touch begun.$$; while [ ! -e {} ]; do sleep 0.02; done; {HEAD}; echo waited",
            gate.display()
        ),
    );
    scripts.sh("quick", &format!("{HEAD}; echo quick"));
    let served = scripts.serve_with(|options| {
        options.max_processes = 2;
        options.queue = Duration::from_millis(50);
    });
    let (mut first, mut second) = (ask(&served, "/wait"), ask(&served, "/wait"));
    let begun = || {
        std::fs::read_dir(&scripts.0)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("begun"))
            .count()
    };
    while begun() < 2 {
        thread::sleep(Duration::from_millis(5));
    }
    let refused = served.get("/quick");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.field("retry-after"), Some("5"));
    std::fs::write(&gate, "").unwrap();
    let (first, second) = (parse(&first.rest()), parse(&second.rest()));
    assert_eq!((first.status, second.status), (200, 200));
    while served.get("/quick").status == 503 {}
}

#[test]
fn limits_hold() {
    let scripts = Scripts::new();
    scripts.sh("limits", &format!("{HEAD}; ulimit -n; ulimit -c; ulimit -t; ulimit -f; ulimit -v"));
    scripts.sh("spin", &format!("{HEAD}; echo begun; while :; do :; done"));
    let served = scripts.serve_with(|options| {
        options.limits.memory = Some(1 << 30);
        options.limits.cpu = Some(1);
        options.limits.file_size = Some(1 << 20);
        options.limits.processes = Some(10_000);
    });
    assert_eq!(served.get("/limits").text(), "1024\n0\n1\n2048\n1048576\n");
    assert_eq!(served.get_cut("/spin"), None);
    served.log.wait_for("cgi: /spin: it was ended by SIG");
}

#[test]
fn a_body_reaches_the_script_while_it_comes() {
    let scripts = Scripts::new();
    scripts
        .sh("echo", &format!("{HEAD}; echo \"${{CONTENT_LENGTH-none}} $HTTP_TRANSFER_ENCODING\"; exec cat"));
    let served = scripts.serve();
    for (framing, told) in
        [("Content-Length: 100001", "100001 \n"), ("Transfer-Encoding: chunked", "none chunked\n")]
    {
        let mut client = served.running.connect();
        client.send(format!("POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{framing}\r\n\r\n"));
        let chunked = framing.ends_with("chunked");
        let piece = |data: &[u8]| {
            let size = format!("{:x}\r\n", data.len());
            if chunked { [size.as_bytes(), data, b"\r\n"].concat() } else { data.to_vec() }
        };
        client.send(piece(&vec![b'a'; 50_000]));
        // The answer to it comes before the rest is sent.
        let seen = read_until(&mut client.socket, b"aaaa");
        client.send(piece(&vec![b'b'; 50_001]));
        if chunked {
            client.send("0\r\n\r\n");
        }
        let answer = parse(&[seen, client.rest()].concat());
        let expected = [told.as_bytes(), &vec![b'a'; 50_000], &vec![b'b'; 50_001]].concat();
        assert!(answer.body == expected, "{framing}");
    }
}

/// What has come when `end` has.
fn read_until(socket: &mut std::net::TcpStream, end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.windows(end.len()).any(|window| window == end) {
        match socket.read(&mut buffer) {
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Interrupted),
        }
    }
    seen
}

#[test]
fn a_body_that_breaks_off_is_no_whole_one_for_the_script() {
    let scripts = Scripts::new();
    let whole = scripts.0.join("whole");
    scripts.sh("a", &format!("cat >/dev/null; touch {}; {HEAD}; echo done", whole.display()));
    let mut settings =
        stdserve_server::Settings { max_body: 200_000, ..stdserve_server::Settings::default() };
    let served = scripts.serve_engine(settings.clone(), |_| {});
    settings.timeouts.body_period = Duration::from_millis(300);
    let hurried = scripts.serve_engine(settings, |_| {});
    let begin_at = |served: &Served, framing: &str| {
        let mut client = served.running.connect();
        client.send(format!("POST /a HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n"));
        client
    };
    let begin = |framing| begin_at(&served, framing);
    let mut slow = begin_at(&hurried, "Content-Length: 100000");
    slow.send("x");
    assert!(String::from_utf8_lossy(&slow.rest()).starts_with("HTTP/1.1 408 "));
    let mut gone = begin("Transfer-Encoding: chunked");
    gone.send("5\r\nhello\r\n");
    drop(gone);
    let mut large = begin("Transfer-Encoding: chunked");
    let chunk = [&b"10000\r\n"[..], &vec![b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..4 {
        large.send(&chunk);
    }
    assert!(String::from_utf8_lossy(&large.rest()).starts_with("HTTP/1.1 413 "));
    let large = begin("Content-Length: 200001").rest();
    assert!(String::from_utf8_lossy(&large).starts_with("HTTP/1.1 413 "));
    let mut good = begin("Content-Length: 100000\r\nConnection: close");
    assert!(!whole.exists());
    good.send(vec![b'x'; 100_000]);
    assert_eq!(parse(&good.rest()).text(), "done\n");
}

#[test]
fn an_answer_that_comes_before_the_body_is_sent() {
    let scripts = Scripts::new();
    scripts.sh("a", &format!("{HEAD}; echo early"));
    let served = scripts.serve();
    let mut client = served.running.connect();
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    let seen = String::from_utf8(read_until(&mut client.socket, b"early")).unwrap();
    assert!(seen.starts_with("HTTP/1.1 200 OK"), "{seen}");
}

#[test]
fn all_scripts_end_with_the_process_that_runs_them() {
    let scripts = Scripts::new();
    let polite = lingering(&scripts, "polite", "");
    let stubborn = lingering(&scripts, "stubborn", "trap '' TERM");
    let served = scripts.serve_with(|options| options.grace = Duration::from_millis(200));
    let clients = [ask(&served, "/polite"), ask(&served, "/stubborn")];
    let found = [pids(&polite), pids(&stubborn)].concat();
    served.service.end_all(Duration::from_secs(20));
    // Its thread gives a place back a moment after its script is forgotten.
    while served.service.running() > 0 {
        thread::yield_now();
    }
    gone(&found);
    drop(clients);
}
