//! Finds the lines that contain a given text, in bytes that come piece by piece, in bounded memory.
//!
//! A line ends with LF or CR LF, which are no part of it; the last one may end with the text. Whole pieces are searched
//! for the text, and only around what is found for the ends of lines, so that what does not match costs next to
//! nothing.
//!
//! ```
//! # use stdserve_proto::lines::Matches;
//! let mut matches = Matches::new(b"robots", 1024);
//! let text = b"GET /\nGET /robots.txt\nGET /ro";
//! matches.space()[..text.len()].copy_from_slice(text);
//! matches.filled(text.len());
//! assert_eq!(matches.next(), Ok(Some(&b"GET /robots.txt"[..])));
//! assert_eq!(matches.next(), Ok(None)); // more is needed
//! assert_eq!(matches.finish(), Ok(None));
//! ```

use std::fmt;

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

/// How much is read at once, in bytes: it stays in the processor's cache between inflating and searching.
const PIECE: usize = 128 << 10;

/// A line that contains the text is longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Where the line begins, in bytes from the beginning of the text.
    pub offset: u64,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the line at byte {} is too long", self.offset)
    }
}

impl std::error::Error for TooLong {}

/// The lines of one text that contain a needle.
///
/// Bytes are put into [`space`](Self::space), [`filled`](Self::filled) says how many; then [`next`](Self::next) gives
/// the lines that are complete, one by one. At the end of the text [`finish`](Self::finish) gives the last.
#[derive(Debug)]
pub struct Matches {
    finder: Finder<'static>,
    longest: usize,
    buffer: Vec<u8>,
    /// The buffer holds text up to here.
    end: usize,
    /// Where the present line begins in the buffer, or what is left of it.
    line: usize,
    /// Up to here it has been searched: for the needle, or for the line's end once that is found.
    seen: usize,
    /// The needle is in the present line.
    found: bool,
    /// How many bytes of the present line were let go of: too many to be given, and the needle was not in them.
    dropped: u64,
    /// Where the buffer begins in the text.
    base: u64,
}

impl Matches {
    /// For lines with `needle`, which has neither CR nor LF, of at most `longest` bytes without their ends. An empty
    /// needle is in every line. Longer lines without the needle are passed over, those with it are errors.
    ///
    /// At most `longest` bytes and some 128 KiB are held.
    pub fn new(needle: &[u8], longest: usize) -> Self {
        Self {
            finder: Finder::new(needle).into_owned(),
            longest,
            buffer: Vec::new(),
            end: 0,
            line: 0,
            seen: 0,
            found: false,
            dropped: 0,
            base: 0,
        }
    }

    /// Begins another text, with the same memory.
    pub fn clear(&mut self) {
        (self.end, self.line, self.seen, self.found, self.dropped, self.base) = (0, 0, 0, false, 0, 0);
    }

    /// Where the next bytes of the text go; never empty. Call it when [`next`](Self::next) has nothing more.
    pub fn space(&mut self) -> &mut [u8] {
        let overlap = self.finder.needle().len().saturating_sub(1);
        if !self.found && self.end - self.line > self.longest.saturating_add(1) {
            // It can only be passed over, or be an error: what the needle could begin in is enough.
            let keep = self.end - overlap.min(self.end - self.line);
            self.dropped += (keep - self.line) as u64;
            self.line = keep;
        }
        if self.line > 0 {
            self.buffer.copy_within(self.line..self.end, 0);
        }
        self.base += self.line as u64;
        self.end -= self.line;
        self.seen = self.seen.saturating_sub(self.line);
        self.line = 0;
        self.buffer.resize(self.end + PIECE, 0);
        &mut self.buffer[self.end..]
    }

    /// So many bytes were put into [`space`](Self::space), from its beginning.
    pub fn filled(&mut self, length: usize) {
        self.end = self.buffer.len().min(self.end + length);
    }

