//! Compiling a format: from gunicorn's text to a list of atoms.

use std::fmt;

use super::{DEFAULT_FORMAT, Entry, json, render};

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Text(Vec<Atom>),
    Json,
}

/// One piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Atom {
    /// Text between atoms.
    Literal(Box<[u8]>),
    /// A `-`, always.
    Nothing,
    /// `h`.
    Remote,
    /// `u`: the name in `Authorization: Basic`.
    User,
    /// `t`.
    Time,
    /// `r`.
    RequestLine,
    /// `m`.
    Method,
    /// `U`.
    Path,
    /// `q`.
    Query,
    /// `H`.
    Protocol,
    /// `s`.
    Status,
    /// `B`.
    Bytes,
    /// `b`.
    BytesOrDash,
    /// `T`.
    Seconds,
    /// `M`.
    Millis,
    /// `D`.
    Micros,
    /// `L`.
    Decimal,
    /// `p`.
    Pid,
    /// `{wsgi.url_scheme}e`.
    Scheme,
    /// `{stdserve.request_id}e`.
    Id,
    /// `{name}i`.
    Request(Box<str>),
    /// `{name}o`.
    Response(Box<str>),
}

impl Default for Format {
    /// gunicorn's default.
    fn default() -> Self {
        Self::text(DEFAULT_FORMAT).unwrap_or(Self(Kind::Json))
    }
}

impl Format {
    /// One JSON object a line, with OpenTelemetry's names.
    pub fn json() -> Self {
        Self(Kind::Json)
    }

    /// Compiles a text with gunicorn's atoms: `%(h)s` and so on, `%%` for a percent sign.
    pub fn text(format: &str) -> Result<Self, BadFormat> {
        let mut atoms = Vec::new();
        let mut literal = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("%%") {
                literal.push('%');
                rest = after;
                continue;
            }
            let (name, after) = atom_text(rest)?;
            if !literal.is_empty() {
                atoms.push(Atom::Literal(std::mem::take(&mut literal).into_bytes().into()));
            }
            atoms.push(atom(name).ok_or_else(|| BadFormat::at(rest, after, "is not an atom that is known"))?);
            rest = after;
        }
        literal.push_str(rest);
        if format.contains(['\n', '\r']) {
            return Err(BadFormat { atom: "a line break".into(), why: "would end the line" });
        }
        if !literal.is_empty() {
            atoms.push(Atom::Literal(literal.into_bytes().into()));
        }
        Ok(Self(Kind::Text(atoms)))
    }

    /// Appends one line with its line break. Allocates only where `out` has to grow.
    pub fn render(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Text(atoms) => atoms.iter().for_each(|atom| render::atom(atom, entry, out)),
            Kind::Json => json::render(entry, out),
        }
        out.push(b'\n');
    }
}

/// Splits `%(NAME)s…` into its name and what follows. `d` and `r` are taken for `s`.
fn atom_text(text: &str) -> Result<(&str, &str), BadFormat> {
    let open = || BadFormat::at(text, "", "is no atom: write %(NAME)s, or %% for a percent sign");
    let inner = text.strip_prefix("%(").ok_or_else(open)?;
    let (name, after) = inner.split_once(')').ok_or_else(open)?;
    let after = after.strip_prefix(['s', 'd', 'r']).ok_or_else(open)?;
    Ok((name, after))
}

fn atom(name: &str) -> Option<Atom> {
    if let Some(inner) = name.strip_prefix('{') {
        let (name, kind) = inner.split_once('}')?;
        let lower = || name.to_ascii_lowercase().into_boxed_str();
        return match kind {
            _ if name.is_empty() => None,
            "i" => Some(Atom::Request(lower())),
            "o" => Some(Atom::Response(lower())),
            "e" => variable(name),
            _ => None,
        };
    }
    Some(match name {
        "h" => Atom::Remote,
        "l" => Atom::Nothing,
        "u" => Atom::User,
        "t" => Atom::Time,
        "r" => Atom::RequestLine,
        "m" => Atom::Method,
        "U" => Atom::Path,
        "q" => Atom::Query,
        "H" => Atom::Protocol,
        "s" => Atom::Status,
        "B" => Atom::Bytes,
        "b" => Atom::BytesOrDash,
        "f" => Atom::Request("referer".into()),
        "a" => Atom::Request("user-agent".into()),
        "T" => Atom::Seconds,
        "M" => Atom::Millis,
        "D" => Atom::Micros,
        "L" => Atom::Decimal,
        "p" => Atom::Pid,
        _ => return None,
    })
}

/// The variables of the WSGI environment that the server itself knows.
fn variable(name: &str) -> Option<Atom> {
    Some(match name {
        "REMOTE_ADDR" => Atom::Remote,
        "REMOTE_USER" => Atom::User,
        "REQUEST_METHOD" => Atom::Method,
        "PATH_INFO" => Atom::Path,
        "QUERY_STRING" => Atom::Query,
        "SERVER_PROTOCOL" => Atom::Protocol,
        "CONTENT_TYPE" => Atom::Request("content-type".into()),
        "CONTENT_LENGTH" => Atom::Request("content-length".into()),
        "wsgi.url_scheme" => Atom::Scheme,
        "stdserve.request_id" => Atom::Id,
        _ => {
            let field = name.strip_prefix("HTTP_").filter(|field| !field.is_empty())?;
            Atom::Request(field.to_ascii_lowercase().replace('_', "-").into())
        }
    })
}

/// Why a format cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFormat {
    atom: String,
    why: &'static str,
}

impl BadFormat {
    /// About the piece of `text` before `after`.
    fn at(text: &str, after: &str, why: &'static str) -> Self {
        let piece = &text[..text.len() - after.len()];
        Self { atom: piece.chars().take(24).collect(), why }
    }
}

impl fmt::Display for BadFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.atom.escape_debug(), self.why)
    }
}

impl std::error::Error for BadFormat {}
