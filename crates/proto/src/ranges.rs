//! Range requests (RFC 9110 §14): which parts of a file are asked for, and how several of them are put into one body.
//!
//! A header of a few bytes must not make an answer of gigabytes (CVE-2011-3192, the range bomb): the number of ranges
//! is bounded, and those that overlap or nearly touch become one, so that no byte is sent twice and the answer is never
//! longer than the file and a bounded number of part heads.

/// A part of a file: from `start` up to `end`, which it does not reach. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// The byte behind the last one.
    pub end: u64,
}

impl Span {
    /// The number of bytes.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(self) -> u64 {
        self.end - self.start
    }
}

/// What a `Range` field asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// The whole file: the field is not understood, or asks for too much to be taken seriously.
    Whole,
    /// Nothing that the file has: 416.
    Unsatisfiable,
    /// One part: 206.
    One(Span),
    /// Several parts that neither overlap nor touch, in the order of their coming: 206 with `multipart/byteranges`.
    Several(Vec<Span>),
}

/// Two ranges with a gap up to this are sent as one: a part head costs as much (RFC 9110 §14.2).
const GAP: u64 = 80;

/// Reads the value of a `Range` field for a file of `length` bytes. More than `most` ranges are not looked at.
pub fn select(value: &[u8], length: u64, most: usize) -> Ranges {
    let Some(list) = specifiers(value) else { return Ranges::Whole };
    let mut spans: Vec<Span> = Vec::new();
    let mut first = None;
    let mut seen = 0;
    for specifier in list.split(|&byte| byte == b',') {
        seen += 1;
        if seen > most {
            return Ranges::Whole;
        }
        let specifier = specifier.trim_ascii();
        if specifier.is_empty() {
            continue;
        }
        match satisfy(specifier, length) {
            Satisfied::Senseless => return Ranges::Whole,
            Satisfied::Beyond => {}
            // Nearly every request has one range, which needs no list.
            Satisfied::By(span) => match (first, spans.is_empty()) {
                (None, _) => first = Some(span),
                (Some(before), true) => {
                    spans.push(before);
                    merge(&mut spans, span);
                }
                (Some(_), false) => merge(&mut spans, span),
            },
        }
    }
    match (spans.len(), first) {
        (0, None) => Ranges::Unsatisfiable,
        (0, Some(span)) => Ranges::One(span),
        (1, _) => Ranges::One(spans[0]),
        _ => Ranges::Several(spans),
    }
}

/// What stands behind `bytes=`; `None` for other units. Their names know no case (RFC 9110 §14.1).
fn specifiers(value: &[u8]) -> Option<&[u8]> {
    let at = memchr::memchr(b'=', value)?;
    value[..at].eq_ignore_ascii_case(b"bytes").then_some(&value[at + 1..])
}

/// What a file of a certain length has for one range.
enum Satisfied {
    /// It is no range at all.
    Senseless,
    /// The file does not reach there.
    Beyond,
    By(Span),
}

/// One `first-last`, `first-` or `-count`.
fn satisfy(specifier: &[u8], length: u64) -> Satisfied {
    let Some(dash) = memchr::memchr(b'-', specifier) else { return Satisfied::Senseless };
    let (first, last) = (&specifier[..dash], &specifier[dash + 1..]);
    let (start, end) = match (number(first), number(last)) {
        (None, Some(count)) if first.is_empty() => (length.saturating_sub(count), length),
        (Some(start), None) if last.is_empty() => (start, length),
        (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(length)),
        _ => return Satisfied::Senseless,
    };
    if start < end { Satisfied::By(Span { start, end }) } else { Satisfied::Beyond }
}

/// A decimal number; one that is too large for any file is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

