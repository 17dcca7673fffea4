//! A folder of scripts, and what their services have logged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use stdserve_proto::h1::RequestHead;
use stdserve_server::cgi::{Cgi, Options};
use stdserve_server::{Bodies, Log, Run, Service, Settings};

use super::Running;

/// A folder that goes away with it.
pub(crate) struct Scripts(pub(crate) PathBuf);

impl Scripts {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("stdserve-cgi-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A script of sh(1).
    pub(crate) fn sh(&self, name: &str, lines: &str) -> PathBuf {
        self.file(name, &format!("#!/bin/sh\n{lines}\n"), 0o755)
    }

    pub(crate) fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    pub(crate) fn serve(&self) -> Served {
        self.serve_with(|_| {})
    }

    pub(crate) fn serve_with(&self, change: impl FnOnce(&mut Options)) -> Served {
        self.serve_engine(Settings::default(), change)
    }

    pub(crate) fn serve_engine(&self, settings: Settings, change: impl FnOnce(&mut Options)) -> Served {
        let mut options = Options { root: self.0.clone(), ..Options::default() };
        change(&mut options);
        let log = Arc::new(Kept::default());
        let service = Arc::new(Cgi::new(options).unwrap().log(Arc::<Kept>::clone(&log)));
        Served { running: Running::new(settings, Shared(Arc::clone(&service))), service, log }
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Messages that were logged.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<String>>);

impl Kept {
    pub(crate) fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// Waits until a line has `text` in it.
    pub(crate) fn wait_for(&self, text: &str) {
        for _ in 0..2000 {
            if self.all().contains(text) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{text:?} is not in the log:\n{}", self.all());
    }
}

impl Log for Kept {
    fn error(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }

    fn debug(&self, message: &str) {
        self.0.lock().unwrap().push(format!("debug: {message}"));
    }
}

/// The service, which the test keeps too.
struct Shared(Arc<Cgi>);

impl Service for Shared {
    fn bodies(&self, head: &RequestHead) -> Bodies {
        self.0.bodies(head)
    }

    fn run(&self, run: &mut Run<'_>) {
        self.0.run(run);
    }
}

/// A server of scripts.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) service: Arc<Cgi>,
    pub(crate) log: Arc<Kept>,
}

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Served {
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: here:80\r\nConnection: close\r\n\r\n"), b"")
    }

    /// The same, of which `None` comes where the answer is cut before its end.
    pub(crate) fn get_cut(&self, target: &str) -> Option<Answer> {
        let mut client = self.running.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        let raw = client.rest();
        parse_cut(&raw)
    }

    pub(crate) fn post(&self, target: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        self.ask(&head, body)
    }

    /// One request on a connection of its own, sent while the answer is read.
    pub(crate) fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut client = self.running.connect();
        let mut sender = client.socket.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                use std::io::Write;
                // An answer that comes before the body is sent may end the connection.
                let _ = sender.write_all(head.as_bytes()).and_then(|()| sender.write_all(body));
            });
            parse(&client.rest())
        })
    }
}

/// Takes an answer apart that ended with its connection; chunks are undone.
pub(crate) fn parse(raw: &[u8]) -> Answer {
    parse_cut(raw).unwrap_or_else(|| panic!("not whole: {:?}", String::from_utf8_lossy(raw)))
}

/// `None`: it is not whole.
fn parse_cut(raw: &[u8]) -> Option<Answer> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    let mut body = raw[end + 4..].to_vec();
    if head.contains("Transfer-Encoding: chunked") {
        let (mut rest, mut data) = (&body[..], Vec::new());
        loop {
            let line = rest.windows(2).position(|window| window == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            rest = &rest[line + 2..];
            if size == 0 {
                break;
            }
            data.extend_from_slice(rest.get(..size)?);
            rest = rest.get(size + 2..)?;
        }
        body = data;
    }
    let answer = Answer { status: head[9..12].parse().unwrap(), head, body };
    let length = answer.field("content-length").map(|length| length.parse::<usize>().unwrap());
    // Without a body for HEAD and its like.
    (length.is_none_or(|length| length == answer.body.len() || answer.body.is_empty())).then_some(answer)
}
