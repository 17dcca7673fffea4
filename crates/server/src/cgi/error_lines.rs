//! What a script writes to its standard error stream, as lines of the log.

use crate::observe::{Log, printable};

/// The longest line that is logged whole; a longer one becomes several.
const LINE: usize = 2000;

/// How much of one script's output is logged.
const TOTAL: usize = 64 << 10;

/// Turns bytes into lines.
pub(super) struct ErrorLines<'a> {
    log: &'a dyn Log,
    script: &'a str,
    line: Vec<u8>,
    left: usize,
    dropped: u64,
}

impl<'a> ErrorLines<'a> {
    /// For the script of that name.
    pub(super) fn new(log: &'a dyn Log, script: &'a str) -> Self {
        Self { log, script, line: Vec::new(), left: TOTAL, dropped: 0 }
    }

    /// Takes what was written next.
    pub(super) fn take(&mut self, data: &[u8]) {
        let logged = &data[..data.len().min(self.left)];
        self.left -= logged.len();
        self.dropped += (data.len() - logged.len()) as u64;
        for piece in logged.split_inclusive(|&byte| byte == b'\n') {
            for piece in piece.chunks(LINE) {
                if self.line.len() + piece.len() > LINE {
                    self.write();
                }
                self.line.extend_from_slice(piece);
            }
            if self.line.ends_with(b"\n") {
                self.write();
            }
        }
    }

    fn write(&mut self) {
        let line = self.line.trim_ascii_end();
        if !line.is_empty() {
            self.log.error(&format!("{}: {}", self.script, printable(line)));
        }
        self.line.clear();
    }
}

impl Drop for ErrorLines<'_> {
    fn drop(&mut self) {
        self.write();
        if self.dropped > 0 {
            let (script, dropped) = (self.script, self.dropped);
            self.log.error(&format!("{script}: {dropped} more bytes of its standard error are not logged"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl Log for Kept {
        fn error(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
        fn debug(&self, _message: &str) {}
    }

    #[test]
    fn lines_come_out_whole_and_harmless() {
        let log = Kept::default();
        let mut lines = ErrorLines::new(&log, "/a.cgi");
        for piece in ["one\ntw", "o\r\n\n", "\x1b[31mred\u{85}\n", "caf\u{e9}"] {
            lines.take(piece.as_bytes());
        }
        lines.take(b"\xff");
        drop(lines);
        assert_eq!(
            *log.0.lock().unwrap(),
            ["/a.cgi: one", "/a.cgi: two", "/a.cgi: \\u{1b}[31mred\\u{85}", "/a.cgi: café\\xff"]
        );
    }

    #[test]
    fn a_flood_is_bounded_and_said() {
        let log = Kept::default();
        let mut lines = ErrorLines::new(&log, "s");
        for _ in 0..1000 {
            lines.take(&[b'x'; 10_000]);
        }
        drop(lines);
        let kept = log.0.lock().unwrap();
        assert_eq!(kept.last().unwrap(), "s: 9934464 more bytes of its standard error are not logged");
        assert!(kept.iter().all(|line| line.len() <= LINE + 10));
        let logged: usize = kept.iter().map(|line| line.matches('x').count()).sum();
        assert_eq!(logged, TOTAL);
    }
}
