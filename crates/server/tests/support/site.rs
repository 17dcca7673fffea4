//! A folder to be served, a server of it, and answers taken apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use stdserve_server::files::{Files, Options};
use stdserve_server::{Exchange, Settings, exchanges};

use super::{Running, ok};

/// When the files of a site were changed, unless a test says otherwise: Sun, 06 Nov 1994 08:49:37 GMT.
pub(crate) const MODIFIED: u64 = 784_111_777;
pub(crate) const LAST_MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A served folder, with room beside it for what must not be served. Taken away when it is dropped.
pub(crate) struct Site {
    pub(crate) top: PathBuf,
    running: Option<Running>,
}

impl Site {
    /// An empty folder, not served yet.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("stdserve-files-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(top.join("root")).unwrap();
        Self { top, running: None }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.top.join("root")
    }

    /// Adds a file, and the folders on the way to it.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        write(&self.root().join(name), content.as_ref());
        self
    }

    /// Adds a link.
    pub(crate) fn link(self, name: &str, target: impl AsRef<Path>) -> Self {
        let at = self.root().join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, at).unwrap();
        self
    }

    /// Starts serving.
    pub(crate) fn serve(mut self, options: Options) -> Self {
        let files = Files::new(Options { root: self.root(), ..options }).unwrap();
        self.running = Some(Running::new(Settings::default(), files));
        self
    }

    /// Starts serving beneath `prefix`, and something else at the root.
    pub(crate) fn serve_at(mut self, prefix: &str, options: Options) -> Self {
        let files = Files::new(Options { root: self.root(), ..options }).unwrap();
        let elsewhere = exchanges(|exchange: Exchange| ok(exchange, b"elsewhere"));
        self.running = Some(Running::mounted(elsewhere, prefix, files));
        self
    }

    /// Starts serving by default options.
    pub(crate) fn plain(self) -> Self {
        self.serve(Options::default())
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Sends `request`, a request line and fields without Host, and takes the one answer.
    pub(crate) fn ask(&self, request: &str, fields: &[(&str, &str)]) -> Reply {
        self.send(request, fields, b"")
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path}"), &[])
    }

    pub(crate) fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask(&format!("GET {path}"), fields)
    }

    pub(crate) fn send(&self, request: &str, fields: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut raw = format!("{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n").into_bytes();
        for (name, value) in fields {
            raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            raw.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        raw.extend_from_slice(b"\r\n");
        raw.extend_from_slice(body);
        let mut client = self.running().connect();
        client.send(raw);
        let mut reply = Reply::parse(&client.rest());
        if request.starts_with("HEAD ") {
            assert!(reply.body.is_empty(), "HEAD has no body");
        } else if !matches!(reply.status, 204 | 304) {
            assert_eq!(
                reply.field("Content-Length"),
                Some(reply.body.len().to_string().as_str()),
                "{request}"
            );
        }
        reply.body.shrink_to_fit();
        reply
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.running = None;
        let _ = fs::remove_dir_all(&self.top);
    }
}

/// Writes a file that was changed long ago.
pub(crate) fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(MODIFIED)).unwrap();
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    fn parse(raw: &[u8]) -> Self {
        let end = raw.windows(4).position(|end| end == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&raw[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let fields = lines.map(|line| line.split_once(": ").unwrap()).map(|(a, b)| (a.into(), b.into()));
        Self { status, fields: fields.collect(), body: raw[end + 4..].to_vec() }
    }

    /// The value of the one field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {:?}", self.fields);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
