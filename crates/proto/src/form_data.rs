//! `multipart/form-data` (RFC 7578) as a pure machine: what a form with files sends.
//!
//! [`FormReader`] is fed what has come of the body and says what stands at its front, as
//! [`RequestReader`](crate::h1::RequestReader) does with requests. It holds nothing but the boundary; a part's head is
//! bounded, a part's data is not and need never be in memory as a whole.

use std::error::Error;
use std::fmt;

use memchr::memmem;

/// The largest head of a part, in bytes.
pub const LARGEST_HEAD: usize = 8 << 10;

/// The longest boundary (RFC 2046 §5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// Reads the body of a form.
#[derive(Debug, Clone)]
pub struct FormReader {
    /// `\r\n--` and the boundary.
    delimiter: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Preamble,
    Delimited,
    Head,
    Data,
    End,
}

/// What stands at the front of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormEvent {
    /// More has to come. At the end of the body this is an error: the form is cut off.
    Incomplete,
    /// A part begins.
    Part(Part),
    /// Bytes of the part: from `start`, so many, within what was fed.
    Data {
        /// Where they begin.
        start: usize,
        /// How many there are.
        len: usize,
    },
    /// The part is at its end.
    PartEnd,
    /// The form is at its end; what may follow means nothing.
    End,
}

/// What the head of a part says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// The name of the form's field.
    pub name: Vec<u8>,
    /// The name of the file, as it was sent: a whole path perhaps, and never to be trusted. `None`: no file.
    pub filename: Option<Vec<u8>>,
}

/// Why a body is no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FormError {
    /// Something else than a line's end or `--` stands behind a boundary.
    Boundary,
    /// The head of a part is larger than [`LARGEST_HEAD`].
    HeadTooLarge,
    /// A part has no `Content-Disposition: form-data` with a name (RFC 7578 §4.2).
    Disposition,
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boundary => "the form has a boundary that does not end its line",
            Self::HeadTooLarge => "the head of a part of the form is too large",
            Self::Disposition => "a part of the form has no name",
        })
    }
}

impl Error for FormError {}

impl FormReader {
    /// A reader for a body of this `Content-Type`; `None` where that is not `multipart/form-data` with a boundary.
    pub fn new(content_type: &[u8]) -> Option<Self> {
        let (essence, parameters) = content_type.split_at(memchr::memchr(b';', content_type)?);
        if !essence.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, b"boundary")?;
        if boundary.is_empty()
            || boundary.len() > LONGEST_BOUNDARY
            || boundary.iter().any(u8::is_ascii_control)
        {
            return None;
        }
        Some(Self { delimiter: [b"\r\n--", &boundary[..]].concat(), state: State::Start })
    }

    /// How much must be fed at once, so that [`FormEvent::Incomplete`] is never the last word.
    pub const LARGEST_STEP: usize = LARGEST_HEAD + LONGEST_BOUNDARY + 8;

    /// Reads on at the front of `input`: returns how much of it is done with, and what it was. Feed the rest again,
    /// with what has come since.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, FormEvent), FormError> {
        let mut done = 0;
        loop {
            let rest = &input[done..];
            match self.state {
                State::Start => {
                    let first = &self.delimiter[2..];
                    if rest.len() < first.len() && first.starts_with(rest) {
                        return Ok((done, FormEvent::Incomplete));
                    }
                    if rest.starts_with(first) {
                        done += first.len();
                        self.state = State::Delimited;
                    } else {
                        self.state = State::Preamble;
                    }
                }
                State::Preamble => match memmem::find(rest, &self.delimiter) {
                    Some(at) => {
                        done += at + self.delimiter.len();
                        self.state = State::Delimited;
                    }
                    None => return Ok((done + self.undivided(rest), FormEvent::Incomplete)),
                },
                State::Delimited => match rest {
                    [b'-', b'-', ..] => self.state = State::End,
                    [b'\r', b'\n', ..] => {
                        done += 2;
                        self.state = State::Head;
                    }
                    // Blanks that a transport may have added (RFC 2046 §5.1.1).
                    [b' ' | b'\t', ..] => done += 1,
                    [] | [b'-' | b'\r'] => return Ok((done, FormEvent::Incomplete)),
                    _ => return Err(FormError::Boundary),
                },
                State::Head => {
                    let end = match memmem::find(rest, b"\r\n\r\n") {
                        Some(at) if at <= LARGEST_HEAD => at,
                        // The blank line behind the largest head may have come in part.
                        None if rest.len() < LARGEST_HEAD + 4 => return Ok((done, FormEvent::Incomplete)),
                        _ => return Err(FormError::HeadTooLarge),
                    };
                    let part = part(&rest[..end]).ok_or(FormError::Disposition)?;
                    self.state = State::Data;
                    return Ok((done + end + 4, FormEvent::Part(part)));
                }
                State::Data => {
                    let found = memmem::find(rest, &self.delimiter);
                    if found == Some(0) {
                        self.state = State::Delimited;
                        return Ok((done + self.delimiter.len(), FormEvent::PartEnd));
                    }
                    let len = found.unwrap_or_else(|| self.undivided(rest));
                    let event =
                        if len > 0 { FormEvent::Data { start: done, len } } else { FormEvent::Incomplete };
                    return Ok((done + len, event));
                }
                State::End => return Ok((input.len(), FormEvent::End)),
            }
        }
    }

    /// How much of `bytes`, in which there is no whole delimiter, cannot be the beginning of one.
    fn undivided(&self, bytes: &[u8]) -> usize {
        let tail = bytes.len().saturating_sub(self.delimiter.len() - 1);
        memchr::memchr_iter(b'\r', &bytes[tail..])
            .map(|at| tail + at)
            .find(|&at| self.delimiter.starts_with(&bytes[at..]))
            .unwrap_or(bytes.len())
    }
}

