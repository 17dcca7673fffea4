//! Each example starts, says where it listens, and answers.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use stdserve_sys::process::{Pid, kill};
use stdserve_sys::signals::SIGTERM;

/// A port that the kernel chooses.
const ANY: &str = "127.0.0.1:0";

/// How long an answer may take before the test is given up.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// A running example. It is killed when it goes out of scope.
struct Example {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The first line that it printed: where it listens.
    first: String,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        // Cargo builds the examples for `cargo test`, beside the folder of the tests.
        let program = std::env::current_exe().unwrap();
        let program = program.ancestors().nth(2).unwrap().join("examples").join(name);
        assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
        let mut process = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().expect("the example says where it listens").unwrap();
        Self { process, lines, first }
    }

    fn address(&self) -> SocketAddr {
        let last = self.first.split(' ').next_back().unwrap();
        let address = last.split_once("://").map_or(last, |(_, address)| address);
        address.split('/').next().unwrap().parse().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address()).unwrap();
        socket.set_read_timeout(PATIENCE).unwrap();
        socket
    }

    /// The answer to a request of HTTP/1.0: its status line, and its body.
    fn ask(&self, request: &str) -> (String, String) {
        let mut socket = self.connect();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> String {
        let (status, body) = self.ask(&format!("GET {path} HTTP/1.0\r\nHost: h\r\n\r\n"));
        assert!(status.ends_with("200 OK"), "{status}\n{body}");
        body
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder of its own for a test, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stdserve-example-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Sends `text`, ends its half, and returns what comes until the end.
fn say(mut socket: impl Read + Write, text: &str, end: impl FnOnce()) -> String {
    socket.write_all(text.as_bytes()).unwrap();
    end();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn say_by_tcp(example: &Example, text: &str) -> String {
    let socket = example.connect();
    say(&socket, text, || socket.shutdown(Shutdown::Write).unwrap())
}

#[test]
fn every_example_has_a_test() {
    let found = |folder: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let text = fs::read_to_string(found("tests/examples.rs")).unwrap();
    let starts = text.match_indices("Example::start(\"");
    let tests: BTreeSet<_> =
        starts.map(|(at, start)| text[at + start.len()..].split('"').next().unwrap().to_owned()).collect();
    for entry in fs::read_dir(found("examples")).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(tests.contains(&name), "{name} has no test");
    }
}

#[test]
fn hello() {
    assert_eq!(Example::start("hello", &[ANY]).get("/"), "Hello, world!\n");
}

#[test]
fn files() {
    let folder = Folder::new("files");
    fs::write(folder.path("a.txt"), "content").unwrap();
    assert_eq!(Example::start("files", &[ANY, &folder.path("")]).get("/a.txt"), "content");
}

#[test]
fn cgi() {
    let folder = Folder::new("cgi");
    let script = folder.path("hello.sh");
    fs::write(&script, "#!/bin/sh\necho Content-Type: text/plain\necho\necho script\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(Example::start("cgi", &[&folder.path(""), ANY]).get("/hello.sh"), "script\n");
}

#[test]
fn git() {
    let folder = Folder::new("git");
    let made = Command::new("git").args(["init", "--quiet", "--bare", &folder.path("a.git")]).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: git is not there");
        return;
    }
    let example = Example::start("git", &[&folder.path(""), ANY]);
    let answer = example.get("/git/a.git/info/refs?service=git-upload-pack");
    assert!(answer.starts_with("001e# service=git-upload-pack\n"), "{answer}");
    // A process that is killed leaves its folder of scripts.
    let scripts = std::env::temp_dir().join(format!("stdserve-git-{}", example.process.id()));
    drop(example);
    fs::remove_dir_all(scripts).unwrap();
}

#[test]
fn xmlrpc() {
    let example = Example::start("xmlrpc", &[ANY]);
    let number = |n| format!("<param><value><int>{n}</int></value></param>");
    let call = format!(
        "<?xml version='1.0'?><methodCall><methodName>add</methodName><params>{}{}</params></methodCall>",
        number(2),
        number(3)
    );
    let head = format!("POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n", call.len());
    let (status, body) = example.ask(&format!("{head}\r\n{call}"));
    assert!(status.ends_with("200 OK"), "{status}");
    assert!(body.contains("<int>5</int>"), "{body}");
}

#[test]
fn tcp_echo() {
    let example = Example::start("tcp_echo", &[ANY]);
    let idle = example.connect();
    // Another connection that says nothing holds nobody up.
    let text = "0123456789".repeat(1000);
    assert_eq!(say_by_tcp(&example, &text), text);
    drop(idle);
}

#[test]
fn unix_echo() {
    let folder = Folder::new("unix");
    let path = folder.path("socket");
    let _example = Example::start("unix_echo", &[&path]);
    let socket = UnixStream::connect(&path).unwrap();
    socket.set_read_timeout(PATIENCE).unwrap();
    let answer = say(&socket, "one\ntwo\n", || socket.shutdown(Shutdown::Write).unwrap());
    assert_eq!(answer, "ONE\nTWO\n");
}

#[test]
fn udp_echo() {
    let example = Example::start("udp_echo", &[ANY]);
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.set_read_timeout(PATIENCE).unwrap();
    socket.send_to(b"datagram", example.address()).unwrap();
    let mut room = [0; 100];
    let (count, sender) = socket.recv_from(&mut room).unwrap();
    assert_eq!((&room[..count], sender), (&b"datagram"[..], example.address()));
}

#[test]
fn udp_echo_with_a_path() {
    let folder = Folder::new("unixgram");
    let (theirs, ours) = (folder.path("theirs"), folder.path("ours"));
    let _example = Example::start("udp_echo", &[&theirs]);
    let socket = UnixDatagram::bind(&ours).unwrap();
    socket.set_read_timeout(PATIENCE).unwrap();
    socket.send_to(b"datagram", &theirs).unwrap();
    let mut room = [0; 100];
    let count = socket.recv(&mut room).unwrap();
    assert_eq!(&room[..count], b"datagram");
}

#[test]
fn mounts() {
    let folder = Folder::new("mounts");
    fs::write(folder.path("a.txt"), "content").unwrap();
    let example = Example::start("mounts", &[ANY, &folder.path("")]);
    assert_eq!(example.get("/static/a.txt"), "content");
    assert_eq!(example.get("/a.txt"), "site: /a.txt\n");
    let (_, body) = example.ask("GET /x HTTP/1.0\r\nHost: api.localhost\r\n\r\n");
    assert_eq!(body, "interface: /x\n");
}

#[test]
fn serial() {
    let example = Example::start("serial", &[ANY]);
    for number in 1..=3 {
        assert_eq!(example.get("/"), format!("request {number}\n"));
    }
}

#[test]
fn threads() {
    let example = Example::start("threads", &[ANY]);
    for path in ["/", "/slow"] {
        let answer = example.get(path);
        assert!(answer.starts_with("answered by stdserve-crew-"), "{answer}");
    }
}

#[test]
fn pool() {
    let mut example = Example::start("pool", &[ANY]);
    assert_eq!(example.get("/"), "Hello from the pool\n");
    kill(Pid(example.process.id()), SIGTERM).unwrap();
    assert_eq!(example.lines.next().unwrap().unwrap(), "ended in order");
    assert!(example.process.wait().unwrap().success());
}

#[test]
fn forks() {
    let example = Example::start("forks", &[ANY, "2"]);
    let answer = example.get("/");
    let process: u32 = answer.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    assert_ne!(process, example.process.id());
}

#[test]
fn fork_each() {
    let example = Example::start("fork_each", &[ANY]);
    let mut processes = BTreeSet::from([example.process.id().to_string()]);
    // More than there may be at once: each that has ended makes room.
    for number in 1..=60 {
        let answer = say_by_tcp(&example, "hello");
        let (first, rest) = answer.split_once('\n').unwrap();
        assert_eq!(rest, "hello");
        processes.insert(first.strip_prefix("process ").unwrap().to_owned());
        assert_eq!(processes.len(), number + 1);
    }
}
