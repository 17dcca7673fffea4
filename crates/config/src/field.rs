//! How an option's text lands in [`Settings`], and comes out again.
//!
//! Each kind holds the place of its value in the settings as a function to it, so that the type of the
//! field and the kind of the option cannot disagree.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::app_spec::AppSpec;
use crate::bind::Bind;
use crate::error::shown;
use crate::settings::{AccessFormat, Admin, LogTarget, MemoryLimit, Settings, TrustedPeer};
use crate::units::format_duration;
use crate::value::{count, list, log_target, mode, peer, quote, show_size, size, switch, time};

/// The word for no size and no time.
const NONE: &str = "none";

/// Where the value of a kind stands in the settings.
pub type Place<T> = fn(&mut Settings) -> &mut T;

/// The kind of an option's value, and its place.
#[derive(Clone, Copy)]
pub enum Field {
    /// A Python object in a module; with a word for it where it has to be named.
    App(Place<Option<AppSpec>>, Option<&'static str>),
    /// Addresses to listen on.
    Binds(Place<Vec<Bind>>),
    /// Yes or no.
    Switch(Place<bool>),
    /// Yes or no, or one of some further words: `false`, `true` and these, how to set and to read which it is.
    SwitchOr(&'static [&'static str], fn(&mut Settings, usize), fn(&Settings) -> usize),
    /// A whole number within bounds.
    Count(Place<usize>, usize, usize),
    /// A whole number within bounds, or a word for "none".
    MaybeCount(Place<Option<usize>>, &'static str, usize, usize),
    /// A 32-bit number from 1.
    Number(Place<u32>),
    /// A file mode in octal digits.
    Mode(Place<u32>),
    /// A file mode in octal digits, or nothing.
    MaybeMode(Place<Option<u32>>),
    /// Bytes that fit memory, at least so many.
    Memory(Place<usize>, usize),
    /// Bytes.
    Size(Place<u64>),
    /// Bytes, or `none`.
    MaybeSize(Place<Option<u64>>),
    /// Bytes, or a part of the memory that there is, or `none`.
    MaybeMemory(Place<Option<MemoryLimit>>),
    /// A time, at least so long.
    Time(Place<Duration>, Duration),
    /// A time, at least so long, or `none`.
    MaybeTime(Place<Option<Duration>>, Duration),
    /// A text, put through a check that may amend it.
    Text(Place<String>, Check),
    /// A text, put through a check that may amend it, or nothing.
    MaybeText(Place<Option<String>>, Check),
    /// Several texts, each put through a check.
    Texts(Place<Vec<String>>, Check),
    /// Several pairs of texts.
    Pairs(Place<Vec<Pair>>, &'static PairKind),
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
    /// Where the operations plane listens.
    Admin(Place<Admin>),
    /// Trusted peers.
    Peers(Place<Vec<TrustedPeer>>),
}

/// A check of a text, which may amend it; its error is a sentence without its subject.
pub type Check = fn(&str) -> Result<String, String>;

/// Two texts, such as a name and a value.
pub type Pair = (String, String);

/// How a pair of texts is written, and which are valid.
pub struct PairKind {
    /// What stands between the two.
    pub separator: char,
    /// Both, as help shows them, such as `NAME=VALUE`.
    pub form: &'static str,
    /// Checks the two, and may amend them.
    pub check: fn(&str, &str) -> Result<Pair, String>,
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
    /// Several pairs: a table in a file, a mapping in Python.
    Table(Vec<Pair>),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::List(list) => write!(f, "[{}]", list.join(", ")),
            Self::Table(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(left, right)| format!("{left} = {right}")).collect();
                write!(f, "{{{}}}", pairs.join(", "))
            }
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
        matches!(self, Self::Binds(_) | Self::Paths(_) | Self::Peers(_) | Self::Texts(..) | Self::Pairs(..))
    }

