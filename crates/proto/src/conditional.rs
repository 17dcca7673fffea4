//! Conditional requests (RFC 9110 §13): whether what the client holds is still what there is.

use std::time::{SystemTime, UNIX_EPOCH};

/// The values of one field. It may come in several lines, which mean one list (RFC 9110 §5.3); nearly always it is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lines<'a> {
    first: Option<&'a [u8]>,
    more: Vec<&'a [u8]>,
}

impl<'a> Lines<'a> {
    fn add(&mut self, value: &'a [u8]) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.more.push(value);
        }
    }

    fn is_some(&self) -> bool {
        self.first.is_some()
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.first.into_iter().chain(self.more.iter().copied())
    }
}

/// The conditions of a request, and the range that hangs on one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions<'a> {
    if_match: Lines<'a>,
    if_none_match: Lines<'a>,
    if_modified_since: Option<&'a [u8]>,
    if_unmodified_since: Option<&'a [u8]>,
    if_range: Option<&'a [u8]>,
    range: Option<&'a [u8]>,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validators<'a> {
    /// The entity tag, as it is sent: `"…"` or `W/"…"`.
    pub etag: &'a [u8],
    /// `Last-Modified`, in seconds since 1970.
    pub modified: i64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is carried out.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// It was meant for another state: 412.
    Failed,
}

impl<'a> Conditions<'a> {
    /// Takes note of a field, if it is one of them. Of those that have one value the first line counts.
    pub fn note(&mut self, name: &[u8], value: &'a [u8]) -> bool {
        match name.len() {
            5 if name.eq_ignore_ascii_case(b"range") => first(&mut self.range, value),
            8 if name.eq_ignore_ascii_case(b"if-match") => self.if_match.add(value),
            8 if name.eq_ignore_ascii_case(b"if-range") => first(&mut self.if_range, value),
            13 if name.eq_ignore_ascii_case(b"if-none-match") => self.if_none_match.add(value),
            17 if name.eq_ignore_ascii_case(b"if-modified-since") => {
                first(&mut self.if_modified_since, value);
            }
            19 if name.eq_ignore_ascii_case(b"if-unmodified-since") => {
                first(&mut self.if_unmodified_since, value);
            }
            _ => return false,
        }
        true
    }

    /// Whether a range is asked for, on a condition or without.
    pub fn has_range(&self) -> bool {
        self.range.is_some()
    }

    /// Judges the conditions in the order of RFC 9110 §13.2.2, for what there is now (`None`: nothing is there).
    /// `reads` says that the method is GET or HEAD. Only for requests that would succeed without conditions.
    pub fn judge(&self, reads: bool, now: Option<Validators<'_>>) -> Outcome {
        if self.if_match.is_some() {
            let held = now.is_some_and(|now| self.if_match.iter().any(|list| names(list, now.etag, true)));
            if !held {
                return Outcome::Failed;
            }
        } else if let (Some(date), Some(now)) = (self.if_unmodified_since.and_then(seconds), now)
            && now.modified > date
        {
            return Outcome::Failed;
        }
        if self.if_none_match.is_some() {
            let held =
                now.is_some_and(|now| self.if_none_match.iter().any(|list| names(list, now.etag, false)));
            return match (held, reads) {
                (false, _) => Outcome::Proceed,
                (true, true) => Outcome::NotModified,
                (true, false) => Outcome::Failed,
            };
        }
        match (self.if_modified_since.and_then(seconds), now) {
            (Some(date), Some(now)) if reads && now.modified <= date => Outcome::NotModified,
            _ => Outcome::Proceed,
        }
    }

    /// The value of `Range`, if `If-Range` (RFC 9110 §13.1.5) lets it count: the strong tag, or the very date, that
    /// there is now.
    pub fn range(&self, now: Validators<'_>) -> Option<&'a [u8]> {
        let range = self.range?;
        let holds = match self.if_range {
            None => true,
            Some(tag) if tag.ends_with(b"\"") => tag == now.etag && !now.etag.starts_with(b"W/"),
            Some(date) => seconds(date) == Some(now.modified),
        };
        holds.then_some(range)
    }
}

fn first<'a>(place: &mut Option<&'a [u8]>, value: &'a [u8]) {
    place.get_or_insert(value);
}

/// An HTTP date in one of its three forms (RFC 9110 §5.6.7), in seconds since 1970; `None` for anything else, which is
/// then as good as not sent.
fn seconds(date: &[u8]) -> Option<i64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
    Some(unix_seconds(date))
}

/// Whole seconds since 1970, before it too.
fn unix_seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs() as i64,
        Err(before) => -(before.duration().as_secs() as i64),
    }
}

/// Whether `list` (`*`, or entity tags separated by commas) names `etag`. Compared strongly, weak tags are the same as
/// none (RFC 9110 §8.8.3.2). What is no tag ends the list.
fn names(list: &[u8], etag: &[u8], strong: bool) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    let wanted = opaque(etag);
    let weak = etag.starts_with(b"W/");
    loop {
        while let [b',' | b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        let tag_is_weak = rest.starts_with(b"W/");
        let tag = opaque(rest);
        let [b'"', inner @ ..] = tag else { return false };
        let Some(end) = memchr::memchr(b'"', inner) else { return false };
        if tag[..end + 2] == *wanted && !(strong && (weak || tag_is_weak)) {
            return true;
        }
        rest = &inner[end + 1..];
    }
}

fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const NOW: Validators<'_> = Validators { etag: b"\"a\"", modified: 784_111_777 };
    const WEAK: Validators<'_> = Validators { etag: b"W/\"a\"", modified: 784_111_777 };

    fn conditions<'a>(fields: &'a [(&str, &str)]) -> Conditions<'a> {
        let mut conditions = Conditions::default();
        for (name, value) in fields {
            assert!(conditions.note(name.as_bytes(), value.as_bytes()));
        }
        conditions
    }

    fn get(fields: &[(&str, &str)]) -> Outcome {
        conditions(fields).judge(true, Some(NOW))
    }

    #[test]
    fn each_condition_alone() {
        use Outcome::{Failed, NotModified, Proceed};
        for (name, value, outcome) in [
            ("If-Match", "\"a\"", Proceed),
            ("If-Match", "\"b\" , \"a\"", Proceed),
            ("If-Match", "*", Proceed),
            ("If-Match", "\"b\"", Failed),
            ("If-Match", "W/\"a\"", Failed),
            ("If-Match", "a", Failed),
            ("If-None-Match", "\"a\"", NotModified),
            ("If-None-Match", "W/\"a\"", NotModified),
            ("If-None-Match", ",\"x,\\\",W/\"a\"", NotModified),
            ("If-None-Match", "*", NotModified),
            ("If-None-Match", "\"b\", \"aa\"", Proceed),
            ("If-None-Match", "\"a", Proceed),
            ("If-Modified-Since", BEFORE, Proceed),
            ("If-Modified-Since", THEN, NotModified),
            ("If-Modified-Since", AFTER, NotModified),
            ("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
            ("If-Modified-Since", "Sun Nov  6 08:49:37 1994", NotModified),
            ("If-Modified-Since", "yesterday", Proceed),
            ("If-Unmodified-Since", BEFORE, Failed),
            ("If-Unmodified-Since", THEN, Proceed),
            ("If-Unmodified-Since", "\u{fffd}", Proceed),
        ] {
            assert_eq!(get(&[(name, value)]), outcome, "{name}: {value}");
        }
    }

    #[test]
    fn precedence() {
        assert_eq!(get(&[("If-Match", "\"a\""), ("If-Unmodified-Since", BEFORE)]), Outcome::Proceed);
        assert_eq!(get(&[("If-None-Match", "\"b\""), ("If-Modified-Since", THEN)]), Outcome::Proceed);
        assert_eq!(get(&[("If-Match", "\"b\""), ("If-None-Match", "\"a\"")]), Outcome::Failed);
        assert_eq!(get(&[("If-Match", "\"a\""), ("If-None-Match", "\"a\"")]), Outcome::NotModified);
        assert_eq!(get(&[("If-None-Match", "\"b\""), ("If-None-Match", "\"a\"")]), Outcome::NotModified);
    }

    #[test]
    fn other_methods_and_what_is_not_there() {
        let any = [("If-None-Match", "*")];
        assert_eq!(conditions(&any).judge(false, Some(NOW)), Outcome::Failed);
        assert_eq!(conditions(&any).judge(false, None), Outcome::Proceed);
        assert_eq!(conditions(&[("If-Match", "*")]).judge(false, None), Outcome::Failed);
        let since = [("If-Modified-Since", AFTER)];
        assert_eq!(conditions(&since).judge(false, Some(NOW)), Outcome::Proceed);
    }

    #[test]
    fn if_range_wants_the_same_state_exactly() {
        for (value, holds) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            (THEN, true),
            (BEFORE, false),
            (AFTER, false),
            ("x", false),
        ] {
            let fields = [("Range", "bytes=0-"), ("If-Range", value)];
            assert_eq!(conditions(&fields).range(NOW).is_some(), holds, "{value}");
        }
        let fields = [("Range", "bytes=0-"), ("If-Range", "W/\"a\"")];
        assert_eq!(conditions(&fields).range(WEAK), None);
        assert_eq!(conditions(&[("If-Range", "\"a\"")]).range(NOW), None);
    }

    #[test]
    fn dates_before_1970() {
        assert_eq!(
            seconds(b"Wed, 31 Dec 1969 23:59:59 GMT").map(|at| at < 0),
            seconds(b"Wed, 31 Dec 1969 23:59:59 GMT").map(|_| true)
        );
    }

    proptest! {
        #[test]
        fn any_list_is_read(list in prop::collection::vec(prop_oneof![
            Just(b'"'), Just(b','), Just(b'W'), Just(b'/'), Just(b'a'), Just(b' '), Just(b'*'), any::<u8>()], 0..40)) {
            // A list that names a tag strongly names it weakly too.
            if names(&list, b"\"a\"", true) {
                prop_assert!(names(&list, b"\"a\"", false));
            }
        }

        #[test]
        fn a_tag_is_found_wherever_it_stands(
            tags in prop::collection::vec("[!#-~]{0,8}", 1..6), at in any::<prop::sample::Index>(),
        ) {
            let list = tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ");
            let wanted = format!("\"{}\"", at.get(&tags));
            prop_assert!(names(list.as_bytes(), wanted.as_bytes(), true));
        }
    }
}
