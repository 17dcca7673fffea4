//! Patterns for paths: `*.css`, `assets/**`, `*.{js,mjs}`.

use std::error::Error;
use std::fmt;

/// A pattern that paths are held against. Matching takes time in proportion to pattern and path, never more.
///
/// `?` stands for one byte and `*` for any number of them, neither for a slash; `**` stands for slashes too; `{a,b}`
/// for `a` or `b`, without further braces inside. `\` takes what follows literally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// What the braces stand for, each written out.
    alternatives: Vec<Vec<Step>>,
    /// Held against the whole path; else against its last name.
    whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Byte(u8),
    /// One byte, no slash.
    One,
    /// Any number of bytes, no slash.
    Any,
    /// Any number of bytes.
    Deep,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobError {
    /// A brace without its other half, or within braces.
    Braces,
    /// `\` at the end.
    Escape,
    /// More than 64 alternatives, or longer than 1,024 bytes.
    TooLarge,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Braces => "a brace in the pattern has no other half, or stands within braces",
            Self::Escape => "the pattern ends with a backslash",
            Self::TooLarge => "the pattern is longer than 1,024 bytes or has more than 64 alternatives",
        })
    }
}

impl Error for GlobError {}

const MOST_ALTERNATIVES: usize = 64;
const LONGEST: usize = 1024;

impl Glob {
    /// Reads a pattern.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        if pattern.len() > LONGEST {
            return Err(GlobError::TooLarge);
        }
        let bytes = pattern.strip_prefix('/').unwrap_or(pattern).as_bytes();
        let mut alternatives = vec![Vec::new()];
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] == b'{' {
                let inner = &bytes[at + 1..];
                let end = memchr::memchr(b'}', inner).ok_or(GlobError::Braces)?;
                let mut longer = Vec::new();
                for choice in inner[..end].split(|&byte| byte == b',') {
                    let steps = steps(choice)?;
                    longer.extend(alternatives.iter().map(|before| [&before[..], &steps[..]].concat()));
                }
                if longer.len() > MOST_ALTERNATIVES {
                    return Err(GlobError::TooLarge);
                }
                alternatives = longer;
                at += end + 2;
            } else {
                let end = at + unbraced(&bytes[at..]);
                let steps = steps(&bytes[at..end])?;
                for alternative in &mut alternatives {
                    alternative.extend_from_slice(&steps);
                }
                at = end;
            }
        }
        Ok(Self { alternatives, whole: pattern.contains('/') })
    }

    /// Whether `path`, names joined by slashes without one at the front, is of this pattern.
    pub fn matches(&self, path: &[u8]) -> bool {
        let from = if self.whole { 0 } else { memchr::memrchr(b'/', path).map_or(0, |at| at + 1) };
        self.alternatives.iter().any(|steps| matches(steps, &path[from..]))
    }
}

/// How much of `bytes` stands before the next opening brace.
fn unbraced(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b'{' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

fn steps(bytes: &[u8]) -> Result<Vec<Step>, GlobError> {
    let mut steps = Vec::new();
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let (step, tail) = match (first, tail) {
            (b'*', [b'*', tail @ ..]) => (Step::Deep, tail),
            (b'*', _) => (Step::Any, tail),
            (b'?', _) => (Step::One, tail),
            (b'\\', [literal, tail @ ..]) => (Step::Byte(*literal), tail),
            (b'\\', []) => return Err(GlobError::Escape),
            (b'{' | b'}', _) => return Err(GlobError::Braces),
            (byte, _) => (Step::Byte(*byte), tail),
        };
        steps.push(step);
        rest = tail;
    }
    Ok(steps)
}

/// Follows all ways through the pattern at once: `reached[n]` says that the path so far can be of the first `n` steps.
fn matches(steps: &[Step], path: &[u8]) -> bool {
    let mut reached = vec![false; steps.len() + 1];
    reached[0] = true;
    skip_empty(steps, &mut reached);
    for &byte in path {
        let mut next = vec![false; steps.len() + 1];
        for (at, step) in steps.iter().enumerate().filter(|&(at, _)| reached[at]) {
            match step {
                Step::Byte(wanted) => next[at + 1] |= *wanted == byte,
                Step::One => next[at + 1] |= byte != b'/',
                Step::Any => next[at] |= byte != b'/',
                Step::Deep => next[at] = true,
            }
        }
        skip_empty(steps, &mut next);
        reached = next;
    }
    reached[steps.len()]
}

/// Stars may stand for nothing.
fn skip_empty(steps: &[Step], reached: &mut [bool]) {
    for (at, step) in steps.iter().enumerate() {
        if matches!(step, Step::Any | Step::Deep) && reached[at] {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is(pattern: &str, path: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn patterns() {
        for (pattern, path, fits) in [
            ("*.css", "a/b/site.css", true),
            ("*.css", "site.css.map", false),
            ("assets/*", "assets/a.js", true),
            ("assets/*", "assets/a/b.js", false),
            ("assets/**", "assets/a/b.js", true),
            ("/assets/**", "assets/a/b.js", true),
            ("**/x.js", "a/b/x.js", true),
            ("*.{js,mjs}", "a.mjs", true),
            ("*.{js,mjs}", "a.cjs", false),
            ("app-????.js", "app-1a2b.js", true),
            ("a/?", "a/", false),
            ("{a,b}{c,d}", "bd", true),
            (r"\*.txt", "*.txt", true),
            (r"\*.txt", "a.txt", false),
            (r"\{a", "{a", true),
            ("", "", true),
            ("", "a", false),
            ("**", "anything/at/all", true),
            ("/index.html", "index.html", true),
            ("/index.html", "a/index.html", false),
        ] {
            assert_eq!(is(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for (pattern, error) in [
            ("{a", GlobError::Braces),
            ("a}", GlobError::Braces),
            ("{a{b}}", GlobError::Braces),
            ("a\\", GlobError::Escape),
            (&"{a,b}".repeat(7), GlobError::TooLarge),
            (&"a".repeat(1025), GlobError::TooLarge),
        ] {
            assert_eq!(Glob::parse(pattern), Err(error), "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!is(&"*a".repeat(500), &"a".repeat(400)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_obvious_way(pattern in "[ab/?*]{0,8}", path in "[ab/]{0,8}") {
            fn obvious(pattern: &[u8], path: &[u8]) -> bool {
                match (pattern, path) {
                    ([], _) => path.is_empty(),
                    ([b'*', b'*', rest @ ..], _) => (0..=path.len()).any(|at| obvious(rest, &path[at..])),
                    ([b'*', rest @ ..], _) => (0..=path.len())
                        .take_while(|&at| at == 0 || path[at - 1] != b'/').any(|at| obvious(rest, &path[at..])),
                    ([b'?', rest @ ..], [byte, tail @ ..]) => *byte != b'/' && obvious(rest, tail),
                    ([wanted, rest @ ..], [byte, tail @ ..]) => wanted == byte && obvious(rest, tail),
                    (_, []) => false,
                }
            }
            // With a slash in front it is held against the whole path.
            let pattern = format!("/{pattern}");
            prop_assert_eq!(is(&pattern, &path), obvious(&pattern.as_bytes()[1..], path.as_bytes()));
        }

        #[test]
        fn any_text_is_read(pattern in "[ab*?{},\\\\/]{0,20}", path in "[ab/]{0,12}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let _ = glob.matches(path.as_bytes());
            }
        }
    }
}