    /// Whether a text holds several entries with commas between them. Where an entry may have commas of its own,
    /// each stands on a line.
    pub fn has_commas(&self) -> bool {
        self.is_list() && !matches!(self, Self::Pairs(..))
    }

    /// Whether the option is yes or no.
    pub fn is_switch(&self) -> bool {
        matches!(self, Self::Switch(_) | Self::SwitchOr(..))
    }

    /// The words of a choice; empty for other kinds.
    pub fn words(&self) -> &'static [&'static str] {
        if let Self::Choice(words, ..) = self { words } else { &[] }
    }

    /// Puts a value in its place. The error is a sentence without its subject: what is wrong, what is accepted.
    pub fn set(&self, settings: &mut Settings, raw: &Raw) -> Result<(), String> {
        if let Self::Pairs(place, kind) = self {
            *place(settings) = pairs(raw, kind)?;
            return Ok(());
        }
        if self.is_list() {
            return self.set_list(settings, &entries(raw)?);
        }
        match raw {
            Raw::Text(text) => self.set_text(settings, text.trim()),
            Raw::Integer(number) if matches!(self, Self::Mode(_) | Self::MaybeMode(_)) => {
                self.set_text(settings, &format!("0o{number:o}"))
            }
            Raw::Integer(number) => self.set_text(settings, &number.to_string()),
            Raw::List(_) => Err("is a list; this option takes one value".into()),
            Raw::Table(_) => Err("is a table; this option takes one value".into()),
        }
    }

    fn set_list(&self, settings: &mut Settings, entries: &[&str]) -> Result<(), String> {
        let named = |entry: &str, why: String| of_entry(entries.len(), entry, &why);
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
            Self::Texts(place, check) => {
                *place(settings) = entries
                    .iter()
                    .map(|entry| check(entry).map_err(|why| named(entry, why)))
                    .collect::<Result<_, _>>()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set_text(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        match *self {
            Self::App(place, wanted) => {
                let spec = AppSpec::parse(text)?;
                if let (Some(word), None) = (wanted, &spec.callable) {
                    return Err(format!("names no {word}; write {text}:NAME"));
                }
                *place(settings) = Some(spec);
            }
            Self::Switch(place) => {
                *place(settings) = switch(text).ok_or("is neither yes nor no (true, false)")?;
            }
            Self::SwitchOr(words, set, _) => {
                let lower = text.to_ascii_lowercase();
                let word = || words.iter().skip(2).position(|&word| word == lower).map(|at| at + 2);
                let index = switch(text).map(usize::from).or_else(word);
                set(settings, index.ok_or_else(|| format!("is not one of {}", words.join(", ")))?);
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
            Self::MaybeMode(place) => {
                *place(settings) = Some(mode(text).ok_or("is not a mode in octal digits, such as 027")?);
            }
            Self::Memory(place, min) => *place(settings) = size(text, min as u64)? as usize,
            Self::Size(place) => *place(settings) = size(text, 0)?,
            Self::MaybeSize(place) => {
                *place(settings) = if text == NONE { None } else { Some(size(text, 0)?) };
            }
            Self::MaybeMemory(place) => {
                *place(settings) = if text == NONE { None } else { Some(MemoryLimit::parse(text)?) };
            }
            Self::Time(place, min) => *place(settings) = time(text, min)?,
            Self::MaybeTime(place, min) => {
                *place(settings) = if text == NONE { None } else { Some(time(text, min)?) };
            }
            Self::Text(place, check) => *place(settings) = check(text)?,
            Self::MaybeText(place, check) => {
                *place(settings) = if text.is_empty() { None } else { Some(check(text)?) };
            }
            Self::Choice(words, set, _) => {
                let lower = text.to_ascii_lowercase();
                let index = words.iter().position(|&word| word == lower);
                let index =
                    index.or_else(|| words.iter().position(|&word| lower == "warn" && word == "warning"));
                set(settings, index.ok_or_else(|| format!("is not one of {}", words.join(", ")))?);
            }
            Self::MaybePath(place) => *place(settings) = (!text.is_empty()).then(|| PathBuf::from(text)),
            Self::Log(place) => *place(settings) = log_target(text)?,
            Self::Admin(place) => *place(settings) = Admin::parse(text)?,
            Self::Access(place) => {
                *place(settings) = match text {
                    "json" => AccessFormat::Json,
                    _ if text.contains('%') => AccessFormat::Text(text.to_owned()),
                    _ => return Err("is neither `json` nor a text with atoms, such as %(h)s".to_owned()),
                };
            }
            Self::Binds(_) | Self::Paths(_) | Self::Peers(_) | Self::Texts(..) | Self::Pairs(..) => {}
        }
        Ok(())
    }

    /// Puts in the value that `from` has.
    pub(crate) fn take_over(&self, from: &Settings, settings: &mut Settings) {
        fn copy<T: Clone>(place: Place<T>, from: &mut Settings, settings: &mut Settings) {
            place(settings).clone_from(place(from));
        }
        // A place leads to a mutable value; a copy keeps the original as it is.
        let from = &mut from.clone();
        match *self {
            Self::App(place, _) => copy(place, from, settings),
            Self::Binds(place) => copy(place, from, settings),
            Self::Switch(place) => copy(place, from, settings),
            Self::Count(place, ..) | Self::Memory(place, _) => copy(place, from, settings),
            Self::MaybeCount(place, ..) => copy(place, from, settings),
            Self::Number(place) | Self::Mode(place) => copy(place, from, settings),
            Self::MaybeMode(place) => copy(place, from, settings),
            Self::Size(place) => copy(place, from, settings),
            Self::MaybeSize(place) => copy(place, from, settings),
            Self::MaybeMemory(place) => copy(place, from, settings),
            Self::Time(place, _) => copy(place, from, settings),
            Self::MaybeTime(place, _) => copy(place, from, settings),
            Self::Text(place, _) => copy(place, from, settings),
            Self::MaybeText(place, _) => copy(place, from, settings),
            Self::Texts(place, _) => copy(place, from, settings),
            Self::Pairs(place, _) => copy(place, from, settings),
            Self::SwitchOr(_, set, get) | Self::Choice(_, set, get) => set(settings, get(from)),
            Self::MaybePath(place) => copy(place, from, settings),
            Self::Paths(place) => copy(place, from, settings),
            Self::Log(place) => copy(place, from, settings),
            Self::Access(place) => copy(place, from, settings),
            Self::Admin(place) => copy(place, from, settings),
            Self::Peers(place) => copy(place, from, settings),
        }
    }

    /// The value as TOML, times in seconds and sizes in bytes.
    pub(crate) fn show_plain(&self, settings: &Settings) -> Option<String> {
        let mut copy = settings.clone();
        let seconds = |time: Duration| {
            let whole = time.subsec_nanos() == 0;
            if whole { time.as_secs().to_string() } else { time.as_secs_f64().to_string() }
        };
        match *self {
            Self::Time(place, _) => Some(seconds(*place(&mut copy))),
            Self::MaybeTime(place, _) => (*place(&mut copy)).map(seconds),
            Self::Memory(place, _) => Some(place(&mut copy).to_string()),
            Self::Size(place) => Some(place(&mut copy).to_string()),
            Self::MaybeSize(place) => (*place(&mut copy)).map(|size| size.to_string()),
            _ => self.show(settings),
        }
    }

    /// The value as TOML, or nothing where the option has none.
    pub fn show(&self, settings: &Settings) -> Option<String> {
        // A place leads to a mutable value; a copy keeps this a reader.
        let mut copy = settings.clone();
        let settings = &mut copy;
        Some(match *self {
            Self::App(place, _) => quote(&place(settings).as_ref()?.to_string()),
            Self::Binds(place) => list(place(settings)),
            Self::Switch(place) => place(settings).to_string(),
            Self::SwitchOr(words, _, get) => match get(settings) {
                0 => false.to_string(),
                1 => true.to_string(),
                index => quote(words.get(index)?),
            },
            Self::Count(place, ..) => place(settings).to_string(),
            Self::MaybeCount(place, "", ..) => (*place(settings))?.to_string(),
            Self::MaybeCount(place, none, ..) => {
                place(settings).map_or_else(|| quote(none), |count| count.to_string())
            }
            Self::Number(place) => place(settings).to_string(),
            Self::Mode(place) => quote(&format!("{:04o}", place(settings))),
            Self::MaybeMode(place) => quote(&format!("{:04o}", (*place(settings))?)),
            Self::Memory(place, _) => show_size(*place(settings) as u64),
            Self::Size(place) => show_size(*place(settings)),
            Self::MaybeSize(place) => place(settings).map_or_else(|| quote(NONE), show_size),
            Self::MaybeMemory(place) => match place(settings) {
                None => quote(NONE),
                Some(MemoryLimit::Bytes(bytes)) => show_size(*bytes),
                Some(MemoryLimit::Percent(part)) => quote(&format!("{part}%")),
            },
            Self::Time(place, _) => quote(&format_duration(*place(settings))),
            Self::MaybeTime(place, _) => {
                quote(&place(settings).map_or_else(|| NONE.to_owned(), format_duration))
            }
            Self::Text(place, _) => quote(place(settings)),
            Self::MaybeText(place, _) => quote(place(settings).as_ref()?),
            Self::Texts(place, _) => list(place(settings).iter()),
            Self::Pairs(place, kind) => {
                let gap = if kind.separator == ':' && kind.form.contains(": ") { " " } else { "" };
                let written = |(left, right): &Pair| format!("{left}{}{gap}{right}", kind.separator);
                list(place(settings).iter().map(written))
            }
            Self::Choice(words, _, get) => quote(words.get(get(settings))?),
            Self::MaybePath(place) => quote(&place(settings).as_ref()?.display().to_string()),
            Self::Paths(place) => list(place(settings).iter().map(|path| path.display())),
            Self::Log(place) => match place(settings) {
                LogTarget::Off => quote("none"),
                LogTarget::Standard => quote("-"),
                LogTarget::File(path) => quote(&path.display().to_string()),
            },
            Self::Admin(place) => quote(&place(settings).to_string()),
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
        Raw::Table(_) => Err("is a table; this option takes texts".into()),
    }
}

/// Pairs, from texts or from a table. A text holds one a line.
fn pairs(raw: &Raw, kind: &PairKind) -> Result<Vec<Pair>, String> {
    let texts: Vec<&str> = match raw {
        Raw::Table(table) => {
            let checked = |(left, right): &Pair| {
                (kind.check)(left.trim(), right.trim()).map_err(|why| of_entry(table.len(), left, &why))
            };
            return table.iter().map(checked).collect();
        }
        Raw::Text(text) => text.lines().collect(),
        Raw::List(list) => list.iter().map(String::as_str).collect(),
        Raw::Integer(_) => return Err("is a number; this option takes texts".into()),
    };
    let texts: Vec<&str> = texts.into_iter().map(str::trim).filter(|text| !text.is_empty()).collect();
    texts.iter().map(|text| pair(text, kind).map_err(|why| of_entry(texts.len(), text, &why))).collect()
}

/// One pair.
pub(crate) fn pair(text: &str, kind: &PairKind) -> Result<Pair, String> {
    let (left, right) = text
        .split_once(kind.separator)
        .ok_or_else(|| format!("has no `{}`; write {}", kind.separator, kind.form))?;
    (kind.check)(left.trim(), right.trim())
}

/// What is wrong with one of several entries.
fn of_entry(entries: usize, entry: &str, why: &str) -> String {
    if entries == 1 { why.to_owned() } else { format!("has the entry `{}`, which {why}", shown(entry)) }
}