/// Adds `span`, as part of those that it overlaps or nearly touches.
fn merge(spans: &mut Vec<Span>, mut span: Span) {
    let mut place = None;
    let mut at = 0;
    while at < spans.len() {
        let other = spans[at];
        if span.start <= other.end.saturating_add(GAP) && other.start <= span.end.saturating_add(GAP) {
            span = Span { start: span.start.min(other.start), end: span.end.max(other.end) };
            spans.remove(at);
            // It stands where the first of those stood that it takes in. It has grown: all are looked at again.
            place = Some(place.map_or(at, |place: usize| place.min(at)));
            at = 0;
        } else {
            at += 1;
        }
    }
    spans.insert(place.unwrap_or(spans.len()), span);
}

/// Appends the value of `Content-Range` for a part of a file of `length` bytes (RFC 9110 §14.4).
pub fn content_range(span: Span, length: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"bytes ");
    out.extend_from_slice(digits.format(span.start).as_bytes());
    out.push(b'-');
    out.extend_from_slice(digits.format(span.end - 1).as_bytes());
    out.push(b'/');
    out.extend_from_slice(digits.format(length).as_bytes());
}

/// Appends the value of `Content-Range` of a 416: how long the file is.
pub fn unsatisfied_range(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"bytes */");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
}

/// The frame of a `multipart/byteranges` body (RFC 9110 §14.6).
#[derive(Debug, Clone, Copy)]
pub struct Multipart<'a> {
    /// What separates the parts: letters and digits that stand nowhere in the file, which a random one is sure enough
    /// of.
    pub boundary: &'a str,
    /// The media type of the file.
    pub content_type: &'a str,
    /// The length of the file.
    pub length: u64,
}