/// Reads the lines of a part's head.
fn part(head: &[u8]) -> Option<Part> {
    for line in head.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        if !line[..colon].eq_ignore_ascii_case(b"content-disposition") {
            continue;
        }
        let value = line[colon + 1..].trim_ascii();
        let (essence, parameters) = value.split_at(memchr::memchr(b';', value)?);
        if !essence.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let name = parameter(parameters, b"name")?;
        return Some(Part { name, filename: parameter(parameters, b"filename") });
    }
    None
}

/// The value of a parameter (`; name=value; name="value"`). In quotes `\` goes before `"` and `\` only, since browsers
/// have sent paths with backslashes.
fn parameter(mut rest: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    loop {
        rest = rest.strip_prefix(b";")?.trim_ascii_start();
        let equals = rest.iter().position(|byte| matches!(byte, b'=' | b';'))?;
        let name = rest[..equals].trim_ascii_end();
        rest = &rest[equals..];
        if rest[0] == b';' {
            continue;
        }
        rest = rest[1..].trim_ascii_start();
        let mut value = Vec::new();
        if let [b'"', inner @ ..] = rest {
            rest = inner;
            loop {
                let (byte, tail) = match rest {
                    [b'"', tail @ ..] => {
                        rest = tail.trim_ascii_start();
                        break;
                    }
                    [b'\\', byte @ (b'"' | b'\\'), tail @ ..] | [byte, tail @ ..] => (*byte, tail),
                    [] => return None,
                };
                value.push(byte);
                rest = tail;
            }
        } else {
            let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
            value.extend_from_slice(rest[..end].trim_ascii_end());
            rest = &rest[end..];
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &[u8] = b"multipart/form-data; boundary=xy";

    type Parts = Vec<(Part, Vec<u8>)>;

    /// Feeds `body` in pieces of at most `step` bytes. `Ok(None)`: it is cut off.
    fn read(body: &[u8], step: usize) -> Result<Option<Parts>, FormError> {
        let mut reader = FormReader::new(TYPE).unwrap();
        let mut parts = Vec::new();
        let mut buffer = Vec::new();
        let mut pieces = body.chunks(step.max(1));
        loop {
            let (done, event) = reader.read(&buffer)?;
            match event {
                FormEvent::Incomplete => {
                    buffer.drain(..done);
                    match pieces.next() {
                        Some(piece) => buffer.extend_from_slice(piece),
                        None => return Ok(None),
                    }
                    continue;
                }
                FormEvent::Part(part) => parts.push((part, Vec::new())),
                FormEvent::Data { start, len } => {
                    parts.last_mut().unwrap().1.extend_from_slice(&buffer[start..start + len]);
                }
                FormEvent::PartEnd => {}
                FormEvent::End => return Ok(Some(parts)),
            }
            buffer.drain(..done);
        }
    }

    fn part(name: &str, filename: Option<&str>) -> Part {
        Part { name: name.into(), filename: filename.map(Into::into) }
    }

    #[test]
    fn a_form_with_a_field_and_a_file() {
        let body = b"--xy\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--xy  \r\n\
            content-type: text/plain\r\nCONTENT-DISPOSITION: form-data; filename=\"b \\\"c\\\".txt\"; name=f\r\n\r\n\
            two\r\n--x\r\n\r\n--xy--\r\nepilogue";
        let expected = vec![
            (part("a", None), b"one".to_vec()),
            (part("f", Some("b \"c\".txt")), b"two\r\n--x\r\n".to_vec()),
        ];
        for step in 1..body.len() {
            assert_eq!(read(body, step), Ok(Some(expected.clone())), "in steps of {step}");
        }
        for cut in 0..body.len() - b"--\r\nepilogue".len() {
            assert!(matches!(read(&body[..cut], 7), Ok(None)), "cut at {cut}");
        }
    }

    #[test]
    fn preambles_and_empty_forms() {
        assert_eq!(read(b"--xy--", 1), Ok(Some(Vec::new())));
        assert_eq!(read(b"hello\r\n--xy--\r\n", 3), Ok(Some(Vec::new())));
        assert_eq!(read(b"", 1), Ok(None));
        let empty = b"--xy\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--xy--";
        assert_eq!(read(empty, 4), Ok(Some(vec![(part("a", None), Vec::new())])));
    }

    #[test]
    fn what_is_no_form() {
        assert_eq!(read(b"--xyz\r\n", 99), Err(FormError::Boundary));
        assert_eq!(read(b"--xy\r\nA: b\r\n\r\n", 99), Err(FormError::Disposition));
        assert_eq!(read(b"--xy\r\nContent-Disposition: form-data\r\n\r\n", 99), Err(FormError::Disposition));
        assert_eq!(
            read(b"--xy\r\nContent-Disposition: attachment; name=a\r\n\r\n", 99),
            Err(FormError::Disposition)
        );
        let huge = [b"--xy\r\n", &[b'a'; LARGEST_HEAD + 4][..]].concat();
        assert_eq!(read(&huge, 999), Err(FormError::HeadTooLarge));
    }

    #[test]
    fn the_largest_head_is_not_too_large_where_it_comes_in_pieces() {
        let field = b"Content-Disposition: form-data; name=a\r\nA: ";
        for (longer, well) in [(0, true), (1, false)] {
            let filler = vec![b'a'; LARGEST_HEAD - field.len() + longer];
            let body = [b"--xy\r\n", &field[..], &filler, b"\r\n\r\n\r\n--xy--"].concat();
            for step in (1..9).chain([body.len()]) {
                assert_eq!(read(&body, step).is_ok(), well, "{longer} {step}");
            }
        }
    }

    #[test]
    fn content_types() {
        for good in ["multipart/form-data; boundary=a", "Multipart/Form-Data;charset=utf-8; BOUNDARY=\"a b\""]
        {
            assert!(FormReader::new(good.as_bytes()).is_some(), "{good}");
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        for bad in [
            "",
            "text/plain",
            "multipart/form-data",
            "multipart/mixed; boundary=a",
            "multipart/form-data; boundary=",
            &long,
        ] {
            assert!(FormReader::new(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn backslashes_of_paths_stay() {
        let head = br#"Content-Disposition: form-data; name="f"; filename="C:\dir\a.txt""#;
        assert_eq!(super::part(head).unwrap().filename.unwrap(), br"C:\dir\a.txt");
    }

    proptest! {
        #[test]
        fn data_comes_back_whatever_the_steps(
            files in prop::collection::vec(prop::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x'), any::<u8>()], 0..60), 0..4),
            step in 1..40_usize,
        ) {
            prop_assume!(files.iter().all(|data| memmem::find(data, b"\r\n--xy").is_none()));
            let mut body = Vec::new();
            for data in &files {
                body.extend_from_slice(b"--xy\r\nContent-Disposition: form-data; name=\"f\"; filename=\"g\"\r\n\r\n");
                body.extend_from_slice(data);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--xy--\r\n");
            let expected: Vec<_> = files.into_iter().map(|data| (part("f", Some("g")), data)).collect();
            prop_assert_eq!(read(&body, step), Ok(Some(expected)));
        }

        #[test]
        fn any_body_is_read_the_same_in_any_steps(
            pieces in prop::collection::vec(prop::sample::select(vec![&b"--xy"[..], &b"\r\n"[..], &b"\r\n--xy"[..], &b"--"[..], &b"\r"[..], &b" "[..], &b"Content-Disposition: form-data; name=a\r\n\r\n"[..], &b"filename=\"\\"[..], &b"x"[..]]), 0..16),
            step in 1..20_usize,
        ) {
            let body = pieces.concat();
            prop_assert_eq!(read(&body, step), read(&body, body.len() + 1));
        }
    }
}
