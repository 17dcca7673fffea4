//! How an option's text lands in [`Settings`], and comes out again.
//!
//! Each kind holds the place of its value in the settings as a function to it, so that the type of the
//! field and the kind of the option cannot disagree.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app_spec::AppSpec;
use crate::bind::Bind;
use crate::settings::{AccessFormat, LogTarget, Settings, TrustedPeer};
use crate::units::{format_duration, format_size, parse_count, parse_duration, parse_size};

/// Where the value of a kind stands in the settings.
pub type Place<T> = fn(&mut Settings) -> &mut T;

/// The kind of an option's value, and its place.
#[derive(Clone, Copy)]
pub enum Field {
    /// The application argument.
    App(Place<Option<AppSpec>>),
    /// Addresses to listen on.
    Binds(Place<Vec<Bind>>),
    /// Yes or no.
    Switch(Place<bool>),
    /// A whole number within bounds.
    Count(Place<usize>, usize, usize),
    /// A whole number within bounds, or a word for "none".
    MaybeCount(Place<Option<usize>>, &'static str, usize, usize),
    /// A 32-bit number from 1.
    Number(Place<u32>),
    /// A file mode in octal digits.
    Mode(Place<u32>),
    /// Bytes that fit memory, at least so many.
    Memory(Place<usize>, usize),
    /// Bytes.
    Size(Place<u64>),
    /// A time, at least so long.
    Time(Place<Duration>, Duration),
    /// A text, put through a check that may amend it.
    Text(Place<String>, fn(&str) -> Result<String, String>),
    /// One of some words: the words, how to set and to read which it is.
    Choice(&'static [&'static str], fn(&mut Settings, usize), fn(&Settings) -> usize),
    /// A path, or nothing.
    MaybePath(Place<Option<PathBuf>>),
    /// Several paths.
    Paths(Place<Vec<PathBuf>>),
    /// Where a log goes.
    Log(Place<LogTarget>),
    /// The access log's format.
    Access(Place<AccessFormat>),
    /// Trusted peers.
    Peers(Place<Vec<TrustedPeer>>),
}