impl Multipart<'_> {
    /// Appends the value of the answer's `Content-Type`.
    pub fn content_type(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"multipart/byteranges; boundary=");
        out.extend_from_slice(self.boundary.as_bytes());
    }

    /// Appends what stands before the bytes of `span`.
    pub fn part_head(&self, span: Span, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n--");
        out.extend_from_slice(self.boundary.as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(self.content_type.as_bytes());
        out.extend_from_slice(b"\r\nContent-Range: ");
        content_range(span, self.length, out);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Appends what stands behind the last part.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n--");
        out.extend_from_slice(self.boundary.as_bytes());
        out.extend_from_slice(b"--\r\n");
    }

    /// The length of the whole body.
    pub fn size(&self, spans: &[Span]) -> u64 {
        let mut frame = Vec::new();
        for span in spans {
            self.part_head(*span, &mut frame);
        }
        self.end(&mut frame);
        spans.iter().map(|span| span.len()).sum::<u64>() + frame.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(start: u64, end: u64) -> Ranges {
        Ranges::One(Span { start, end })
    }

    fn several(spans: &[(u64, u64)]) -> Ranges {
        Ranges::Several(spans.iter().map(|&(start, end)| Span { start, end }).collect())
    }

    #[test]
    fn single_ranges() {
        for (value, ranges) in [
            ("bytes=0-0", one(0, 1)),
            ("bytes=0-499", one(0, 500)),
            ("bytes=500-", one(500, 1000)),
            ("bytes=-1", one(999, 1000)),
            ("bytes=-5000", one(0, 1000)),
            ("bytes=999-99999999999999999999999", one(999, 1000)),
            ("BYTES= 1-2 ", one(1, 3)),
            ("bytes=,1-2,,", one(1, 3)),
            ("bytes=1000-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            ("bytes=1000-,1-2", one(1, 3)),
            ("bytes=", Ranges::Unsatisfiable),
        ] {
            assert_eq!(select(value.as_bytes(), 1000, 16), ranges, "{value}");
        }
    }

    #[test]
    fn what_is_no_range_asks_for_the_whole() {
        for value in [
            "",
            "bytes",
            "bytes 0-1",
            "lines=0-1",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=1",
            "bytes=--1",
            "bytes=-",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "bytes=1-2;3-4",
            "bytes=1 -2",
        ] {
            assert_eq!(select(value.as_bytes(), 1000, 16), Ranges::Whole, "{value}");
        }
    }

    #[test]
    fn several_ranges_keep_their_order_and_are_joined_where_they_meet() {
        assert_eq!(select(b"bytes=500-509,0-9", 1000, 16), several(&[(500, 510), (0, 10)]));
        assert_eq!(select(b"bytes=0-9,10-19", 1000, 16), one(0, 20));
        assert_eq!(select(b"bytes=0-9,60-69", 1000, 16), one(0, 70));
        assert_eq!(
            select(b"bytes=0-9,400-409,-200,200-399", 1000, 16),
            several(&[(0, 10), (200, 410), (800, 1000)])
        );
        assert_eq!(select(b"bytes=0-9,400-409,0-", 1000, 16), one(0, 1000));
    }

    #[test]
    fn cve_2011_3192_range_bombs_are_sent_the_whole_file_once() {
        let many: Vec<String> = (0..1300).map(|n| format!("5-{n}")).collect();
        assert_eq!(select(format!("bytes=0-,{}", many.join(",")).as_bytes(), 1000, 16), Ranges::Whole);
        let commas = format!("bytes=0-1{}", ",".repeat(100_000));
        assert_eq!(select(commas.as_bytes(), 1000, 16), Ranges::Whole);
        let same = ["0-"; 16].join(",");
        assert_eq!(select(format!("bytes={same}").as_bytes(), 1000, 16), one(0, 1000));
        assert_eq!(select(b"bytes=0-1", 1000, 0), Ranges::Whole, "ranges can be turned off");
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(select(value.as_bytes(), 0, 16), Ranges::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn a_body_of_parts() {
        let spans = [Span { start: 0, end: 2 }, Span { start: 5, end: 7 }];
        let frame = Multipart { boundary: "b", content_type: "text/plain", length: 9 };
        let mut body = Vec::new();
        for span in spans {
            frame.part_head(span, &mut body);
            body.extend_from_slice(&b"012345678"[span.start as usize..span.end as usize]);
        }
        frame.end(&mut body);
        assert_eq!(
            String::from_utf8(body.clone()).unwrap(),
            "\r\n--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/9\r\n\r\n01\
             \r\n--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-6/9\r\n\r\n56\r\n--b--\r\n"
        );
        assert_eq!(frame.size(&spans), body.len() as u64);
    }

    proptest! {
        #[test]
        fn parts_are_within_the_file_apart_and_few(
            length in 0..2000_u64,
            most in 0..20_usize,
            specs in prop::collection::vec((prop::option::of(0..3000_u64), prop::option::of(0..3000_u64)), 0..24),
        ) {
            let text = |n: &Option<u64>| n.map_or(String::new(), |n| n.to_string());
            let list: Vec<_> = specs.iter().map(|(a, b)| format!("{}-{}", text(a), text(b))).collect();
            let spans = match select(format!("bytes={}", list.join(",")).as_bytes(), length, most) {
                Ranges::Whole | Ranges::Unsatisfiable => Vec::new(),
                Ranges::One(span) => vec![span],
                Ranges::Several(spans) => {
                    prop_assert!(spans.len() > 1 && spans.len() <= most);
                    spans
                }
            };
            for (at, span) in spans.iter().enumerate() {
                prop_assert!(span.start < span.end && span.end <= length);
                for other in &spans[..at] {
                    prop_assert!(span.start > other.end + GAP || other.start > span.end + GAP);
                }
            }
            // Every byte that one of the ranges names is sent, where any is.
            if !spans.is_empty() {
                for (first, last) in &specs {
                    let wanted = match (first, last) {
                        (None, None) => continue,
                        (None, Some(count)) => length - count.min(&length)..length,
                        (Some(first), last) => *first..last.map_or(length, |last| (last + 1).min(length)),
                    };
                    for byte in wanted {
                        prop_assert!(spans.iter().any(|span| span.start <= byte && byte < span.end));
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_read(value in prop::collection::vec(any::<u8>(), 0..60), length: u64) {
            let _ = select(&value, length, 16);
            let _ = select(&[b"bytes=", &value[..]].concat(), length, 16);
        }
    }
}