    /// The next line with the needle; `None` when more of the text is needed.
    #[allow(clippy::should_implement_trait)] // what it gives is borrowed
    pub fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        if !self.found && !self.find() {
            return Ok(None);
        }
        let Some(length) = memchr(b'\n', &self.buffer[self.seen..self.end]) else {
            self.seen = self.end;
            // One more, since the last may be the CR of its end.
            return self.judge(self.end - self.line, self.longest.saturating_add(1)).map(|()| None);
        };
        let lf = self.seen + length;
        let cr = lf > self.line && self.buffer[lf - 1] == b'\r';
        let last = lf - usize::from(cr);
        self.judge(last - self.line, self.longest)?;
        let first = std::mem::replace(&mut self.line, lf + 1);
        (self.seen, self.found) = (self.line, false);
        Ok(Some(&self.buffer[first..last]))
    }

    /// The last line, where no LF ends it and the needle is in it. Call it when [`next`](Self::next) has nothing more
    /// and the text is at its end.
    pub fn finish(&mut self) -> Result<Option<&[u8]>, TooLong> {
        if !self.found || self.line == self.end {
            return Ok(None);
        }
        self.judge(self.end - self.line, self.longest)?;
        let first = std::mem::replace(&mut self.line, self.end);
        self.found = false;
        Ok(Some(&self.buffer[first..self.end]))
    }

    /// Looks for the needle in what is new, and moves on to the line that it is in, or to the last.
    fn find(&mut self) -> bool {
        let overlap = self.finder.needle().len().saturating_sub(1);
        let from = self.line.max(self.seen.saturating_sub(overlap));
        let found = self.finder.find(&self.buffer[from..self.end]).map(|at| from + at);
        // Where it could begin and has not been looked at yet: the lines up to there are passed over.
        let (first, last) =
            (self.seen.max(self.line).min(found.unwrap_or(self.end)), found.unwrap_or(self.end));
        if let Some(lf) = memrchr(b'\n', &self.buffer[first..last]) {
            self.line = first + lf + 1;
            self.dropped = 0;
        }
        self.seen = found.map_or(self.end, |at| at + self.finder.needle().len());
        self.found = found.is_some();
        self.found
    }

    fn judge(&self, length: usize, longest: usize) -> Result<(), TooLong> {
        if self.dropped == 0 && length <= longest {
            return Ok(());
        }
        Err(TooLong { offset: self.base + self.line as u64 - self.dropped })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The lines, and the error that ended them.
    type Found = (Vec<Vec<u8>>, Option<TooLong>);

    /// Gives the text in pieces of these sizes, over and over.
    fn matches(text: &[u8], needle: &[u8], longest: usize, sizes: &[usize]) -> Found {
        let mut matches = Matches::new(needle, longest);
        let mut found = Vec::new();
        let mut sizes = sizes.iter().cycle();
        let mut rest = text;
        loop {
            loop {
                match matches.next() {
                    Ok(Some(line)) => found.push(line.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
            if rest.is_empty() {
                break;
            }
            let space = matches.space();
            let length = rest.len().min(space.len()).min(*sizes.next().unwrap_or(&1));
            space[..length].copy_from_slice(&rest[..length]);
            matches.filled(length);
            rest = &rest[length..];
            assert!(matches.buffer.len() <= longest.saturating_add(1).max(needle.len()) + 2 * PIECE);
        }
        match matches.finish() {
            Ok(line) => found.extend(line.map(<[u8]>::to_vec)),
            Err(error) => return (found, Some(error)),
        }
        (found, None)
    }

    /// The same, line by line.
    fn simply(text: &[u8], needle: &[u8], longest: usize) -> Found {
        let mut found = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let content = match line.strip_suffix(b"\n") {
                Some(content) => content.strip_suffix(b"\r").unwrap_or(content),
                None => line,
            };
            if needle.is_empty() || content.windows(needle.len()).any(|part| part == needle) {
                if content.len() > longest {
                    return (found, Some(TooLong { offset }));
                }
                found.push(content.to_vec());
            }
            offset += line.len() as u64;
        }
        (found, None)
    }

    #[test]
    fn lines_of_all_kinds() {
        let lines = |text: &[u8]| matches(text, b"x", 10, &[100]).0;
        assert!(lines(b"").is_empty() && lines(b"\n\r\n").is_empty());
        assert_eq!(lines(b"x"), [b"x"]);
        assert_eq!(lines(b"ax\r\nb\nxc\r"), [&b"ax"[..], b"xc\r"]);
        assert_eq!(lines(b"x x\n\nx\n\n"), [&b"x x"[..], b"x"]);
        assert_eq!(matches(b"a\n\nb", b"", 10, &[1]).0, [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn long_lines_are_passed_over_or_errors_but_never_held() {
        let long = vec![b'a'; 3 * PIECE];
        let text = [b"x\n", long.as_slice(), b"\nx\nb", long.as_slice(), b"x\nx\n"].concat();
        let (found, error) = matches(&text, b"x", 100, &[PIECE]);
        assert_eq!(found, [b"x", b"x"]);
        assert_eq!(error, Some(TooLong { offset: 5 + long.len() as u64 }));
        assert_eq!(matches(&text, b"x", text.len(), &[PIECE]).0.len(), 4);
    }

    proptest! {
        /// However the text is cut, lines and error are those of a loop over lines.
        #[test]
        fn as_a_loop_over_lines(
            text in vec(prop_oneof![3 => Just(b'a'), 2 => Just(b'b'), 1 => Just(b'\n'), 1 => Just(b'\r')], 0..200),
            needle in "[ab]{0,4}",
            longest in 0_usize..20,
            sizes in vec(1_usize..30, 1..8),
        ) {
            let found = matches(&text, needle.as_bytes(), longest, &sizes);
            prop_assert_eq!(found, simply(&text, needle.as_bytes(), longest));
        }
    }
}