/// A value as it was given: text, or several texts where the source has lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// One text; booleans, and numbers with a point, are given as they are written.
    Text(String),
    /// A whole number. It differs from its text for file modes only, whose text is in octal digits.
    Integer(i64),
    /// Several.
    List(Vec<String>),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::List(list) => write!(f, "[{}]", list.join(", ")),
        }
    }
}

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Field {
    /// Whether the option may be given several times, which adds up.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Binds(_) | Self::Paths(_) | Self::Peers(_))
    }

    /// Whether the option is yes or no.
    pub fn is_switch(&self) -> bool {
        matches!(self, Self::Switch(_))
    }

    /// The words of a choice; empty for other kinds.
    pub fn words(&self) -> &'static [&'static str] {
        if let Self::Choice(words, ..) = self { words } else { &[] }
    }

    /// Puts a value in its place. The error is a sentence without its subject: what is wrong, what is accepted.
    pub fn set(&self, settings: &mut Settings, raw: &Raw) -> Result<(), String> {
        if self.is_list() {
            return self.set_list(settings, &entries(raw)?);
        }
        match raw {
            Raw::Text(text) => self.set_text(settings, text.trim()),
            Raw::Integer(number) if matches!(self, Self::Mode(_)) => {
                self.set_text(settings, &format!("0o{number:o}"))
            }
            Raw::Integer(number) => self.set_text(settings, &number.to_string()),
            Raw::List(_) => Err("is a list; this option takes one value".into()),
        }
    }

    fn set_list(&self, settings: &mut Settings, entries: &[&str]) -> Result<(), String> {
        let named = |entry: &str, why: String| {
            if entries.len() == 1 { why } else { format!("has the entry `{entry}`, which {why}") }
        };
        match self {
            Self::Binds(place) => {
                let binds = entries
                    .iter()
                    .map(|entry| Bind::parse(entry).map_err(|why| named(entry, why)))
                    .collect::<Result<Vec<_>, _>>()?;
                if binds.is_empty() {
                    return Err("names no address".into());
                }
                for (index, bind) in binds.iter().enumerate() {
                    if bind.name.is_some() && binds[..index].iter().any(|other| other.name == bind.name) {
                        return Err("gives two listeners the same name".into());
                    }
                }
                *place(settings) = binds;
            }
            Self::Peers(place) => {
                *place(settings) = entries
                    .iter()
                    .map(|entry| peer(entry).map_err(|why| named(entry, why)))
                    .collect::<Result<_, _>>()?;
            }
            Self::Paths(place) => *place(settings) = entries.iter().map(PathBuf::from).collect(),
            _ => {}
        }
        Ok(())
    }

    fn set_text(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        match *self {
            Self::App(place) => *place(settings) = Some(AppSpec::parse(text)?),
            Self::Switch(place) => {
                *place(settings) = switch(text).ok_or("is neither yes nor no (true, false)")?;
            }
            Self::Count(place, min, max) => *place(settings) = count(text, min, max, "")?,
            Self::MaybeCount(place, none, min, max) => {
                let value = if text == none { None } else { Some(count(text, min, max, none)?) };
                *place(settings) = value;
            }
            Self::Number(place) => *place(settings) = count(text, 1, i32::MAX as usize, "")? as u32,
            Self::Mode(place) => {
                *place(settings) = mode(text).ok_or("is not a mode in octal digits, such as 660")?;
            }
            Self::Memory(place, min) => *place(settings) = size(text, min as u64)? as usize,
            Self::Size(place) => *place(settings) = size(text, 0)?,
            Self::Time(place, min) => *place(settings) = time(text, min)?,
            Self::Text(place, check) => *place(settings) = check(text)?,
            Self::Choice(words, set, _) => {
                let lower = text.to_ascii_lowercase();
                let index = words.iter().position(|&word| word == lower);
                let index =
                    index.or_else(|| words.iter().position(|&word| lower == "warn" && word == "warning"));
                set(settings, index.ok_or_else(|| format!("is not one of {}", words.join(", ")))?);
            }
            Self::MaybePath(place) => *place(settings) = (!text.is_empty()).then(|| PathBuf::from(text)),
            Self::Log(place) => *place(settings) = log_target(text)?,
            Self::Access(place) => {
                *place(settings) =
                    if text == "json" { AccessFormat::Json } else { AccessFormat::Text(text.to_owned()) };
            }
            Self::Binds(_) | Self::Paths(_) | Self::Peers(_) => {}
        }
        Ok(())
    }

    /// The value as TOML, or nothing where the option has none.
    pub fn show(&self, settings: &Settings) -> Option<String> {
        // A place leads to a mutable value; a copy keeps this a reader.
        let mut copy = settings.clone();
        let settings = &mut copy;
        Some(match *self {
            Self::App(place) => quote(&place(settings).as_ref()?.to_string()),
            Self::Binds(place) => list(place(settings)),
            Self::Switch(place) => place(settings).to_string(),
            Self::Count(place, ..) => place(settings).to_string(),
            Self::MaybeCount(place, ..) => (*place(settings))?.to_string(),
            Self::Number(place) => place(settings).to_string(),
            Self::Mode(place) => quote(&format!("{:04o}", place(settings))),
            Self::Memory(place, _) => show_size(*place(settings) as u64),
            Self::Size(place) => show_size(*place(settings)),
            Self::Time(place, _) => quote(&format_duration(*place(settings))),
            Self::Text(place, _) => quote(place(settings)),
            Self::Choice(words, _, get) => quote(words.get(get(settings))?),
            Self::MaybePath(place) => quote(&place(settings).as_ref()?.display().to_string()),
            Self::Paths(place) => list(place(settings).iter().map(|path| path.display())),
            Self::Log(place) => match place(settings) {
                LogTarget::Off => quote("none"),
                LogTarget::Standard => quote("-"),
                LogTarget::File(path) => quote(&path.display().to_string()),
            },
            Self::Access(place) => match place(settings) {
                AccessFormat::Json => quote("json"),
                AccessFormat::Text(text) => quote(text),
            },
            Self::Peers(place) => list(place(settings).iter()),
        })
    }
}

/// A text is split at its commas; a list's entries are taken whole.
fn entries(raw: &Raw) -> Result<Vec<&str>, String> {
    let filled = |entry: &&str| !entry.is_empty();
    match raw {
        Raw::Text(text) => Ok(text.split(',').map(str::trim).filter(filled).collect()),
        Raw::List(list) => Ok(list.iter().map(|entry| entry.trim()).filter(filled).collect()),
        Raw::Integer(_) => Err("is a number; this option takes texts".into()),
    }
}

/// Yes or no, in the usual words.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn count(text: &str, min: usize, max: usize, none: &str) -> Result<usize, String> {
    let value = parse_count(text).and_then(|value| usize::try_from(value).ok());
    value.filter(|value| (min..=max).contains(value)).ok_or_else(|| {
        let or = if none.is_empty() { String::new() } else { format!(", nor `{none}`") };
        if max >= i32::MAX as usize {
            format!("is not a whole number of at least {min}{or}")
        } else {
            format!("is not a whole number between {min} and {max}{or}")
        }
    })
}

fn size(text: &str, min: u64) -> Result<u64, String> {
    let bytes = parse_size(text)
        .ok_or("is not a size: give bytes, or a number with KiB, MiB, GiB, KB, MB or GB, such as 512MiB")?;
    if bytes < min {
        return Err(format!("is too small: at least {}", format_size(min)));
    }
    Ok(bytes)
}

fn time(text: &str, min: Duration) -> Result<Duration, String> {
    let time = parse_duration(text)
        .ok_or("is not a time: give seconds, or a number with ms, s, m, h or d, such as 30s")?;
    if time < min {
        return Err(format!("is too short: at least {}", format_duration(min)));
    }
    Ok(time)
}

fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8).ok().filter(|&mode| mode <= 0o777 && !digits.starts_with('+'))
}

fn log_target(text: &str) -> Result<LogTarget, String> {
    match text {
        "-" => Ok(LogTarget::Standard),
        "none" => Ok(LogTarget::Off),
        "" => Err("is empty: give a file, `-` or `none`".into()),
        path => Ok(LogTarget::File(Path::new(path).to_owned())),
    }
}

fn peer(text: &str) -> Result<TrustedPeer, String> {
    match text {
        "*" => return Ok(TrustedPeer::Any),
        "unix" => return Ok(TrustedPeer::Unix),
        _ => {}
    }
    let wrong = "is neither an address, a network such as 10.0.0.0/8, `unix` nor `*`";
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => most,
        Some(bits) => parse_count(bits)
            .filter(|&bits| bits <= u64::from(most))
            .ok_or_else(|| format!("has the prefix `/{bits}`, which is not between /0 and /{most}"))?
            as u8,
    };
    Ok(TrustedPeer::Network { address, prefix })
}

fn show_size(bytes: u64) -> String {
    let shown = format_size(bytes);
    if shown.bytes().all(|b| b.is_ascii_digit()) { shown } else { quote(&shown) }
}

fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<_> = values.into_iter().map(|value| quote(&value.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

/// A TOML string: literal where possible (formats are full of quotes), else basic.
fn quote(text: &str) -> String {
    let plain = |c: char| !c.is_control();
    if text.contains(['"', '\\']) && !text.contains('\'') && text.chars().all(plain) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if plain(c) => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\u{:04X}", c as u32);
            }
        }
    }
    quoted.push('"');
    quoted
}
